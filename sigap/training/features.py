"""From the snapshot's rows to what is trained on: one row an entity, as of the newest period with figures."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sigap.bundle import Bilingual, LeftOut
from sigap.catalog import Declaration, Feature
from sigap.errors import TrainingError

# A period in which fewer entities than this share report at all can't show that a feature is published for everybody.
LEAST_COVERAGE = 0.75
BREAK_COLUMNS = ("break_id", "break_en")


@dataclass(frozen=True)
class AsOf:
    """What was known at a period: for each entity, each feature's latest figure that is not too old.

    Attributes:
        period: The period.
        values: Figures in the features' units, NaN where there is none; index entity, one column a feature.
        figure_period: Period that each figure was published for, NaN where there is none; same shape.
    """

    period: int
    values: pd.DataFrame
    figure_period: pd.DataFrame


@dataclass(frozen=True)
class NotAssessed:
    """An entity that lacks a feature the model uses."""

    entity: str
    missing: tuple[str, ...]
    reason: Bilingual


@dataclass(frozen=True)
class Break:
    """A change of border or definition: figures before and from this period on are not comparable."""

    entity: str
    period: int
    note: Bilingual


@dataclass(frozen=True)
class Prepared:
    """A snapshot made ready for clustering.

    Attributes:
        rows: Rows of the snapshot.
        period: Newest period with figures.
        now: Figures as of that period, of every entity.
        used: Features the model is trained on, in the declaration's order.
        left_out: The other features, each with its reason.
        not_assessed: Entities without a figure for each used feature.
        names: Name for people by entity.
        places: Describing columns by entity, such as capital and coordinates; None where unknown.
        breaks: Changes of border or definition, by entity and period.
        history: Figures as of every period with rows, oldest first; the last is `now`.
    """

    rows: int
    period: int
    now: AsOf
    used: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    not_assessed: tuple[NotAssessed, ...]
    names: dict[str, str]
    places: dict[str, dict[str, Any]]
    breaks: tuple[Break, ...]
    history: tuple[AsOf, ...] = field(repr=False)

    @property
    def matrix(self) -> pd.DataFrame:
        """The assessed entities' used features, shape (n_entities, n_used), float64, in the order of the entities."""
        return assessable(self.now, self.used)


def prepare(declaration: Declaration, table: pd.DataFrame) -> Prepared:
    """Makes a snapshot ready for clustering, by the rules of the declaration's task.

    The order of the table's rows does not matter. A feature is used when, in one of the periods that count, it was
    published for at least `task.published_share` of the entities that report; a constant, or one that another used
    feature already says, is left out too.

    Args:
        declaration: The model.
        table: The snapshot: the declaration's columns and features, one row an entity and period.

    Raises:
        TrainingError: A column is missing, a key stands twice, a figure is infinite, no figure is published at all,
            or no feature can be used.
    """
    _check(declaration, table)
    source, task = declaration.source, declaration.task
    features = list(declaration.feature_names)
    table = table.sort_values([source.entity, source.time], kind="stable").reset_index(drop=True)
    table[features] = table[features].astype("float64")
    with_figures = table.loc[table[features].notna().any(axis=1), source.time]
    if with_figures.empty:
        raise TrainingError(
            f"{declaration.name}: not one figure is published in the snapshot's {len(table)} rows.",
            remedy=f"Fill {source.table} with figures, then snapshot again.",
        )
    period = int(with_figures.max())
    table = table[table[source.time] <= period]
    periods = sorted(int(value) for value in table[source.time].unique())
    history = tuple(as_of(declaration, table, each) for each in periods)
    now = history[-1]
    shares = _published_shares(declaration, table, period)
    used, left_out = _choose(declaration, now, shares)
    if not used:
        reasons = "; ".join(f"{entry.name}: {entry.reason.en}" for entry in left_out)
        raise TrainingError(
            f"{declaration.name}: no feature can be used as of {period} ({reasons}).",
            remedy=f"Publish at least one feature for {task.published_share:.0%} of the entities.",
        )
    newest = table.groupby(source.entity, sort=True).tail(1).set_index(source.entity)
    return Prepared(
        rows=len(table),
        period=period,
        now=now,
        used=used,
        left_out=left_out,
        not_assessed=_not_assessed(declaration, now, used),
        names={str(key): str(name) for key, name in newest[source.entity_name].items()},
        places=_places(declaration, newest),
        breaks=_breaks(declaration, table),
        history=history,
    )


def as_of(declaration: Declaration, table: pd.DataFrame, period: int) -> AsOf:
    """What was known at `period`: each entity's latest figures, at most `task.carry_forward` periods old.

    Entities are those with a row in that window, in the order of their keys.
    """
    source = declaration.source
    time = table[source.time]
    window = table[(time <= period) & (time >= period - declaration.task.carry_forward)]
    entities = pd.Index(sorted(window[source.entity].unique()), name=source.entity)
    values = pd.DataFrame(index=entities, columns=list(declaration.feature_names), dtype="float64")
    when = values.copy()
    for feature in declaration.feature_names:
        published = window.dropna(subset=[feature]).groupby(source.entity)[[feature, source.time]].last()
        values[feature] = published[feature].reindex(entities)
        when[feature] = published[source.time].reindex(entities).astype("float64")
    return AsOf(period=period, values=values, figure_period=when)


def assessable(known: AsOf, used: Iterable[str]) -> pd.DataFrame:
    """Rows of `known` that have a figure for every used feature, with these columns only."""
    return known.values[list(used)].dropna()


