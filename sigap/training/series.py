"""A series made ready for forecasting, and how forecasts are judged: in the order of time, beside the naive one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import TimeSeriesSplit

from sigap.bundle import Paired
from sigap.catalog import Declaration
from sigap.catalog.declaration import Forecasting
from sigap.errors import TrainingError

Floats = NDArray[np.float64]
Positions = NDArray[np.int64]
Fold = tuple[Positions, Positions]

STEP_SECONDS = {"1m": 60, "1h": 3600, "1d": 86400}
RESAMPLES = 2_000
SEED = 20240601
# No market moves by so much in a step; a unit that changed does.
JUMP = 10.0
# Quantile of the volatility below which a stretch counts as flat: prices that stand still still have an interval.
FLAT = 0.01


@dataclass(frozen=True)
class Series:
    """A snapshot made ready for forecasting.

    Attributes:
        rows: Rows of the snapshot.
        without_value: Rows whose value is missing, and that count as not there.
        missing: Steps between the first and the last without a row.
        times: Start of each step that has a value, in order, datetime64[us], UTC.
        closes: Its value, shape (m,).
        at: Positions in `times` that can be forecast from: the lags before are without a hole, and the next step is
            known. Shape (n,).
        lags: Number of past returns that a forecast looks at.
    """

    rows: int
    without_value: int
    missing: int
    times: NDArray[np.datetime64]
    closes: Floats
    at: Positions
    lags: int

    @cached_property
    def looks(self) -> Floats:
        """What is looked at: past log returns, the newest first; shape (n, lags), rounded to float32's digits.

        Rounded, because ONNX computes trees in float32: so both sides see the same number at every threshold.
        """
        returns = np.diff(np.log(self.closes))
        back = self.at[:, None] - 1 - np.arange(self.lags)[None, :]
        looks: Floats = returns[back].astype(np.float32).astype(np.float64)
        return looks

    @cached_property
    def changes(self) -> Floats:
        """What is to be forecast: the next step's log return, shape (n,)."""
        logs = np.log(self.closes)
        changes: Floats = logs[self.at + 1] - logs[self.at]
        return changes

    @cached_property
    def spreads(self) -> Floats:
        """What intervals are stretched by: the root of recent volatility, shape (n,), above zero.

        The root, because volatility returns to its mean: stretched by volatility itself, 90 % intervals held 85 % in
        calm and 94 % in storm; by its root 88 % and 91 %, and they were 7 % narrower (bitcoin, 2018 to 2025).
        """
        volatility = np.sqrt(np.square(self.looks).mean(axis=1))
        spreads: Floats = np.sqrt(np.maximum(volatility, self.volatility_floor))
        return spreads

    @cached_property
    def volatility_floor(self) -> float:
        """The least volatility that an interval is stretched by: that of the calmest hundredth of the steps."""
        volatility = np.sqrt(np.square(self.looks).mean(axis=1))
        return float(max(np.quantile(volatility, FLAT), np.finfo(np.float32).eps))

    @property
    def now(self) -> Floats:
        """The value that stands when each forecast is made: the naive forecast. Shape (n,)."""
        return self.closes[self.at]

    @property
    def next(self) -> Floats:
        """The value that came, shape (n,)."""
        after: Floats = self.closes[self.at + 1]
        return after

    @property
    def frame(self) -> pd.DataFrame:
        """What is looked at, as the model takes it: `return_1` is the newest."""
        return pd.DataFrame(self.looks, columns=names(self.lags), index=pd.DatetimeIndex(self.times[self.at], tz=UTC))

    @property
    def last_time(self) -> datetime:
        """Start of the newest step with a value."""
        return pd.Timestamp(self.times[-1]).to_pydatetime().replace(tzinfo=UTC)


def names(lags: int) -> list[str]:
    """Names of the columns that are looked at."""
    return [f"return_{lag}" for lag in range(1, lags + 1)]


def prepare_series(declaration: Declaration, table: pd.DataFrame) -> Series:
    """Makes a snapshot ready for forecasting. The order of its rows does not matter; holes are never bridged.

    Raises:
        TrainingError: A column is missing, a time stands twice or off the step, a value is not above zero, jumps as if
            its unit had changed or never moves, or too few steps can be forecast from.
    """
    task = declaration.task_as(Forecasting)
    time, value = declaration.source.time, declaration.target.name if declaration.target else ""
    if missing := [name for name in (time, value) if name not in table.columns]:
        raise TrainingError(
            f"{declaration.name}: the snapshot lacks the columns {', '.join(missing)}.",
            remedy="Take a new snapshot; this one was made for another declaration.",
        )
    times, closes = _values(table, time, value)
    _check(declaration, task, times, closes)
    width, count = np.timedelta64(STEP_SECONDS[task.step], "s"), len(times)
    at = _forecastable(times, task.lags, width)
    if len(at) < task.minimum_rows:
        raise TrainingError(
            f"{declaration.name}: {len(at)} steps have {task.lags} steps before them and one after without a hole; at "
            f"least {task.minimum_rows} are needed ({count} rows).",
            remedy=f"Add rows to {declaration.source.table}: `./run ingest` asks the exchange for them.",
        )
    span = int((times[-1] - times[0]) / width) + 1
    return Series(len(table), len(table) - count, span - count, times, closes, at, task.lags)


