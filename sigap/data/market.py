"""A made-up market, the same on every machine: for the mock candles, the mock exchange and the tests.

Its price is a random walk whose calm and stormy days alternate, so nobody can forecast it better than "it stays".
Everything that is made of it has to be called mock wherever it is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

STEPS = {"1m": 60, "1h": 3600, "1d": 86400}  # seconds

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ORIGIN = datetime(2018, 1, 1, tzinfo=UTC)
MOCK_DAYS = 2000
TICK = timedelta(seconds=5)

_DAY = 86_400
_TICKS = _DAY // 5
_LAST_DAY = 40_000
_FIRST_PRICE = 13_700.0
_VOLATILITY = 0.034  # of a day's log return, about bitcoin's
_CENT, _LOT = Decimal("0.01"), Decimal("0.00000001")


@dataclass(frozen=True)
class Candle:
    """One finished interval; prices are exact.

    Attributes:
        opened_at: Its start, UTC.
        open: First price.
        high: Highest price.
        low: Lowest price.
        close: Last price.
        volume: What was traded.
    """

    opened_at: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


@dataclass(frozen=True)
class Trade:
    """One trade, as the exchange's feed tells it."""

    trade_id: int
    traded_at: datetime
    price: Decimal
    size: Decimal
    side: str


class Market:
    """Trades every five seconds, numbered without a hole, from 2018 on.

    Args:
        seed: Another seed is another market.
        halts: Spans (start inclusive, end exclusive) without any trade; whole ticks.
    """

    def __init__(self, seed: int = 20180101, halts: Sequence[tuple[datetime, datetime]] = ()) -> None:
        self._seed = seed
        self._halts = tuple((_tick(start), _tick(end)) for start, end in halts)
        generator = np.random.default_rng(seed)
        noise = generator.standard_normal((2, _LAST_DAY))
        storm = np.empty(_LAST_DAY)
        level = 0.0
        for day in range(_LAST_DAY):
            level = 0.95 * level + 0.16 * noise[0, day]
            storm[day] = level
        self._volatility = _VOLATILITY * np.exp(storm - storm.var())
        # Pulled back to the first price over years, so that a mock market neither vanishes nor explodes; far too
        # slowly for anybody to gain from it in a day.
        walk = np.empty(_LAST_DAY + 1)
        walk[0] = np.log(_FIRST_PRICE)
        for day in range(_LAST_DAY):
            walk[day + 1] = walk[day] + self._volatility[day] * noise[1, day] + 2e-4 * (walk[0] - walk[day])
        self._walk = walk
        self._ticks = lru_cache(maxsize=64)(self._make_ticks)

    def trades(self, start: datetime, end: datetime) -> Iterator[Trade]:
        """Trades of [start, end), oldest first."""
        for tick in range(_tick(start), _tick(end)):
            if self._halted(tick):
                continue
            price, size, buy = (column[tick % _TICKS] for column in self._ticks(tick // _TICKS))
            yield Trade(
                trade_id=self.trade_id(tick),
                traded_at=ORIGIN + tick * TICK,
                price=Decimal(int(price)) * _CENT,
                size=Decimal(int(size)) * _LOT,
                side="buy" if buy else "sell",
            )

    def trade_id(self, tick: int) -> int:
        """Number of the trade at a tick, counted from 1 without the halted ones."""
        return 1 + tick - sum(min(tick, end) - start for start, end in self._halts if tick > start)

    def last_trade_id(self, now: datetime) -> int:
        """Number of the newest trade before `now`."""
        return self.trade_id(_tick(now)) - 1

    def candles(self, step: str, start: datetime, end: datetime) -> list[Candle]:
        """Candles that open in [start, end), oldest first; none for an interval without a trade."""
        seconds = STEPS[step]
        width = seconds // 5
        opened = start.timestamp() // seconds * seconds
        made = []
        while opened < end.timestamp():
            at = datetime.fromtimestamp(opened, UTC)
            if at >= start and (candle := self._candle(at, width)):
                made.append(candle)
            opened += seconds
        return made

    def _candle(self, opened_at: datetime, width: int) -> Candle | None:
        tick = _tick(opened_at)
        part = slice(tick % _TICKS, tick % _TICKS + width)
        price, size, _ = (column[part] for column in self._ticks(tick // _TICKS))
        if any(start < tick + width and tick < end for start, end in self._halts):
            kept = np.array([not self._halted(tick + at) for at in range(width)])
            price, size = price[kept], size[kept]
        if not len(price):
            return None
        first, high, low, last = (Decimal(int(x)) * _CENT for x in (price[0], price.max(), price.min(), price[-1]))
        return Candle(opened_at, first, high, low, last, Decimal(int(size.sum())) * _LOT)

    def _halted(self, tick: int) -> bool:
        return any(start <= tick < end for start, end in self._halts)

    def _make_ticks(self, day: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Price in cents, size in hundred-millionths and side of a day's trades: a bridge between two days' walk."""
        generator = np.random.default_rng([self._seed, day])
        steps = generator.standard_normal(_TICKS) * self._volatility[day] / np.sqrt(_TICKS)
        path = np.cumsum(steps)
        along = np.arange(1, _TICKS + 1) / _TICKS
        path += self._walk[day] + along * (self._walk[day + 1] - self._walk[day] - path[-1])
        price = np.rint(np.exp(path) * 100).astype(np.int64)
        size = np.rint(generator.exponential(0.05, _TICKS) * 1e8).astype(np.int64) + 1
        return price, size, generator.random(_TICKS) < 0.5


def candles_of(trades: Iterable[Trade], width: timedelta) -> list[Candle]:
    """The candles that trades add up to, oldest first.

    Args:
        trades: In the order of their numbers.
        width: The step.
    """
    grouped: dict[datetime, list[Trade]] = {}
    for trade in trades:
        grouped.setdefault(trade.traded_at - (trade.traded_at - EPOCH) % width, []).append(trade)
    return [
        Candle(
            opened_at=opened_at,
            open=group[0].price,
            high=max(trade.price for trade in group),
            low=min(trade.price for trade in group),
            close=group[-1].price,
            volume=sum((trade.size for trade in group), Decimal()),
        )
        for opened_at, group in sorted(grouped.items())
    ]


def mock_candles(days: int = MOCK_DAYS, step: str = "1d") -> list[Candle]:
    """The mock table: the market's first `days` days, the same on every machine."""
    return Market().candles(step, ORIGIN, ORIGIN + timedelta(days=days))


def _tick(moment: datetime) -> int:
    """Number of the first tick at or after a moment."""
    return -((ORIGIN - moment) // TICK)
