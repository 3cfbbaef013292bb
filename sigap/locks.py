"""One writer at a time for a model's registry entry, on this machine and among several that share a PostgreSQL.

Whoever moves an alias tells those who follow it, over the same connection.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from sigap.errors import ConfigurationError, RegistryError
from sigap.settings import Settings

if TYPE_CHECKING:
    import psycopg

log = logging.getLogger(__name__)

WAIT_SECONDS = 120.0
CONNECT_SECONDS = 5
CHANNEL = "sigap_models"
"""PostgreSQL's channel for moved aliases; the payload is the model's name."""


class BusyError(RegistryError):
    """Another process writes to the model's registry entry."""


class Writer:
    """The right to write to a model's registry entry, as long as it is held.

    Args:
        model: Name of the model.
        connection: Holds PostgreSQL's advisory lock; None where there is no PostgreSQL to ask.
    """

    def __init__(self, model: str, connection: psycopg.Connection[Any] | None) -> None:
        self._model = model
        self._connection = connection

    def notify(self) -> None:
        """Tells everybody who listens that an alias of the model has moved. Nobody may: they look for themselves."""
        if self._connection is None:
            return
        import psycopg

        try:
            self._connection.execute("SELECT pg_notify(%s, %s)", [CHANNEL, self._model])
        except psycopg.Error as error:
            log.info("PostgreSQL could not be told that %s moved: %s", self._model, type(error).__name__)


@contextmanager
def writer(settings: Settings, model: str, *, wait: float = WAIT_SECONDS) -> Iterator[Writer]:
    """Holds the writer's lock of `model`: a file lock, and PostgreSQL's advisory lock where it can be reached.

    Both end with the process that holds them, so that a killed writer blocks nobody.

    Args:
        settings: Where the state folder and the database are.
        model: Name of the model.
        wait: Seconds to wait for another writer.

    Raises:
        BusyError: Another writer held it for longer than `wait`.
    """
    folder = settings.state / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    busy = BusyError(
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
            yield Writer(model, connection)
        finally:
            if connection is not None:
                connection.close()


def _advisory(settings: Settings, model: str, wait: float, busy: RegistryError) -> psycopg.Connection[Any] | None:
    # Here, not above: an API that moves no alias needs no driver.
    import psycopg

    try:
        connection = psycopg.connect(
            settings.dsn, connect_timeout=CONNECT_SECONDS, application_name="sigap", autocommit=True
        )
    except psycopg.OperationalError:
        # Without PostgreSQL there may still be a model to promote, from a snapshot that DVC restored.
        log.info("PostgreSQL can't be reached: the file lock alone guards the registry entry of %s.", model)
        return None
    except psycopg.ProgrammingError:
        # libpq's message quotes the URL, password included.
        raise ConfigurationError(
            "DATABASE_URL can't be parsed.", remedy="Expected postgresql://user:password@host:5432/name."
        ) from None
    try:
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
