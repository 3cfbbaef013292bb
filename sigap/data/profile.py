"""The data profile of a snapshot: what is missing, ranges, distributions, and what changed since the last version.

Made from the parquet alone, a column at a time, so that it repeats and stays small in memory; of partitions, and of
more than a million rows, some rows at a time and partly from a sample (`sigap.data.large_profile`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from sigap.catalog import Declaration, Feature
from sigap.catalog.declaration import Target
from sigap.data.contract import Word, declaration_words
from sigap.data.large_profile import SAMPLE_ROWS, gathered, repeated
from sigap.data.parts import described, read
from sigap.data.samples import keyed_samples
from sigap.data.versions import DataVersions
from sigap.errors import ContractError
from sigap.settings import Settings

JSON_NAME, MARKDOWN_NAME = "data_profile.json", "data_profile.md"

# Of more rows, or of partitions, not everything is counted.
_WHOLE_ROWS = 1_000_000
_BINS = 20
_TOP = 12
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
# A column of which more than half of the values are unique holds names or numbers of somebody: none of them is shown.
_NAMES_SHARE = 0.5
# The usual reading of the population stability index: below 0.1 nothing, above 0.25 much.
_PSI_SOME, _PSI_MUCH = 0.1, 0.25
_SMALLEST_SHARE = 1e-4
_BARS = "▁▂▃▄▅▆▇█"


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ColumnProfile(_Entry):
    """One column.

    Attributes:
        name: As declared.
        kind: As declared.
        role: `key`, `column`, `feature` or `target`.
        unit: In English; empty for none.
        missing: Rows without a value.
        missing_share: Their share.
        distinct: Different values.
        minimum: Of numbers; of times as ISO 8601.
        maximum: Likewise.
        mean: Of numbers, as the following ones.
        sd: Standard deviation (n - 1).
        quantiles: By level, such as `0.25`.
        edges: Of the histogram's bins, one more than `counts`.
        counts: Rows by bin.
        top: Most frequent values of a text or category and their rows, unless they would name somebody.
    """

    name: str
    kind: str
    role: str
    unit: str = ""
    missing: int
    missing_share: float
    distinct: int
    minimum: float | str | None = None
    maximum: float | str | None = None
    mean: float | None = None
    sd: float | None = None
    quantiles: dict[str, float] = {}
    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    top: dict[str, int] = {}


class ColumnChange(_Entry):
    """How a column differs from the version before.

    Attributes:
        name: Of the column.
        missing_share: Change of the share of missing values.
        median: Change of the median; None for what is no number.
        psi: Population stability index against the version before; None where it can't be computed.
        appeared: Values that are new.
        vanished: Values that are gone.
    """

    name: str
    missing_share: float
    median: float | None = None
    psi: float | None = None
    appeared: tuple[str, ...] = ()
    vanished: tuple[str, ...] = ()

    @property
    def reading(self) -> str:
        """The index in words."""
        if self.psi is None:
            return ""
        return "much" if self.psi > _PSI_MUCH else "some" if self.psi > _PSI_SOME else "little"


class Changes(_Entry):
    """What is different from the version before.

    Attributes:
        against: Its name.
        rows_before: Its rows.
        added: Keys that are new.
        removed: Keys that are gone.
        changed: Keys whose row is different.
        columns: Columns that differ, in the declaration's order.
    """

    against: str
    rows_before: int
    added: int
    removed: int
    changed: int
    columns: tuple[ColumnChange, ...]


class Profile(_Entry):
    """A snapshot's data profile.

    Attributes:
        model: Whose data.
        version: Name of the data version.
        rows: Rows in the snapshot.
        rejected: Rows that were set aside when it was taken.
        origin: Where the rows are from, such as `mock`; empty in snapshots of before it was written down.
        duplicates: Rows that repeat another one in everything but the key.
        columns: In the declaration's order.
        changes: Against the version before; None for the first.
        estimated_from: Of a large snapshot, the rows of the sample that quantiles and changes are estimated from;
            None where everything is counted.
    """

    model: str
    version: str
    rows: int
    rejected: int
    origin: str
    duplicates: int
    columns: tuple[ColumnProfile, ...]
    changes: Changes | None = None
    # Left out where there is none, so that the profile of a small table has the bytes that it always had.
    estimated_from: int | None = Field(None, exclude_if=lambda value: value is None)


def profile_version(declaration: Declaration, settings: Settings, version: str, md5: str) -> Profile:
    """The profile of a data version, against the one recorded before it.

    Args:
        declaration: Of the model.
        settings: Where the checkout is.
        version: Name of the data version.
        md5: Hash of its snapshot.

    Raises:
        VersionError: Its data, or that of the one before, can't be fetched.
        ContractError: It lacks a declared column.
    """
    versions = DataVersions(settings)
    path = versions.stored(declaration.name, md5)
    listed = versions.list(declaration.name)
    names = [each.name for each in listed]
    # A version that Git does not know (commits are off) comes after all that it knows.
    older = listed[names.index(version) + 1 :] if version in names else listed
    before = next((each for each in older if each.md5 != md5), None)
    if before is None:
        return profile(declaration, path, version)
    return profile(declaration, path, version, versions.stored(declaration.name, before.md5), before.name)


def profile(
    declaration: Declaration, path: Path, version: str, previous: Path | None = None, previous_version: str = ""
) -> Profile:
    """The profile of a snapshot.

    Args:
        declaration: Of the model.
        path: The snapshot's parquet file, or its folder of partitions.
        version: What it is called.
        previous: The snapshot it is compared with.
        previous_version: What that one is called.

    Raises:
        ContractError: The file lacks a declared column.
    """
    told = described(path)
    words = declaration_words(declaration)
    if lacking := [word.name for word in words if word.name not in told.schema.names]:
        raise ContractError(
            f"The snapshot {path.name} has no column {lacking[0]!r}; the declaration of {declaration.name!r} has "
            "changed since it was taken.",
            remedy="Take a new snapshot: run the pipeline.",
        )
    common: dict[str, Any] = {
        "model": declaration.name,
        "version": version,
        "rows": told.rows,
        "rejected": int(told.facts.get("sigap.rejected", "0")),
        "origin": told.facts.get("sigap.origin", ""),
    }
    if any(each is not None and (each.is_dir() or described(each).rows > _WHOLE_ROWS) for each in (path, previous)):
        return Profile(**common, **_partitioned(declaration, path, previous, previous_version))
    changes = None
    if previous is not None:
        changes = _changes(declaration, read(path), read(previous), previous_version)
    return Profile(
        **common,
        duplicates=_duplicates(declaration, path),
        columns=tuple(_column(declaration, word, read(path, [word.name]).column(0)) for word in words),
        changes=changes,
    )


def write_profile(folder: Path, made: Profile) -> list[Path]:
    """Writes `data_profile.json` and `data_profile.md`; their bytes depend on the profile alone.

    Returns:
        The two paths.
    """
    folder.mkdir(parents=True, exist_ok=True)
    as_json, as_text = folder / JSON_NAME, folder / MARKDOWN_NAME
    content = json.dumps(made.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False)
    as_json.write_text(content + "\n", encoding="utf-8")
    as_text.write_text(markdown(made), encoding="utf-8")
    return [as_json, as_text]


def markdown(made: Profile) -> str:
    """The profile as a Markdown page."""
    return "\n".join(_lines(made)) + "\n"


def _partitioned(declaration: Declaration, path: Path, previous: Path | None, version: str) -> dict[str, Any]:
    """What is told of a snapshot that may be larger than memory."""
    rows = described(path).rows
    (now, *before), share = keyed_samples(declaration, [each for each in (path, previous) if each], SAMPLE_ROWS)
    columns = []
    for column in gathered(path, declaration_words(declaration), _BINS):
        base = _base(declaration, column.word, rows, column.missing, min(rows, column.distinct.count()))
        if column.numbers is not None:
            base |= column.numbers.told()
            # A sample may hold no value of a column that has nearly none.
            if len(values := _floats(now.column(column.word.name).drop_null())):
                base["quantiles"] = _quantiles(values)
        elif column.ends is not None:
            base |= {"minimum": column.ends[0].isoformat(), "maximum": column.ends[1].isoformat()}
        elif column.counts and _shows(base["distinct"], rows - column.missing):
            base["top"] = dict(_ordered(column.counts.items())[:_TOP])
        columns.append(ColumnProfile(**base))
    changes = None
    if previous is not None:
        found = _changes(declaration, now, before[0], version)
        counts = {name: round(getattr(found, name) / share) for name in ("added", "removed", "changed")}
        changes = found.model_copy(update={**counts, "rows_before": described(previous).rows})
    return {
        "duplicates": repeated(path, _without_key(declaration)),
        "columns": tuple(columns),
        "changes": changes,
        "estimated_from": now.num_rows if share < 1 else None,
    }


def _column(declaration: Declaration, word: Word, values: pa.ChunkedArray) -> ColumnProfile:
    rows = len(values)
    known = values.drop_null()
    base = _base(declaration, word, rows, values.null_count, pc.count_distinct(known).as_py())
    if not len(known):
        return ColumnProfile(**base)
    if pa.types.is_timestamp(values.type):
        ends = pc.min_max(known)
        return ColumnProfile(**base, minimum=ends["min"].as_py().isoformat(), maximum=ends["max"].as_py().isoformat())
    if pa.types.is_string(values.type):
        return ColumnProfile(**base, top=_top(known, base["distinct"]))
    return ColumnProfile(**base, **_numbers(_floats(known)))


def _base(declaration: Declaration, word: Word, rows: int, missing: int, distinct: int) -> dict[str, Any]:
    return {
        "name": word.name,
        "kind": word.kind.value,
        "role": _role(declaration, word),
        "unit": word.unit.en if isinstance(word, Feature | Target) and word.unit else "",
        "missing": missing,
        "missing_share": missing / rows if rows else 0.0,
        "distinct": distinct,
    }


def _role(declaration: Declaration, word: Word) -> str:
    if word.name in declaration.source.key:
        return "key"
    return {Feature: "feature", Target: "target"}.get(type(word), "column")


def _floats(values: pa.ChunkedArray) -> NDArray[np.float64]:
    numbers: NDArray[np.float64] = pc.cast(values, pa.float64()).to_numpy()
    return numbers


def _numbers(values: NDArray[np.float64]) -> dict[str, Any]:
    low, high = float(values.min()), float(values.max())
    counts, edges = np.histogram(values, bins=_BINS, range=(low, high) if high > low else (low - 0.5, low + 0.5))
    return {
        "minimum": low,
        "maximum": high,
        "mean": float(values.mean()),
        "sd": float(values.std(ddof=1)) if len(values) > 1 else 0.0,
        "quantiles": _quantiles(values),
        "edges": tuple(float(edge) for edge in edges),
        "counts": tuple(int(count) for count in counts),
    }


def _quantiles(values: NDArray[np.float64]) -> dict[str, float]:
    return {str(q): float(value) for q, value in zip(_QUANTILES, np.quantile(values, _QUANTILES), strict=True)}


def _frequencies(values: pa.ChunkedArray) -> dict[str, int]:
    return dict(_ordered((str(pair["values"]), int(pair["counts"])) for pair in pc.value_counts(values).to_pylist()))


def _ordered(counts: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    return sorted(counts, key=lambda pair: (-pair[1], pair[0]))


def _shows(distinct: int, known: int) -> bool:
    """Whether a column's most frequent values are shown."""
    return distinct <= max(_TOP, _NAMES_SHARE * known)


