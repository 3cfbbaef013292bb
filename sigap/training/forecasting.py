"""Forecasts of a series' next step, behind the protocol that all tasks share.

The naive forecast, that the last value stays, is a candidate of every sweep. Another is chosen only if it is better
beyond doubt on held-out steps; otherwise the naive one is served, and called so, with an interval of measured coverage.
Returns are forecast and not levels: a tree can't go beyond the levels that it has seen, and any model that repeats the
last level looks excellent by R² and knows nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Unpack

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field
from sklearn.base import clone
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from sigap.bundle import (
    BaselineEntry,
    Bilingual,
    ForecastingManifest,
    Interval,
    LeftOut,
    Manifest,
    Paired,
    read_manifest,
)
from sigap.catalog import Declaration
from sigap.catalog.declaration import Forecasting
from sigap.errors import ConfigurationError, TrainingError
from sigap.training.gate import Comparison
from sigap.training.params import read_section
from sigap.training.series import (
    Calibrated,
    Floats,
    Fold,
    Positions,
    Series,
    calibrate,
    chosen_blindly,
    folds,
    gain,
    prepare_series,
    scores,
)
from sigap.training.trainer import BundleFacts, Candidate, Spec
from sigap.training.wording import in_indonesian

NAIVE = "naive"
# The most that the chance may be that one of a sweep's candidates passes for better on noise, shared among them. What
# has nothing to learn loses to the naive forecast, so that it is far smaller: see benchmarks/bitcoin.py.
FALSE_CHAMPION = 0.05
CONFIDENCE = 0.95
# Relative difference up to which a score computed again counts as the same.
SAME = 1e-9

_ESTIMATORS: dict[str, Any] = {
    "ridge": Ridge,
    "random_forest": RandomForestRegressor,
    "hist_gradient_boosting": HistGradientBoostingRegressor,
}


class ForecastFamily(BaseModel):
    """Candidates that share an estimator; every combination of the grid's values is one."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    estimator: Literal["ridge", "random_forest", "hist_gradient_boosting"]
    grid: dict[str, list[int | float | str | None]] = Field({}, description="Values to try, by estimator option.")


class ForecastRecipe(BaseModel):
    """One candidate: everything that makes its model, plain data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    estimator: Literal["naive", "ridge", "random_forest", "hist_gradient_boosting"]
    options: dict[str, int | float | str | None] = Field({}, description="Of the estimator.")


class ForecastingParams(BaseModel):
    """A forecasting model's section of `params.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    folds: int = Field(10, ge=3, le=50, description="Held-out stretches of time, each forecast from all before it.")
    calibration: int = Field(500, ge=50, description="How many past errors the interval is made from.")
    random_state: int = Field(42, ge=0, lt=2**32, description="Seed of everything random.")
    candidates: dict[str, ForecastFamily] = Field(min_length=1, description="Families by name.")

    def recipes(self) -> dict[str, ForecastRecipe]:
        """Every candidate by name, the naive forecast first; a family's are numbered when its grid has several."""
        found = {NAIVE: ForecastRecipe(estimator="naive")}
        for name, family in self.candidates.items():
            combinations = list(itertools.product(*family.grid.values()))
            for number, values in enumerate(combinations, 1):
                found[f"{name}-{number}" if len(combinations) > 1 else name] = ForecastRecipe(
                    estimator=family.estimator, options=dict(zip(family.grid, values, strict=True))
                )
        return found


