"""Folders in a backup: each one tar file."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO, cast

from sigap.backup.manifest import File, Hashing, Moved
from sigap.errors import BackupError


def pack(
    entries: Iterable[tuple[Path, str]],
    target: Path,
    moved: Moved = lambda _: None,
    keep: Callable[[Path], bool] = lambda _: True,
) -> File:
    """Writes files and folders into a tar file.

    What goes away while it is read, such as a log that is turned over, is left out; what grows is taken as long as it
    was at first.

    Args:
        entries: Each with its name in the tar file.
        target: The tar file.
        moved: Told of every block.
        keep: Whether a file is taken.
    """
    out = Hashing(target, moved)
    with tarfile.open(fileobj=cast("BinaryIO", out), mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for path, name in entries:
            for one in [path, *sorted(path.rglob("*"))] if path.is_dir() else [path]:
                inside = name if one == path else f"{name}/{one.relative_to(path).as_posix()}"
                if not one.is_symlink() and (one.is_file() or one.is_dir()) and keep(one):
                    _add(archive, one, inside)
    return out.close()


def _add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    try:
        with path.open("rb") if path.is_file() else _Nothing() as file:
            info = archive.gettarinfo(path, name, fileobj=file)
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            # NOTE: whatever was true of its size a moment ago: a tar file whose entry ends early is damaged.
            archive.addfile(info, cast("BinaryIO", _Padded(file, info.size)) if file is not None else None)
    except FileNotFoundError:
        return


class _Nothing:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


class _Padded:
    """A file of exactly so many bytes, with zeros for what was cut off meanwhile."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._left = file, size

    def read(self, size: int) -> bytes:
        block = self._file.read(min(size, self._left)) or b"\0" * min(size, self._left)
        self._left -= len(block)
        return block


def unpack(source: Path, target: Path, moved: Moved = lambda _: None) -> None:
    """Unpacks a tar file into a folder; nothing in it can get out of that folder.

    Raises:
        BackupError: It is damaged, or tries to.
    """
    target.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(source, mode="r:") as archive:
            for member in archive:
                archive.extract(member, target, filter="data")
                moved(member.size)
    except tarfile.TarError as error:
        raise BackupError(f"{source} can't be unpacked: {error}.", remedy="Take another backup.") from error


def merge(source: Path, target: Path, moved: Moved = lambda _: None) -> int:
    """Adds files of a tar file that are named by their content to a store of such files; deletes and changes none.

    Args:
        source: Of DVC's remote: files such as `files/md5/d4/1d8c…`.
        target: The store, or one that DVC reads as one.
        moved: Told of the bytes.

    Returns:
        How many files were missing or damaged there.

    Raises:
        BackupError: The tar file is damaged.
    """
    added = 0
    try:
        with tarfile.open(source, mode="r:") as archive:
            for member in archive:
                place = target / member.name
                if not member.isfile() or not place.resolve().is_relative_to(target.resolve()):
                    continue
                if not _stands(place, member):
                    _add_whole(archive, member, place)
                    added += 1
                moved(member.size)
    except tarfile.TarError as error:
        raise BackupError(f"{source} can't be unpacked: {error}.", remedy="Take another backup.") from error
    return added


def _stands(place: Path, member: tarfile.TarInfo) -> bool:
    """Whether a file is there that holds what its name says."""
    if not place.is_file() or place.stat().st_size != member.size:
        return False
    name = f"{place.parent.name}{place.name}"
    if not re.fullmatch(r"[0-9a-f]{32}(\.dir)?", name):
        return True
    with place.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    return found == name[:32]


def _add_whole(archive: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = place.with_name(f".{place.name}.restored")
    content = archive.extractfile(member)
    assert content is not None  # noqa: S101 - a file, not a folder
    with content, draft.open("wb") as file:
        shutil.copyfileobj(content, file, 2**20)
        file.flush()
        os.fsync(file.fileno())
    draft.chmod(member.mode & 0o777)
    draft.replace(place)
