"""How every served model fares by what became of its predictions: the live scores, and the performance alarm."""

from typing import Any

from sigap.monitoring.live import score_all

if "custom" not in globals():
    from mage_ai.data_preparation.decorators import custom
if "test" not in globals():
    from mage_ai.data_preparation.decorators import test


@custom
def score_outcomes(*_: Any, **variables: Any) -> dict[str, Any]:
    """Score each served model that has a target, or the one that the trigger names, beside what it promised."""
    model = variables.get("model")
    # In a dict: of a list Mage hands on an only item as itself, and an empty one not at all.
    return {"scores": score_all(models=[model] if model and model != "all" else ())}


@test
def says_why(found: dict[str, Any], *_: Any) -> None:
    """A decisive score without its reason is no record."""
    assert all(row["reason"] for row in found["scores"] if row["decisive"]), "A score gives no reason."