@dataclass(frozen=True)
class ForecastTrained:
    """A finished forecasting sweep, as `Trained` describes it.

    Attributes:
        declaration: The model's declaration.
        prepared: The series.
        params: What the sweep tried.
        tried: All candidates.
        chosen: The winner; the naive forecast where none is better.
        model: The winner fitted on all steps.
        held: Positions of the held-out steps, in the order of time.
        predicted: The winner's held-out changes, shape (n_held,).
        calibrated: The interval and its measured coverage.
        baseline: The naive forecast, beside the winner.
        note: What the forecast is worth, in a sentence.
        metrics: The winner's scores and what else was measured of it.
    """

    declaration: Declaration
    prepared: Series
    params: ForecastingParams
    tried: tuple[Candidate, ...]
    chosen: Candidate
    model: Any
    held: Positions
    predicted: Floats
    calibrated: Calibrated
    baseline: BaselineEntry
    note: Bilingual
    metrics: dict[str, float]

    @property
    def caveat(self) -> Bilingual | None:
        """The note, where the naive forecast itself is chosen."""
        return None if self.baseline.verdict == "better" else self.note

    @cached_property
    def sample(self) -> pd.DataFrame:
        """Rows as the model takes them."""
        return self.prepared.frame.reset_index(drop=True)

    @property
    def interval(self) -> Interval:
        """The interval as the bundle carries it."""
        return Interval(
            confidence=self.declaration.task_as(Forecasting).confidence,
            scale="volatility",
            low=-self.calibrated.half,
            high=self.calibrated.half,
            coverage=self.calibrated.coverage,
            method="split conformal in the order of time, scaled by the root of recent volatility",
        )