def _top(known: pa.ChunkedArray, distinct: int) -> dict[str, int]:
    if not _shows(distinct, len(known)):
        return {}
    return dict(list(_frequencies(known).items())[:_TOP])


def _duplicates(declaration: Declaration, path: Path) -> int:
    names = list(_without_key(declaration))
    table = read(path, names)
    return int(table.num_rows - table.group_by(names).aggregate([]).num_rows)


def _without_key(declaration: Declaration) -> tuple[str, ...]:
    return tuple(word.name for word in declaration_words(declaration) if word.name not in declaration.source.key)


def _changes(declaration: Declaration, now: pa.Table, then: pa.Table, version: str) -> Changes:
    words = [word for word in declaration_words(declaration) if word.name in then.column_names]
    columns = [
        _column_change(word, now.column(word.name), then.column(word.name))
        for word in words
        if not now.column(word.name).equals(then.column(word.name))
    ]
    key = list(declaration.source.key)
    names = [word.name for word in words]
    now, then = now.select(names), then.select(names)
    added = now.select(key).join(then.select(key), keys=key, join_type="left anti").num_rows
    removed = then.select(key).join(now.select(key), keys=key, join_type="left anti").num_rows
    # Rows that stand in both as they are; a join does not find NULL equal to NULL, a grouping does.
    both = pa.concat_tables([now, then]).group_by(names).aggregate([([], "count_all")])
    same = pc.sum(pc.equal(both["count_all"], 2)).as_py() or 0
    return Changes(
        against=version,
        rows_before=then.num_rows,
        added=added,
        removed=removed,
        changed=now.num_rows - added - same,
        columns=tuple(columns),
    )


