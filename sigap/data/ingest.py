"""Live ingestion: the exchange's trades as they happen, and its candles for whatever was missed.

The order makes nothing get lost: the feed is opened before the past is asked for, so that both overlap; what overlaps
is stored once, by trade number and by interval. A candle is added up from trades only if not one of them is missing,
otherwise it is asked of the exchange. After any break (feed, exchange, database, this process killed) the same steps
run again from what the tables hold.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg

from sigap.data.candles import CandleTable
from sigap.data.exchange import (
    CandleClient,
    Disconnected,
    ExchangeRefusedError,
    Feed,
    Heartbeat,
    Match,
    Message,
    Ticker,
    open_feed,
)
from sigap.data.market import Trade
from sigap.data.postgres import connect, translated
from sigap.errors import ServiceError
from sigap.settings import Settings

HISTORY = 1500  # candles asked for when there are none yet

_FLUSH_SECONDS = 1.0
_FLUSH_TRADES = 500
_RETRY = timedelta(seconds=5)
# The exchange goes on correcting a candle for a moment after its end.
_SETTLED = timedelta(seconds=60)
# Clocks differ a little; a time further ahead is garbage, not the future.
_AHEAD = timedelta(minutes=5)
_KEEP_TRADES = timedelta(days=2)
_LONGEST_WAIT = 30.0
_REFUSALS = 3


@dataclass
class Progress:
    """What has happened so far; read it, don't keep it.

    Attributes:
        state: In a few words, what is going on.
        connections: How often the feed was opened.
        trades: New trades stored.
        repeated: Trades that came again and were left alone.
        candles: Candles added up from trades.
        backfilled: Candles asked of the exchange, new or corrected.
        requests: Requests to the exchange.
        removed_mock: Mock candles that made room for real ones.
        price: The last price.
        newest: Start of the newest candle.
        garbage: What was left out, by reason.
    """

    state: str = "starting"
    connections: int = 0
    trades: int = 0
    repeated: int = 0
    candles: int = 0
    backfilled: int = 0
    requests: int = 0
    removed_mock: int = 0
    price: Decimal | None = None
    newest: datetime | None = None
    garbage: Counter[str] = field(default_factory=Counter)


class _Stopped(Exception):  # noqa: N818 - somebody's wish
    pass


class Ingestion:
    """Ingests one product's candles of one step.

    Args:
        settings: Where the database and the exchange are.
        product: Such as BTC-USD.
        step: `1m`, `1h` or `1d`.
        since: Candles from here on; by default from the oldest stored one, or the last 1500.
        mock: Whether the exchange is a mock one; its candles are marked so.
        stop: Ends `run` soon after it is set.
        watch: Called with the progress about once a second.
        pause_seconds: See `CandleClient`.
    """

    def __init__(
        self,
        settings: Settings,
        product: str,
        step: str,
        *,
        since: datetime | None = None,
        mock: bool = False,
        stop: threading.Event | None = None,
        watch: Callable[[Progress], None] | None = None,
        pause_seconds: float = 0.15,
    ) -> None:
        self.progress = Progress()
        self._settings = settings
        self._product = product
        self._step = step
        self._since = since
        self._mock = mock
        self._stop = stop or threading.Event()
        self._watch = watch or (lambda _: None)
        self._pause = pause_seconds
        self._feed: Feed | None = None
        self._buffer: list[Trade] = []
        self._flushed = time.monotonic()
        # The newest time heard, the newest trade's number by a heartbeat, and that heartbeat's time.
        self._heard: datetime | None = None
        self._counted: tuple[int, datetime] | None = None
        # Spans that the exchange has no candles for, and the oldest candle that it may still correct.
        self._empty: dict[datetime, datetime] = {}
        self._unsettled: datetime | None = None
        self._next_settling: datetime | None = None
        self._refused = 0
        self._noted = False
        self._now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def run(self) -> Progress:
        """Ingests until `stop` is set; survives the feed, the exchange and the database going away.

        Raises:
            ExchangeRefusedError: The exchange doesn't know the product.
            ServiceError: The database can't be used at the start, or another process ingests the same.
        """
        waits = _Waits(self._wait)
        first = True
        try:
            while True:
                try:
                    self._session(first, waits)
                except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                    self._say(f"the database is away: {' '.join(str(error).split())[:120]}")
                except psycopg.Error:
                    with translated(self._settings, f"Storing candles of {self._product}"):
                        raise
                except ServiceError as error:
                    if first or isinstance(error, ExchangeRefusedError):
                        raise
                    self._say(error.message)
                first = False
                # What was not stored is asked of the exchange again.
                self._buffer.clear()
                waits.wait()
        except _Stopped:
            self._say("stopped")
        return self.progress

    def backfill(self) -> Progress:
        """Asks for all finished candles that are missing, without the feed.

        Raises:
            ExchangeRefusedError: The exchange doesn't know the product.
            ServiceError: The exchange or the database can't be used, or another process ingests the same.
        """
        doing = f"Storing candles of {self._product}"
        with connect(self._settings) as connection, translated(self._settings, doing), self._client() as client:
            table = CandleTable(connection, self._product, self._step, mock=self._mock)
            self.progress.removed_mock += table.claim()
            try:
                self._settle(table, client)
            except _Stopped:
                self._say("stopped")
            else:
                self._say("done")
        return self.progress

    def _session(self, first: bool, waits: _Waits) -> None:
        """As long as one connection to the database lasts."""
        with connect(self._settings) as connection, self._client() as client:
            table = CandleTable(connection, self._product, self._step, mock=self._mock)
            self.progress.removed_mock += table.claim()
            self._now = client.now
            while True:
                try:
                    # Without the feed first: a feed that can't be reached must not keep the past away.
                    self._settle_if_possible(table, client, first=first)
                    first = False
                    self._listen(table, client, waits)
                except Disconnected as error:
                    self._say(f"feed {error}; opening it again")
                except _Stopped:
                    self._flush(table)
                    raise
                finally:
                    self._feed = None
                self._flush(table)
                waits.wait()

    def _listen(self, table: CandleTable, client: CandleClient, waits: _Waits) -> None:
        """As long as one connection to the feed lasts."""
        stall = self._settings.exchange_stall_seconds
        with open_feed(self._settings.exchange_websocket_url, self._product, stall, self.progress.garbage) as feed:
            self._begin(feed)
            try:
                while True:
                    self._take(0.2)
                    if self._heard is not None:
                        self._refused = 0
                        waits.reset()
                    self._flush_when_due(table)
                    if self._settling_is_due(table):
                        self._flush(table)
                        self._settle_if_possible(table, client)
            except ExchangeRefusedError:
                self._refused += 1
                if self._refused >= _REFUSALS:
                    raise
                raise Disconnected("refused") from None

    def _begin(self, feed: Feed) -> None:
        self.progress.connections += 1
        self._feed = feed
        self._heard = self._counted = self._next_settling = None
        self._say("connected")

    def _take(self, timeout: float) -> None:
        """Takes the next message from the feed, if there is one."""
        if self._stop.is_set():
            raise _Stopped
        if self._feed is None:
            self._stop.wait(timeout)
            return
        message = self._feed.receive(timeout)
        if message is not None:
            self._note(message)

    def _note(self, message: Message) -> None:
        now = self._now()
        # The exchange's own heartbeats carry its time on, should this machine's clock go slower.
        if message.time > max(now, self._heard or now) + _AHEAD:
            self.progress.garbage["a time in the future"] += 1
            return
        if isinstance(message, Ticker):
            self.progress.price = message.price
            return
        self._heard = max(message.time, self._heard or message.time)
        if isinstance(message, Match):
            self.progress.price = message.price
            self._buffer.append(message.trade())
        elif isinstance(message, Heartbeat):
            self._counted = (message.last_trade_id, message.time)

    def _flush_when_due(self, table: CandleTable) -> None:
        if len(self._buffer) >= _FLUSH_TRADES or time.monotonic() - self._flushed >= _FLUSH_SECONDS:
            self._flush(table)

    def _flush(self, table: CandleTable) -> None:
        self._flushed = time.monotonic()
        if self._buffer:
            new = table.add_trades(self._buffer)
            self.progress.trades += new
            self.progress.repeated += len(self._buffer) - new
            self._buffer.clear()
        self._watch(self.progress)

    def _settling_is_due(self, table: CandleTable) -> bool:
        """Whether an interval ended since the last settling, or something was left open by it."""
        if self._heard is None:
            return False
        if self._next_settling is None or self._heard >= self._next_settling:
            self._next_settling = table.opened(self._heard) + table.width
            return True
        return False

    def _settle_if_possible(self, table: CandleTable, client: CandleClient, *, first: bool = False) -> None:
        """Settles; without the exchange's candles the feed goes on, and settling is tried again."""
        try:
            self._settle(table, client)
        except ServiceError as error:
            if first:
                raise
            self._say(error.message)
            self._try_again_at(self._heard, _RETRY)

    def _settle(self, table: CandleTable, client: CandleClient) -> None:
        """Makes every finished interval's candle, from trades where all are here, else from the exchange."""
        asked = client.requests
        try:
            now = client.synchronize()
            end = table.opened(max(now, self._heard or now))
            counted, at = self._counted or (0, end)
            self.progress.candles += table.finish_from_trades(end, counted if at >= end else 0)
            self._correct(table, client, now)
            self._fill(table, client, end)
            table.forget_trades(min(end - table.width, now - _KEEP_TRADES))
        finally:
            self.progress.requests += client.requests - asked
        if self.progress.backfilled and not self._noted:
            table.note_origin(self.progress.backfilled, self._settings.exchange_rest_url)
            self._noted = True
        span = table.span()
        self.progress.newest = span[1] if span else None
        if table.gaps(max(end - table.width, self._from(table, end)), end):
            self._try_again_at(self._heard, _RETRY)
        self._try_again_at(self._unsettled, table.width + _SETTLED)
        self._say("listening" if self._feed else "filled")

    def _correct(self, table: CandleTable, client: CandleClient, now: datetime) -> None:
        """Reads candles again that the exchange may have corrected since."""
        if self._unsettled is None and self.progress.connections == 0:
            # What an earlier process read last may have been too fresh.
            span = table.span()
            self._unsettled = span[1] if span else None
        if self._unsettled is None or now < self._unsettled + table.width + _SETTLED:
            return
        start, self._unsettled = self._unsettled, None
        for candles in client.candles(table.product, table.step, start, table.opened(now)):
            self.progress.backfilled += table.add_candles(candles)

    def _fill(self, table: CandleTable, client: CandleClient, end: datetime) -> None:
        for start, stop in table.gaps(self._from(table, end), end):
            known = self._empty.get(start)
            for candles in client.candles(table.product, table.step, known or start, stop):
                self.progress.backfilled += table.add_candles(candles)
                self._say(f"filling the gap of {start:%Y-%m-%d %H:%M} to {stop:%Y-%m-%d %H:%M} UTC")
                fresh = [each.opened_at for each in candles if each.opened_at + table.width > client.now() - _SETTLED]
                if fresh and self._unsettled is None:
                    self._unsettled = min(fresh)
            # The newest may only be late; older intervals without a candle have no trade.
            self._empty[start] = min(stop, max(start, table.opened(client.now() - _SETTLED) - table.width))

    def _from(self, table: CandleTable, end: datetime) -> datetime:
        if self._since is not None:
            return table.opened(self._since)
        span = table.span()
        return span[0] if span else end - HISTORY * table.width

    def _try_again_at(self, moment: datetime | None, wait: timedelta) -> None:
        """Settles again that long after a moment, by the exchange's time; None leaves the plan as it is."""
        if moment is not None and self._next_settling is not None:
            self._next_settling = min(moment + wait, self._next_settling)

    def _client(self) -> CandleClient:
        return CandleClient(
            self._settings.exchange_rest_url, self.progress.garbage, pause_seconds=self._pause, sleep=self._wait
        )

    def _wait(self, seconds: float) -> None:
        """Waits between requests; meanwhile the feed is read, or the exchange would close it as too slow."""
        until = time.monotonic() + seconds
        while True:
            if self._stop.is_set():
                raise _Stopped
            left = until - time.monotonic()
            if self._feed is None:
                if left > 0:
                    self._stop.wait(left)
                    continue
                return
            message = self._feed.receive(max(left, 0))
            if message is not None:
                self._note(message)
            if left <= 0:
                return

    def _say(self, state: str) -> None:
        self.progress.state = state
        self._watch(self.progress)


class _Waits:
    """Longer and longer waits between attempts, none before the first after a success."""

    def __init__(self, wait: Callable[[float], None]) -> None:
        self._wait = wait
        self._attempt = 0

    def reset(self) -> None:
        """The attempt was a success."""
        self._attempt = 0

    def wait(self) -> None:
        """Waits as long as it is due."""
        self._wait(min(0.25 * (2**self._attempt - 1), _LONGEST_WAIT))
        self._attempt += 1