class ForecastingTrainer:
    """How forecasts are trained; see `sigap.training.trainer.Trainer`."""

    trusted_types: tuple[str, ...] = ()

    def params(self, root: Path, model: str) -> ForecastingParams:
        """See `Trainer.params`."""
        return read_section(root, model, ForecastingParams)

    def parse_params(self, values: Mapping[str, Any]) -> ForecastingParams:
        """See `Trainer.parse_params`."""
        return ForecastingParams.model_validate(dict(values))

    def prepare(self, declaration: Declaration, table: pd.DataFrame) -> Series:
        """See `Trainer.prepare`."""
        return prepare_series(declaration, table)

    def summary(self, prepared: Series) -> dict[str, Any]:
        """See `Trainer.summary`; `missing` are steps without a row, which are never bridged."""
        return {
            "rows": prepared.rows,
            "entities": len(prepared.at),
            "period": prepared.last_time.isoformat(),
            "used": list(USED),
            "left_out": [],
            "not_assessed": [],
            "without_target": prepared.without_value,
            "missing": prepared.missing,
        }

    def preview(self, prepared: Series) -> pd.DataFrame:
        """See `Trainer.preview`; the newest step first."""
        table = prepared.frame.iloc[:, : min(5, prepared.lags)].reset_index(names="opened_at")
        table.insert(1, "close", prepared.now)
        table["next_return"] = prepared.changes
        return table.iloc[::-1].reset_index(drop=True)

    def candidates(self, params: ForecastingParams) -> tuple[Spec, ...]:
        """See `Trainer.candidates`; the first is the naive forecast."""
        return tuple(Spec(name, recipe.model_dump()) for name, recipe in params.recipes().items())

    def fit(
        self,
        prepared: Series,
        declaration: Declaration,
        params: ForecastingParams,
        name: str,
        told: Sequence[float] | None = None,  # noqa: ARG002 - nothing is shared out
    ) -> Candidate:
        """Scores a candidate on held-out stretches of time.

        Metrics are those of `series.scores` as means over the stretches with their standard deviation as `…_sd`;
        `naive_…` are the naive forecast's on the same steps, and `gain` (with `gain_low` and `gain_high`, its interval)
        is the share by which the error on returns is smaller than the naive forecast's.
        """
        recipe = params.recipes().get(name)
        if recipe is None:
            raise TrainingError(f"{declaration.name} has no candidate {name!r}.", remedy="Plan the sweep again.")
        split = folds(prepared, params.folds)
        predicted = held_out(prepared, recipe, params, split)
        return _scored(prepared, declaration, params, Spec(name, recipe.model_dump()), split, predicted)

    def parts(self, params: ForecastingParams, name: str) -> int:  # noqa: ARG002 - none has any
        """See `Trainer.parts`: a candidate is scored as a whole."""
        return 0

    def part(
        self, prepared: Series, declaration: Declaration, params: ForecastingParams, name: str, at: int
    ) -> list[float]:
        """See `Trainer.part`."""
        raise NotImplementedError(name)

    def choose(
        self,
        declaration: Declaration,
        prepared: Series,
        params: ForecastingParams,
        tried: Sequence[Candidate],
        previous: Path | None = None,  # noqa: ARG002 - only segments have numbers to keep
    ) -> ForecastTrained:
        """See `Trainer.choose`. The least error on returns of those better than the naive one; else the naive one."""
        names = list(params.recipes())
        ordered = tuple(sorted(tried, key=lambda each: names.index(each.name)))
        better = [each for each in ordered if each.admissible and each.name != NAIVE]
        naive = next((each for each in ordered if each.name == NAIVE), None)
        if naive is None:
            naive = self.fit(prepared, declaration, params, NAIVE)
            ordered = (naive.without_model(), *ordered)
        chosen = min(better, key=lambda each: each.metrics["rmse_percent"]) if better else naive
        split = folds(prepared, params.folds)
        held = np.concatenate([testing for _, testing in split])
        recipe = params.recipes()[chosen.name]
        predicted = held_out(prepared, recipe, params, split)
        _check_same(declaration, chosen, _metrics(prepared, split, predicted))
        calibrated = calibrate(
            prepared.changes[held] - predicted,
            prepared.spreads[held],
            declaration.task_as(Forecasting).confidence,
            params.calibration,
        )
        return ForecastTrained(
            declaration=declaration,
            prepared=prepared,
            params=params,
            tried=tuple(each.without_model() for each in ordered),
            chosen=chosen,
            model=_fitted(recipe, params, prepared, np.arange(len(prepared.at))),
            held=held,
            predicted=predicted,
            calibrated=calibrated,
            baseline=_baseline(chosen, len(held)),
            note=_note(chosen, ordered),
            metrics=_all_metrics(chosen, ordered, calibrated),
        )

    def figures(self, trained: ForecastTrained, folder: Path) -> list[Path]:
        """See `Trainer.figures`."""
        from sigap.training import forecasting_figures

        return forecasting_figures.draw(folder, trained)

    def fingerprint(self, trained: ForecastTrained) -> str:
        """See `Trainer.fingerprint`."""
        from sigap.training import forecasting_export

        return forecasting_export.fingerprint(trained)

    def write_bundle(self, folder: Path, trained: ForecastTrained, **facts: Unpack[BundleFacts]) -> Manifest:
        """See `Trainer.write_bundle`."""
        from sigap.training import forecasting_export

        return forecasting_export.write_bundle(folder, trained, facts)

    def check_rows(self, trained: ForecastTrained, bundle: Path, tables: Iterable[pd.DataFrame]) -> int:
        """See `Trainer.check_rows`."""
        from sigap.training import forecasting_export

        return forecasting_export.check_tables(bundle, trained, tables)

    def report(self, trained: ForecastTrained, folder: Path) -> Path:
        """See `Trainer.report`."""
        from sigap.training import forecasting_export

        return forecasting_export.write_report(folder, trained)

    def compare(
        self,
        declaration: Declaration,
        prepared: Series,
        params: ForecastingParams,
        challenger: Path,
        champion: Path,
    ) -> Comparison | None:
        """See `Trainer.compare`. Both recipes forecast the same held-out steps, each learnt from what came before.

        The champion as it is served would be flattered: it has seen most of these steps while it was trained.
        """
        recipes = [_served_recipe(read_manifest(each)) for each in (challenger, champion)]
        if recipes[0] is None or recipes[1] is None:
            return None
        split = folds(prepared, params.folds)
        changes = prepared.changes[np.concatenate([testing for _, testing in split])]
        ours, theirs = (changes - held_out(prepared, each, params, split) for each in recipes if each)
        found = gain(ours, theirs, CONFIDENCE)
        former = 100 * float(np.sqrt(np.square(theirs).mean()))
        return Comparison(
            rows=found.rows,
            challenger=100 * float(np.sqrt(np.square(ours).mean())),
            champion=former,
            difference=found.difference * former,
            low=found.low * former,
            high=found.high * former,
            confidence=found.confidence,
            metric=found.metric,
            minimum_effect=declaration.task_as(Forecasting).minimum_effect * former,
        )


# What an answer rests on: the series' own past. Volume, open, high and low say nothing more about the next close that
# would hold up on held-out steps, and a request need not bring them.
USED = ("close",)


