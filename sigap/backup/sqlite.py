"""SQLite databases in a backup: copied whole while they are written to."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sigap.backup.manifest import Database, File, Hashing, Moved, blocks
from sigap.errors import BackupError

_BUSY_SECONDS = 60


def copy(source: Path, target: Path, name: str) -> tuple[File, Database]:
    """Copies a database as it is at one moment.

    Args:
        source: The database; somebody may be writing to it.
        target: The copy's file.
        name: Path of the database below the folder that it belongs into.

    Raises:
        BackupError: It is damaged, or locked for too long.
    """
    raw = target.with_name(f".{target.name}.raw")
    try:
        with (
            _errors(source),
            closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS)) as one,
            closing(sqlite3.connect(raw)) as other,
        ):
            raw.chmod(0o600)
            one.backup(other)
            # A file by itself: nothing beside it has to be brought along.
            other.execute("PRAGMA journal_mode = DELETE")
        with raw.open("rb") as file:
            out = Hashing(target)
            for block in blocks(file):
                out.write(block)
        whole = out.close()
    finally:
        raw.unlink(missing_ok=True)
    return whole, Database(kind="sqlite", file=target.name, name=name, tables=count(target), size=whole.size)


def count(path: Path) -> dict[str, int]:
    """Rows of every table.

    Raises:
        BackupError: The database is damaged.
    """
    with _errors(path), closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as opened:
        found = opened.execute("PRAGMA quick_check").fetchone()[0]
        if found != "ok":
            raise BackupError(f"The database {path} is damaged: {found}.", remedy="Restore it from a backup.")
        names = [row[0] for row in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        quoted = {name: name.replace('"', '""') for name in names}
        return {
            name: int(opened.execute(f'SELECT count(*) FROM "{each}"').fetchone()[0])  # noqa: S608 - quoted
            for name, each in quoted.items()
        }


def place(source: Path, target: Path, expected: Database, moved: Moved = lambda _: None) -> None:
    """Puts a copy where a database belongs, and sees that it holds what it should.

    Raises:
        BackupError: It doesn't.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o600)
    moved(target.stat().st_size)
    if count(target) != expected.tables:
        raise BackupError(f"{source} has other rows than its manifest says.", remedy="Take another backup.")


def champions(path: Path) -> dict[str, str]:
    """Versions with the alias `champion` in a copy of MLflow's database, such as v3, by model."""
    with _errors(path), closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as opened:
        try:
            rows = opened.execute("SELECT name, version FROM registered_model_aliases WHERE alias = 'champion'")
            return {str(name): f"v{version}" for name, version in sorted(rows)}
        except sqlite3.OperationalError:  # before its first migration
            return {}


def rehome_mage(path: Path, former: str, root: Path, password: str | None) -> None:
    """Tells Mage's database where its project is now, and what its owner's password is.

    Args:
        path: The database; nobody uses it.
        former: The checkout's path when the backup was made.
        root: The checkout.
        password: Of the owner; None to leave it.
    """
    from sigap.mage_access import OWNER

    with _errors(path), closing(sqlite3.connect(path)) as opened, opened:
        new = str(root / "mage_project")
        for table in ("pipeline_schedule", "generic_job"):
            opened.execute(
                f"UPDATE {table} SET repo_path = ? WHERE repo_path = ?",  # noqa: S608 - of the line above
                [new, f"{former}/mage_project"],
            )
        if password is not None:
            import bcrypt  # as Mage hashes it

            salt = bcrypt.gensalt(12)
            hashed = bcrypt.hashpw(password.encode(), salt).decode()
            opened.execute(
                "UPDATE user SET password_hash = ?, password_salt = ? WHERE email = ?", [hashed, salt, OWNER]
            )


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise BackupError(
            f"The database {path} can't be read: {error}.", remedy="See that its disk is sound and has space left."
        ) from error