def stretches(declaration: Declaration, tables: Iterable[pd.DataFrame]) -> Iterator[Series]:
    """A long series in stretches, each with what the next looks back at: every step to forecast from is in one of them.

    Args:
        declaration: The model.
        tables: The snapshot's rows in the order of time, some at a time.
    """
    task = declaration.task_as(Forecasting)
    time, value = declaration.source.time, declaration.target.name if declaration.target else ""
    width = np.timedelta64(STEP_SECONDS[task.step], "s")
    before: list[pd.DataFrame] = []
    for part in tables:
        table = pd.concat([*before, part[[time, value]].dropna()])
        times, closes = _values(table, time, value)
        at = _forecastable(times, task.lags, width)
        if len(at):
            yield Series(len(part), 0, 0, times, closes, at, task.lags)
        # The last step of this stretch has no next one yet.
        before = [table.tail(task.lags + 1)]


def _values(table: pd.DataFrame, time: str, value: str) -> tuple[NDArray[np.datetime64], Floats]:
    known = table[[time, value]].dropna().sort_values(time, kind="stable")
    times = pd.DatetimeIndex(pd.to_datetime(known[time], utc=True)).tz_localize(None).as_unit("us").to_numpy()
    return times, known[value].to_numpy(dtype=np.float64)


def _forecastable(times: NDArray[np.datetime64], lags: int, width: np.timedelta64) -> Positions:
    """Positions with so many steps before them and one after, without a hole."""
    positions = np.arange(lags, max(lags, len(times) - 1))
    whole = times[positions] - times[positions - lags] == lags * width
    found: Positions = positions[whole & (times[positions + 1] - times[positions] == width)]
    return found


def _check(declaration: Declaration, task: Forecasting, times: NDArray[np.datetime64], closes: Floats) -> None:
    table = declaration.source.table

    def refuse(what: str, remedy: str) -> TrainingError:
        return TrainingError(f"{declaration.name}: {what}.", remedy=remedy)

    if len(times) < 2:
        raise refuse(f"{len(times)} rows have a value", f"Add rows to {table}: `./run ingest` asks the exchange.")
    apart = np.diff(times)
    if (twice := apart == np.timedelta64(0)).any():
        first = times[np.flatnonzero(twice)[0]]
        raise refuse(f"{int(twice.sum())} moments stand twice, first {first}", f"Keep one row of each in {table}.")
    seconds = STEP_SECONDS[task.step]
    off = (times - times[0]) % np.timedelta64(seconds, "s") != np.timedelta64(0)
    if off.any():
        first = times[np.flatnonzero(off)[0]]
        raise refuse(
            f"{int(off.sum())} of {len(times)} rows are not {task.step} apart from the first, the earliest {first}",
            f"Keep rows of one step only in {table}, or declare another.",
        )
    bad = ~(np.isfinite(closes) & (closes > 0))
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise refuse(
            f"{int(bad.sum())} values are not above zero, first {closes[first]:g} at {times[first]}",
            f"Correct them in {table}, then snapshot again.",
        )
    jump = np.abs(np.diff(np.log(closes)))
    if jump.max() > math.log(JUMP):
        at = int(jump.argmax())
        raise refuse(
            f"the value goes from {closes[at]:g} to {closes[at + 1]:g} at {times[at + 1]}, as if its unit had changed",
            f"Correct it in {table}, then snapshot again.",
        )
    if not jump.any():
        raise refuse("the value never moves; there is nothing to learn", f"Check {table}.")


def folds(series: Series, count: int) -> tuple[Fold, ...]:
    """Training and held-out positions: each fold is learnt from all that came before it and from nothing after.

    Nothing leaks over the border: what is held out looks back into what was learnt from, never the other way.
    """
    return tuple(TimeSeriesSplit(count).split(series.looks))


def scores(series: Series, predicted: Floats, held: Positions) -> dict[str, float]:
    """Scores of the predicted changes of held-out positions.

    `rmse_percent` is the error of the log return times 100, on which a day of 2018 counts as much as one of 2025;
    `rmse` and `mae` are in the target's unit; `direction` is the share of moves whose direction was right (0.5 is
    chance; naive, which names none, counts as 0.5).
    """
    error = series.changes[held] - predicted
    value = series.next[held] - series.now[held] * np.exp(predicted)
    right = np.where(predicted == 0, 0.5, np.sign(predicted) == np.sign(series.changes[held]))
    return {
        "rmse_percent": 100 * math.sqrt(float(np.square(error).mean())),
        "rmse": math.sqrt(float(np.square(value).mean())),
        "mae": float(np.abs(value).mean()),
        "direction": float(right.mean()),
    }


