"""The tables `candles` and `trades`: written once each, exact, and never a made-up candle beside a real one."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import astuple
from datetime import datetime, timedelta

from sigap.data.market import EPOCH, STEPS, Candle, Trade
from sigap.data.origin import record_origin
from sigap.data.postgres import Connection
from sigap.errors import ServiceError

__all__ = ["CandleTable"]

# An interval is finished and whole when its trades are numbered without a hole and both neighbours are known: the
# trade before its first and, as a trade or as a heartbeat's count, the one after its last.
_WHOLE = """
    WITH grouped AS (
        SELECT date_bin(%(width)s, traded_at, timestamptz 'epoch') AS opened_at,
            min(trade_id) AS first_id, max(trade_id) AS last_id, count(*) AS trades,
            max(price) AS high, min(price) AS low, sum(size) AS volume,
            (array_agg(price ORDER BY trade_id))[1] AS open,
            (array_agg(price ORDER BY trade_id DESC))[1] AS close
        FROM trades WHERE product = %(product)s AND traded_at < %(end)s GROUP BY 1
    )
    SELECT g.opened_at, g.open, g.high, g.low, g.close, g.volume FROM grouped AS g
    WHERE g.trades = g.last_id - g.first_id + 1
        AND EXISTS (SELECT FROM trades WHERE product = %(product)s AND trade_id = g.first_id - 1
            AND traded_at < g.opened_at)
        AND (g.last_id = %(counted)s OR EXISTS (SELECT FROM trades WHERE product = %(product)s
            AND trade_id = g.last_id + 1 AND traded_at >= g.opened_at + %(width)s))
        AND NOT EXISTS (SELECT FROM candles AS c WHERE c.product = %(product)s AND c.step = %(step)s
            AND c.opened_at = g.opened_at)
    ORDER BY 1
"""
_UPSERT = """
    INSERT INTO candles AS c (product, step, opened_at, open, high, low, close, volume, origin)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (product, step, opened_at) DO UPDATE SET open = excluded.open, high = excluded.high,
        low = excluded.low, close = excluded.close, volume = excluded.volume, origin = excluded.origin
    WHERE c.origin IN ('rest', 'mock') AND (c.open, c.high, c.low, c.close, c.volume) IS DISTINCT FROM
        (excluded.open, excluded.high, excluded.low, excluded.close, excluded.volume)
