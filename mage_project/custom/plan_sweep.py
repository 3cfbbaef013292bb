"""One item for each family of candidates; Mage runs the next block once an item."""

from typing import Any

from sigap import workflow

if "custom" not in globals():
    from mage_ai.data_preparation.decorators import custom
if "test" not in globals():
    from mage_ai.data_preparation.decorators import test


@custom
def plan_sweep(cleaned: dict[str, Any], *_: Any, **__: Any) -> list[list[dict[str, Any]]]:
    """Start the sweep's parent run and name every family as the page shows it."""
    items = workflow.plan(cleaned)
    return [items, [{"block_uuid": item["name"]} for item in items]]


@test
def plans_candidates(items: list[dict[str, Any]], *_: Any) -> None:
    """A sweep of nothing would end without a champion and without an error."""
    assert items, "The sweep has no candidate."
