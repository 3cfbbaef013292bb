"""The table that the model is trained on, for whoever looks at the run in Mage's page."""

from typing import Any

import pandas as pd

from sigap import workflow

if "transformer" not in globals():
    from mage_ai.data_preparation.decorators import transformer
if "test" not in globals():
    from mage_ai.data_preparation.decorators import test


@transformer
def preview_features(cleaned: dict[str, Any], *_: Any, **__: Any) -> pd.DataFrame:
    """One row an entity; the page shows what a block returns."""
    return workflow.preview(cleaned)


@test
def is_complete(features: pd.DataFrame, *_: Any) -> None:
    """Who lacks a feature was set aside before."""
    assert not features.isna().to_numpy().any(), "An entity without a feature would be clustered."
