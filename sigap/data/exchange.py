"""The exchange: its feed over a WebSocket and its candles over REST (Coinbase Exchange's words and shapes).

Nothing that it sends is trusted: what can't be read, or can't be true, is counted and left out. Prices are decimals
from the first byte on, never floats.

Sources: docs.cdp.coinbase.com/exchange (WebSocket channels `ticker`, `matches`, `heartbeat`; REST product candles).
"""

from __future__ import annotations

import email.utils
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from types import TracebackType
from typing import Annotated, Any, Literal, Self

import httpx
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from sigap.data.market import STEPS, Candle, Trade
from sigap.errors import ServiceError

MOST_CANDLES = 300  # a request
CHANNELS = ("ticker", "matches", "heartbeat")
# No trade, price or time of any exchange lies outside; whatever does is garbage.
_FIRST_MOMENT = datetime(2009, 1, 3, tzinfo=UTC)
_LARGEST_FRAME = 1 << 20
_ATTEMPTS = 5
_OPEN_SECONDS = 10.0

_Amount = Annotated[Decimal, Field(gt=0, lt=Decimal("1e15"), allow_inf_nan=False, max_digits=34, decimal_places=18)]
_Identity = Annotated[int, Field(strict=True, gt=0, lt=2**63)]


class Disconnected(Exception):  # noqa: N818 - an event of the feed, not an error of the program
    """The feed is to be opened anew: it closed, stalled, or is behind what it says itself."""


class ExchangeRefusedError(ServiceError):
    """The exchange answers, and says no; asking again will not help."""