def _column_change(word: Word, now: pa.ChunkedArray, then: pa.ChunkedArray) -> ColumnChange:
    change: dict[str, Any] = {
        "name": word.name,
        "missing_share": now.null_count / max(1, len(now)) - then.null_count / max(1, len(then)),
    }
    now, then = now.drop_null(), then.drop_null()
    if len(now) and len(then):
        if pa.types.is_string(now.type):
            change |= _category_change(now, then)
        elif not pa.types.is_timestamp(now.type):
            one, two = _floats(now), _floats(then)
            change["median"] = float(np.median(one) - np.median(two))
            change["psi"] = _psi_of_numbers(one, two)
    return ColumnChange(**change)


def _category_change(now: pa.ChunkedArray, then: pa.ChunkedArray) -> dict[str, Any]:
    one, two = _frequencies(now), _frequencies(then)
    if not _shows(len(two), len(then)):
        return {}
    names = sorted({*one, *two})
    psi = _psi(np.array([one.get(name, 0) for name in names]), np.array([two.get(name, 0) for name in names]))
    appeared, vanished = sorted(one.keys() - two.keys()), sorted(two.keys() - one.keys())
    return {"psi": psi, "appeared": tuple(appeared[:_TOP]), "vanished": tuple(vanished[:_TOP])}


