"""The snapshot: a model's table as of one moment, as a parquet file whose bytes repeat."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Self

import pyarrow as pa
import pyarrow.parquet as pq

from sigap.catalog import Declaration
from sigap.data.content import counted_now
from sigap.data.contract import Checked, Contract, Reject
from sigap.data.reading import Reading, consistent_reading
from sigap.data.versions import DataVersions
from sigap.errors import ContractError, VersionError
from sigap.settings import Settings

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# Fixed, so that the bytes depend on the rows alone and not on how the server cut them into batches.
ROW_GROUP = 131_072

_WAITING = 2

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Snapshot:
    """A snapshot that was taken and recorded.

    Attributes:
        model: Whose table.
        path: The parquet file, relative to the checkout.
        md5: Its hash, by which DVC knows it.
        version: Name of the data version.
        rows: Rows in the file.
        rejected: Rows that were set aside.
        created: Whether this is a new version; False when the data is that of a version there was.
        git_commit: Commit of the version's tag; empty when committing is off.
        query: The SELECT that gave the rows.
        rejects_path: CSV with the reasons, relative to the checkout where it lies in it; empty when `rejected` is 0.
        origin: Where the rows are from, in one word; see `sigap.data.origin.origin_of`.
        content: What the tables held, as `sigap.data.content.Content` with its time as text; empty of restored data.
    """

    model: str
    path: str
    md5: str
    version: str
    rows: int
    rejected: int
    created: bool
    git_commit: str
    query: str
    rejects_path: str
    origin: str = ""
    content: dict[str, str] = field(default_factory=dict)


def take_snapshot(
    declaration: Declaration, settings: Settings, *, version: str | None = None, progress: Progress | None = None
) -> Snapshot:
    """Reads the model's table as of now, sets aside rows that break the contract, and records the rest as a version.

    Identical rows give an identical file and therefore the version there is. Anything that fails leaves the last
    snapshot, its pointer and its version as they were.

    Args:
        declaration: Whose table, and what its rows have to be.
        settings: Where the database, the checkout and the state folder are.
        version: Name of the new version; by default the next of v1, v2, …
        progress: Called with the rows read so far and the rows there are, of a large table about.

    Raises:
        ContractError: The table can't be read as declared, is empty, or no row of it keeps the contract.
        ServiceError: PostgreSQL can't be reached, or went away meanwhile.
        VersionError: The file can't be written (disk full), the version's name is taken, or DVC or Git fails.
    """
    versions = DataVersions(settings)
    versions.check_name(declaration.name, version)
    path = versions.path(declaration.name)
    rejects = settings.state / "rejects" / declaration.name
    counted = counted_now(settings, declaration)
    with versions.lock(), consistent_reading(declaration, settings) as reading:
        draft = _Draft(path.with_name(f".{path.name}.draft"), rejects / ".draft.csv", declaration, reading)
        with draft:
            _stream(reading, draft, progress)
            draft.finish()
            recorded = versions.adopt(declaration.name, draft.path, draft.md5, version)
            final = draft.keep_rejects(rejects / f"{recorded.name}.csv")
        held = reading.digest()
    return Snapshot(
        model=declaration.name,
        path=path.relative_to(settings.root).as_posix(),
        md5=recorded.md5,
        version=recorded.name,
        rows=draft.rows,
        rejected=draft.rejected,
        created=recorded.created,
        git_commit=recorded.commit,
        query=reading.query,
        rejects_path=_relative(final, settings.root) if final else "",
        origin=reading.origin,
        content={**counted, "digest": held} if counted and held else {},
    )


def write_file(declaration: Declaration, settings: Settings, path: Path, rejects: Path) -> int:
    """Writes what a snapshot taken now would hold to `path`, and the reasons of rows set aside to `rejects`.

    Nothing is recorded: this is for looking and measuring.

    Returns:
        Rows in the file.

    Raises:
        ContractError: See `take_snapshot`.
        ServiceError: See `take_snapshot`.
        VersionError: The file can't be written.
    """
    with consistent_reading(declaration, settings) as reading:
        draft = _Draft(path.with_name(f".{path.name}.draft"), rejects.with_suffix(".draft"), declaration, reading)
        with draft:
            _stream(reading, draft, None)
            draft.finish()
            draft.path.replace(path)
            draft.keep_rejects(rejects)
    return draft.rows


def _stream(reading: Reading, draft: _Draft, progress: Progress | None) -> None:
    """Checks and writes each batch on a second thread while the next one is read."""
    read = 0
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="snapshot") as writer:
        writing: deque[Future[None]] = deque()
        for batch in reading.batches():
            # Few enough to bound the memory, enough that neither thread waits for the other's slow moment.
            if len(writing) == _WAITING:
                writing.popleft().result()
            writing.append(writer.submit(draft.add, batch))
            read += batch.num_rows
            if progress is not None:
                progress(read, max(read, reading.rows))
        for each in writing:
            each.result()


class _HashedFile(io.RawIOBase):
    """A file that is hashed as it is written: reading it again would cost a twentieth of the whole."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.md5 = hashlib.md5(usedforsecurity=False)

    def writable(self) -> bool:
        return True

    def write(self, content: ReadableBuffer) -> int:
        self.md5.update(content)
        return self._file.write(content)