def _check(declaration: Declaration, table: pd.DataFrame) -> None:
    source = declaration.source
    expected = [column.name for column in declaration.columns] + list(declaration.feature_names)
    if missing := [name for name in expected if name not in table.columns]:
        raise TrainingError(
            f"{declaration.name}: the snapshot lacks the columns {', '.join(missing)}.",
            remedy="Take a new snapshot; this one was made for another declaration.",
        )
    twice = table[table.duplicated(list(source.key))]
    if len(twice):
        key = ", ".join(str(twice.iloc[0][name]) for name in source.key)
        raise TrainingError(
            f"{declaration.name}: the snapshot has {len(twice)} rows whose key stands twice, first ({key}).",
            remedy=f"Keep one row for each {' and '.join(source.key)} in {source.table}, then snapshot again.",
        )
    for feature in declaration.feature_names:
        infinite = table[np.isinf(table[feature].astype("float64"))]
        if len(infinite):
            key = ", ".join(str(infinite.iloc[0][name]) for name in source.key)
            raise TrainingError(
                f"{declaration.name}: {feature} of ({key}) is infinite.",
                remedy=f"Correct it in {source.table}, then snapshot again.",
            )


def _published_shares(declaration: Declaration, table: pd.DataFrame, period: int) -> dict[str, float]:
    """Largest share of the reporting entities that each feature was published for in one of the periods that count.

    One period's share is taken, not that of the figures carried together: a column put together from a part
    published this year and another part published last year was never sufficiently published.
    """
    source = declaration.source
    window = table[table[source.time] >= period - declaration.task.carry_forward]
    groups = window.groupby(source.time)
    reporting = groups.size().clip(lower=LEAST_COVERAGE * window[source.entity].nunique())
    published = groups[list(declaration.feature_names)].count().div(reporting, axis=0)
    return {str(name): float(share) for name, share in published.max().items()}


def _choose(
    declaration: Declaration, now: AsOf, shares: dict[str, float]
) -> tuple[tuple[str, ...], tuple[LeftOut, ...]]:
    """The features to use, and the others with their reasons."""
    task = declaration.task
    reasons = {
        name: _too_few(share, task.published_share) for name, share in shares.items() if share < task.published_share
    }
    rows = assessable(now, [name for name in declaration.feature_names if name not in reasons])
    used: list[str] = []
    for name in rows.columns:
        values = rows[name].to_numpy()
        if _constant(values, task.winsorize):
            reasons[name] = Bilingual(id="bernilai sama hampir di mana-mana", en="it is the same nearly everywhere")
        elif twin := next((other for other in used if _same(values, rows[other].to_numpy())), None):
            title = declaration.feature(twin).title
            reasons[name] = Bilingual(id=f"sama dengan {title.id}", en=f"it says the same as {title.en}")
        else:
            used.append(name)
    left_out = tuple(
        LeftOut(name=name, reason=reasons[name], published_share=shares[name])
        for name in declaration.feature_names
        if name in reasons
    )
    return tuple(used), left_out


def _too_few(share: float, needed: float) -> Bilingual:
    # Rounded down, so that 94.7 % never reads as the 95 % it lacks.
    shown = math.floor(share * 100)
    return Bilingual(
        id=f"hanya terbit untuk {shown}% wilayah, perlu {needed:.0%}",
        en=f"published for only {shown}% of the regions, {needed:.0%} needed",
    )


def _constant(values: NDArray[np.float64], winsorize: float) -> bool:
    """Whether nothing is left of the values' differences once the extremes are pulled in."""
    if len(values) == 0:
        return False
    low, high = np.quantile(values, [winsorize, 1 - winsorize])
    return bool(high - low <= 1e-12 * max(1.0, abs(high)))


def _same(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Whether each value follows from the other column's by one straight line."""
    return bool(abs(np.corrcoef(one, other)[0, 1]) > 1 - 1e-9)


def _not_assessed(declaration: Declaration, now: AsOf, used: tuple[str, ...]) -> tuple[NotAssessed, ...]:
    absent = now.values[list(used)].isna()
    found = []
    for entity in absent.index[absent.any(axis=1)]:
        missing = tuple(name for name in used if absent.at[entity, name])
        found.append(NotAssessed(str(entity), missing, _lacks([declaration.feature(name) for name in missing])))
    return tuple(found)


def _lacks(features: list[Feature]) -> Bilingual:
    return Bilingual(
        id=f"Belum terbit: {', '.join(feature.title.id for feature in features)}",
        en=f"Not published: {', '.join(feature.title.en for feature in features)}",
    )


def _places(declaration: Declaration, newest: pd.DataFrame) -> dict[str, dict[str, Any]]:
    source = declaration.source
    without = {*source.key, source.entity, source.entity_name, source.time, *BREAK_COLUMNS}
    columns = [column.name for column in declaration.columns if column.name not in without]
    return {
        str(entity): {name: None if pd.isna(row[name]) else row[name] for name in columns}
        for entity, row in newest[columns].astype(object).iterrows()
    }


def _breaks(declaration: Declaration, table: pd.DataFrame) -> tuple[Break, ...]:
    if not set(BREAK_COLUMNS) <= set(table.columns):
        return ()
    source = declaration.source
    marked = table.dropna(subset=list(BREAK_COLUMNS))
    return tuple(
        Break(str(entity), int(period), Bilingual(id=str(note_id), en=str(note_en)))
        for entity, period, note_id, note_en in zip(
            marked[source.entity], marked[source.time], *(marked[name] for name in BREAK_COLUMNS), strict=True
        )
    )
