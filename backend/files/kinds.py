"""What a file is, by its content; its name may only agree."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path, PurePosixPath, PureWindowsPath

from backend.files.faults import unusable


class FileKind(StrEnum):
    """The kinds of file that rows come in."""

    CSV = "CSV"
    XLSX = "XLSX"
    XLS = "XLS"
    PARQUET = "Parquet"


_ENDINGS = {
    ".csv": FileKind.CSV,
    ".tsv": FileKind.CSV,
    ".txt": FileKind.CSV,
    ".xlsx": FileKind.XLSX,
    ".xls": FileKind.XLS,
    ".parquet": FileKind.PARQUET,
    ".pq": FileKind.PARQUET,
}
_REFUSED_ENDINGS = {
    ".xlsm": "a workbook with macros",
    ".xltm": "a template with macros",
    ".xlsb": "a binary workbook",
    ".ods": "an OpenDocument sheet",
}
# Content that is something else for sure: said by name, so that nobody wonders.
_OTHERS = {
    b"\x1f\x8b": "compressed with gzip",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"%PDF": "a PDF",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"GIF8": "a picture",
    b"\x7fELF": "a program",
    b"SQLite format 3": "an SQLite database",
    b"ARROW1": "an Arrow file",
    b"Obj\x01": "an Avro file",
    b"{\\rtf": "an RTF document",
}
_ZIP, _CFB, _PARQUET = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"PAR1"
_TAKEN = "Send CSV, XLSX, XLS or Parquet."


def recognise(path: Path, name: str) -> FileKind:
    """The kind of the file at `path`, whose client calls it `name`.

    Raises:
        RequestError: 422, it is empty, none of the kinds, or its name says another.
    """
    ending = _ending(name)
    if ending in _REFUSED_ENDINGS:
        raise unusable(f"The file is {_REFUSED_ENDINGS[ending]} by its name.", "Save it as XLSX or CSV and send that.")
    with path.open("rb") as file:
        head = file.read(4096)
    if not head.strip():
        raise unusable("The file is empty.", _TAKEN)
    found = _by_content(head)
    if ending in _ENDINGS and _ENDINGS[ending] is not found:
        raise unusable(
            f"The file is called {ending}, but its content is {found}.",
            f"Save it as {_ENDINGS[ending]}, or give it the name of what it is.",
        )
    return found


def _ending(name: str) -> str:
    return PurePosixPath(PureWindowsPath(name).name).suffix.strip().lower()


def _by_content(head: bytes) -> FileKind:
    if head.startswith(_ZIP):
        return FileKind.XLSX
    if head.startswith(_CFB):
        return FileKind.XLS
    if head.startswith(_PARQUET):
        return FileKind.PARQUET
    for magic, told in _OTHERS.items():
        if head.startswith(magic):
            raise unusable(f"The file is {told}.", _TAKEN)
    return FileKind.CSV
