"""What is compared with what: the champion's training rows, and live inputs or the newest table.

The reference is the snapshot that the champion was trained on, after training's own cleaning. Of a series, whose rows
follow one another, the log return of each step is compared and not the price, which never stays where it was.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sigap.bundle import Manifest
from sigap.catalog import Declaration
from sigap.catalog.declaration import Clustering, Forecasting
from sigap.data import parts
from sigap.data.keeping import md5_of
from sigap.data.samples import training_sample, write_sample
from sigap.data.snapshot import write_file
from sigap.errors import TrainingError
from sigap.monitoring.rules import Rules
from sigap.monitoring.samples import FrameSample, Mask, ParquetSample, Sample, live_sample, unseen
from sigap.settings import Settings
from sigap.training.features import Prepared, prepare
from sigap.training.series import STEP_SECONDS
from sigap.training.sweep import read_snapshot

RETURN = "_return"
"""Ending of the feature that stands for a series: `close_return`."""


@dataclass(frozen=True)
class Pair:
    """Two samples to be compared.

    Attributes:
        reference: What the champion was trained on.
        now: What came since.
        names: The features to be tested.
        scope: What `now` holds, for people: `inputs`, `new_rows`, or `table`.
        data_md5: Of the newest table; None of live inputs.
    """

    reference: Sample
    now: Sample
    names: tuple[str, ...]
    scope: str
    data_md5: str | None = None


def live_names(declaration: Declaration, manifest: Manifest) -> tuple[str, ...]:
    """Used features whose live values can be tested: those that are logged as they were sent, so no personal ones."""
    if isinstance(declaration.task, Forecasting):
        return (_series_name(declaration),)
    return tuple(name for name in manifest.features_used if not declaration.feature(name).personal)


def live_pair(
    declaration: Declaration, manifest: Manifest, settings: Settings, fields: Sequence[Mapping[str, Any]]
) -> Pair:
    """The training rows and live inputs.

    Args:
        declaration: The model.
        manifest: Of its champion.
        settings: Where the snapshot is.
        fields: Of each prediction, as logged.

    Raises:
        VersionError: The snapshot is neither in DVC's cache nor in its remote.
        TrainingError: It can't be read.
    """
    path = training_sample(declaration, settings, manifest.data.md5).path
    names = live_names(declaration, manifest)
    if isinstance(declaration.task, Forecasting):
        now = pd.DataFrame({_series_name(declaration): live_returns(declaration, fields)}, dtype="float64")
        return Pair(_returns_of(declaration, path), FrameSample(now), names, "inputs")
    return Pair(_trained_on(declaration, manifest, path), live_sample(declaration, names, fields), names, "inputs")


def table_pair(declaration: Declaration, manifest: Manifest, settings: Settings, folder: Path, rules: Rules) -> Pair:
    """The training rows and the newest table, or its rows that training did not see where they are enough.

    A table that grows by a tenth hides a shift of these rows behind all the others; so they are looked at alone as
    soon as they can be.

    Args:
        declaration: The model.
        manifest: Of its champion.
        settings: Where snapshot and table are.
        folder: Where the table is written to, for the time of the comparison. Of a large one a sample is compared.
        rules: Say how many rows are enough.

    Raises:
        VersionError: The snapshot is neither in DVC's cache nor in its remote.
        ContractError: The table can't be read as declared, or none of its rows keeps the contract.
        ServiceError: PostgreSQL can't be reached.
        TrainingError: The table can't be cleaned as training does it.
    """
    trained_on = training_sample(declaration, settings, manifest.data.md5)
    reference = trained_on.path
    path = folder / f"{declaration.name}.parquet"
    rows = write_file(declaration, settings, path, folder / "rejects.csv")
    md5 = md5_of(path)
    if trained_on.drawn or rows > settings.training_rows:
        table, path = path, folder / f"{declaration.name}_sample.parquet"
        write_sample(declaration, table, path, settings.training_rows, reference)
    names = tuple(manifest.features_used)
    if isinstance(declaration.task, Forecasting):
        return _series_pair(declaration, reference, path, md5, rules)
    if isinstance(declaration.task, Clustering) and declaration.source.time:
        known, now = (prepare(declaration, read_snapshot(each)) for each in (reference, path))
        return Pair(_all_entities(known, names), _all_entities(now, names), names, "table", md5)
    new = unseen(path, reference, declaration.source.key)
    enough = int(new.sum()) >= rules.minimum_rows
    trained = ParquetSample(reference, declaration, _with_target(declaration, reference))
    keep = _with_target(declaration, path) if not enough else new
    return Pair(trained, ParquetSample(path, declaration, keep), names, "new_rows" if enough else "table", md5)


def _trained_on(declaration: Declaration, manifest: Manifest, path: Path) -> Sample:
    names = list(manifest.features_used)
    if not isinstance(declaration.task, Clustering):
        return ParquetSample(path, declaration, _with_target(declaration, path))
    if declaration.source.time:
        return FrameSample(prepare(declaration, read_snapshot(path)).matrix[names])
    if declaration.task.missing == "impute":
        return ParquetSample(path, declaration)
    frame = parts.read(path, names).to_pandas()
    return ParquetSample(path, declaration, frame.notna().all(axis=1).to_numpy())


def _all_entities(prepared: Prepared, names: Sequence[str]) -> FrameSample:
    """As of the newest period, those too that lack a figure: an increase of these counts."""
    return FrameSample(prepared.now.values[list(names)])


def _with_target(declaration: Declaration, path: Path) -> Mask | None:
    """Rows that have a target, for others are not trained on; None where there is no target."""
    if declaration.target is None:
        return None
    column = parts.read(path, [declaration.target.name]).column(0)
    return np.asarray(column.is_valid().to_numpy(), dtype=np.bool_)


def _series_name(declaration: Declaration) -> str:
    assert declaration.target is not None  # noqa: S101 - a forecast has one
    return f"{declaration.target.name}{RETURN}"


def _series_pair(declaration: Declaration, reference: Path, path: Path, md5: str, rules: Rules) -> Pair:
    name = _series_name(declaration)
    known = _returns(declaration, read_snapshot(reference))
    now = _returns(declaration, read_snapshot(path))
    new = now[now.index > known.index.max()] if len(known) else now
    enough = len(new) >= rules.minimum_rows
    samples = [FrameSample(pd.DataFrame({name: each.to_numpy()})) for each in (known, new if enough else now)]
    return Pair(samples[0], samples[1], (name,), "new_rows" if enough else "table", md5)


def _returns_of(declaration: Declaration, path: Path) -> FrameSample:
    returns = _returns(declaration, read_snapshot(path))
    return FrameSample(pd.DataFrame({_series_name(declaration): returns.to_numpy()}))


def _returns(declaration: Declaration, table: pd.DataFrame) -> pd.Series[float]:
    """Log return of each step whose predecessor is there too, by time; holes are never bridged."""
    task, time, target = declaration.task_as(Forecasting), declaration.source.time, declaration.target
    assert target is not None  # noqa: S101 - a forecast has one
    known = table[[time, target.name]].dropna().sort_values(time, kind="stable")
    values = known[target.name].to_numpy(dtype=np.float64)
    if len(values) and not (values > 0).all():
        raise TrainingError(
            f"{declaration.name}: {target.name} is not above zero in {int((values <= 0).sum())} rows.",
            remedy=f"Correct them in {declaration.source.table}.",
        )
    times = pd.DatetimeIndex(pd.to_datetime(known[time], utc=True))
    step = pd.Timedelta(seconds=STEP_SECONDS[task.step])
    next_to = np.asarray(times[1:] - times[:-1] == step) if len(times) > 1 else np.zeros(0, dtype=bool)
    return pd.Series(np.diff(np.log(values))[next_to], index=times[1:][next_to])


def live_returns(declaration: Declaration, fields: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """The newest return of each series that was sent; the same step sent again counts once.

    Requests overlap in all but their newest step, so that the others would be counted again and again.
    """
    target, time = declaration.target, declaration.source.time
    assert target is not None  # noqa: S101 - a forecast has one
    found: dict[tuple[str, float, float], float] = {}
    for each in fields:
        candles = each.get("candles")
        if not isinstance(candles, list) or len(candles) < 2:
            continue
        before, last = (candle.get(target.name) for candle in candles[-2:])
        if all(isinstance(value, int | float) and value > 0 for value in (before, last)):
            found[(str(candles[-1].get(time)), float(before), float(last))] = math.log(last / before)
    return np.array(list(found.values()), dtype=np.float64)
