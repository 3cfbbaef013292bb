"""CSV in any usual dialect: its encoding and delimiter are found out, its rows come in blocks."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backend.files.faults import unusable
from backend.files.headers import matches

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK_BYTES = 2**19
# A record longer than this is no record: a quotation mark was opened and never closed.
MOST_RECORD_BYTES = 2 * 2**20
MOST_COLUMNS = 1000
# So many records at once, however short they are.
MOST_RECORDS = 32_768
_DELIMITERS = ",;\t|"
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SAVE = "Save it as CSV in UTF-8."


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written.

    Attributes:
        encoding: Of its bytes.
        delimiter: Between its cells.
        bom: Whether it starts with a byte order mark, as Excel likes it.
        skipped: Bytes before the header.
    """

    encoding: str
    delimiter: str
    bom: bool
    skipped: int

    @property
    def decimal_comma(self) -> bool:
        """Whether numbers may be written 92,5: only where the comma is not the delimiter."""
        return self.delimiter == ";"


@dataclass(frozen=True)
class Piece:
    """Some whole records, in UTF-8, and the line of the file that they begin in."""

    content: bytes
    line: int


class TextFile:
    """An open CSV file.

    Args:
        path: The file.
        expected: Names of the columns that are looked for, by which the delimiter is told.

    Raises:
        RequestError: 422, it is no text, or its header can't be read.
    """

    def __init__(self, path: Path, expected: tuple[str, ...]) -> None:
        self._path = path
        encoding, skipped = _encoding(path)
        self._records = self._pieces_of(encoding, skipped)
        first = next(self._records, None)
        if first is None:
            raise unusable("The file is empty.", _SAVE)
        content = first.content
        delimiter = ""
        if content[:4].lower() == b"sep=":
            # Excel's own way to name the delimiter.
            line, _, content = content.partition(b"\n")
            delimiter = line[4:5].decode("ascii", "replace")
        head = _first_record(content)
        if delimiter not in _DELIMITERS or not delimiter:
            delimiter = max(_DELIMITERS, key=lambda each: _likelihood(head, each, expected))
        self.dialect = Dialect(encoding, delimiter, skipped > 0, skipped)
        self.names, rest = self._header(content)
        self._first = Piece(rest, first.line + content[: len(content) - len(rest)].count(b"\n"))

    def pieces(self) -> Iterator[Piece]:
        """The records after the header, some at a time.

        Raises:
            RequestError: 422, the file can't be read on.
        """
        if self._first.content.strip():
            yield self._first
        yield from self._records

    def _header(self, content: bytes) -> tuple[tuple[str, ...], bytes]:
        reader = csv.reader(io.StringIO(content.decode(), newline=""), delimiter=self.dialect.delimiter)
        try:
            names = next(row for row in reader if any(cell.strip() for cell in row))
        except (StopIteration, csv.Error) as error:
            raise unusable("The file has no header that can be read.", _SAVE) from error
        if len(names) > MOST_COLUMNS:
            raise unusable(f"The file has {len(names)} columns.", f"Send at most {MOST_COLUMNS}.")
        lines = content.split(b"\n", reader.line_num)
        return tuple(name.strip() for name in names), lines[-1] if len(lines) > reader.line_num else b""

    def _pieces_of(self, encoding: str, skipped: int) -> Iterator[Piece]:
        rest, line = b"", 1
        with self._path.open("rb") as file:
            file.seek(skipped)
            for block in _utf8_blocks(file, encoding):
                *whole, rest = _split(rest + block)
                for content in whole:
                    yield Piece(content, line)
                    line += content.count(b"\n")
                if len(rest) > MOST_RECORD_BYTES:
                    raise unusable(
                        f"The record in line {line} has no end within {MOST_RECORD_BYTES} bytes.",
                        "A quotation mark may have been opened and never closed.",
                    )
        if rest.strip():
            yield Piece(rest, line)

    def table(self, piece: Piece) -> tuple[pa.Table, dict[int, str]]:
        """The rows of a piece as texts, and what is wrong with those that have too few or too many cells.

        Wholly empty lines are left out.
        """
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        names = [str(at) for at in range(len(self.names))]
        try:
            table = arrow_csv.read_csv(
                pa.BufferReader(piece.content),
                read_options=arrow_csv.ReadOptions(
                    column_names=names, use_threads=False, block_size=max(len(piece.content) + 1, 1024)
                ),
                parse_options=arrow_csv.ParseOptions(
                    delimiter=self.dialect.delimiter, newlines_in_values=b'"' in piece.content
                ),
                convert_options=arrow_csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False, check_utf8=False
                ),
            )
        except pa.ArrowInvalid:
            return self._ragged(piece)
        return table.combine_chunks(), {}

    def _ragged(self, piece: Piece) -> tuple[pa.Table, dict[int, str]]:
        width = len(self.names)
        rows: list[list[str]] = []
        faults: dict[int, str] = {}
        reader = csv.reader(io.StringIO(piece.content.decode(), newline=""), delimiter=self.dialect.delimiter)
        try:
            for row in reader:
                if not row:
                    continue
                if len(row) != width:
                    faults[len(rows)] = f"The row has {len(row)} cells, the header {width}."
                    row = (row + [""] * width)[:width]
                rows.append(row)
        except csv.Error as error:
            raise unusable(
                f"The file can't be read from line {piece.line + reader.line_num} on: {error}.", _SAVE
            ) from error
        return text_table(list(zip(*rows, strict=True)) or [[]] * width), faults


