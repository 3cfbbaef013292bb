"""Live ingestion against a mock exchange over real WebSockets and HTTP, into a real PostgreSQL."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from websockets.http11 import Response

from sigap.catalog.bitcoin_price import BITCOIN_PRICE
from sigap.cli.ingest import Wish, ingest
from sigap.data.exchange import ExchangeRefusedError, Heartbeat, Match, Ticker, read_message
from sigap.data.ingest import Ingestion, Progress
from sigap.data.market import Candle, Market, Trade, candles_of, mock_candles
from sigap.data.mock_exchange import Drop, Frame, MockExchange
from sigap.data.snapshot import take_snapshot
from sigap.errors import ServiceError
from sigap.settings import ROOT, Settings
from sigap.training.series import prepare_series
from sigap.training.sweep import read_snapshot
from tests.conftest import Checkout
from tests.shared import shared

NOON = datetime(2024, 3, 5, 12, 0, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SPEED = 120  # minutes of the exchange in a minute of ours


class Clock:
    """The mock exchange's time: starts at noon and runs 120 times as fast."""

    def __init__(self, start: datetime = NOON, speed: float = SPEED) -> None:
        self.start, self.speed = start, speed
        self._begin = time.monotonic()

    def __call__(self) -> datetime:
        return self.start + timedelta(seconds=(time.monotonic() - self._begin) * self.speed)


class Running:
    """An ingestion on a thread, and what it has written."""

    def __init__(self, settings: Settings, exchange: MockExchange, **options: Any) -> None:
        self.stop = threading.Event()
        self.exchange = exchange
        self.dsn = settings.dsn
        self.settings = settings.model_copy(
            update={
                "exchange_websocket_url": exchange.websocket_url,
                "exchange_rest_url": exchange.rest_url,
                "exchange_stall_seconds": options.pop("stall", 5.0),
            }
        )
        options = {"step": "1m", "since": NOON - 5 * MINUTE, "pause_seconds": 0.0} | options
        self.ingestion = Ingestion(self.settings, exchange.product, stop=self.stop, **options)
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self.ingestion.run()
        except BaseException as error:
            self.error = error

    def __enter__(self) -> Running:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._thread.join(600)
        assert not self._thread.is_alive()

    @property
    def progress(self) -> Progress:
        return self.ingestion.progress

    def until(self, reached: Callable[[], bool]) -> None:
        """Waits for something to be so; generously, since a loaded machine proves nothing."""
        end = time.monotonic() + 600
        while not reached():
            assert self._thread.is_alive(), self.error
            assert time.monotonic() < end, self.progress
            time.sleep(0.02)

    def until_candle(self, opened_at: datetime) -> None:
        self.until(lambda: any(each.opened_at == opened_at for each in self.candles()))

    def candles(self, step: str = "1m") -> list[Candle]:
        query = "SELECT opened_at, open, high, low, close, volume FROM candles WHERE step = %s ORDER BY 1"
        return [Candle(*row) for row in rows(self.dsn, query, step)]

    def trades(self) -> list[Trade]:
        return [
            Trade(*row)
            for row in rows(self.dsn, "SELECT trade_id, traded_at, price, size, side FROM trades ORDER BY 1")
        ]

    def must_be_the_markets(self) -> None:
        """Every candle from the first to the last is there, once, and exact; so is every trade."""
        found = self.candles()
        first, last = found[0].opened_at, found[-1].opened_at
        assert found == self.exchange.market.candles("1m", first, last + MINUTE)
        stored = self.trades()
        assert stored
        true = self.exchange.market.trades(stored[0].traded_at, stored[-1].traded_at + timedelta(seconds=5))
        assert set(stored) <= set(true)


