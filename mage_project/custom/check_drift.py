"""Whether live inputs and the newest tables still look like what the champions were trained on."""

from typing import Any

from sigap.monitoring.checks import check_named, summary

if "custom" not in globals():
    from mage_ai.data_preparation.decorators import custom
if "test" not in globals():
    from mage_ai.data_preparation.decorators import test


@custom
def check_drift(*_: Any, **variables: Any) -> dict[str, Any]:
    """Check all champions, or those that the trigger names, and say which alarm."""
    only_new = bool(variables.get("only_new"))
    return summary(check_named(variables.get("model"), variables.get("subject"), only_new=only_new))


@test
def is_counted(found: dict[str, Any], *_: Any) -> None:
    """Without any champion there is nothing to check, which is no fault."""
    assert found["checks"] >= 0, "The checks were not counted."
