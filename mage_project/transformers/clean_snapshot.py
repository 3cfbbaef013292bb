"""The features that the model may use, and who can be assessed by them."""

from typing import Any

from sigap import workflow

if "transformer" not in globals():
    from mage_ai.data_preparation.decorators import transformer
if "test" not in globals():
    from mage_ai.data_preparation.decorators import test


@transformer
def clean_snapshot(snapshot: dict[str, Any], *_: Any, **__: Any) -> dict[str, Any]:
    """Leave out, by rule, features that are published too rarely."""
    return workflow.clean(snapshot)


@test
def uses_features(cleaned: dict[str, Any], *_: Any) -> None:
    """Without a feature there is nothing to learn from."""
    assert cleaned["used"], f"No feature of {cleaned['model']} is published often enough."
