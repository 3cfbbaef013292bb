"""Forecasts: the next value with its interval, and always the naive forecast beside it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel, Field, create_model

from backend.engine import Engine
from backend.newest import Series
from backend.problems import FieldProblem, shown
from backend.requests import CANDLES, refused, type_name
from backend.tasks.predictor import (
    BASELINE_EXAMPLE,
    AnswerBase,
    BaselineAnswer,
    IntervalAnswer,
    about,
    about_example,
    baseline_answer,
    check_numbers,
)
from backend.tasks.regression import target_of
from sigap.bundle import Bilingual, ForecastingManifest
from sigap.catalog import Declaration
from sigap.catalog.declaration import Forecasting
from sigap.errors import BundleError

STEPS = {"1d": timedelta(days=1), "1h": timedelta(hours=1), "1m": timedelta(minutes=1)}


def answer_model(declaration: Declaration) -> type[BaseModel]:
    """The type of the model's answers; the forecast carries the target's name."""
    target = target_of(declaration)
    unit = f", in {target.unit.en}" if target.unit and target.unit.en else ""
    fields: dict[str, Any] = {
        f"next_{target.name}": (float, Field(description=f"Forecast of the next step's {target.name}{unit}.")),
        "interval": (IntervalAnswer, Field(description=f"Around the forecast{unit}.")),
        "naive_forecast": (float, Field(description=f"The last {target.name}{unit}: the guess that it stays.")),
        "direction": (Literal["up", "down", "unchanged"], Field(description="Of the forecast against the last value.")),
        "as_of": (datetime, Field(description="When the newest step that was looked at began.")),
        "forecast_for": (datetime, Field(description="When the step that is forecast begins.")),
        "source": (
            Literal["request", "table", "snapshot"],
            Field(
                description="Where the values looked at come from. `snapshot`: the newest that the model was trained "
                "on, while the table can't be read or lacks a step."
            ),
        ),
        "note": (Bilingual, Field(description="What the forecast is worth beside the naive one.")),
        "baseline": (BaselineAnswer, Field(description="The naive forecast's score beside the model's.")),
    }
    return create_model(
        type_name(declaration, "Answer"),
        __base__=AnswerBase,
        __doc__=declaration.question.en,
        __config__=None,
        **fields,
    )


def answer_example(declaration: Declaration) -> dict[str, Any]:
    """An answer as the documentation shows it; its numbers illustrate."""
    task, name = declaration.task_as(Forecasting), target_of(declaration).name
    begun = datetime(2025, 1, 31, tzinfo=UTC)
    beside = {**BASELINE_EXAMPLE, "name": "naive", "metric": task.selection, "model": 0.02, "baseline": 0.02}
    beside |= {"text": {"id": "harga terakhir tetap", "en": "the last price stays"}, "difference": 0.0}
    return {
        f"next_{name}": 102150.0,
        "interval": {"low": 98700.0, "high": 105700.0, "confidence": task.confidence, "coverage": 0.9},
        "naive_forecast": 102100.0,
        "direction": "up",
        "as_of": begun.isoformat(),
        "forecast_for": (begun + STEPS[task.step]).isoformat(),
        "source": "table",
        "note": {"id": "Setara dengan tebakan tetap.", "en": "It ties with the naive forecast."},
        "baseline": beside,
        **about_example(declaration),
    }


class ForecastingPredictor:
    """Answers with the next value."""

    outcome = "direction"
    needed: tuple[str, ...] = ()

    def __init__(self, declaration: Declaration, manifest: ForecastingManifest, model: bytes, version: str) -> None:
        self._manifest = manifest
        self._target = target_of(declaration).name
        self._time = declaration.source.time
        self.engine = Engine(model, manifest.lags, ("change",))
        self._about = about(manifest, version)
        self._baseline = baseline_answer(manifest)
        self._step = STEPS[manifest.step]
        try:
            self._last_time = _utc(manifest.last_time)
            manifest.returns(manifest.closes)
        except ValueError as error:
            raise BundleError(f"The bundle's newest values can't be used: {error}.") from error

    @property
    def rows(self) -> int:
        """How many values it looks at."""
        return self._manifest.lags + 1

    def answer(self, values: Mapping[str, Any], newest: Series | None = None) -> dict[str, Any]:
        """The answer to the request's candles, or to the table's `newest` rows, or to those of the snapshot.

        Raises:
            RequestError: 422, the candles are no series that this version can look at.
        """
        return self._forecast(*self.looked_at(values, newest))

    def looked_at(
        self, values: Mapping[str, Any], newest: Series | None = None
    ) -> tuple[Sequence[float], datetime, str]:
        """The values that a forecast starts from, the oldest first, when the newest step began, and their source.

        Raises:
            RequestError: 422, the candles are no series that this version can look at.
        """
        candles = values[CANDLES]
        if candles is None and newest and self._follows(newest):
            return [value for _, value in newest], newest[-1][0].astimezone(UTC), "table"
        if candles is None:
            return self._manifest.closes, self._last_time, "snapshot"
        times = self._times(candles)
        return [getattr(candle, self._target) for candle in candles], times[-1], "request"

    @property
    def constant(self) -> dict[str, Any]:
        """See `Predictor.constant`."""
        return {"note": self._manifest.note.model_dump(), "baseline": self._baseline, **self._about}

    def answers(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """See `Predictor.answers`."""
        return [self.answer(values) for values in rows]

    def _forecast(self, closes: Sequence[float], as_of: datetime, source: str) -> dict[str, Any]:
        (change,) = self.engine.numbers([self._manifest.returns(closes)])
        found = self._manifest.forecast(closes, change)
        interval = self._manifest.interval
        return {
            f"next_{self._target}": found.value,
            "interval": {
                "low": found.low,
                "high": found.high,
                "confidence": interval.confidence,
                "coverage": interval.coverage,
            },
            "naive_forecast": found.naive,
            "direction": found.direction,
            "as_of": as_of.isoformat(),
            "forecast_for": (as_of + self._step).isoformat(),
            "source": source,
            "note": self._manifest.note.model_dump(),
            "baseline": self._baseline,
            **self._about,
        }

    def returns(self, closes: Sequence[float]) -> list[float]:
        """The log returns that the model takes, the newest first."""
        return self._manifest.returns(closes)

    def _follows(self, newest: Series) -> bool:
        """Whether the rows are enough, newer than the snapshot's or the same, one step apart, and above zero."""
        times = [begun for begun, _ in newest]
        steps = {after - before for before, after in itertools.pairwise(times)}
        enough = len(newest) >= self.rows and times[-1] >= self._last_time
        return enough and steps == {self._step} and all(0 < value < math.inf for _, value in newest)

    def _times(self, candles: Sequence[Any]) -> list[datetime]:
        """When each candle began, all one step apart.

        Raises:
            RequestError: 422, there are too few, a moment can't be read, or one does not follow the one before.
        """
        least = self._manifest.lags + 1
        if len(candles) < least:
            expected = f"at least {least} candles"
            remedy = "Send more of them, or none: then those of the table are used."
            raise refused([FieldProblem(field=CANDLES, value=len(candles), expected=expected, remedy=remedy)])
        times: list[datetime] = []
        for position, candle in enumerate(candles):
            text = getattr(candle, self._time)
            field = f"{CANDLES}.{position}.{self._time}"
            try:
                moment = _utc(text)
            except (ValueError, OverflowError):
                raise refused([_wrong(field, text, "a moment in ISO 8601", "Such as 2025-01-31T00:00:00Z.")]) from None
            if times and moment - times[-1] != self._step:
                expected = (
                    f"{(times[-1] + self._step).isoformat()}, one step ({self._manifest.step}) after the one before"
                )
                backwards = "Send the oldest first, each once." if moment <= times[-1] else "Fill the gap."
                raise refused([_wrong(field, text, expected, backwards)])
            times.append(moment)
        return times

    def check(self, answer: Mapping[str, Any]) -> None:
        """See `Predictor.check`."""
        found = {"value": answer[f"next_{self._target}"], "naive": answer["naive_forecast"]}
        found |= {end: answer["interval"][end] for end in ("low", "high")}
        check_numbers(found, self._manifest.example.answer)


def _utc(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _wrong(field: str, value: str, expected: str, remedy: str) -> FieldProblem:
    return FieldProblem(field=field, value=shown(value), expected=expected, remedy=remedy)
