"""What the predictors of all tasks share: the row that reaches the model, and what every answer says of itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from backend.columns import Columns
from sigap.bundle import Bilingual, InputColumn, ManifestBase, RowEncoder, SupervisedManifest
from sigap.catalog import Declaration, Kind
from sigap.errors import BundleError

# Between the names of features in one cell of a table; no name holds it.
SEPARATOR = " "


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

    @property
    def constant(self) -> Mapping[str, Any]:
        """What stands the same in every answer of this version."""

    def answers(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """What `answer` says of each row, computed at once.

        Raises:
            RequestError: 422, a row is valid but not for this version.
            BundleError: The model gives no answer that could be told.
        """

    def check(self, answer: Mapping[str, Any]) -> None:
        """Compares the answer to the manifest's example with what it has to be.

        Raises:
            BundleError: It is another.
        """


class RowPredictor(Predictor, Protocol):
    """A predictor whose requests are rows, so that many can be answered by column."""

    def part(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What `answer` says of a row, without the `constant` part.

        Raises:
            RequestError: 422, the request is valid but not for this version.
            BundleError: The model gives no answer that could be told.
        """

    def whole(self, part: Mapping[str, Any]) -> dict[str, Any]:
        """The answer of which this is the part."""

    @property
    def constant_before(self) -> str:
        """Name of the member of a `part` that the `constant` part stands before; empty where it comes last."""

    def parts(self, columns: Columns) -> list[dict[str, Any]]:
        """What `answer` says of each row, without the `constant` part.

        Raises:
            BundleError: The model gives no answer that could be told.
        """

    def flat(self, columns: Columns) -> dict[str, Flat]:
        """The answers as columns of a table, the prediction first.

        Raises:
            BundleError: The model gives no answer that could be told.
        """


class Words(NamedTuple):
    """A column of few different texts: `texts[codes[row]]` is the row's."""

    codes: NDArray[np.intp]
    texts: Sequence[str]


Flat = Words | NDArray[Any]
"""A column of an answer: texts, or numbers, booleans too."""


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
        self._limits = [(name, known.minimum, known.maximum) for name, known in self._ranges]
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
    def _known(self) -> dict[str, tuple[NDArray[np.float64], InputColumn, int]]:
        """By category of the model's columns: what stands for each declared category, and where.

        Of a one-hot column that is the model's column, of an ordinal one the number; NaN for one never seen.
        """
        found: dict[str, tuple[NDArray[np.float64], InputColumn, int]] = {}
        start = 0
        for column in self.manifest.inputs:
            if column.kind != "number":
                stands = range(start, start + column.width) if column.kind == "one_hot" else column.values
                known = {name.casefold(): value for name, value in zip(column.categories, stands, strict=True)}
                declared = self.declaration.feature(column.feature).categories
                values = np.array([known.get(name.casefold(), np.nan) for name in declared], np.float64)
                found[column.feature] = (values, column, start)
            start += column.width
        return found

    def matrix(self, columns: Columns, kind: type[np.floating[Any]] = np.float64) -> NDArray[Any]:
        """The rows of the model's columns [n, width] of this type: what `encode` gives of each."""
        rows = np.zeros((columns.size, self.width), kind)
        if self.encoder is None:
            for at, name in enumerate(self.used):
                rows[:, at] = columns.numbers[name]
            return rows
        start = 0
        for column in self.manifest.inputs:
            impute = np.nan if column.impute is None else column.impute
            if column.kind == "number":
                numbers = columns.numbers[column.feature]
                rows[:, start] = np.where(np.isnan(numbers), impute, numbers)
            else:
                values, stands = self._known[column.feature][0], columns.codes[column.feature]
                looked = np.append(values, np.nan)[stands]  # the last one is for -1, null
                if column.kind == "ordinal":
                    rows[:, start] = np.where(np.isnan(looked), impute, looked)
                else:
                    seen = np.flatnonzero(~np.isnan(looked))
                    rows[seen, looked[seen].astype(np.intp)] = 1.0
            start += column.width
        return rows

    def remarks(self, columns: Columns) -> dict[str, NDArray[np.bool_]]:
        """What `about` lists of each row, as bool [n, features] over `used`."""
        outside = np.zeros((columns.size, len(self.used)), bool)
        ranges = dict(self._ranges)
        filled = np.stack([columns.null(name) for name in self.used], axis=1)
        unseen = np.zeros_like(outside)
        for at, name in enumerate(self.used):
            if name in ranges:
                numbers, known = columns.numbers[name], ranges[name]
                # NaN, a null, is outside of nothing.
                outside[:, at] = (numbers < known.minimum) | (numbers > known.maximum)
            if name in self._known:
                unseen[:, at] = np.append(np.isnan(self._known[name][0]), False)[columns.codes[name]]
        return {"out_of_training_range": outside, "filled_in": filled, "unseen_categories": unseen}

    def remark_lists(self, columns: Columns) -> dict[str, list[list[str]]]:
        """What `about` says of each row, one list a row."""
        found = {}
        for name, marks in self.remarks(columns).items():
            words = self._remark_words(marks, name)
            lists = [text.split(SEPARATOR) if text else [] for text in words.texts]
            found[name] = [lists[code] for code in words.codes.tolist()]
        return found

    def remark_words(self, columns: Columns) -> dict[str, Words]:
        """What `about` says of each row, as the features' names with a separator between."""
        return {name: self._remark_words(marks, name) for name, marks in self.remarks(columns).items()}

    def _remark_words(self, marks: NDArray[np.bool_], remark: str) -> Words:
        if not marks.any():
            return Words(np.zeros(len(marks), np.intp), ("",))
        # What `encoder.unseen` lists stands in the order of the model's inputs, the rest in that of the features.
        inputs = [column.feature for column in self.manifest.inputs]
        order = [self.used.index(name) for name in inputs] if remark == "unseen_categories" else range(len(self.used))
        names = [self.used[at] for at in order]
        packed = np.packbits(marks[:, list(order)], axis=1)
        different, codes = np.unique(packed, axis=0, return_inverse=True)
        unpacked = np.unpackbits(different, axis=1, count=len(names)).astype(bool)
        texts = [SEPARATOR.join(name for name, marked in zip(names, row, strict=True) if marked) for row in unpacked]
        return Words(codes.reshape(-1), texts)

    @cached_property
    def model(self) -> dict[str, Any]:
        """What every answer of this version says of the model."""
        return about(self.manifest, self._version)

    def about(self, values: Mapping[str, Any]) -> dict[str, list[str]]:
        """What an answer says of the row, as `RowAnswer` describes it."""
        return {
            "out_of_training_range": self.outside(values),
            # Most rows have no gap at all, which shows sooner than where the gaps are.
            "filled_in": [name for name in self.used if values[name] is None] if None in values.values() else [],
            "unseen_categories": self.encoder.unseen(values) if self.encoder else [],
        }

    def outside(self, values: Mapping[str, Any]) -> list[str]:
        """Used numbers that lie outside of what the model was trained on."""
        return [
            name
            for name, minimum, maximum in self._limits
            if values[name] is not None and not minimum <= values[name] <= maximum
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