def _psi_of_numbers(now: NDArray[np.float64], then: NDArray[np.float64]) -> float:
    # Ten bins of equally many former values; equal edges of lumpy columns are one.
    edges = np.unique(np.quantile(then, np.linspace(0, 1, 11)[1:-1]))
    return _psi(
        *(np.bincount(np.searchsorted(edges, each, side="right"), minlength=len(edges) + 1) for each in (now, then))
    )


def _psi(now: NDArray[Any], then: NDArray[Any]) -> float:
    """Population stability index: the sum of (p - q) ln(p / q) over bins, 0 for equal shares."""
    one, two = (np.clip(each / each.sum(), _SMALLEST_SHARE, None) for each in (now, then))
    return float(((one - two) * np.log(one / two)).sum())


def _lines(made: Profile) -> Iterator[str]:
    yield f"# Data profile: {made.model}, data version {made.version}"
    yield ""
    if made.origin == "mock":
        yield "**Mock data: these rows are made up.**"
        yield ""
    origin = f" Origin: {made.origin}." if made.origin else ""
    yield (
        f"{made.rows:,} rows, {made.rejected:,} set aside when the snapshot was taken, {made.duplicates:,} that repeat "
        f"another row in everything but the key.{origin}"
    )
    if made.estimated_from is not None:
        yield ""
        yield (
            f"Quantiles and changes are estimated from {made.estimated_from:,} rows drawn evenly, and more than 4,096 "
            "different values from their hashes; everything else is counted."
        )
    yield ""
    yield "| Column | Role | Missing | Distinct | Range | Median (middle half) | Distribution |"
    yield "|---|---|---:|---:|---|---|---|"
    for column in made.columns:
        yield _line(column)
    if made.changes is not None:
        yield ""
        yield from _change_lines(made.changes, made.rows)


def _line(column: ColumnProfile) -> str:
    unit = f" {column.unit}" if column.unit else ""
    span = "" if column.minimum is None else f"{_shown(column.minimum)} – {_shown(column.maximum)}{unit}"
    middle = ""
    if column.quantiles:
        lower, median, upper = (_shown(column.quantiles[level]) for level in ("0.25", "0.5", "0.75"))
        middle = f"{median} ({lower} – {upper})"
    spread = _bars(column.counts)
    if column.top:
        known = sum(column.top.values())
        spread = ", ".join(f"{_cell(value)} {count / known:.0%}" for value, count in list(column.top.items())[:6])
    missing = f"{column.missing:,} ({column.missing_share:.1%})" if column.missing else "0"
    return f"| {column.name} | {column.role} | {missing} | {column.distinct:,} | {span} | {middle} | {spread} |"


def _change_lines(changes: Changes, rows: int) -> Iterator[str]:
    yield f"## Changes since {changes.against}"
    yield ""
    yield (
        f"{changes.rows_before:,} rows before, {rows:,} now: {changes.added:,} added, {changes.removed:,} removed, "
        f"{changes.changed:,} changed."
    )
    if not changes.columns:
        return
    yield ""
    yield "| Column | Missing | Median | Shift (PSI) | Appeared | Vanished |"
    yield "|---|---:|---:|---|---|---|"
    for column in changes.columns:
        median = "" if column.median is None else f"{column.median:+.4g}"
        psi = "" if column.psi is None else f"{column.reading} ({column.psi:.3f})"
        appeared, vanished = (", ".join(map(_cell, each)) for each in (column.appeared, column.vanished))
        yield f"| {column.name} | {column.missing_share:+.1%} | {median} | {psi} | {appeared} | {vanished} |"


def _bars(counts: tuple[int, ...]) -> str:
    most = max(counts, default=0)
    return "".join(_BARS[min(len(_BARS) - 1, count * len(_BARS) // (most + 1))] if count else " " for count in counts)


def _shown(value: float | str | None) -> str:
    return f"{value:,.6g}" if isinstance(value, float) else str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
