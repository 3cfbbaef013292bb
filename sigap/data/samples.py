"""A fixed sample of a snapshot's rows, for what can't hold all of them: the same rows each time, whatever lies on disk.

Each row gets a number, and the rows with the smallest numbers are the sample ("bottom-k"; Cohen and Kaplan 2007,
doi:10.1145/1281100.1281133). The number is a hash of the row's key, so that a sample is drawn evenly, needs no memory
beyond itself, and of two versions of a table holds the same keys. Rows of one entity at several times stay together; of
a series, the newest rows are taken, for it has to be without holes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sigap.catalog import Declaration
from sigap.catalog.declaration import Forecasting
from sigap.data.keeping import md5_of, remove
from sigap.data.parts import batches, described
from sigap.data.versions import DataVersions
from sigap.errors import VersionError
from sigap.settings import Settings

SEED = 20240601
_ODD = np.uint64(0x9E3779B97F4A7C15)
_BOUND = "sigap.bound"
_OF = "sigap.of"
# Of each model: a run takes one and compares with a former one.
_KEPT = 3

Numbers = NDArray[np.uint64]
Numbering = Callable[[pa.RecordBatch, tuple[str, ...]], Numbers]


@dataclass(frozen=True)
class Sampled:
    """Rows that are trained on.

    Attributes:
        path: Where they lie, as a snapshot does: all of it, or one parquet file with the sample.
        rows: How many they are.
        of: Rows of the snapshot.
        drawn: How they were drawn, in English; empty where they are all.
    """

    path: Path
    rows: int
    of: int
    drawn: str = ""


class Smallest:
    """The smallest of many numbers, in memory for twice as many as are wanted.

    Args:
        count: How many are wanted.
    """

    def __init__(self, count: int) -> None:
        # One more, which is the first that does not belong to them.
        self._wanted = count + 1
        self._held: Numbers = np.empty(0, dtype=np.uint64)

    def add(self, numbers: Numbers) -> None:
        """Takes further numbers."""
        if len(self._held) >= self._wanted:
            numbers = numbers[numbers < self._held[: self._wanted].max()]
        self._held = np.concatenate([self._held, numbers])
        if len(self._held) >= 2 * self._wanted:
            self._shrink()

    def bound(self) -> int | None:
        """What the wanted numbers are all below; None where there are no more than wanted."""
        self._shrink()
        return int(self._held.max()) if len(self._held) == self._wanted else None

    def _shrink(self) -> None:
        if len(self._held) > self._wanted:
            self._held = np.partition(self._held, self._wanted - 1)[: self._wanted]


def training_sample(declaration: Declaration, settings: Settings, md5: str) -> Sampled:
    """The rows of a stored snapshot that are trained on: all, or a sample where they are more than `training_rows`.

    A sample is drawn once and kept in the state folder.

    Args:
        declaration: Whose snapshot.
        settings: Where it is, and how many rows are trained on.
        md5: Its hash.

    Raises:
        VersionError: The snapshot is neither in DVC's cache nor in its remote, or the sample can't be written.
    """
    return _sampled(declaration, settings, md5, lambda: DataVersions(settings).stored(declaration.name, md5))


def sample_of(declaration: Declaration, settings: Settings, snapshot: Path) -> Path:
    """The same of a snapshot that lies anywhere; one that can't be read is given back, for its reader to say why.

    Raises:
        VersionError: The sample can't be written.
    """
    try:
        if described(snapshot).rows <= settings.training_rows:
            return snapshot
        md5 = md5_of(snapshot)
    except (OSError, ValueError):
        return snapshot
    return _sampled(declaration, settings, md5, lambda: snapshot).path


def _sampled(declaration: Declaration, settings: Settings, md5: str, find: Callable[[], Path]) -> Sampled:
    limit = settings.training_rows
    # What it is drawn by is part of its name: a declaration may change.
    by = hashlib.sha256(repr((limit, SEED, _by(declaration))).encode()).hexdigest()[:8]
    path = settings.state / "samples" / declaration.name / f"{md5}-{by}.parquet"
    if path.exists():
        try:
            found = described(path)
            os.utime(path)
            return Sampled(path, found.rows, int(found.facts[_OF]), _drawn(declaration))
        except (OSError, ValueError, KeyError):
            # Damaged, or deleted meanwhile: it is drawn again.
            remove(path)
    stored = find()
    rows = described(stored).rows
    if rows <= limit:
        return Sampled(stored, rows, rows)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        table = write_sample(declaration, stored, path, limit)
        for old in sorted(path.parent.glob("*.parquet"), key=lambda each: each.stat().st_mtime)[:-_KEPT]:
            remove(old)
    except OSError as error:
        raise VersionError(
            f"The sample of {declaration.name!r} that is trained on can't be written to {path.parent}: "
            f"{error.strerror or error}.",
            remedy="Make room there (`df -h`) or correct its rights, and run it again.",
        ) from error
    return Sampled(path, table.num_rows, rows, _drawn(declaration))


def write_sample(
    declaration: Declaration, snapshot: Path, path: Path, limit: int, reference: Path | None = None
) -> pa.Table:
    """Writes a sample of a snapshot as one parquet file, whole or not at all, and gives its rows.

    Args:
        declaration: Whose snapshot.
        snapshot: The file or folder.
        path: Where to.
        limit: Most rows.
        reference: A sample of another version; then of the keys that are in both versions, either both samples hold
            one or none of them does.
    """
    highest = _bound_of(reference) if reference else None
    table, bound = _drawn_from(declaration, snapshot, limit, highest)
    noted = {_OF: str(described(snapshot).rows), **({_BOUND: str(bound)} if bound is not None else {})}
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    try:
        pq.write_table(table.replace_schema_metadata(noted), draft, compression="zstd", row_group_size=131_072)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return table


def sample(declaration: Declaration, snapshot: Path, limit: int) -> pa.Table:
    """At most `limit` rows of a snapshot, in the order of its key; all where there are no more."""
    return _drawn_from(declaration, snapshot, limit, None)[0]


def keyed_samples(
    declaration: Declaration, snapshots: Sequence[Path], limit: int
) -> tuple[tuple[pa.Table, ...], float]:
    """At most `limit` rows of each of several versions of a table, drawn by their keys: the same keys of each.

    Returns:
        The rows, and the share of all keys that was drawn: 1 where no version has more rows than `limit`.
    """
    bounds = [_bound(each, limit, tuple(declaration.source.key), hashes) for each in snapshots]
    bound = min((each for each in bounds if each is not None), default=None)
    drawn = tuple(_below(each, bound, tuple(declaration.source.key), hashes) for each in snapshots)
    return drawn, 1.0 if bound is None else bound / 2.0**64


def hashes(batch: pa.RecordBatch, names: tuple[str, ...]) -> Numbers:
    """A hash of some columns of each row, shape (rows,): the same for the same values on every machine."""
    found: Numbers = np.full(batch.num_rows, SEED, dtype=np.uint64)
    for name in names:
        found = _mixed(found * _ODD ^ _hashed(batch.column(name)))
    return found


def _drawn_from(
    declaration: Declaration, snapshot: Path, limit: int, highest: int | None
) -> tuple[pa.Table, int | None]:
    by, numbers = _by(declaration), _newest if isinstance(declaration.task, Forecasting) else hashes
    found = (_bound(snapshot, limit, by, numbers), highest)
    bound = min((each for each in found if each is not None), default=None)
    return _below(snapshot, bound, by, numbers), bound


def _bound(snapshot: Path, limit: int, by: tuple[str, ...], numbers: Numbering) -> int | None:
    """What the numbers of the sample's rows are below; None where all rows belong to it."""
    if described(snapshot).rows <= limit:
        return None
    smallest = Smallest(limit)
    for batch in batches(snapshot, by):
        smallest.add(numbers(batch, by))
    return smallest.bound()


