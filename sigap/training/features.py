"""From the snapshot's rows to what is trained on: one row an entity, as of the newest period with figures."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from sigap.bundle import Bilingual, LeftOut
from sigap.catalog import Declaration, Feature, Kind
from sigap.catalog.declaration import Clustering
from sigap.errors import TrainingError
from sigap.training.tabular import canonical

# A period in which fewer entities than this share report at all can't show that a feature is published for everybody.
LEAST_COVERAGE = 0.75
BREAK_COLUMNS = ("break_id", "break_en")


@dataclass(frozen=True)
class AsOf:
    """What was known at a period: for each entity, each feature's latest figure that is not too old.

    Attributes:
        period: The period; None where rows have no time.
        values: Figures in the features' units, NaN where there is none; index entity, one column a feature. Categories
            as text in their declared spelling.
        figure_period: Period that each figure was published for, NaN where there is none; same shape, or without
            columns where rows have no time.
    """

    period: int | None
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
        period: Newest period with figures; None where rows have no time.
        now: Figures as of that period, of every entity.
        used: Features the model is trained on, in the declaration's order.
        left_out: The other features, each with its reason.
        not_assessed: Entities without a figure for each used feature; where missing ones are imputed, for any.
        names: Name for people by entity; empty where entities have none.
        places: Describing columns by entity, such as capital and coordinates; None where unknown. Empty where none
            are declared.
        breaks: Changes of border or definition, by entity and period.
        history: Figures as of every period with rows, oldest first; the last is `now`. Empty where rows have no time.
        imputes: Whether the model puts a typical value where a figure is missing.
    """

    rows: int
    period: int | None
    now: AsOf
    used: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    not_assessed: tuple[NotAssessed, ...]
    names: dict[str, str]
    places: dict[str, dict[str, Any]]
    breaks: tuple[Break, ...]
    history: tuple[AsOf, ...] = field(repr=False)
    imputes: bool = False

    @cached_property
    def matrix(self) -> pd.DataFrame:
        """The assessed entities' used features, shape (n_entities, n_used), in the order of the entities.

        Numbers are float64, NaN only where `imputes`; categories are text or None.
        """
        return assessable(self.now, self.used, imputes=self.imputes)

    def name(self, entity: str) -> str:
        """The entity's name for people, or else its key."""
        return self.names.get(entity, entity)


def prepare(declaration: Declaration, table: pd.DataFrame) -> Prepared:
    """Makes a snapshot ready for clustering, by the rules of the declaration's task.

    The order of the table's rows does not matter. A feature is used when, in one of the periods that count, it was
    published for at least `task.published_share` of the entities that report, or, where rows have no time, of all
    rows; a constant, or one that another used feature already says, is left out too.

    Args:
        declaration: The model.
        table: The snapshot: the declaration's columns and features, one row an entity and period.

    Raises:
        TrainingError: A column is missing, a key stands twice, a figure is infinite, no figure is published at all,
            or no feature can be used.
    """
    _check(declaration, table)
    source = declaration.source
    features = list(declaration.feature_names)
    table = table.sort_values([source.entity, source.time] if source.time else [source.entity], kind="stable")
    table = canonical(declaration, table.reset_index(drop=True))
    numbers = _numbers(declaration)
    table[numbers] = table[numbers].astype("float64")
    with_figures = table[table[features].notna().any(axis=1)]
    if with_figures.empty:
        raise TrainingError(
            f"{declaration.name}: not one figure is published in the snapshot's {len(table)} rows.",
            remedy=f"Fill {source.table} with figures, then snapshot again.",
        )
    if source.time:
        return _of_periods(declaration, table, with_figures[source.time])
    return _of_records(declaration, table)


def _of_periods(declaration: Declaration, table: pd.DataFrame, with_figures: pd.Series[Any]) -> Prepared:
    source = declaration.source
    period = int(with_figures.max())
    table = table[table[source.time] <= period]
    periods = sorted(int(value) for value in table[source.time].unique())
    history = tuple(as_of(declaration, table, each) for each in periods)
    now = history[-1]
    used, left_out = _choose(declaration, now, _published_shares(declaration, table, period))
    newest = table.groupby(source.entity, sort=True).tail(1).set_index(source.entity)
    return Prepared(
        rows=len(table),
        period=period,
        now=now,
        used=used,
        left_out=left_out,
        not_assessed=_not_assessed(declaration, now, used),
        names=_names(declaration, newest),
        places=_places(declaration, newest),
        breaks=_breaks(declaration, table),
        history=history,
        imputes=_imputes(declaration),
    )


