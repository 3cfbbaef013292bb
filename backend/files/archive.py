"""What an XLSX file is made of, looked at before anything parses it."""

from __future__ import annotations

import zipfile
from pathlib import Path

READ_BYTES = 2**20
MOST_PARTS = 2000
_SAVE = "Save the sheet alone as XLSX or CSV and send that."
# A document type can hold entities that expand to gigabytes; Office writes none.
_DOCTYPE = b"<!"
_COMMENT = b"<!--"
_CDATA = b"<![CDATA["


class ArchiveError(Exception):
    """The archive is refused.

    Args:
        message: What was found.
        remedy: What the client can do.
        large: Whether it is too large, rather than wrong.
    """

    def __init__(self, message: str, remedy: str = _SAVE, *, large: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.large = large


def inspect(path: Path, most_bytes: int, most_ratio: int) -> None:
    """Reads the archive's directory and unpacks every part of XML once, without keeping it.

    Args:
        path: The file.
        most_bytes: What it may unpack to.
        most_ratio: How many times its size it may unpack to.

    Raises:
        ArchiveError: It is no workbook, or one that unpacks to too much, holds macros, links to other files, or XML
            with a document type.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            _check_directory(parts, path.stat().st_size, most_bytes, most_ratio)
            for part in parts:
                _check_part(archive, part)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise ArchiveError("The file starts like XLSX, but its archive is damaged.") from error
    except (ValueError, zipfile.zlib.error) as error:  # type: ignore[attr-defined]
        raise ArchiveError("The file starts like XLSX, but its archive is damaged.") from error


def _check_directory(parts: list[zipfile.ZipInfo], size: int, most_bytes: int, most_ratio: int) -> None:
    names = {part.filename.replace("\\", "/").lower() for part in parts}
    if len(names) != len(parts) or len(parts) > MOST_PARTS:
        raise ArchiveError(f"The archive holds {len(parts)} parts, some of them under one name or too many.")
    if "xl/workbook.xml" not in names:
        raise ArchiveError("The file is a ZIP archive, but no XLSX workbook.", "Unpack it and send the table itself.")
    if any(name.endswith("vbaproject.bin") or name.startswith("xl/macrosheets/") for name in names):
        raise ArchiveError("The workbook holds macros.")
    if any(name.startswith(("xl/externallinks/", "xl/embeddings/")) for name in names):
        raise ArchiveError("The workbook links to other files.", "Replace the links by their values and save it again.")
    if any(part.flag_bits & 1 for part in parts):
        raise ArchiveError("The archive is encrypted.", "Remove the password and send it again.")
    unpacked = sum(part.file_size for part in parts)
    if unpacked > most_bytes:
        raise ArchiveError(f"The workbook unpacks to {unpacked} bytes; at most {most_bytes} are read.", large=True)
    if unpacked > most_ratio * size:
        raise ArchiveError(
            f"The workbook unpacks to {unpacked // max(size, 1)} times its size; at most {most_ratio} are read.",
            large=True,
        )


def _check_part(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> None:
    # Reads to the end: a part that is longer than its entry says fails its checksum here.
    is_xml = part.filename.lower().endswith((".xml", ".rels", ".vml"))
    before = b""
    with archive.open(part) as file:
        while block := file.read(READ_BYTES):
            if not is_xml:
                continue
            if b"\0" in block:
                raise ArchiveError(f"The workbook's part {part.filename[:80]} is not in UTF-8.")
            both = before + block
            if both.count(_DOCTYPE) > both.count(_COMMENT) + both.count(_CDATA) and b"<!DOCTYPE" in both.upper():
                raise ArchiveError("The workbook's XML defines a document type, as attacks with entities do.")
            if part.filename.lower().endswith(".rels") and (b"/externalLink" in both or b"/oleObject" in both):
                raise ArchiveError(
                    "The workbook links to other files.", "Replace the links by their values and save it again."
                )
            before = block[-64:]