"""


class CandleTable:
    """One product's candles of one step; every method is one transaction of its own.

    Args:
        connection: To the database.
        product: Such as BTC-USD.
        step: `1m`, `1h` or `1d`.
        mock: Whether what is written is made up.
    """

    def __init__(self, connection: Connection, product: str, step: str, *, mock: bool = False) -> None:
        self.product = product
        self.step = step
        self.width = timedelta(seconds=STEPS[step])
        self.mock = mock
        self._connection = connection

    def claim(self) -> int:
        """Makes sure that nobody else ingests this product and step, and that mock and real rows don't mix.

        Mock candles make room for real ones; real ones are never replaced by mock ones.

        Returns:
            Number of mock rows that were removed.

        Raises:
            ServiceError: Another ingestion is running, or real candles stand where mock ones are to go.
        """
        number = zlib.crc32(f"candles {self.product} {self.step}".encode())
        with self._connection.transaction():
            row = self._connection.execute("SELECT pg_try_advisory_lock(7401894, %s)", [number - 2**31]).fetchone()
            if row is None or not row[0]:
                raise ServiceError(
                    f"The candles of {self.product} ({self.step}) are being ingested by another process.",
                    remedy="Stop that one first; one is enough.",
                )
            if self.mock:
                self._refuse_real()
            # Numbers of the other market's trades would be taken for this one's.
            self._connection.execute("DELETE FROM trades WHERE product = %s AND mock <> %s", [self.product, self.mock])
            return 0 if self.mock else self._remove_mock()

    def add_trades(self, trades: Iterable[Trade]) -> int:
        """Stores trades; those that stand already are left as they are.

        Returns:
            Number of new ones.
        """
        rows = [(self.product, self.mock, *astuple(trade)) for trade in trades]
        with self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO trades (product, mock, trade_id, traded_at, price, size, side)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                rows,
            )
            return cursor.rowcount

    def add_candles(self, candles: Sequence[Candle], origin: str = "rest") -> int:
        """Stores finished candles. What the exchange corrects is corrected; a file's or our own sums stay.

        Returns:
            Number of rows that are new or changed.
        """
        origin = "mock" if self.mock else origin
        rows = [(self.product, self.step, *astuple(candle), origin) for candle in candles]
        with self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.executemany(_UPSERT, rows)
            return cursor.rowcount

    def finish_from_trades(self, end: datetime, counted: int = 0) -> int:
        """Adds up the intervals before `end` whose trades are all here and that have no candle yet.

        Args:
            end: Start of the interval that is still open.
            counted: Number of the newest trade by a heartbeat at or after `end`; 0 for unknown.

        Returns:
            Number of candles made.
        """
        asked = {
            "product": self.product,
            "step": self.step,
            "width": self.width,
            "end": end,
            "counted": counted,
        }
        with self._connection.transaction():
            rows = self._connection.execute(_WHOLE, asked).fetchall()
            return self.add_candles([Candle(*row) for row in rows], "trades") if rows else 0

    def gaps(self, since: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
        """Spans [start, end) in [since, end) without a candle, oldest first.

        Args:
            since: A multiple of the step.
            end: A multiple of the step.
        """
        with self._connection.transaction():
            rows = self._connection.execute(
                "SELECT min(at), max(at) FROM (SELECT at, at - row_number() OVER (ORDER BY at) * %(width)s AS island"
                " FROM generate_series(%(since)s, %(end)s - %(width)s, %(width)s) AS at"
                " WHERE NOT EXISTS (SELECT FROM candles WHERE product = %(product)s AND step = %(step)s"
                " AND opened_at = at)) AS missing GROUP BY island ORDER BY 1",
                {"width": self.width, "since": since, "end": end, "product": self.product, "step": self.step},
            ).fetchall()
        return [(first, last + self.width) for first, last in rows]

    def span(self) -> tuple[datetime, datetime] | None:
        """Start of the oldest and of the newest candle; None when there is none."""
        with self._connection.transaction():
            row = self._connection.execute(
                "SELECT min(opened_at), max(opened_at) FROM candles WHERE product = %s AND step = %s",
                [self.product, self.step],
            ).fetchone()
        return None if row is None or row[0] is None else (row[0], row[1])

    def note_origin(self, rows: int, exchange: str) -> None:
        """Notes in `data_origin` that candles were taken from an exchange."""
        details = {"product": self.product, "step": self.step, "exchange": exchange}
        with self._connection.transaction():
            record_origin(self._connection, "candles", "mock" if self.mock else "live", rows, details=details)

    def forget_trades(self, before: datetime) -> int:
        """Removes trades from before a moment, when their candles are finished; the number removed."""
        with self._connection.transaction():
            return self._connection.execute(
                "DELETE FROM trades WHERE product = %s AND traded_at < %s", [self.product, before]
            ).rowcount

    def opened(self, moment: datetime) -> datetime:
        """Start of the interval that a moment lies in."""
        return moment - (moment - EPOCH) % self.width

    def _remove_mock(self) -> int:
        return self._connection.execute(
            "DELETE FROM candles WHERE product = %s AND step = %s AND origin = 'mock'", [self.product, self.step]
        ).rowcount

    def _refuse_real(self) -> None:
        found = self._connection.execute(
            "SELECT FROM candles WHERE product = %s AND step = %s AND origin <> 'mock' LIMIT 1",
            [self.product, self.step],
        ).fetchone()
        if found is not None:
            raise ServiceError(
                f"The table candles holds real candles of {self.product} ({self.step}); mock ones are not mixed in.",
                remedy="Choose another product for the mock exchange, such as --product MOCK-USD.",
            )
