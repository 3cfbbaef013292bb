"""What the predictors of all tasks share: the row that reaches the model, and what every answer says of itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from sigap.bundle import Bilingual, ManifestBase, RowEncoder, SupervisedManifest
from sigap.catalog import Declaration, Kind
from sigap.errors import BundleError


class Predictor(Protocol):
    """Answers validated requests with one version of a model."""

    @property
    def outcome(self) -> str:
        """The field of an answer by which predictions are counted, which has few values; empty where there is none."""

    @property
    def needed(self) -> tuple[str, ...]:
        """Features that a request must not leave null."""

    def answer(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The answer, as the task's answer type describes it.

        Raises:
            RequestError: 422, the request is valid but not for this version.
            BundleError: The model gives no answer that could be told.
        """

    def check(self, answer: Mapping[str, Any]) -> None:
        """Compares the answer to the manifest's example with what it has to be.

        Raises:
            BundleError: It is another.
        """


class AnswerBase(BaseModel):
    """What every answer says of the model it comes from."""

    model_config = ConfigDict(protected_namespaces=())

    model_version: str = Field(description="Version in the registry.")
    model: str
    data_version: str = Field(description="Version of the data that the model was trained on.")
    features_used: list[str]
    features_left_out: list[str] = Field(description="Declared features that this model does not use.")


class RowAnswer(AnswerBase):
    """What an answer says of the row it was asked about."""

    out_of_training_range: list[str] = Field(
        description="Used features whose value lies outside of what the model was trained on: judge with care."
    )
    filled_in: list[str] = Field(
        description="Used features that were null: what is typical of the training rows stands in their place."
    )
    unseen_categories: list[str] = Field(
        description="Used features whose category no training row has: the model knows nothing of it."
    )


class IntervalAnswer(BaseModel):
    """Within which the true value lies, if the future is like the past."""

    low: float
    high: float
    confidence: float = Field(description="Share of true values that such intervals are to hold.")
    coverage: float = Field(description="Share that they held, measured on held-out rows.")


class BaselineAnswer(BaseModel):
    """What the model has to be compared with, on the same held-out rows; positive differences speak for the model."""

    name: str
    text: Bilingual
    metric: str
    model: float | None = Field(description="The model's score.")
    spread: float | None = Field(description="Its standard deviation over the repeated folds.")
    baseline: float | None = Field(description="The baseline's score.")
    difference: float
    low: float = Field(description="Lower end of the difference's confidence interval.")
    high: float
    confidence: float
    verdict: Literal["better", "ties"]


def baseline_answer(manifest: SupervisedManifest) -> dict[str, Any]:
    """The baseline's figures beside the model's, as every answer of a supervised model carries them."""
    entry, gain = manifest.baseline, manifest.baseline.gain
    return BaselineAnswer(
        name=entry.name,
        text=entry.text,
        metric=gain.metric,
        model=manifest.metrics.get(gain.metric),
        spread=manifest.metrics.get(f"{gain.metric}_sd"),
        baseline=entry.metrics.get(gain.metric),
        difference=gain.difference,
        low=gain.low,
        high=gain.high,
        confidence=gain.confidence,
        verdict=entry.verdict,
    ).model_dump()


BASELINE_EXAMPLE: dict[str, Any] = {
    "name": "one_column_rule",
    "text": {"id": "aturan satu kolom", "en": "the rule on one column"},
    "metric": "accuracy",
    "model": 0.81,
    "spread": 0.02,
    "baseline": 0.809,
    "difference": 0.001,
    "low": -0.004,
    "high": 0.006,
    "confidence": 0.95,
    "verdict": "ties",
}


def about_example(declaration: Declaration) -> dict[str, Any]:
    """What the documented examples of all tasks share."""
    return {
        "model_version": "v3",
        "model": declaration.name,
        "data_version": "v_2025_Q1",
        "features_used": list(declaration.feature_names),
        "features_left_out": [],
    }


ROW_EXAMPLE: dict[str, list[str]] = {"out_of_training_range": [], "filled_in": [], "unseen_categories": []}


