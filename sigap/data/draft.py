"""A snapshot while it is being written: checked rows as one parquet file, or as partitions once they are many."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Self

import pyarrow as pa
import pyarrow.parquet as pq

from sigap.catalog import Declaration
from sigap.data.contract import Checked, Contract, Reject
from sigap.data.keeping import folder_md5, md5_of, remove
from sigap.data.parts import COMMON, part_name
from sigap.data.reading import Reading
from sigap.errors import ContractError, VersionError
from sigap.settings import Settings

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# Fixed, so that the bytes depend on the rows alone and not on how the server cut them into batches.
ROW_GROUP = 131_072


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


class _Part:
    """One parquet file while it is being written.

    Args:
        path: Where to.
        schema: Of its rows.
        small: Whether it is written by dictionary. Of a large table the texts alone are: a million different numbers
            fill a dictionary that is then thrown away, which takes three times the time and twice the bytes.
    """

    def __init__(self, path: Path, schema: pa.Schema, *, small: bool) -> None:
        self.rows = 0
        self._open = ExitStack()
        texts = [field.name for field in schema if pa.types.is_string(field.type)]
        with ExitStack() as opened:
            self._file = opened.enter_context(path.open("wb"))
            self._hashed = _HashedFile(self._file)
            # DVC names a file by its bytes alone, so the driver's and the library's defaults are no part of this call.
            writer = pq.ParquetWriter(self._hashed, schema, compression="zstd", use_dictionary=small or texts)
            self._parquet = opened.enter_context(writer)
            self._open = opened.pop_all()

    def write(self, table: pa.Table) -> None:
        """Writes rows as row groups of `ROW_GROUP`, the last of them shorter."""
        self._parquet.write_table(table.combine_chunks(), row_group_size=ROW_GROUP)
        self.rows += table.num_rows

    def end(self, facts: dict[str, str] | None = None) -> str:
        """Closes the file, with these notes in it, makes sure that it is on the disk, and gives its md5."""
        if facts:
            self._parquet.add_key_value_metadata(facts)
        self._parquet.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self.close()
        return self._hashed.md5.hexdigest()

    def close(self) -> None:
        """Closes the file as it is."""
        self._open.close()


class Draft:
    """A snapshot beside its final place; leaving the block removes what is left of it.

    Up to `partition_rows` rows are one file with its notes inside. Beyond, each so many are a file without notes, so
    that a file's bytes depend on its rows alone, and the notes stand in a file of their own.

    Args:
        folder: Where it is written.
        rejects: Where the reasons of rows set aside are written.
        declaration: What rows have to be.
        reading: Where they come from.
        settings: Say how many rows a partition has.

    Attributes:
        path: What is to be moved to the final place after `finish`: a file or a folder.
        md5: Its hash as DVC has it.
        rows: Rows in it.
        rejected: Rows that were set aside.
    """

    def __init__(
        self, folder: Path, rejects: Path, declaration: Declaration, reading: Reading, settings: Settings
    ) -> None:
        self.path = folder
        self.rows = 0
        self.rejected = 0
        self.md5 = ""
        self._folder = folder
        self._rejects = rejects
        self._declaration = declaration
        self._reading = reading
        self._most = settings.partition_rows
        self._contract = Contract(declaration, reading.names)
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = 0
        self._first: Reject | None = None
        self._part: _Part | None = None
        self._ended: dict[str, str] = {}

    def __enter__(self) -> Self:
        self._open = ExitStack()
        try:
            remove(self._folder)
            self._folder.mkdir(parents=True)
            self._rejects.parent.mkdir(parents=True, exist_ok=True)
            reasons = self._open.enter_context(self._rejects.open("w", newline="", encoding="utf-8"))
            self._table = csv.writer(reasons)
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
        """Writes what is left, closes all files, and makes sure that they are on the disk.

        Raises:
            ContractError: No row kept the contract.
        """
        self._take(self._contract.finish())
        if not self.rows:
            raise self._nothing_left()
        part = self._write(last=True)
        facts = {
            "sigap.model": self._declaration.name,
            "sigap.query": self._reading.query,
            "sigap.rows": str(self.rows),
            "sigap.rejected": str(self.rejected),
            # Part of what the snapshot is: the same figures are another version once they are no longer made up.
            "sigap.origin": self._reading.origin,
        }
        if self._ended:
            self._end(part)
            pq.write_metadata(self._contract.schema.with_metadata(facts), self._folder / COMMON)
            self.md5 = folder_md5({**self._ended, COMMON: md5_of(self._folder / COMMON)})
        else:
            self.path = self._folder / part_name(0)
            self.md5 = part.end(facts)
        self._open.close()

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
            begun = self._part.rows if self._part else 0
            if self._pending_rows >= ROW_GROUP or begun + self._pending_rows > self._most:
                self._write()

    def _write(self, *, last: bool = False) -> _Part:
        table = pa.Table.from_batches(self._pending, schema=self._contract.schema)
        # One file holds as many rows as a partition; only a row more makes partitions of them.
        part = self._part or self._begin(small=last and table.num_rows <= self._most)
        while part.rows + table.num_rows > self._most:
            room = self._most - part.rows
            if room:
                part.write(table.slice(0, room))
            table = table.slice(room)
            self._end(part)
            part = self._begin(small=False)
        whole = table.num_rows if last else table.num_rows // ROW_GROUP * ROW_GROUP
        if whole or not self._ended:
            part.write(table.slice(0, whole))
        self._pending = table.slice(whole).to_batches()
        self._pending_rows = table.num_rows - whole
        return part

    def _begin(self, *, small: bool) -> _Part:
        path = self._folder / part_name(len(self._ended))
        self._part = _Part(path, self._contract.schema, small=small)
        return self._part

    def _end(self, part: _Part) -> None:
        self._ended[part_name(len(self._ended))] = part.end()

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
            f"The snapshot of {self._declaration.name!r} can't be written to {self._folder.parent}: "
            f"{error.strerror or error}.",
            remedy="Make room there (`df -h`) or correct its rights, and run it again; the last snapshot is untouched.",
        )

    def _discard(self) -> None:
        # Closing flushes, which fails once more on a full disk and says nothing new.
        if self._part is not None:
            with suppress(OSError):
                self._part.close()
        with suppress(OSError):
            self._open.close()
        remove(self._folder)
        self._rejects.unlink(missing_ok=True)