def _below(snapshot: Path, bound: int | None, by: tuple[str, ...], numbers: Numbering) -> pa.Table:
    kept = (
        # Filtering copies: of a view, the memory of all rows would be held.
        batch if bound is None else batch.filter(pa.array(numbers(batch, by) < np.uint64(bound)))
        for batch in batches(snapshot)
    )
    return pa.Table.from_batches(list(kept), schema=described(snapshot).schema)


def _by(declaration: Declaration) -> tuple[str, ...]:
    """The columns that a row's number is made of."""
    source = declaration.source
    if isinstance(declaration.task, Forecasting):
        return (source.time,)
    return (source.entity,) if source.time and source.entity else tuple(source.key)


def _drawn(declaration: Declaration) -> str:
    by = ", ".join(_by(declaration))
    if isinstance(declaration.task, Forecasting):
        return f"the newest by {by}"
    return f"drawn evenly by a hash of {by}, seed {SEED}"


def _newest(batch: pa.RecordBatch, by: tuple[str, ...]) -> Numbers:
    """Numbers of which the newest rows have the smallest; the contract leaves no row without its time."""
    micros = pc.cast(batch.column(by[0]), pa.int64()).to_numpy(zero_copy_only=False)
    # As unsigned numbers in the order of time, and that turned round.
    numbers: Numbers = ~(micros.view(np.uint64) ^ np.uint64(2**63))
    return numbers


def _bound_of(path: Path) -> int | None:
    noted = described(path).facts.get(_BOUND)
    return int(noted) if noted else None


def _hashed(column: pa.Array) -> Numbers:
    if pa.types.is_string(column.type):
        # Each text once: of a category there are few.
        coded = column.dictionary_encode()
        words = coded.dictionary.to_numpy(zero_copy_only=False)
        known = np.append(pd.util.hash_array(words, categorize=False), np.uint64(0)).astype(np.uint64)
        at = pc.fill_null(coded.indices, len(words)).to_numpy(zero_copy_only=False)
        texts: Numbers = known[at]
        return texts
    plain = pc.cast(column, pa.int64()) if pa.types.is_timestamp(column.type) else column
    # Zero has two signs and is one number.
    values = pc.fill_null(plain, 0).to_numpy(zero_copy_only=False) + 0
    numbers: Numbers = _mixed(np.ascontiguousarray(values).view(np.uint64))
    if column.null_count:
        numbers = np.where(column.is_null().to_numpy(zero_copy_only=False), np.uint64(0), numbers)
    return numbers


def _mixed(numbers: Numbers) -> Numbers:
    """Spreads numbers evenly over 64 bits (splitmix64; Steele, Lea and Flood 2014, doi:10.1145/2714064.2660195)."""
    mixed = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    result: Numbers = mixed ^ (mixed >> np.uint64(31))
    return result
