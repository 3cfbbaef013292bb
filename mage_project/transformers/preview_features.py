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
    """Its first rows; the page shows what a block returns."""
    return workflow.preview(cleaned)


@test
def has_rows(features: pd.DataFrame, *_: Any) -> None:
    """Whom nothing is known of was set aside before; somebody has to be left."""
    assert len(features), "No row is left to train on."
