"""Regressions: a number in the target's unit, its interval, and the class that the number lies in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, create_model

from backend.columns import Columns
from backend.engine import Engine
from backend.requests import type_name
from backend.tasks.predictor import (
    BASELINE_EXAMPLE,
    ROW_EXAMPLE,
    BaselineAnswer,
    Flat,
    IntervalAnswer,
    Row,
    RowAnswer,
    Words,
    about_example,
    baseline_answer,
    check_numbers,
)
from sigap.bundle import Bilingual, RegressionManifest
from sigap.catalog import Declaration
from sigap.catalog.declaration import Regression, Target
from sigap.errors import BundleError


class SegmentBounds(BaseModel):
    """A class of the target: it holds `minimum` and does not hold `maximum`."""

    segment: str
    label: Bilingual
    minimum: float | None = Field(description="Null of the lowest.")
    maximum: float | None = Field(description="Null of the highest.")


def answer_model(declaration: Declaration) -> type[BaseModel]:
    """The type of the model's answers; the number carries the target's name."""
    target = target_of(declaration)
    unit = f", in {target.unit.en}" if target.unit and target.unit.en else ""
    fields: dict[str, Any] = {
        target.name: (float, Field(description=f"{target.meaning.en}{unit}. {target.meaning.id}.")),
        "interval": (IntervalAnswer, Field(description=f"Around the {target.title.en.lower()}{unit}.")),
    }
    if labels := _labels(declaration):
        fields["segment"] = (Literal[labels], Field(description=f"The class that the {target.name} lies in."))
        fields["segment_label"] = (Bilingual, ...)
        fields["segment_bounds"] = (list[SegmentBounds], Field(description="All classes, from the lowest."))
    fields["baseline"] = (BaselineAnswer, ...)
    return create_model(
        type_name(declaration, "Answer"), __base__=RowAnswer, __doc__=declaration.question.en, __config__=None, **fields
    )


def answer_example(declaration: Declaration) -> dict[str, Any]:
    """An answer as the documentation shows it; its numbers illustrate."""
    task = declaration.task_as(Regression)
    example: dict[str, Any] = {
        target_of(declaration).name: 9850.0,
        "interval": {"low": 7900.0, "high": 12300.0, "confidence": task.confidence, "coverage": 0.91},
    }
    if task.segments:
        edges = [None, *(10000.0 * rank for rank in range(1, len(task.segments.labels))), None]
        labels = [{"id": label.id, "en": label.en} for label in task.segments.labels]
        example["segment"], example["segment_label"] = labels[0]["en"], labels[0]
        example["segment_bounds"] = [
            {"segment": label["en"], "label": label, "minimum": low, "maximum": high}
            for label, low, high in zip(labels, edges, edges[1:], strict=False)
        ]
    beside = {**BASELINE_EXAMPLE, "name": "median", "metric": task.selection, "verdict": "better"}
    beside |= {"text": {"id": "median", "en": "the median"}, "model": 2010.0, "spread": 310.0, "baseline": 8300.0}
    beside |= {"difference": 6290.0, "low": 5100.0, "high": 7480.0}
    return {**example, "baseline": beside, **about_example(declaration), **ROW_EXAMPLE}


class RegressionPredictor:
    """Answers with a number."""

    constant_before = ""

    def __init__(self, declaration: Declaration, manifest: RegressionManifest, model: bytes, version: str) -> None:
        self._declaration = declaration
        self._target = target_of(declaration)
        self._manifest = manifest
        self.row = Row(declaration, manifest, version)
        self.engine = Engine(model, self.row.width, ("value",))
        self._baseline = baseline_answer(manifest)
        # A class has few values; a number has no end of them.
        self.outcome = "segment" if manifest.segments else ""
        labels = tuple(entry.label.en for entry in manifest.segments)
        if labels != _labels(declaration):
            raise BundleError(f"The bundle's segments are not those of the declaration: {', '.join(labels) or 'none'}.")
        self._segments = [
            (
                math.inf if entry.maximum is None else entry.maximum,
                {"segment": entry.label.en, "segment_label": {"id": entry.label.id, "en": entry.label.en}},
            )
            for entry in manifest.segments
        ]
        self._bounds = [
            {"segment": entry.label.en, **entry.model_dump(include={"label", "minimum", "maximum"})}
            for entry in manifest.segments
        ]

    @property
    def needed(self) -> tuple[str, ...]:
        """See `Predictor.needed`."""
        return self.row.needed

    @cached_property
    def constant(self) -> dict[str, Any]:
        """See `Predictor.constant`."""
        bounds = {"segment_bounds": self._bounds} if self._manifest.segments else {}
        return {**bounds, "baseline": self._baseline, **self.row.model}

    def answer(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """See `Predictor.answer`."""
        return self.whole(self.part(values))

    def whole(self, part: Mapping[str, Any]) -> dict[str, Any]:
        """See `RowPredictor.whole`."""
        return {**part, **self.constant}

    def part(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """See `RowPredictor.part`."""
        value = self.engine.number(self.row.encode(values))
        low, high = self._manifest.interval.around(value)
        return {**self._told(value, low, high), **self.row.about(values)}

    def answers(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """See `Predictor.answers`."""
        return [self.whole(part) for part in self.parts(Columns.of(self._declaration, rows))]

    def parts(self, columns: Columns) -> list[dict[str, Any]]:
        """See `RowPredictor.parts`."""
        ends = (each.tolist() for each in self._numbers(columns))
        remarks = self.row.remark_lists(columns)
        told = [self._told(*numbers) for numbers in zip(*ends, strict=True)]
        for name, lists in remarks.items():
            for part, marked in zip(told, lists, strict=True):
                part[name] = marked
        return told

    def flat(self, columns: Columns) -> dict[str, Flat]:
        """See `RowPredictor.flat`."""
        value, low, high = self._numbers(columns)
        found: dict[str, Flat] = {self._target.name: value, "interval_low": low, "interval_high": high}
        if segments := self._manifest.segments:
            edges = [math.inf if entry.maximum is None else entry.maximum for entry in segments]
            codes = np.searchsorted(edges[:-1], value, side="right")
            found["segment"] = Words(codes, [entry.label.en for entry in segments])
        return found | self.row.remark_words(columns)

    def _numbers(self, columns: Columns) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Value and both ends of its interval, of each row."""
        value = self.engine.many_numbers(self.row.matrix(columns, self.engine.type))
        low, high = self._manifest.interval.around_all(value)
        return value, low, high

    def _told(self, value: float, low: float, high: float) -> dict[str, Any]:
        interval = self._manifest.interval
        if not (math.isfinite(low) and math.isfinite(high)):
            raise BundleError("The bundle's interval has no finite ends.")
        told: dict[str, Any] = {
            self._target.name: value,
            "interval": {"low": low, "high": high, "confidence": interval.confidence, "coverage": interval.coverage},
        }
        # By the number that is shown, so that number and class never contradict each other.
        for maximum, segment in self._segments:
            if value < maximum:
                return told | segment
        return told

    def check(self, answer: Mapping[str, Any]) -> None:
        """See `Predictor.check`."""
        found = {"value": answer[self._target.name], **_ends(answer)}
        check_numbers(found, self._manifest.example.answer)


def target_of(declaration: Declaration) -> Target:
    """The declaration's target, which every task but clustering has.

    Raises:
        BundleError: It has none.
    """
    if declaration.target is None:
        raise BundleError(f"{declaration.name} declares no target.")
    return declaration.target


def _labels(declaration: Declaration) -> tuple[str, ...]:
    segments = declaration.task_as(Regression).segments
    return tuple(label.en for label in segments.labels) if segments else ()


def _ends(answer: Mapping[str, Any]) -> dict[str, float]:
    return {end: answer["interval"][end] for end in ("low", "high")}
