"""A mock exchange on this machine: the mock market behind a real WebSocket and real HTTP, on one port.

It speaks as the real one does in what Sigap uses: `subscribe` within five seconds, `last_match` first, then `match`,
`ticker` and `heartbeat`; candles newest first, at most 300 a request, none for an interval without a trade.
"""

from __future__ import annotations

import email.utils
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

from sigap.data.exchange import MOST_CANDLES
from sigap.data.market import ORIGIN, STEPS, TICK, Market, Trade, candles_of

Frame = str | bytes
_SUBSCRIBE_SECONDS = 5.0
_PULSE = 0.02  # seconds between two looks at the market


class Drop(Exception):  # noqa: N818 - an order to the server
    """Raised by a script to break the connection off without a goodbye."""


class MockExchange:
    """The server, while its block lasts.

    Args:
        market: What is traded.
        product: Its name.
        clock: The exchange's time; by default the real one.
        port: 0 for any free one.
        script: What becomes of the frames of the n-th connection (from 1), for tests: it may alter, add, leave out,
            wait, or raise `Drop`.
        answer: What becomes of the answer to the n-th candle request (from 1), for tests.
    """

    def __init__(
        self,
        market: Market | None = None,
        product: str = "BTC-USD",
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        port: int = 0,
        script: Callable[[int, Iterator[Frame]], Iterator[Frame]] | None = None,
        answer: Callable[[int, Response], Response] | None = None,
    ) -> None:
        self.market = market or Market()
        self.product = product
        self.requests: list[dict[str, str]] = []
        self.connections = 0
        self._clock = clock
        self._port = port
        self._script = script or (lambda _, frames: frames)
        self._answer = answer or (lambda _, response: response)
        self._lock = threading.Lock()
        self._server: Server | None = None

    def __enter__(self) -> Self:
        quiet = logging.getLogger("sigap.mock_exchange")
        quiet.setLevel(logging.CRITICAL)
        self._server = serve(
            self._handle, "127.0.0.1", self._port, process_request=self._route, logger=quiet, close_timeout=0.2
        )
        self._port = self._server.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="mock-exchange", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._thread.join(timeout=5)

    @property
    def websocket_url(self) -> str:
        """Where the feed is."""
        return f"ws://127.0.0.1:{self._port}"

    @property
    def rest_url(self) -> str:
        """Where the candles are."""
        return f"http://127.0.0.1:{self._port}"

    def _route(self, connection: ServerConnection, request: Request) -> Response | None:  # noqa: ARG002
        """Answers plain HTTP; None lets the WebSocket open."""
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return None
        parts = urlsplit(request.path)
        if parts.path == "/time":
            now = self._clock()
            return self._json(HTTPStatus.OK, json.dumps({"iso": now.isoformat(), "epoch": now.timestamp()}))
        if parts.path == f"/products/{self.product}/candles":
            asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
            with self._lock:
                self.requests.append(asked)
                number = len(self.requests)
            return self._answer(number, self._candles(asked))
        return self._json(HTTPStatus.NOT_FOUND, '{"message": "NotFound"}')

    def _candles(self, asked: dict[str, str]) -> Response:
        steps = {str(seconds): step for step, seconds in STEPS.items()}
        try:
            step = steps[asked["granularity"]]
            start, end = (datetime.fromisoformat(asked[name]) for name in ("start", "end"))
        except (KeyError, ValueError):
            return self._json(HTTPStatus.BAD_REQUEST, '{"message": "Unsupported granularity"}')
        width = timedelta(seconds=STEPS[step])
        if (end - start) // width + 1 > MOST_CANDLES:
            text = "granularity too small for the requested time range. Count of aggregations requested exceeds 300"
            return self._json(HTTPStatus.BAD_REQUEST, json.dumps({"message": text}))
        # The interval that is still open is part of the answer, as far as it has got.
        now = self._clock()
        found = self.market.candles(step, start, min(end + width, now))
        if found and found[-1].opened_at + width > now:
            found[-1:] = candles_of(self.market.trades(found[-1].opened_at, now), width)
        rows = [
            f"[{int(each.opened_at.timestamp())},{each.low},{each.high},{each.open},{each.close},{each.volume:f}]"
            for each in reversed(found)
        ]
        return self._json(HTTPStatus.OK, f"[{','.join(rows)}]")

    def _json(self, status: HTTPStatus, text: str) -> Response:
        body = text.encode()
        headers = Headers(
            {
                "Content-Type": "application/json",
                "Content-Length": str(len(body)),
                "Connection": "close",
                "Date": email.utils.format_datetime(self._clock().astimezone(UTC), usegmt=True),
            }
        )
        return Response(status.value, status.phrase, headers, body)

    def _handle(self, connection: ServerConnection) -> None:
        with self._lock:
            self.connections += 1
            number = self.connections
        with suppress(ConnectionClosed, TimeoutError, OSError):
            try:
                asked = json.loads(connection.recv(timeout=_SUBSCRIBE_SECONDS))
                if self.product not in asked["product_ids"]:
                    connection.send(_refusal(asked["product_ids"]))
                    return
                for frame in self._script(number, self._frames()):
                    connection.send(frame)
            except Drop:
                # Not `close`, which would say goodbye first.
                connection.socket.close()

    def _frames(self) -> Iterator[Frame]:
        yield json.dumps({"type": "subscriptions", "channels": [{"name": "ticker", "product_ids": [self.product]}]})
        seen = _floor(self._clock())
        for trade in self.market.trades(seen - TICK, seen):
            yield self.match(trade, "last_match")
        beat = seen
        while True:
            now = self._clock()
            for trade in self.market.trades(seen, now):
                yield self.match(trade)
                yield self._ticker(trade)
            seen = max(seen, _floor(now))
            if now - beat >= timedelta(seconds=1):
                beat = now
                yield self.heartbeat(now)
            time.sleep(_PULSE)

    def match(self, trade: Trade, kind: str = "match") -> str:
        """The frame of a trade."""
        return json.dumps(
            {
                "type": kind,
                "trade_id": trade.trade_id,
                "sequence": 10 * trade.trade_id,
                "maker_order_id": "m",
                "taker_order_id": "t",
                "time": _iso(trade.traded_at),
                "product_id": self.product,
                "size": f"{trade.size:f}",
                "price": f"{trade.price:f}",
                "side": trade.side,
            }
        )

    def heartbeat(self, now: datetime) -> str:
        """The frame of a heartbeat."""
        content: dict[str, Any] = {
            "type": "heartbeat",
            "sequence": 1,
            "last_trade_id": self.market.last_trade_id(_floor(now)),
            "product_id": self.product,
            "time": _iso(now),
        }
        return json.dumps(content)

    def _ticker(self, trade: Trade) -> str:
        return json.dumps(
            {
                "type": "ticker",
                "product_id": self.product,
                "trade_id": trade.trade_id,
                "time": _iso(trade.traded_at),
                "price": f"{trade.price:f}",
                "side": trade.side,
                "last_size": f"{trade.size:f}",
            }
        )


def _refusal(products: list[str]) -> str:
    reason = f"{', '.join(map(str, products))} is not a valid product"
    return json.dumps({"type": "error", "message": "Failed to subscribe", "reason": reason})


def _floor(moment: datetime) -> datetime:
    """The moment up to which all trades have happened: the next tick that is still to come."""
    return moment + (-(moment - ORIGIN) % TICK)


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