def rows(dsn: str, query: str, *values: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(query.encode(), values or None).fetchall()


def execute(dsn: str, statement: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(statement.encode())


@pytest.fixture
def settings(seeded_database: str) -> Settings:
    return Settings(DATABASE_URL=seeded_database)


@pytest.fixture(scope="module")
def market() -> Market:
    return Market()


@contextmanager
def exchange(market: Market, **options: Any) -> Iterator[MockExchange]:
    with MockExchange(market, **({"clock": Clock()} | options)) as running:
        yield running


def test_the_word_asks_for_what_is_missing_once_and_says_so(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    execute(settings.dsn, "DELETE FROM candles")
    since = datetime.now(UTC) - timedelta(days=400)
    wish = Wish("BTC-USD", "1d", since, mock=True, once=True)
    assert ingest(settings, wish) == 0
    told = capsys.readouterr().out
    assert "what it says is made up" in told
    assert "399 asked for in" in told or "400 asked for in" in told
    counted = rows(settings.dsn, "SELECT count(*), count(DISTINCT opened_at) FROM candles WHERE step = '1d'")[0]
    assert counted[0] == counted[1] >= 399
    assert ingest(settings, wish) == 0
    assert rows(settings.dsn, "SELECT count(*) FROM candles WHERE step = '1d'")[0][0] == counted[0]


def test_a_calm_feed_becomes_candles_to_the_last_digit(settings: Settings, market: Market) -> None:
    with exchange(market) as mock, Running(settings, mock) as running:
        running.until(lambda: running.progress.candles >= 3)
        running.must_be_the_markets()
    assert running.error is None
    assert running.candles()[0].opened_at == NOON.replace(second=0) - 5 * MINUTE
    origins = dict(rows(settings.dsn, "SELECT origin, count(*) FROM candles WHERE step = '1m' GROUP BY 1"))
    # The minute in which the feed was opened lacks its first trades: it is asked for.
    assert origins["rest"] >= 6
    assert origins["trades"] >= 3
    assert not running.progress.garbage
    assert isinstance(running.candles()[0].close, Decimal)


def garbage(number: int, frames: Iterator[Frame]) -> Iterator[Frame]:
    """Between true frames, everything that is none."""
    true = json.dumps({"type": "match", "product_id": "BTC-USD", "trade_id": 1, "time": "2024-03-05T12:00:00Z"})
    bad = json.loads(true) | {"price": "1", "size": "1", "side": "buy"}
    wrong = [
        "",
        "{",
        b"\x00\xff\xfe",
        "[" * 100_000,
        "null",
        '"match"',
        '{"type": 7}',
        '{"type": "l2update", "product_id": "BTC-USD"}',
        true,
        *(json.dumps(bad | change) for change in GARBAGE),
    ]
    for frame, nonsense in zip(frames, itertools.cycle(wrong), strict=False):
        yield nonsense
        yield frame


GARBAGE: list[dict[str, Any]] = [
    {"price": "-1"},
    {"price": "0"},
    {"price": "NaN"},
    {"price": "Infinity"},
    {"price": "1e999999999"},
    {"price": "1" * 5000},
    {"price": "12,5"},
    {"price": None},
    {"size": {"a": 1}},
    {"trade_id": "9999999999999999999999"},
    {"trade_id": 2**63},
    {"trade_id": -4},
    {"trade_id": 1.5},
    {"trade_id": True},
    {"time": "yesterday"},
    {"time": "1970-01-01T00:00:00Z"},
    {"time": "9999-12-31T23:59:59Z"},
    {"time": "2024-03-05T12:00:00"},
    {"side": "hold"},
    {"product_id": "ETH-USD"},
    {"product_id": "BTC-USD\u0000"},
    {"type": "heartbeat", "last_trade_id": "many"},
    {"type": "ticker", "price": "cheap"},
]


def test_garbage_is_counted_and_nothing_else(settings: Settings, market: Market) -> None:
    with exchange(market, script=garbage) as mock, Running(settings, mock) as running:
        running.until(lambda: sum(running.progress.garbage.values()) > 60 and running.progress.candles >= 2)
        running.must_be_the_markets()
    assert running.error is None
    assert running.progress.connections == 1
    assert {"not JSON", "another product", "a time in the future"} <= set(running.progress.garbage)


def test_doubled_and_shuffled_trades_count_once(settings: Settings, market: Market) -> None:
    def shuffled(number: int, frames: Iterator[Frame]) -> Iterator[Frame]:
        held: list[Frame] = []
        for frame in frames:
            held.append(frame)
            if len(held) == 7:
                yield from reversed(held)
                yield from held
                held.clear()

    with exchange(market, script=shuffled) as mock, Running(settings, mock) as running:
        running.until(lambda: running.progress.repeated > 50 and len(running.candles()) >= 9)
        running.must_be_the_markets()
    # The last few were still on their way, the newer before the older.
    stored = [trade.trade_id for trade in running.trades()][:-12]
    assert stored == list(range(stored[0], stored[-1] + 1))


def test_a_feed_that_drops_and_stalls_loses_nothing(settings: Settings, market: Market) -> None:
    def failing(number: int, frames: Iterator[Frame]) -> Iterator[Frame]:
        for sent, frame in enumerate(frames):
            if number == 1 and sent == 40:
                raise Drop
            if number == 2 and sent == 40:
                time.sleep(2.5)  # longer than the client's patience
            if number == 3 and sent > 20:
                # Alive but deaf: heartbeats count trades that don't come.
                if "heartbeat" in str(frame):
                    yield frame
                continue
            if number == 4 and sent == 20:
                return  # closes politely
            yield frame

    with exchange(market, script=failing) as mock, Running(settings, mock, stall=0.8) as running:
        running.until(lambda: mock.connections >= 5)
        finished = mock._clock().replace(second=0, microsecond=0) + 2 * MINUTE
        running.until_candle(finished)
        running.must_be_the_markets()
    assert running.error is None


def test_trades_left_out_by_the_feed_are_asked_for(settings: Settings, market: Market) -> None:
    """A candle that lacks one trade would look like any other: it has to come from the exchange."""

    def lossy(number: int, frames: Iterator[Frame]) -> Iterator[Frame]:
        for frame in frames:
            if '"match"' not in str(frame) or json.loads(frame)["trade_id"] % 12 != 7:
                yield frame

    with exchange(market, script=lossy) as mock, Running(settings, mock) as running:
        running.until(lambda: len(running.candles()) >= 9)
        running.must_be_the_markets()
    assert running.progress.candles == 0


def test_a_gap_of_a_week_is_filled_three_hundred_at_a_time(settings: Settings) -> None:
    week = timedelta(days=7)
    halt = (NOON.replace(second=0) - 3 * week / 7, NOON.replace(second=0) - 3 * week / 7 + 400 * MINUTE)
    market = Market(halts=[halt])
    with exchange(market) as mock:
        with Running(settings, mock, since=NOON - week - 3 * MINUTE) as running:
            # Stored before the gap, as by an earlier process.
            running.until(lambda: running.progress.connections >= 1)
        execute(
            settings.dsn,
            f"DELETE FROM candles WHERE opened_at >= '{NOON - week}' AND opened_at < '{NOON - 2 * MINUTE}'",
        )
        mock.requests.clear()
        with Running(settings, mock, since=None) as running:
            running.until(lambda: running.progress.connections >= 1)
            running.until_candle(NOON.replace(second=0) + 3 * MINUTE)
            found = running.candles()
            assert found == market.candles("1m", found[0].opened_at, found[-1].opened_at + MINUTE)
            assert len(found) >= 7 * 1440 - 400
    spans = [datetime.fromisoformat(asked["end"]) - datetime.fromisoformat(asked["start"]) for asked in mock.requests]
    assert max(spans) == 299 * MINUTE
    # Nobody asks twice for what the exchange has none of: one pass over the week, and the newest minutes.
    assert len(mock.requests) < 10_080 / 300 + 20


def test_candle_answers_that_cannot_be_are_refused_and_asked_again(settings: Settings, market: Market) -> None:
    def answer(number: int, response: Response) -> Response:
        body = response.body
        if number == 1:
            response.status_code, body = 503, b"busy"
        elif number == 2:
            response.status_code, body = 429, b'{"message": "Slow down"}'
            response.headers["Retry-After"] = "0"
        elif number == 3:
            body = b"<html>not today</html>"
        elif number == 4 and body.startswith(b"[["):
            first = body.split(b"]")[0].lstrip(b"[")
            moment = first.split(b",")[0]
            lies = [b"[1,2]", b'["a",1,1,1,1,1]', moment + b",5,1,3,3,1", moment + b",1,-1,1,1,1", b"17,1,1,1,1,1"]
            lies += [moment + b",1e99999,1e99999,1e99999,1e99999,1", first, b"null", b"4102444800,1,1,1,1,1"]
            wrapped = [lie if lie.startswith((b"[", b"null")) else b"[" + lie + b"]" for lie in lies]
            body = b"[" + b",".join([*wrapped, body[1:-1]]) + b"]"
        del response.headers["Content-Length"]
        response.headers["Content-Length"] = str(len(body))
        response.body = body
        return response

    with exchange(market, answer=answer) as mock, Running(settings, mock) as running:
        running.until(lambda: len(running.candles()) >= 7)
        running.must_be_the_markets()
    assert running.error is None
    assert running.progress.garbage["an unusable candle"] >= 6
    assert running.progress.garbage["a candle twice"] == 1


def test_a_clock_that_goes_backwards_changes_no_finished_candle(settings: Settings, market: Market) -> None:
    class Backwards(Clock):
        turned = False

        def __call__(self) -> datetime:
            return super().__call__() - (3 * MINUTE if self.turned else timedelta())

    clock = Backwards()
    with exchange(market, clock=clock) as mock, Running(settings, mock) as running:
        running.until(lambda: running.progress.candles >= 2)
        clock.turned = True
        before = running.candles()
        running.until_candle(before[-1].opened_at + 2 * MINUTE)
        assert running.candles()[: len(before)] == before
        running.must_be_the_markets()
    assert running.error is None


def test_the_database_may_go_and_come_back(settings: Settings, market: Market) -> None:
    with exchange(market) as mock, Running(settings, mock) as running:
        running.until(lambda: running.progress.candles >= 1)
        newest = running.candles()[-1].opened_at
        execute(
            settings.dsn,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        running.until_candle(newest + 3 * MINUTE)
        running.must_be_the_markets()
    assert running.error is None


def test_one_ingestion_is_enough(settings: Settings, market: Market) -> None:
    with exchange(market) as mock, Running(settings, mock) as running:
        running.until(lambda: running.progress.connections >= 1)
        with pytest.raises(ServiceError, match="being ingested by another process"):
            Ingestion(running.settings, "BTC-USD", "1m").run()


def test_an_unknown_product_is_said_and_not_asked_for_ever(settings: Settings, market: Market) -> None:
    with exchange(market, product="ETH-USD") as mock:
        running = Running(settings, mock)
        with pytest.raises(ServiceError, match="refuses /products/BTC-USD/candles: status 404, NotFound"):
            Ingestion(running.settings, "BTC-USD", "1m", pause_seconds=0).run()


def test_mock_and_real_candles_do_not_mix(settings: Settings, market: Market) -> None:
    with exchange(market, clock=Clock(speed=0)) as mock:
        made_up = Running(settings, mock, mock=True).ingestion.backfill()
        assert made_up.backfilled == 5
        assert rows(settings.dsn, "SELECT DISTINCT origin FROM candles WHERE step = '1m'") == [("mock",)]
        real = Running(settings, mock).ingestion.backfill()
        assert (real.removed_mock, real.backfilled) == (5, 5)
        with pytest.raises(ServiceError, match="mock ones are not mixed in"):
            Running(settings, mock, mock=True).ingestion.backfill()
    loaded = rows(settings.dsn, "SELECT origin, rows FROM data_origin WHERE details ->> 'step' = '1m' ORDER BY id")
    assert loaded == [("mock", 5), ("live", 5)]
    assert rows(settings.dsn, "SELECT DISTINCT origin FROM candles WHERE step = '1m'") == [("rest",)]


def test_a_file_s_candles_are_left_alone_and_the_exchange_s_corrected(settings: Settings, market: Market) -> None:
    with exchange(market, clock=Clock(speed=0)) as mock:
        Running(settings, mock).ingestion.backfill()
    with exchange(market) as mock:
        execute(settings.dsn, "UPDATE candles SET close = 1, high = high + 1")
        execute(settings.dsn, f"UPDATE candles SET origin = 'import' WHERE opened_at < '{NOON - 3 * MINUTE}'")
        with Running(settings, mock, since=NOON - 5 * MINUTE) as running:
            # Only the newest may still be corrected by the exchange; what is older stands.
            running.until_candle(NOON.replace(second=0) + 3 * MINUTE)
        closes = [each.close for each in running.candles()]
    assert closes[:4] == [1, 1, 1, 1]
    assert closes[4] == market.candles("1m", NOON - 1.5 * MINUTE, NOON)[0].close


def test_recorded_messages_are_read_with_exact_prices() -> None:
    messages = json.loads(shared("crypto", "coinbase_messages.json").read_text())["messages"]
    recorded = [json.dumps(each["msg"]) for each in messages]
    read = [read_message(text) for text in recorded]
    matches = [each for each in read if isinstance(each, Match)]
    assert [str(each.price) for each in matches] == ["77706.48", "7723.39", "2760.55000000", "1925.31", "83982.07"]
    assert [str(each.size) for each in matches][-1] == "1.1E-7"
    assert sum(isinstance(each, Ticker) for each in read) == 1
    assert sum(isinstance(each, Heartbeat) for each in read) == 1
    assert read[6] is None


def test_the_market_is_the_same_everywhere_and_adds_up(market: Market) -> None:
    start = NOON.replace(second=0)
    trades = list(market.trades(start, start + 10 * MINUTE))
    assert candles_of(trades, MINUTE) == market.candles("1m", start, start + 10 * MINUTE)
    assert [each.trade_id for each in trades] == list(range(trades[0].trade_id, trades[0].trade_id + 120))
    history = mock_candles(days=3)
    assert history == mock_candles(days=3)
    assert [str(each.close) for each in history] == ["13604.65", "13078.02", "13060.61"]


def test_candles_of_the_exchange_become_a_snapshot_that_can_be_forecast_from(
    checkout: Checkout, seeded_database: str, market: Market
) -> None:
    settings = checkout.settings(database=seeded_database)
    today = NOON.replace(hour=0, second=0)
    start = today - timedelta(days=400)
    with exchange(market, clock=Clock(speed=0)) as mock:
        filled = Running(settings, mock, step="1d", since=start).ingestion.backfill()
    # The mock candles that a first start brings made room, the day that is still open is none yet.
    assert filled.backfilled == 400
    taken = take_snapshot(BITCOIN_PRICE, settings)
    assert (taken.rows, taken.rejected) == (400, 0)
    again = take_snapshot(BITCOIN_PRICE, settings)
    assert (again.created, again.md5) == (False, taken.md5)
    series = prepare_series(BITCOIN_PRICE, read_snapshot(checkout.root / taken.path))
    assert series.closes.tolist() == [float(each.close) for each in market.candles("1d", start, today)]
    assert series.last_time == today - timedelta(days=1)


def test_a_killed_ingestion_loses_and_doubles_nothing(settings: Settings, market: Market) -> None:
    script = f"""
from datetime import datetime
from sigap.data.ingest import Ingestion
from sigap.settings import Settings
settings = Settings(DATABASE_URL={settings.dsn!r}, exchange_websocket_url=WEBSOCKET, exchange_rest_url=REST)
Ingestion(settings, "BTC-USD", "1m", since=datetime.fromisoformat({NOON.isoformat()!r}), pause_seconds=0).run()
"""
    with exchange(market) as mock:
        script = script.replace("WEBSOCKET", repr(mock.websocket_url)).replace("REST)", f"{mock.rest_url!r})")
        for _ in range(2):
            before = len(rows(settings.dsn, "SELECT FROM trades"))
            with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT) as process:
                end = time.monotonic() + 600
                while len(rows(settings.dsn, "SELECT FROM trades")) < before + 20:
                    assert process.poll() is None
                    assert time.monotonic() < end
                    time.sleep(0.02)
                process.kill()
        with Running(settings, mock) as running:
            running.until(lambda: running.progress.candles >= 2)
            running.must_be_the_markets()
    assert running.error is None


def test_a_feed_that_refuses_is_not_asked_for_ever(settings: Settings, market: Market) -> None:
    def refusing(number: int, frames: Iterator[Frame]) -> Iterator[Frame]:
        yield json.dumps({"type": "error", "message": "Failed to subscribe", "reason": "BTC-USD is delisted"})

    with exchange(market, script=refusing) as mock:
        with Running(settings, mock) as running:
            running.until(lambda: mock.connections >= 3)
            running._thread.join(600)
        assert isinstance(running.error, ExchangeRefusedError)
        assert "Failed to subscribe BTC-USD is delisted" in str(running.error)
    # The past was filled all the same.
    assert len(running.candles()) >= 5