def left_out(declaration: Declaration) -> tuple[LeftOut, ...]:
    """The declared features, none of which a forecast looks at."""
    reason = Bilingual(
        id="ramalan hanya memandang penutupan-penutupan sebelumnya", en="a forecast looks at earlier closes only"
    )
    return tuple(LeftOut(name=name, reason=reason, published_share=1.0) for name in declaration.feature_names)


def held_out(series: Series, recipe: ForecastRecipe, params: ForecastingParams, split: Sequence[Fold]) -> Floats:
    """Changes that the recipe forecasts for the held-out steps, each learnt from earlier ones; shape (n_held,)."""
    parts = []
    for training, testing in split:
        model = _fitted(recipe, params, series, training)
        with threadpool_limits(limits=1):
            parts.append(np.asarray(model.predict(series.frame.iloc[testing]), dtype=np.float64))
    return np.concatenate(parts)


def build(recipe: ForecastRecipe, random_state: int) -> Any:
    """The recipe's unfitted model: takes a frame of past returns, gives the next one.

    Raises:
        ConfigurationError: The estimator does not know an option.
    """
    if recipe.estimator == NAIVE:
        return DummyRegressor(strategy="constant", constant=0.0)
    options: dict[str, Any] = dict(recipe.options)
    if recipe.estimator != "ridge":
        options["random_state"] = random_state
    if recipe.estimator == "hist_gradient_boosting":
        # Stopping early would set random steps aside, later ones among them.
        options.setdefault("early_stopping", False)
    try:
        estimator = _ESTIMATORS[recipe.estimator](**options)
    except TypeError as error:
        raise ConfigurationError(
            f"params.yaml: {recipe.estimator} can't be made: {error}.", remedy="Correct its grid."
        ) from None
    if recipe.estimator == "ridge":
        return Pipeline([("scale", StandardScaler()), ("estimate", estimator)])
    return estimator


def _fitted(recipe: ForecastRecipe, params: ForecastingParams, series: Series, positions: Positions) -> Any:
    model = clone(build(recipe, params.random_state))
    with threadpool_limits(limits=1):
        try:
            return model.fit(series.frame.iloc[positions], series.changes[positions])
        except ValueError as error:
            if "must be" not in str(error):
                raise
            raise ConfigurationError(
                f"params.yaml: {recipe.estimator} can't be fitted: {error}.", remedy="Correct its grid."
            ) from error


def _scored(
    series: Series,
    declaration: Declaration,
    params: ForecastingParams,
    spec: Spec,
    split: Sequence[Fold],
    predicted: Floats,
) -> Candidate:
    held = np.concatenate([testing for _, testing in split])
    changes = series.changes[held]
    nothing = np.zeros(len(held))
    rivals = max(1, len(params.recipes()) - 1)
    found = gain(changes - predicted, changes, 1 - 2 * FALSE_CHAMPION / rivals)
    naive = _metrics(series, split, nothing)
    return Candidate(
        name=spec.name,
        params=spec.params,
        metrics={
            **_metrics(series, split, predicted),
            **{f"naive_{name}": naive[name] for name in ("rmse_percent", "rmse", "mae")},
            "gain": found.difference,
            "gain_low": found.low,
            "gain_high": found.high,
        },
        reason=None if spec.name == NAIVE else _inadmissible(declaration.task_as(Forecasting), found),
        details={
            "gain": found.model_dump(),
            "squares": [float(np.square(each).mean()) for each in _cut(changes - predicted, split)],
            "sizes": [len(testing) for _, testing in split],
        },
    )


def _inadmissible(task: Forecasting, found: Paired) -> Bilingual | None:
    if found.low > 0 and found.difference >= task.minimum_effect:
        return None
    numbers = f"{found.difference:+.2%} [{found.low:+.2%}, {found.high:+.2%}]"
    return Bilingual(
        id=f"tidak terbukti lebih baik daripada ramalan naif: keunggulan galat {in_indonesian(numbers)}, "
        f"perlu {in_indonesian(f'{task.minimum_effect:.1%}')} tanpa ragu",
        en=f"not shown to be better than the naive forecast: gain {numbers} in error, "
        f"{task.minimum_effect:.1%} beyond doubt needed",
    )


