"""What a backup says of itself: the file that is written last, and without which it is none."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sigap.errors import BackupError

FORMAT = 1
"""Raised when an older Sigap could not restore what is written."""

MANIFEST = "manifest.json"
NAME = re.compile(r"sigap-\d{8}T\d{6}Z")

Moved = Callable[[int], None]
"""Called with the number of bytes that were read or written since it was called last."""

_BLOCK = 2**20


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class File(_Model):
    """A file of the backup; `path` lies directly in its folder."""

    path: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    size: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Database(_Model):
    """A database in the backup.

    Attributes:
        kind: How its file is read.
        file: The file.
        name: Of the database in PostgreSQL; of SQLite, the path below the folder that it belongs into.
        tables: Rows by table.
        revision: Of Sigap's schema in it; empty for other databases.
        roles: Roles of PostgreSQL, other than the owner, that may do something in it.
        groups: Those of them that nobody signs in as.
        members: Logins that have their rights from one of the groups, and which.
        size: Bytes that it takes on the server's disk.
    """

    kind: Literal["postgres", "sqlite"]
    file: str
    name: str
    tables: dict[str, int]
    revision: str = ""
    roles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    members: dict[str, str] = {}
    size: int = 0


class Pointer(_Model):
    """DVC's pointer to a model's checked-out snapshot.

    Attributes:
        version: Name of the data version.
        md5: Of the snapshot.
        content: The pointer file's text.
    """

    version: str
    md5: str
    content: str


class Repository(_Model):
    """The Git checkout: its commit, its branch (empty when detached), and its data versions' tags."""

    head: str
    branch: str
    tags: dict[str, str]


class Manifest(_Model):
    """A whole backup.

    Attributes:
        format: `FORMAT` of the Sigap that wrote it.
        sigap: Version of that Sigap.
        name: Of the backup.
        created_at: The moment that it holds, ISO 8601, UTC.
        root: Path of the checkout; Mage has it in its database.
        parts: What it holds, of `sigap.backup.parts.PARTS`.
        left_out: Why each other part is not in it.
        files: Every file but this one.
        databases: By part.
        pointers: By model.
        served: Alias `champion` by model, such as v3.
        git: None without a Git checkout.
    """

    format: int
    sigap: str
    name: str
    created_at: str
    root: str
    parts: tuple[str, ...]
    left_out: dict[str, str]
    files: tuple[File, ...]
    databases: dict[str, Database]
    pointers: dict[str, Pointer]
    served: dict[str, str]
    git: Repository | None

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files)

    @property
    def rows(self) -> int:
        """Rows of its databases in PostgreSQL."""
        return sum(sum(each.tables.values()) for each in self.databases.values() if each.kind == "postgres")


def parse(text: bytes | str, where: str) -> Manifest:
    """A manifest out of its file's content.

    Args:
        text: The content.
        where: The file, for messages.

    Raises:
        BackupError: It is damaged, or of a newer Sigap.
    """
    try:
        told = _Format.model_validate_json(text)
    except ValidationError as error:
        raise _damaged(where) from error
    if told.format > FORMAT:
        raise BackupError(
            f"The backup at {where} was written by Sigap {told.sigap} in format {told.format}; this one reads "
            f"up to {FORMAT}.",
            remedy="Restore it with that Sigap or a newer one.",
        )
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        raise _damaged(where) from error


class _Format(_Model):
    format: int
    sigap: str


def _damaged(where: str) -> BackupError:
    return BackupError(f"{where} is no manifest of a backup, or damaged.", remedy="Take another backup.")


def new_name() -> str:
    """Name of a backup that is made now; names sort by time."""
    return f"sigap-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"


class Hashing:
    """A file that is written, and hashed on the way; flushed to the disk when closed.

    Args:
        path: The file; readable by its owner only.
        moved: Told of every block.
    """

    def __init__(self, path: Path, moved: Moved = lambda _: None) -> None:
        self.path = path
        self._hash = hashlib.sha256()
        self._size = 0
        self._moved = moved
        path.touch(mode=0o600)
        self._file = path.open("wb")

    def write(self, block: bytes) -> int:
        """Write a block; its length."""
        self._file.write(block)
        self._hash.update(block)
        self._size += len(block)
        self._moved(len(block))
        return len(block)

    def close(self) -> File:
        """The file, whole on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return File(path=self.path.name, size=self._size, sha256=self._hash.hexdigest())


def blocks(file: IO[bytes]) -> Iterable[bytes]:
    """A file's content, block by block."""
    while block := file.read(_BLOCK):
        yield block


def check_file(folder: Path, file: File, moved: Moved = lambda _: None) -> None:
    """See that a file is what the manifest says.

    Raises:
        BackupError: It is missing, or of another size or hash.
    """
    path = folder / file.path
    found = hashlib.sha256()
    try:
        size = path.stat().st_size
        if size == file.size:
            with path.open("rb") as opened:
                for block in blocks(opened):
                    found.update(block)
                    moved(len(block))
    except FileNotFoundError as error:
        raise _not_whole(path, "is missing") from error
    except OSError as error:
        raise _not_whole(path, f"can't be read: {error.strerror}") from error
    if size != file.size:
        raise _not_whole(path, f"has {size:,} bytes, not {file.size:,}")
    if found.hexdigest() != file.sha256:
        raise _not_whole(path, "is damaged: its hash is not the manifest's")


def _not_whole(path: Path, what: str) -> BackupError:
    return BackupError(
        f"The backup is not whole: {path} {what}. Nothing was changed.",
        remedy="Take another backup; `./run backup --list` shows which there are.",
    )
