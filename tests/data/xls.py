"""Writes the old binary workbook, which nothing here does: one sheet of numbers and texts.

After Microsoft's [MS-CFB] (the container) and [MS-XLS] (its stream of records).
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

_SECTOR = 512
_END, _FAT, _FREE = 0xFFFFFFFE, 0xFFFFFFFD, 0xFFFFFFFF
# Shorter streams would lie in sectors of their own kind.
_SHORTEST = 4096


def write_xls(path: Path, rows: list[list[Any]], sheet: str = "Mobil") -> Path:
    """Writes the rows as a BIFF8 workbook; an empty text is no cell."""
    stream = _workbook(rows, sheet)
    stream += b"\0" * (max(_SHORTEST, -(-len(stream) // _SECTOR) * _SECTOR) - len(stream))
    path.write_bytes(_container(stream))
    return path


def _workbook(rows: list[list[Any]], sheet: str) -> bytes:
    begin = _record(0x0809, struct.pack("<HHHHII", 0x0600, 0x0005, 0, 0, 0, 0)) + _record(0x0042, b"\xb0\x04")
    name = sheet.encode("latin-1")
    # The sheet begins behind this record and the end of the globals.
    offset = len(begin) + 4 + 8 + len(name) + 4
    begin += _record(0x0085, struct.pack("<IBBBB", offset, 0, 0, len(name), 0) + name) + _record(0x000A)
    cells = b"".join(
        _cell(row, column, value) for row, line in enumerate(rows) for column, value in enumerate(line) if value != ""
    )
    size = struct.pack("<IIHHH", 0, len(rows), 0, max(map(len, rows)), 0)
    start = _record(0x0809, struct.pack("<HHHHII", 0x0600, 0x0010, 0, 0, 0, 0)) + _record(0x0200, size)
    return begin + start + cells + _record(0x000A)


def _cell(row: int, column: int, value: Any) -> bytes:
    if isinstance(value, int | float):
        return _record(0x0203, struct.pack("<HHHd", row, column, 0, value))
    text = str(value).encode("utf-16-le")
    return _record(0x0204, struct.pack("<HHHHB", row, column, 0, len(text) // 2, 1) + text)


def _record(kind: int, content: bytes = b"") -> bytes:
    return struct.pack("<HH", kind, len(content)) + content


def _container(stream: bytes) -> bytes:
    """Header, allocation table, directory, stream."""
    sectors = len(stream) // _SECTOR
    assert sectors < 126
    chain = [*range(3, 2 + sectors), _END]
    table = [_FAT, _END, *chain]
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16)
    header += struct.pack("<HHHHH6x", 0x3E, 3, 0xFFFE, 9, 6)
    header += struct.pack("<IIIIIIIIII", 0, 1, 1, 0, _SHORTEST, _END, 0, _END, 0, 0)
    header += struct.pack("<108I", *[_FREE] * 108)
    directory = _entry("Root Entry", 5, child=1, start=_END, size=0)
    directory += _entry("Workbook", 2, child=_FREE, start=2, size=len(stream))
    directory += _entry("", 0, child=_FREE, start=0, size=0) * 2
    return header + struct.pack("<128I", *table, *[_FREE] * (128 - len(table))) + directory + stream


def _entry(name: str, kind: int, *, child: int, start: int, size: int) -> bytes:
    text = f"{name}\0".encode("utf-16-le") if name else b""
    head = text.ljust(64, b"\0") + struct.pack("<HBBIII", len(text), kind, 1, _FREE, _FREE, child)
    return head + bytes(16 + 4 + 16) + struct.pack("<IQ", start, size)
