"""One module a task: the type of its answers, and the predictor that gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from backend.tasks import classification, clustering, forecasting, regression
from backend.tasks.predictor import Predictor
from sigap.bundle import (
    ClassificationManifest,
    ClusteringManifest,
    Manifest,
    RegressionManifest,
)
from sigap.catalog import Declaration
from sigap.errors import BundleError

__all__ = ["Predictor", "answer_example", "answer_model", "predictor"]


_ANSWERS: dict[str, tuple[Callable[[Declaration], type[BaseModel]], Callable[[Declaration], dict[str, Any]]]] = {
    "clustering": (clustering.answer_model, clustering.answer_example),
    "regression": (regression.answer_model, regression.answer_example),
    "classification": (classification.answer_model, classification.answer_example),
    "forecasting": (forecasting.answer_model, forecasting.answer_example),
}


def answer_model(declaration: Declaration) -> type[BaseModel]:
    """The type of the model's answers."""
    return _ANSWERS[declaration.task.kind][0](declaration)


def answer_example(declaration: Declaration) -> dict[str, Any]:
    """An answer to the declaration's example as the documentation shows it; its numbers illustrate."""
    return _ANSWERS[declaration.task.kind][1](declaration)


def predictor(declaration: Declaration, manifest: Manifest, model: bytes, version: str) -> Predictor:
    """What answers requests with the model of a bundle.

    Args:
        declaration: The model's declaration.
        manifest: The bundle's manifest.
        model: Its ONNX file's content.
        version: The version as answered, such as v3.

    Raises:
        BundleError: Manifest, declaration and ONNX model do not fit together.
    """
    if manifest.task != declaration.task.kind:
        raise BundleError(f"The bundle is of a {manifest.task}, not of a {declaration.task.kind}.")
    if isinstance(manifest, ClusteringManifest):
        return clustering.predictor(declaration, manifest, model, version)
    if isinstance(manifest, RegressionManifest):
        return regression.RegressionPredictor(declaration, manifest, model, version)
    if isinstance(manifest, ClassificationManifest):
        return classification.ClassificationPredictor(declaration, manifest, model, version)
    return forecasting.ForecastingPredictor(declaration, manifest, model, version)
