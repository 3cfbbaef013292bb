"""Hears of moved aliases from PostgreSQL at once; without it, the followers' own looks at the registry find them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sigap.errors import SigapError
from sigap.locks import CHANNEL
from sigap.settings import Settings

if TYPE_CHECKING:
    from psycopg import AsyncConnection

log = logging.getLogger("sigap.api")

CONNECT_SECONDS = 3
# How often the connection is tried while nobody says anything; a cut line says nothing either.
CHECK_SECONDS = 5.0
PAUSES = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True)
class DatabaseStatus:
    """What the last word with PostgreSQL showed."""

    up: bool | None = None
    address: str = ""
    latency_seconds: float | None = None
    checked_at: float | None = None
    fault: str | None = None


class Listener:
    """Listens on the channel of moved aliases.

    Args:
        settings: Whose database it is.
        moved: Called with a model's name when one of its aliases moved, and with "" when some may have unheard.
    """

    def __init__(self, settings: Settings, moved: Callable[[str], None]) -> None:
        self._settings = settings
        self._moved = moved
        self.status = DatabaseStatus()

    @property
    def wanted(self) -> bool:
        """Whether there is a database to listen to."""
        return self._settings.has_database

    async def run(self) -> None:
        """Listens until cancelled. No fault ends it."""
        faults = 0
        while True:
            if not self.wanted:
                await asyncio.sleep(CHECK_SECONDS)
                continue
            try:
                await self._listen()
            except Exception as error:  # whatever it is, the followers look for themselves
                faults = 0 if self.status.up else faults + 1
                self._failed(error)
            await asyncio.sleep(PAUSES[min(faults, len(PAUSES) - 1)])

    async def _listen(self) -> None:
        # Here, not above: an API without a database needs no driver.
        from psycopg import AsyncConnection

        started = time.perf_counter()
        connection = await AsyncConnection.connect(
            self._settings.dsn, autocommit=True, connect_timeout=CONNECT_SECONDS, application_name="sigap-api"
        )
        async with connection:
            await connection.execute(f"LISTEN {CHANNEL}")
            self._answered(connection, started)
            log.info("Moved aliases are heard of from PostgreSQL at %s.", self.status.address)
            self._moved("")
            while True:
                async for heard in connection.notifies(timeout=CHECK_SECONDS):
                    self._moved(heard.payload)
                started = time.perf_counter()
                async with asyncio.timeout(CONNECT_SECONDS):
                    await connection.execute("SELECT 1")
                self._answered(connection, started)

    def _answered(self, connection: AsyncConnection[Any], started: float) -> None:
        about = connection.info
        address = f"{about.host}:{about.port}, database {about.dbname!r}"
        self.status = DatabaseStatus(True, address, time.perf_counter() - started, time.monotonic())

    def _failed(self, error: Exception) -> None:
        # libpq's own messages may quote the URL.
        fault = (
            error.message if isinstance(error, SigapError) else f"PostgreSQL does not answer: {type(error).__name__}"
        )
        if self.status.up is not False:
            log.warning("%s. Moved aliases are found by looking at the registry.", fault.rstrip("."))
        self.status = DatabaseStatus(False, self.status.address, None, time.monotonic(), fault)
