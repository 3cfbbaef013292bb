"""One family of the sweep's candidates."""

from typing import Any

from sigap import workflow

if "custom" not in globals():
    from mage_ai.data_preparation.decorators import custom
if "test" not in globals():
    from mage_ai.data_preparation.decorators import test


@custom
def fit_candidate(item: dict[str, Any], *_: Any, **__: Any) -> dict[str, Any]:
    """Fit each of them and log it under the sweep's parent run."""
    return workflow.fit(item)


@test
def is_logged(family: dict[str, Any], *_: Any) -> None:
    """Every candidate leaves a run in MLflow."""
    assert all(each["run_id"] for each in family["fitted"]), "A candidate has no run in MLflow."