def _of_records(declaration: Declaration, table: pd.DataFrame) -> Prepared:
    records = table.set_index(declaration.source.entity)
    features = records[list(declaration.feature_names)]
    now = AsOf(period=None, values=features, figure_period=pd.DataFrame(index=features.index))
    shares = {str(name): float(share) for name, share in features.notna().mean().items()}
    used, left_out = _choose(declaration, now, shares)
    return Prepared(
        rows=len(table),
        period=None,
        now=now,
        used=used,
        left_out=left_out,
        not_assessed=_not_assessed(declaration, now, used),
        names=_names(declaration, records),
        places=_places(declaration, records),
        breaks=(),
        history=(),
        imputes=_imputes(declaration),
    )


def _names(declaration: Declaration, newest: pd.DataFrame) -> dict[str, str]:
    column = declaration.source.entity_name
    return {str(key): str(name) for key, name in newest[column].items()} if column else {}


def _imputes(declaration: Declaration) -> bool:
    return declaration.task_as(Clustering).missing == "impute"


def _numbers(declaration: Declaration) -> list[str]:
    return [feature.name for feature in declaration.features if feature.kind is not Kind.CATEGORY]


def as_of(declaration: Declaration, table: pd.DataFrame, period: int) -> AsOf:
    """What was known at `period`: each entity's latest figures, at most `task.carry_forward` periods old.

    Entities are those with a row in that window, in the order of their keys.
    """
    source = declaration.source
    time = table[source.time]
    window = table[(time <= period) & (time >= period - declaration.task_as(Clustering).carry_forward)]
    entities = pd.Index(sorted(window[source.entity].unique()), name=source.entity)
    when = pd.DataFrame(index=entities, columns=list(declaration.feature_names), dtype="float64")
    values = when.copy()
    for feature in declaration.feature_names:
        published = window.dropna(subset=[feature]).groupby(source.entity)[[feature, source.time]].last()
        values[feature] = published[feature].reindex(entities)
        when[feature] = published[source.time].reindex(entities).astype("float64")
    return AsOf(period=period, values=values, figure_period=when)


def assessable(known: AsOf, used: Iterable[str], *, imputes: bool = False) -> pd.DataFrame:
    """Rows of `known` that have a figure for every used feature (any, if `imputes`), with these columns only."""
    return complete(known.values, used, imputes=imputes)


def complete(values: pd.DataFrame, used: Iterable[str], *, imputes: bool) -> pd.DataFrame:
    """Rows that have a value for every used feature (any, if `imputes`), with these columns only."""
    return values[list(used)].dropna(how="all" if imputes else "any")


def figures(declaration: Declaration, table: pd.DataFrame) -> pd.DataFrame:
    """Each row's own features, index entity: numbers as float64, categories as text in their declared spelling."""
    values = canonical(declaration, table.set_index(declaration.source.entity)[list(declaration.feature_names)])
    numbers = _numbers(declaration)
    values[numbers] = values[numbers].astype("float64")
    return values


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
    for feature in _numbers(declaration):
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
    window = table[table[source.time] >= period - declaration.task_as(Clustering).carry_forward]
    groups = window.groupby(source.time)
    reporting = groups.size().clip(lower=LEAST_COVERAGE * window[source.entity].nunique())
    published = groups[list(declaration.feature_names)].count().div(reporting, axis=0)
    return {str(name): float(share) for name, share in published.max().items()}


