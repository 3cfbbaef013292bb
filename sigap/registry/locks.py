"""One writer at a time for a model's registry entry, on this machine and among several that share a PostgreSQL."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from filelock import FileLock, Timeout

from sigap.data import postgres
from sigap.errors import RegistryError, ServiceError
from sigap.settings import Settings

log = logging.getLogger(__name__)

WAIT_SECONDS = 120.0


@contextmanager
def writer(settings: Settings, model: str, *, wait: float = WAIT_SECONDS) -> Iterator[None]:
    """Holds the writer's lock of `model`: a file lock, and PostgreSQL's advisory lock where it can be reached.

    Both end with the process that holds them, so that a killed writer blocks nobody.

    Args:
        settings: Where the state folder and the database are.
        model: Name of the model.
        wait: Seconds to wait for another writer.

    Raises:
        RegistryError: Another writer held it for longer than `wait`.
    """
    folder = settings.state / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    busy = RegistryError(
        f"Another process has been writing to the registry entry of {model!r} for over {wait:g} seconds.",
        remedy="Wait for the other pipeline run to end, or end it, and run again.",
    )
    try:
        lock = FileLock(folder / f"registry-{model}.lock").acquire(timeout=wait)
    except Timeout as error:
        raise busy from error
    with lock:
        connection = _advisory(settings, model, wait, busy)
        try:
            yield
        finally:
            if connection is not None:
                connection.close()


def _advisory(settings: Settings, model: str, wait: float, busy: RegistryError) -> psycopg.Connection | None:
    try:
        connection = postgres.connect(settings)
    except ServiceError:
        # Without PostgreSQL there may still be a model to promote, from a snapshot that DVC restored.
        log.info("PostgreSQL can't be reached: the file lock alone guards the registry entry of %s.", model)
        return None
    try:
        connection.autocommit = True
        connection.execute("SELECT set_config('lock_timeout', %s, false)", [f"{int(wait * 1000)}ms"])
        connection.execute("SELECT pg_advisory_lock(%s)", [_key(model)])
    except psycopg.errors.LockNotAvailable as error:
        connection.close()
        raise busy from error
    except psycopg.Error:
        connection.close()
        log.warning("PostgreSQL gave no advisory lock: the file lock alone guards the registry entry of %s.", model)
        return None
    return connection


def _key(model: str) -> int:
    """A number for the lock that no other use of advisory locks in the database is likely to have."""
    return int.from_bytes(hashlib.sha256(f"sigap registry {model}".encode()).digest()[:8], "big", signed=True)