def gain(ours: Floats, theirs: Floats, confidence: float, *, metric: str = "rmse_percent") -> Paired:
    """Relative gain in RMSE of `ours` over `theirs` on the same steps, with a bootstrap interval.

    Whole stretches of neighbouring steps are drawn with replacement, so that calm and storm stay together (circular
    block bootstrap; Politis and Romano 1992).

    Args:
        ours: Errors on the scale of log returns, in the order of time, shape (n,).
        theirs: The other's on the same steps, shape (n,).
        confidence: Of the interval, between 0 and 1.
        metric: What is compared.

    Returns:
        The difference as a share of `theirs`: 0.01 is an error 1 % smaller.
    """
    squares, others = np.square(ours), np.square(theirs)
    count = len(squares)
    length = max(1, min(count // 5, math.ceil(2 * count ** (1 / 3))))
    starts = np.random.default_rng(SEED).integers(0, count, (RESAMPLES, math.ceil(count / length)))
    drawn = [_block_sums(values, starts, length) for values in (squares, others)]
    low, high = np.quantile(1 - np.sqrt(drawn[0] / drawn[1]), [(1 - confidence) / 2, (1 + confidence) / 2])
    return Paired(
        metric=metric,
        difference=1 - math.sqrt(float(squares.sum()) / float(others.sum())),
        low=float(low),
        high=float(high),
        confidence=confidence,
        rows=count,
    )


def _block_sums(values: Floats, starts: Positions, length: int) -> Floats:
    """Sum of each resample's blocks; the series goes on at its start after its end. Shape (resamples,)."""
    running = np.concatenate([[0.0], np.cumsum(np.concatenate([values, values[:length]]))])
    sums: Floats = (running[starts + length] - running[starts]).sum(axis=1)
    return sums


@dataclass(frozen=True)
class Calibrated:
    """A conformal interval in multiples of the spread, and how often such intervals held.

    Attributes:
        half: Half its width.
        coverage: Share of held-out values that intervals held, each made from what came before it alone.
        by_fold: The same for each of five stretches of time.
        halves: Half width at each held-out step, NaN where nothing was known before; shape (n_held,).
        width: Mean width of the intervals as a share of the value.
    """

    half: float
    coverage: float
    by_fold: tuple[float, ...]
    halves: Floats
    width: float


def calibrate(errors: Floats, spreads: Floats, confidence: float, window: int) -> Calibrated:
    """Calibrates an interval on held-out errors, in the order of time.

    Each error is divided by the spread that was known before it, so that intervals are wide in storms and narrow in
    calm (locally weighted split conformal; Lei et al. 2018, doi:10.1080/01621459.2017.1307116), and only the last
    `window` of them count, since old ones say little of today (Xu and Xie 2021, arXiv:2010.09107).

    Args:
        errors: Held-out errors on the scale of log returns, in the order of time, shape (n,).
        spreads: What they are divided by, shape (n,).
        confidence: Share of values to hold.
        window: How many past errors count.
    """
    ratios = np.abs(errors) / spreads
    window = max(20, min(window, len(ratios) // 2))
    # The (window + 1) · confidence-th smallest, so that one more is held with at least that chance.
    rank = min(math.ceil((window + 1) * confidence), window)
    level = (rank - 1) / (window - 1)
    rolled = pd.Series(ratios).rolling(window).quantile(level, interpolation="nearest").to_numpy()
    halves = np.concatenate([[np.nan], rolled[:-1]])
    judged = ~np.isnan(halves)
    held = ratios[judged] <= halves[judged]
    widths = np.exp(halves[judged] * spreads[judged]) - np.exp(-halves[judged] * spreads[judged])
    return Calibrated(
        half=float(rolled[-1]),
        coverage=float(held.mean()),
        by_fold=tuple(float(part.mean()) for part in np.array_split(held, 5)),
        halves=halves,
        width=float(widths.mean()),
    )


def chosen_blindly(squares: Sequence[Sequence[float]], naive: Sequence[float], sizes: Sequence[int]) -> float:
    """Relative gain over the naive forecast of always taking what had been best until then.

    The winner's own score is flattered by having been chosen for it; this one is not: on each fold but the first, the
    candidate (the naive one among them) is used whose mean squared error on the earlier folds was the smallest.

    Args:
        squares: Mean squared error of each candidate on each fold.
        naive: That of the naive forecast.
        sizes: Steps of each fold.
    """
    table = np.array([*squares, naive], dtype=np.float64)
    weights = np.array(sizes, dtype=np.float64)
    before = np.cumsum(table * weights, axis=1)[:, :-1]
    chosen = before.argmin(axis=0)
    reached = float((table[chosen, np.arange(1, table.shape[1])] * weights[1:]).sum())
    return 1 - math.sqrt(reached / float((table[-1, 1:] * weights[1:]).sum()))