class _Draft:
    """A snapshot while it is being written, beside its final place; leaving the block removes what is left of it."""

    def __init__(self, path: Path, rejects: Path, declaration: Declaration, reading: Reading) -> None:
        self.path = path
        self.rows = 0
        self.rejected = 0
        self.md5 = ""
        self._rejects = rejects
        self._declaration = declaration
        self._reading = reading
        self._contract = Contract(declaration, reading.names)
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = 0
        self._first: Reject | None = None
        self._parquet: pq.ParquetWriter | None = None

    def __enter__(self) -> Self:
        self._open = ExitStack()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._rejects.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._open.enter_context(self.path.open("wb"))
            self._hashed = _HashedFile(self._file)
            self._reasons = self._open.enter_context(self._rejects.open("w", newline="", encoding="utf-8"))
            self._table = csv.writer(self._reasons)
            self._table.writerow([*self._declaration.source.key, "field", "found", "expected"])
        except OSError as error:
            self._discard()
            raise self._unwritable(error) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._discard()
        if isinstance(error, OSError):
            raise self._unwritable(error) from error

    def add(self, batch: pa.RecordBatch) -> None:
        """Checks the batch, and writes what has become whole row groups."""
        self._take(self._contract.check(batch))

    def finish(self) -> None:
        """Writes what is left, closes the file, and makes sure that it is on the disk.

        Raises:
            ContractError: No row kept the contract.
        """
        self._take(self._contract.finish())
        if not self.rows:
            raise self._nothing_left()
        parquet = self._write_groups(last=True)
        metadata = {
            "sigap.model": self._declaration.name,
            "sigap.query": self._reading.query,
            "sigap.rows": str(self.rows),
            "sigap.rejected": str(self.rejected),
            # Part of what the file is: the same figures are another version once they are no longer made up.
            "sigap.origin": self._reading.origin,
        }
        parquet.add_key_value_metadata(metadata)
        parquet.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._open.close()
        self.md5 = self._hashed.md5.hexdigest()

    def _writer(self, *, small: bool) -> pq.ParquetWriter:
        """Opens the parquet file.

        A small table is written by dictionary, of a large one the texts alone: a million different numbers fill a
        dictionary that is then thrown away, which takes three times the time and twice the bytes.
        """
        schema = self._contract.schema
        texts = [field.name for field in schema if pa.types.is_string(field.type)]
        # DVC names a file by its bytes alone, so the driver's and the library's defaults are no part of this call.
        writer = pq.ParquetWriter(self._hashed, schema, compression="zstd", use_dictionary=small or texts)
        return self._open.enter_context(writer)

    def keep_rejects(self, path: Path) -> Path | None:
        """Moves the reasons to `path`; None, and no file there, when no row was set aside."""
        if not self.rejected:
            path.unlink(missing_ok=True)
            return None
        return self._rejects.replace(path)

    def _take(self, checked: Checked) -> None:
        self.rejected += checked.rejected_rows
        for reject in checked.rejects:
            self._first = self._first or reject
            self._table.writerow([*reject.key, reject.field, reject.found, reject.expected])
        if checked.good.num_rows:
            self.rows += checked.good.num_rows
            self._pending.append(checked.good)
            self._pending_rows += checked.good.num_rows
            if self._pending_rows >= ROW_GROUP:
                self._write_groups()

    def _write_groups(self, *, last: bool = False) -> pq.ParquetWriter:
        table = pa.Table.from_batches(self._pending, schema=self._contract.schema)
        if self._parquet is None:
            self._parquet = self._writer(small=last)
        whole = table.num_rows if last else table.num_rows // ROW_GROUP * ROW_GROUP
        self._parquet.write_table(table.slice(0, whole).combine_chunks(), row_group_size=ROW_GROUP)
        self._pending = table.slice(whole).to_batches()
        self._pending_rows = table.num_rows - whole
        return self._parquet

    def _nothing_left(self) -> ContractError:
        first = ""
        if self._first is not None:
            key = ", ".join(self._first.key)
            first = f" The first: {key}: {self._first.field} is {self._first.found}, expected {self._first.expected}."
        return ContractError(
            f"None of the {self.rejected} rows of {self._declaration.source.table} keeps the contract.{first}",
            remedy="Correct the rows; the last snapshot stays in use.",
        )

    def _unwritable(self, error: OSError) -> VersionError:
        return VersionError(
            f"The snapshot of {self._declaration.name!r} can't be written to {self.path.parent}: "
            f"{error.strerror or error}.",
            remedy="Make room there (`df -h`) or correct its rights, and run it again; the last snapshot is untouched.",
        )

    def _discard(self) -> None:
        # Closing flushes, which fails once more on a full disk and says nothing new.
        with suppress(OSError):
            self._open.close()
        self.path.unlink(missing_ok=True)
        self._rejects.unlink(missing_ok=True)


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