def text_table(columns: list[Any]) -> pa.Table:
    """A table of texts; its columns are called by their position."""
    import pyarrow as pa

    arrays = [pa.array(list(column), pa.string()) for column in columns]
    return pa.Table.from_arrays(arrays, [str(at) for at in range(len(arrays))])


def _encoding(path: Path) -> tuple[str, int]:
    """The encoding and the length of the byte order mark.

    UTF-8 if the whole file is that, else Windows-1252, in which older Excel saves.
    """
    with path.open("rb") as file:
        head = file.read(4)
        for bom, encoding in _BOMS:
            if head.startswith(bom):
                if encoding == "utf-8" and not _decodes(path, encoding):
                    raise unusable("The file says that it is UTF-8 and is not.", _SAVE)
                return encoding, len(bom)
    for encoding in ("utf-8", "cp1252"):
        if _decodes(path, encoding):
            return encoding, 0
    raise unusable("The file is no text in UTF-8, UTF-16 or Windows-1252.", _SAVE)


def _decodes(path: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    with path.open("rb") as file:
        try:
            while block := file.read(BLOCK_BYTES):
                if b"\0" in block:
                    raise unusable("The file holds zero bytes: it is no text.", _SAVE)
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def _utf8_blocks(file: IO[bytes], encoding: str) -> Iterator[bytes]:
    """The file's text in UTF-8 with line feeds only."""
    decoder = None if encoding == "utf-8" else codecs.getincrementaldecoder(encoding)()
    held = b""
    while True:
        block = file.read(BLOCK_BYTES)
        if decoder is not None:
            try:
                text = decoder.decode(block, final=not block)
                encoded = text.encode()
            except UnicodeError as error:
                raise unusable(f"The file is not {encoding.upper()} throughout.", _SAVE) from error
            if "\0" in text:
                raise unusable("The file holds zero characters: it is no text.", _SAVE)
        else:
            encoded = block
        content = held + encoded
        # A carriage return at the end may be the first half of a line end.
        held = b"\r" if block and content.endswith(b"\r") else b""
        content = content[: len(content) - len(held)]
        if b"\r" in content:
            content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if content:
            yield content
        if not block:
            return


def _record_ends(content: bytes) -> NDArray[np.intp]:
    """Where records end: after the line ends that lie outside of quotation marks."""
    signs = np.frombuffer(content, np.uint8)
    lines = np.flatnonzero(signs == ord("\n"))
    if b'"' not in content:
        return lines + 1
    quotes = np.flatnonzero(signs == ord('"'))
    outside: NDArray[np.intp] = lines[np.searchsorted(quotes, lines) % 2 == 0]
    return outside + 1


def _split(content: bytes) -> Iterator[bytes]:
    """Whole records, so many that neither their bytes nor their number is large; the last part may be none."""
    last = content.rfind(b"\n") + 1
    few = content.count(b"\n") <= MOST_RECORDS
    if few and last and content.count(b'"', 0, last) % 2 == 0:
        ends = [last]
    else:
        all_ends = _record_ends(content)
        ends = [*all_ends[MOST_RECORDS - 1 : -1 : MOST_RECORDS].tolist(), *all_ends[-1:].tolist()]
    start = 0
    for end in ends:
        yield content[start:end]
        start = end
    yield content[start:]


def _first_record(content: bytes) -> str:
    lines = content.lstrip(b"\n").split(b"\n", 50)
    record = b""
    for line in lines[:50]:
        record += line + b"\n"
        if record.count(b'"') % 2 == 0:
            break
    return record.decode("utf-8", "replace")


def _likelihood(head: str, delimiter: str, expected: tuple[str, ...]) -> tuple[int, int]:
    """How well a delimiter explains the header: known names first, number of cells second."""
    try:
        cells = next(csv.reader(io.StringIO(head, newline=""), delimiter=delimiter), [])
    except csv.Error:
        return 0, 0
    return matches(cells, expected), len(cells)