def _cut(values: Floats, split: Sequence[Fold]) -> list[Floats]:
    """Held-out values one stretch after another."""
    return np.split(values, np.cumsum([len(testing) for _, testing in split])[:-1])


def _metrics(series: Series, split: Sequence[Fold], predicted: Floats) -> dict[str, float]:
    each = [scores(series, part, testing) for part, (_, testing) in zip(_cut(predicted, split), split, strict=True)]
    found: dict[str, float] = {}
    for name in each[0]:
        values = [one[name] for one in each]
        found[name] = float(np.mean(values))
        found[f"{name}_sd"] = float(np.std(values, ddof=1))
    return found


def _check_same(declaration: Declaration, chosen: Candidate, found: Mapping[str, float]) -> None:
    here, logged = found["rmse_percent"], chosen.metrics["rmse_percent"]
    if abs(here - logged) > SAME * max(1.0, abs(logged)):
        raise TrainingError(
            f"{declaration.name}: {chosen.name} has an error of {here!r} % here and {logged!r} % where it was scored.",
            remedy="Score and register with the same locked environment; nothing was registered.",
        )


def _baseline(chosen: Candidate, rows: int) -> BaselineEntry:
    found = Paired.model_validate(chosen.details["gain"])
    return BaselineEntry(
        name=NAIVE,
        text=Bilingual(id="ramalan naif: harga terakhir tetap", en="naive forecast: the last price stays"),
        metrics={name: chosen.metrics[f"naive_{name}"] for name in ("rmse_percent", "rmse", "mae")},
        gain=found.model_copy(update={"rows": rows}),
        verdict="ties" if chosen.name == NAIVE else "better",
    )


def _note(chosen: Candidate, tried: Sequence[Candidate]) -> Bilingual:
    """What the forecast is worth beside the naive one, plainly."""
    if chosen.name != NAIVE:
        numbers = f"{chosen.metrics['gain']:.2%} [{chosen.metrics['gain_low']:.2%}, {chosen.metrics['gain_high']:.2%}]"
        return Bilingual(
            id="Lebih baik daripada ramalan naif pada langkah yang tidak dilihat saat melatih: galat "
            f"{in_indonesian(numbers)} lebih kecil.",
            en=f"Better than the naive forecast on held-out steps: its error is {numbers} smaller.",
        )
    rivals = [each for each in tried if each.name != NAIVE]
    if not rivals:
        return Bilingual(id="Ini ramalan naif: harga terakhir tetap.", en="This is the naive forecast: no change.")
    best = min(rivals, key=lambda each: each.metrics["rmse_percent"])
    numbers = f"{best.metrics['gain']:+.2%} [{best.metrics['gain_low']:+.2%}, {best.metrics['gain_high']:+.2%}]"
    return Bilingual(
        id=f"Tidak satu pun dari {len(rivals)} model terbukti lebih baik daripada ramalan naif (yang terdekat, "
        f"{best.name}: keunggulan {in_indonesian(numbers)}). Yang disajikan adalah ramalan naif dengan selangnya.",
        en=f"None of {len(rivals)} models is shown to be better than the naive forecast (the closest, {best.name}: "
        f"gain {numbers}). What is served is the naive forecast with its interval.",
    )


def _all_metrics(chosen: Candidate, tried: Sequence[Candidate], calibrated: Calibrated) -> dict[str, float]:
    naive = next(each for each in tried if each.name == NAIVE)
    rivals = [each for each in tried if each.name != NAIVE]
    return {
        **chosen.metrics,
        "better_than_naive": float(chosen.name != NAIVE),
        "blind_gain": chosen_blindly(
            [each.details["squares"] for each in rivals], naive.details["squares"], naive.details["sizes"]
        ),
        "coverage": calibrated.coverage,
        "coverage_sd": float(np.std(calibrated.by_fold, ddof=1)),
        "interval_width": calibrated.width,
    }


def _served_recipe(manifest: Manifest) -> ForecastRecipe | None:
    """What a bundle's model is made of; None where it is of another kind of task."""
    if not isinstance(manifest, ForecastingManifest):
        return None
    for entry in manifest.sweep:
        if entry.name == manifest.winner:
            return ForecastRecipe.model_validate(entry.params)
    return None