class _Frame(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Match(_Frame):
    """A trade. The first frame of the channel is the last trade before the subscription, `last_match`."""

    type: Literal["match", "last_match"]
    product_id: str
    trade_id: _Identity
    time: AwareDatetime
    price: _Amount
    size: _Amount
    side: Literal["buy", "sell"]

    def trade(self) -> Trade:
        """The trade itself."""
        return Trade(self.trade_id, self.time, self.price, self.size, self.side)


class Ticker(_Frame):
    """The price after a trade."""

    type: Literal["ticker"]
    product_id: str
    price: _Amount
    time: AwareDatetime


class Heartbeat(_Frame):
    """Every second, traded or not: the exchange's time and the newest trade's number."""

    type: Literal["heartbeat"]
    product_id: str
    last_trade_id: Annotated[int, Field(strict=True, ge=0, lt=2**63)]
    time: AwareDatetime


class Subscriptions(_Frame):
    """The exchange took the subscription."""

    type: Literal["subscriptions"]


class Failure(_Frame):
    """The exchange refuses something."""

    type: Literal["error"]
    message: str = ""
    reason: str = ""


Message = Match | Ticker | Heartbeat
_MESSAGE: TypeAdapter[Message | Subscriptions | Failure] = TypeAdapter(
    Annotated[Match | Ticker | Heartbeat | Subscriptions | Failure, Field(discriminator="type")]
)
_KNOWN = {"match", "last_match", "ticker", "heartbeat", "subscriptions", "error"}


def read_message(frame: str | bytes) -> Message | Subscriptions | Failure | None:
    """The message in a frame; None if it is of a type that we have no use for.

    Raises:
        ValueError: The frame holds no message of the feed; says why in a few words, without the frame.
    """
    try:
        content = json.loads(frame)
    except (ValueError, RecursionError):
        raise ValueError("not JSON") from None
    if not isinstance(content, dict) or not isinstance(content.get("type"), str):
        raise ValueError("no object with a type")  # noqa: TRY004 - garbage is garbage, of whatever Python type
    if content["type"] not in _KNOWN:
        return None
    try:
        message = _MESSAGE.validate_python(content)
    except (ValidationError, InvalidOperation, OverflowError) as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"]) if isinstance(error, ValidationError) else ""
        raise ValueError(f"unusable {where or 'value'}") from None
    if isinstance(message, Match | Ticker | Heartbeat) and message.time < _FIRST_MOMENT:
        raise ValueError("a time before the first bitcoin")
    return message


class Feed:
    """The subscribed feed of one product, while it is connected.

    Args:
        connection: An open WebSocket.
        product: Such as BTC-USD.
        stall_seconds: Without a usable message for this long, the feed counts as dead.
        garbage: Counts what was left out, by reason.
    """

    def __init__(self, connection: ClientConnection, product: str, stall_seconds: float, garbage: Counter[str]) -> None:
        self.product = product
        self._connection = connection
        self._stall_seconds = stall_seconds
        self._garbage = garbage
        self._alive = time.monotonic()
        self._newest = 0
        self._behind_since: float | None = None

    def receive(self, timeout: float) -> Message | None:
        """The next usable message, or None when none came within `timeout` seconds.

        Raises:
            Disconnected: The feed closed, stalled, or keeps trades back that it counts itself.
            ExchangeRefusedError: The exchange refuses the subscription.
        """
        try:
            frame = self._connection.recv(timeout=timeout)
        except TimeoutError:
            self._check_alive()
            return None
        except (WebSocketException, OSError) as error:
            raise Disconnected(f"closed: {error}") from error
        message = self._read(frame)
        self._check_alive()
        return message

    def _read(self, frame: str | bytes) -> Message | None:
        try:
            message = read_message(frame)
        except ValueError as error:
            self._garbage[str(error)] += 1
            return None
        if isinstance(message, Failure):
            raise _refusal(message, self.product)
        if message is None or isinstance(message, Subscriptions):
            return None
        if message.product_id != self.product:
            self._garbage["another product"] += 1
            return None
        self._alive = time.monotonic()
        self._follow(message)
        return message

    def _follow(self, message: Message) -> None:
        """Notices when heartbeats count trades that the feed does not bring."""
        if isinstance(message, Match):
            self._newest = max(self._newest, message.trade_id)
        elif isinstance(message, Heartbeat):
            if message.last_trade_id <= self._newest:
                self._behind_since = None
            elif self._behind_since is None:
                self._behind_since = time.monotonic()

    def _check_alive(self) -> None:
        now = time.monotonic()
        if now - self._alive > self._stall_seconds:
            raise Disconnected(f"stalled: nothing usable for {self._stall_seconds:g} s")
        if self._behind_since is not None and now - self._behind_since > self._stall_seconds:
            raise Disconnected("stalled: heartbeats come, trades don't")


@contextmanager
def open_feed(url: str, product: str, stall_seconds: float, garbage: Counter[str]) -> Iterator[Feed]:
    """Connects to `url` and subscribes to `product`; closes when the block ends.

    Raises:
        Disconnected: The exchange can't be reached.
    """
    try:
        connection = connect(url, open_timeout=_OPEN_SECONDS, close_timeout=1, max_size=_LARGEST_FRAME)
    except (WebSocketException, OSError) as error:
        raise Disconnected(f"can't be reached: {error}") from error
    with connection:
        try:
            # The exchange closes a connection that has not subscribed within five seconds.
            connection.send(json.dumps({"type": "subscribe", "product_ids": [product], "channels": list(CHANNELS)}))
        except (WebSocketException, OSError) as error:
            raise Disconnected(f"closed: {error}") from error
        yield Feed(connection, product, stall_seconds, garbage)


class CandleClient:
    """The exchange's candles over REST.

    Args:
        url: Such as https://api.exchange.coinbase.com.
        garbage: Counts rows that were left out, by reason.
        pause_seconds: Between two requests; the exchange allows ten a second.
        sleep: Waits that many seconds; a caller that wants to stop early may raise from it.
    """

    def __init__(
        self,
        url: str,
        garbage: Counter[str],
        *,
        pause_seconds: float = 0.15,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.requests = 0
        self._client = httpx.Client(base_url=url, timeout=httpx.Timeout(15, connect=5), follow_redirects=False)
        self._garbage = garbage
        self._pause = pause_seconds
        self._sleep = sleep
        self._ahead = timedelta()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def now(self) -> datetime:
        """The exchange's time: this machine's clock, set right by the last answer."""
        return datetime.now(UTC) + self._ahead

    def synchronize(self) -> datetime:
        """Asks for the exchange's time.

        Raises:
            ServiceError: It can't be reached.
        """
        answer = self._get("/time", {})
        try:
            moment = datetime.fromtimestamp(float(answer.json()["epoch"]), UTC)
        except (ValueError, KeyError, TypeError, OverflowError, OSError):
            # An exchange without that answer still dates what it sends.
            moment = _dated(answer) or datetime.now(UTC)
        self._ahead = moment - datetime.now(UTC)
        return moment

    def candles(self, product: str, step: str, start: datetime, end: datetime) -> Iterator[list[Candle]]:
        """Finished candles that open in [start, end), at most 300 at a time, oldest first.

        Args:
            product: Such as BTC-USD.
            step: `1m`, `1h` or `1d`.
            start: A multiple of the step.
            end: A multiple of the step.

        Raises:
            ExchangeRefusedError: There is no such product, or the request is refused.
            ServiceError: The exchange can't be reached, or answers nonsense, five times in a row.
        """
        width = timedelta(seconds=STEPS[step])
        while start < end:
            stop = min(start + MOST_CANDLES * width, end)
            yield self._window(product, width, start, stop)
            start = stop

    def _window(self, product: str, width: timedelta, start: datetime, stop: datetime) -> list[Candle]:
        # Both ends are included by the exchange, so the last candle asked for is the one that opens a step earlier.
        asked = {
            "granularity": str(int(width.total_seconds())),
            "start": start.isoformat(),
            "end": (stop - width).isoformat(),
        }
        path = f"/products/{product}/candles"
        for attempt in range(_ATTEMPTS):
            answer = self._get(path, asked)
            try:
                rows = json.loads(answer.text, parse_float=Decimal, parse_int=Decimal)
            except (ValueError, RecursionError, InvalidOperation):
                rows = None
            if isinstance(rows, list):
                # A candle that is still open on the exchange's clock would be taken for a finished one.
                until = min(stop, (_dated(answer) or self.now()) - width + timedelta(microseconds=1))
                return self._read(rows, width, start, until)
            self._garbage["an answer that is no list of candles"] += 1
            self._sleep(_backoff(attempt))
        raise ServiceError(
            f"The exchange at {self._client.base_url} answers {path} with something that is no list of candles.",
            remedy="Check SIGAP_EXCHANGE_REST_URL; otherwise wait, and run it again.",
        )

    def _read(self, rows: list[Any], width: timedelta, start: datetime, until: datetime) -> list[Candle]:
        read: dict[datetime, Candle] = {}
        for row in rows:
            candle = _candle(row, width)
            if candle is None:
                self._garbage["an unusable candle"] += 1
            elif candle.opened_at in read:
                self._garbage["a candle twice"] += 1
            elif start <= candle.opened_at < until:
                read[candle.opened_at] = candle
        return [read[moment] for moment in sorted(read)]

    def _get(self, path: str, asked: dict[str, str]) -> httpx.Response:
        last = ""
        for attempt in range(_ATTEMPTS):
            self._sleep(self._pause if attempt == 0 else _backoff(attempt))
            self.requests += 1
            try:
                answer = self._client.get(path, params=asked)
            except httpx.HTTPError as error:
                last = str(error) or type(error).__name__
                continue
            if answer.status_code == httpx.codes.OK:
                return answer
            last = f"status {answer.status_code}"
            if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
                self._sleep(_retry_after(answer))
            elif answer.is_client_error:
                raise ExchangeRefusedError(
                    f"The exchange at {self._client.base_url} refuses {path}: {last}, {_said(answer)}.",
                    remedy="Check the product's name (such as BTC-USD) and SIGAP_EXCHANGE_REST_URL.",
                )
        raise ServiceError(
            f"The exchange at {self._client.base_url} can't be used for {path}: {last}, {_ATTEMPTS} times in a row.",
            remedy="Check the network and SIGAP_EXCHANGE_REST_URL; what is stored stays, and the gap is filled later.",
        )


def _candle(row: Any, width: timedelta) -> Candle | None:
    """A candle of `[time, low, high, open, close, volume]`; None if it can't be one."""
    if not isinstance(row, list) or len(row) < 6 or not all(isinstance(value, Decimal) for value in row[:6]):
        return None
    moment, low, high, first, last, volume = row[:6]
    prices = (low, high, first, last)
    if not all(value.is_finite() and abs(value.adjusted()) < 18 for value in (*prices, moment)):
        return None
    if not (0 < low <= min(first, last) <= max(first, last) <= high and volume.is_finite() and 0 <= volume < 10**15):
        return None
    if moment % int(width.total_seconds()) or not 0 < moment < 10**11:
        return None
    return Candle(datetime.fromtimestamp(int(moment), UTC), first, high, low, last, volume)


def _refusal(failure: Failure, product: str) -> ServiceError:
    said = f"{failure.message} {failure.reason}".strip()[:200]
    return ExchangeRefusedError(
        f"The exchange refuses the feed of {product}: {said or 'no reason given'}.",
        remedy="Check the product's name (such as BTC-USD).",
    )


def _dated(answer: httpx.Response) -> datetime | None:
    """The moment of an answer by its own Date; a second coarse, and never later than the truth."""
    try:
        return email.utils.parsedate_to_datetime(answer.headers["Date"]).astimezone(UTC)
    except (KeyError, ValueError, TypeError):
        return None


def _retry_after(answer: httpx.Response) -> float:
    try:
        return min(max(float(answer.headers.get("Retry-After", 1)), 0.0), 30.0)
    except ValueError:
        return 1.0


def _backoff(attempt: int) -> float:
    return float(min(0.25 * 2**attempt, 8.0))


def _said(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["message"])[:200]
    except (ValueError, KeyError, TypeError):
        return "no reason given"
