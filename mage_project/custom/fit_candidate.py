"""One candidate of the sweep."""

from typing import Any

from sigap import workflow

if "custom" not in globals():
    from mage_ai.data_preparation.decorators import custom
if "test" not in globals():
    from mage_ai.data_preparation.decorators import test


@custom
def fit_candidate(item: dict[str, Any], *_: Any, **__: Any) -> dict[str, Any]:
    """Fit it and log it under the sweep's parent run."""
    return workflow.fit(item)


@test
def is_logged(fitted: dict[str, Any], *_: Any) -> None:
    """Every candidate leaves a run in MLflow."""
    assert fitted["run_id"], "The candidate has no run in MLflow."