def _choose(
    declaration: Declaration, now: AsOf, shares: dict[str, float]
) -> tuple[tuple[str, ...], tuple[LeftOut, ...]]:
    """The features to use, and the others with their reasons.

    Raises:
        TrainingError: There is none to use.
    """
    task = declaration.task_as(Clustering)
    too_few = _too_few if declaration.source.time else _too_empty
    reasons = {
        name: too_few(share, task.published_share) for name, share in shares.items() if share < task.published_share
    }
    published = [name for name in declaration.feature_names if name not in reasons]
    rows = assessable(now, published, imputes=_imputes(declaration))
    used: list[str] = []
    for name in rows.columns:
        values = rows[name]
        if _constant(values, task.winsorize):
            reasons[name] = Bilingual(id="bernilai sama hampir di mana-mana", en="it is the same nearly everywhere")
        elif twin := next((other for other in used if _same(values, rows[other])), None):
            title = declaration.feature(twin).title
            reasons[name] = Bilingual(id=f"sama dengan {title.id}", en=f"it says the same as {title.en}")
        else:
            used.append(name)
    left_out = tuple(
        LeftOut(name=name, reason=reasons[name], published_share=shares[name])
        for name in declaration.feature_names
        if name in reasons
    )
    if not used:
        each = "; ".join(f"{entry.name}: {entry.reason.en}" for entry in left_out)
        when = "" if now.period is None else f" as of {now.period}"
        raise TrainingError(
            f"{declaration.name}: no feature can be used{when} ({each}).",
            remedy=f"Publish at least one feature for {task.published_share:.0%} of the entities.",
        )
    return tuple(used), left_out


def _too_few(share: float, needed: float) -> Bilingual:
    # Rounded down, so that 94.7 % never reads as the 95 % it lacks.
    shown = math.floor(share * 100)
    return Bilingual(
        id=f"hanya terbit untuk {shown}% wilayah, perlu {needed:.0%}",
        en=f"published for only {shown}% of the regions, {needed:.0%} needed",
    )


def _too_empty(share: float, needed: float) -> Bilingual:
    shown = math.floor(share * 100)
    return Bilingual(
        id=f"hanya terisi di {shown}% baris, perlu {needed:.0%}",
        en=f"filled in only {shown}% of the rows, {needed:.0%} needed",
    )


def _constant(values: pd.Series[Any], winsorize: float) -> bool:
    """Whether nothing is left of the values' differences once the extremes are pulled in."""
    known = values.dropna()
    if known.empty:
        return False
    if _is_number(known):
        low, high = np.quantile(known.to_numpy(), [winsorize, 1 - winsorize])
        return bool(high - low <= 1e-12 * max(1.0, abs(high)))
    return known.nunique() == 1


def _same(one: pd.Series[Any], other: pd.Series[Any]) -> bool:
    """Whether each value follows from the other column's: numbers by one straight line, categories one by one."""
    if _is_number(one) != _is_number(other):
        return False
    known = (one.notna() & other.notna()).to_numpy()
    first, second = one.to_numpy()[known], other.to_numpy()[known]
    if not _is_number(one):
        pairs = pd.DataFrame({"one": first, "other": second}).drop_duplicates()
        return len(pairs) > 1 and len(pairs) == pairs["one"].nunique() == pairs["other"].nunique()
    # Where both are known one of them may be constant: then neither says what the other does.
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return False
    return bool(abs(np.corrcoef(first, second)[0, 1]) > 1 - 1e-9)


def _is_number(values: pd.Series[Any]) -> bool:
    return values.dtype.kind == "f"


def _not_assessed(declaration: Declaration, now: AsOf, used: tuple[str, ...]) -> tuple[NotAssessed, ...]:
    absent = now.values[list(used)].isna()
    lacking = absent.all(axis=1) if _imputes(declaration) else absent.any(axis=1)
    found = []
    for entity in absent.index[lacking]:
        missing = tuple(name for name in used if absent.at[entity, name])
        features = [declaration.feature(name) for name in missing]
        found.append(NotAssessed(str(entity), missing, _lacks(features, published=now.period is not None)))
    return tuple(found)


def _lacks(features: list[Feature], *, published: bool) -> Bilingual:
    return Bilingual(
        # A published figure may have been set aside with its row, so that not being published is only one reason.
        id=f"{'Tanpa angka yang sah' if published else 'Belum terisi'}: "
        + ", ".join(feature.title.id for feature in features),
        en=f"{'No valid figure' if published else 'Not filled in'}: "
        + ", ".join(feature.title.en for feature in features),
    )


def _places(declaration: Declaration, newest: pd.DataFrame) -> dict[str, dict[str, Any]]:
    source = declaration.source
    without = {*source.key, source.entity, source.entity_name, source.time, *BREAK_COLUMNS}
    columns = [column.name for column in declaration.columns if column.name not in without]
    if not columns:
        return {}
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
