"""The newest rows of a series, out of its table: what a forecast without candles of its own starts from, and charts."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sigap.catalog import Declaration, Feature, Kind
from sigap.catalog.declaration import Target
from sigap.catalog.names import expression
from sigap.errors import SigapError

if TYPE_CHECKING:
    from psycopg import AsyncConnection

log = logging.getLogger("sigap.api")

Series = list[tuple[datetime, float]]
# When the step began, and each of `NewestRows.names` or None where the table has no value.
Row = tuple[datetime, list[float | None]]
# Requests within this time share one query.
FRESH_SECONDS = 1.0
# A database that did not answer is left alone for this long: the model can answer without it.
PAUSE_SECONDS = 10.0
CONNECT_SECONDS = 2
QUERY_SECONDS = 2.0


class NewestRows:
    """Reads when each of the newest steps began and its numbers, the oldest first.

    Args:
        declaration: A series: it has a time and a target.
        dsn: Gives the database's URL, asked for when it is needed.

    Attributes:
        names: The target, and the features that are numbers.
    """

    def __init__(self, declaration: Declaration, dsn: Callable[[], str]) -> None:
        source, target = declaration.source, declaration.target
        if target is None or not source.time:
            raise TypeError(f"{declaration.name} is no series")
        time_sql = expression(source.time, declaration.column(source.time).sql)
        words: list[Target | Feature] = [target, *(each for each in declaration.features if each.kind is Kind.NUMBER)]
        self.names = tuple(word.name for word in words)
        # Only the declaration's own words get into it.
        numbers = ", ".join(expression(word.name, word.sql) for word in words)
        self._query = (
            f"SELECT {time_sql}, {numbers} FROM {source.relation}"  # noqa: S608
            f" ORDER BY {time_sql} DESC LIMIT %s"
        )
        self._model = declaration.name
        self._dsn = dsn
        self._connection: AsyncConnection[Any] | None = None
        self._lock = asyncio.Lock()
        self._known: list[Row] | None = None
        self._asked = 0
        self._due = 0.0

    async def rows(self, count: int) -> Series | None:
        """The newest `count` values of the target; None while the database does not answer."""
        found = await self.table(count)
        return None if found is None else [(begun, value) for begun, (value, *_) in found if value is not None]

    async def table(self, count: int) -> list[Row] | None:
        """The newest `count` rows; None while the database does not answer."""
        async with self._lock:
            if time.monotonic() < self._due and (self._known is None or self._asked >= count):
                return self._known and self._known[-count:]
            try:
                async with asyncio.timeout(CONNECT_SECONDS + QUERY_SECONDS):
                    self._known, self._asked = await self._read(count), count
                self._due = time.monotonic() + FRESH_SECONDS
            except Exception as error:  # whatever it is, the model answers without the database
                reason = error.message if isinstance(error, SigapError) else type(error).__name__
                log.warning("%s is forecast from its snapshot, the table can't be read: %s", self._model, reason)
                self._known, self._due = None, time.monotonic() + PAUSE_SECONDS
                await self.close()
            return self._known

    async def close(self) -> None:
        """Closes the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _read(self, count: int) -> list[Row]:
        if self._connection is None:
            # Here, not above: an API without a forecast needs no driver.
            from psycopg import AsyncConnection

            self._connection = await AsyncConnection.connect(
                self._dsn(), autocommit=True, connect_timeout=CONNECT_SECONDS, application_name="sigap-api"
            )
            await self._connection.set_read_only(True)
        cursor = await self._connection.execute(self._query, [count])
        rows = reversed(await cursor.fetchall())
        return [(begun, [None if value is None else float(value) for value in values]) for begun, *values in rows]
