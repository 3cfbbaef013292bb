"""How every served model fares by what became of its predictions: the live scores, and the performance alarm."""

from typing import Any

from sigap.errors import SigapError
from sigap.monitoring.live import scorable, score_live
from sigap.settings import get_settings

if "custom" not in globals():
    from mage_ai.data_preparation.decorators import custom
if "test" not in globals():
    from mage_ai.data_preparation.decorators import test


@custom
def score_outcomes(*_: Any, **__: Any) -> list[dict[str, Any]]:
    """Score each model; one that fails keeps no other from its score, and fails the block at the end."""
    rows: list[dict[str, Any]] = []
    faults: list[SigapError] = []
    for model in scorable():
        try:
            rows += score_live(get_settings(), model)
        except SigapError as error:
            faults.append(error)
    if faults:
        raise faults[0]
    return rows


@test
def says_why(rows: list[dict[str, Any]], *_: Any) -> None:
    """A decisive score without its reason is no record."""
    assert all(row["reason"] for row in rows if row["decisive"]), "A score gives no reason."