class Row:
    """From a request's values to the model's columns, and what there is to say of them.

    Args:
        declaration: The model's declaration.
        manifest: Of the served bundle.
        version: The version as answered.

    Raises:
        BundleError: The manifest does not fit the declaration.
    """

    def __init__(self, declaration: Declaration, manifest: ManifestBase, version: str) -> None:
        self.declaration = declaration
        self.manifest = manifest
        self.used = manifest.features_used
        if not self.used or (unknown := set(self.used) - set(declaration.feature_names)):
            names = ", ".join(sorted(unknown)) if self.used else "none"
            raise BundleError(f"The bundle's features are not those of the declaration: {names}.")
        numbers = [name for name in self.used if declaration.feature(name).kind in (Kind.NUMBER, Kind.INTEGER)]
        if missing := set(numbers) - set(manifest.training_range):
            raise BundleError(f"The bundle's training range lacks {', '.join(sorted(missing))}.")
        encoded = {column.feature for column in manifest.inputs}
        if manifest.inputs and encoded != set(self.used):
            raise BundleError("The bundle's inputs are not those of its features.")
        if not manifest.inputs and (words := set(self.used) - set(numbers)):
            raise BundleError(f"The bundle does not say how {', '.join(sorted(words))} become numbers.")
        self.encoder = RowEncoder(manifest.inputs) if manifest.inputs else None
        self.width = self.encoder.width if self.encoder else len(self.used)
        self._ranges = [(name, manifest.training_range[name]) for name in numbers]
        self._version = version

    @cached_property
    def needed(self) -> tuple[str, ...]:
        """Features without which there is no answer: those that nothing stands for when they are missing."""
        if self.encoder is None:
            return self.used
        return tuple(each.feature for each in self.manifest.inputs if each.kind == "number" and each.impute is None)

    def encode(self, values: Mapping[str, Any]) -> list[float]:
        """The row of the model's columns."""
        if self.encoder is not None:
            return self.encoder.encode(values)
        return [float(values[name]) for name in self.used]

    @cached_property
    def model(self) -> dict[str, Any]:
        """What every answer of this version says of the model."""
        return about(self.manifest, self._version)

    def about(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What an answer says of model and row, as `RowAnswer` describes it."""
        return {
            **self.model,
            "out_of_training_range": self.outside(values),
            "filled_in": [name for name in self.used if values[name] is None],
            "unseen_categories": self.encoder.unseen(values) if self.encoder else [],
        }

    def outside(self, values: Mapping[str, Any]) -> list[str]:
        """Used numbers that lie outside of what the model was trained on."""
        return [
            name
            for name, known in self._ranges
            if values[name] is not None and not known.minimum <= values[name] <= known.maximum
        ]


def about(manifest: ManifestBase, version: str) -> dict[str, Any]:
    """What every answer of a version says of it, as `AnswerBase` describes it."""
    return {
        "model_version": version,
        "model": manifest.model,
        "data_version": manifest.data.version,
        "features_used": list(manifest.features_used),
        "features_left_out": [entry.name for entry in manifest.features_left_out],
    }


def check_numbers(found: Mapping[str, float], expected: Mapping[str, float]) -> None:
    """Compares the numbers answered to the bundle's example with those of its manifest.

    Raises:
        BundleError: One is missing or another.
    """
    if not expected:
        raise BundleError("The bundle's example has no answer.")
    for name, value in expected.items():
        if name not in found:
            raise BundleError(f"The bundle's example expects {name}, which is not answered.")
        if not math.isclose(found[name], value, rel_tol=1e-5, abs_tol=1e-6):
            raise BundleError(
                f"The bundle answers its own example with {name} {found[name]:.6g}; its manifest says {value:.6g}."
            )


def indonesian(number: str) -> str:
    """A number as Indonesian writes it: 1.234,5 instead of 1,234.5."""
    return number.translate(_SEPARATORS)


_SEPARATORS = str.maketrans(",.", ".,")
