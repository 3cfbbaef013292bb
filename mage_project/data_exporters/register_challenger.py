"""The best admissible candidate goes into the registry."""

from typing import Any

from sigap import workflow

if "data_exporter" not in globals():
    from mage_ai.data_preparation.decorators import data_exporter
if "test" not in globals():
    from mage_ai.data_preparation.decorators import test


@data_exporter
def register_challenger(fits: list[dict[str, Any]], *_: Any, **__: Any) -> dict[str, Any]:
    """Select among the fits, write the serving bundle and register the model."""
    return workflow.register(fits)


@test
def has_version_or_reason(registered: dict[str, Any], *_: Any) -> None:
    """The gate needs a registered version to decide on, or the reason why there is none."""
    assert registered["model_version"] or registered["refused"], "There is neither a challenger nor a reason."
