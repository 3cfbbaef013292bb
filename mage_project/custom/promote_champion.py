"""The gate: challenger against champion, and the move of the alias."""

from typing import Any

from sigap import workflow

if "custom" not in globals():
    from mage_ai.data_preparation.decorators import custom
if "test" not in globals():
    from mage_ai.data_preparation.decorators import test


@custom
def promote_champion(registered: dict[str, Any], *_: Any, **__: Any) -> dict[str, Any]:
    """Decide, record why, and promote if the challenger may serve."""
    return workflow.decide(registered)


@test
def says_why(decision: dict[str, Any], *_: Any) -> None:
    """A decision without its reason is no record."""
    assert decision["reason"], "The decision gives no reason."
