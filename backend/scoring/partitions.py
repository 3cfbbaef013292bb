"""The partitions of a data set: which files they are, and what their folders say of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from sigap.errors import FileError

SUFFIX = ".parquet"


def partitions(folder: Path) -> list[str]:
    """Paths of the partitions below `folder`, relative to it, with slashes, in order.

    What begins with a dot or an underscore is none, as everywhere with such data sets.

    Raises:
        FileError: There is no such folder, it can't be read, or it has no partition.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "not there"
        raise FileError(
            f"The input {folder} is {found}, expected a folder of *{SUFFIX} files.",
            remedy="Give the folder that holds the partitions.",
        )
    try:
        names = partition_names(folder)
    except OSError as error:
        raise FileError(f"The input folder {folder} can't be read: {error.strerror}.") from error
    if not names:
        raise FileError(
            f"The input folder {folder} has no *{SUFFIX} file.", remedy="Give the folder that holds the partitions."
        )
    return names


def partition_names(folder: Path) -> list[str]:
    """The same, of a folder that is there; it may have none."""
    paths = [path.relative_to(folder) for path in folder.rglob(f"*{SUFFIX}") if path.is_file()]
    return sorted(path.as_posix() for path in paths if not any(part.startswith((".", "_")) for part in path.parts))


def told_by_path(name: str) -> Mapping[str, str]:
    """Columns that stand in the path and not in the file: `tahun` of `tahun=2024/part-0.parquet` (Hive's way)."""
    pairs = (part.partition("=") for part in PurePosixPath(name).parent.parts if "=" in part)
    return {column: unquote(value) for column, _, value in pairs}
