"""Connections that dawdle, which no ASGI application gets to see: uvicorn itself waits for a head without end.

`python -m backend` serves with this protocol instead of uvicorn's own. It also offers the application's `Lane`.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Iterable
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from backend.lane import Lane, Ticket
from backend.problems import RequestError, problem_response
from sigap.settings import get_settings

HEAD_BYTES = 65536
_END = b"\r\n\r\n"
# A client that does not read its answer for this long is cut off.
UNREAD_SECONDS = 60.0
_STEP = 0.5


class Connection(HttpToolsProtocol):
    """uvicorn's connection, which is closed when a head does not come in time or is too long."""

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any], **further: Any) -> None:
        super().__init__(config, server_state, app_state, **further)
        # When the head that is awaited began, by the loop's clock; None from its end to the next one's first byte.
        self._head_since: float | None = None
        self._head_bytes = 0
        self._last_head = 0.0
        self._in_message = False
        self._unread_since: float | None = None
        self._lane: Lane | None = None if self.access_log else _lane(self.app)
        # Of a request that may take the lane, whose body is awaited.
        self._ticket: Ticket | None = None
        self._body = b""
        # Whether the parser stands between two messages, and what came while it did.
        self._between = True
        self._chunk = b""
        # When a request was answered at once, if that was the last one: uvicorn's own timer is then not set.
        self._answered_at: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        self._head_since = self._last_head = self.loop.time()
        _watch(self.server_state, self.loop)
        if len(self.connections) > get_settings().max_connections:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self._between and self._lane is not None and self._answer_at_once(self._lane, data):
            return
        if self._head_since is None and self._idle:
            self._head_since = self._last_head = self.loop.time()
            self._head_bytes = 0
        self._chunk = data if self._between else b""
        super().data_received(data)
        self._chunk = b""
        if self._ticket is not None:
            # The rest of the body may take its time, which is looked after on the ordinary way.
            self._go_on()
        if self._head_since is not None and not self._in_message:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self._refuse(_LONG_HEAD)

    def on_message_begin(self) -> None:
        """The first byte of a request has come."""
        self._between = False
        self._answered_at = None
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A head is whole."""
        self._head_since = None
        self._in_message = True
        if self._lane is not None and self._idle and self.parser.get_method() == b"POST":
            self._ticket = self._lane.ticket(self.url, self.headers)
        if self._ticket is None:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of a body has come."""
        if self._ticket is not None:
            self._body += body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """A request is whole, with its body."""
        self._in_message = False
        self._between = True
        if self._ticket is not None:
            if self._answer():
                return
            self._go_on()
        super().on_message_complete()

    def _answer_at_once(self, lane: Lane, data: bytes) -> bool:
        """Answers a whole request whose head is known word for word, which need not be parsed again."""
        end = data.find(_END) + len(_END)
        ticket = lane.known(data[:end])
        if ticket is None or len(data) - end != ticket.length or not self._idle:
            return False
        if self._unread_since is not None or self.transport.is_closing():
            return False
        answer = lane.answer(ticket, self.client, data[end:])
        if answer is None:
            return False
        self._head_since = None
        self._answered_at = self._last_head = self.loop.time()
        if self.timeout_keep_alive_task is not None:
            # From here on `check` looks after the time.
            self._unset_keepalive_if_required()
        self.server_state.total_requests += 1
        self.transport.write(_first_lines(self.server_state.default_headers) + answer)
        return True

    def _answer(self) -> bool:
        """Answers the request whose ticket there is, if it can be done at once."""
        ticket, parser = self._ticket, self.parser
        if ticket is None or self._lane is None or self._unread_since is not None or self.transport.is_closing():
            return False
        if parser.get_http_version() != "1.1" or not parser.should_keep_alive():
            return False
        answer = self._lane.answer(ticket, self.client, self._body)
        if answer is None:
            return False
        head, body = self._chunk.partition(_END)[::2]
        if body and body == self._body:
            self._lane.remember(head + _END, ticket)
        self._ticket, self._body = None, b""
        self.transport.write(_first_lines(self.server_state.default_headers) + answer)
        self.on_response_complete()
        return True

    def _go_on(self) -> None:
        """Has the request answered in the ordinary way."""
        body, self._ticket, self._body = self._body, None, b""
        super().on_headers_complete()
        if body:
            super().on_body(body)

    def pause_writing(self) -> None:
        """The client does not read as fast as it is written to."""
        self._unread_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """The client has read on."""
        self._unread_since = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """The request can't be parsed; told in the one shape of problems."""
        self._refuse(
            RequestError(400, "not-http", "The request is not HTTP", msg, remedy="Send HTTP/1.1 as RFC 9112 has it.")
        )

    def check(self, now: float) -> None:
        """Closes the connection if it dawdles."""
        if self._unread_since is not None and now - self._unread_since > UNREAD_SECONDS:
            self.transport.abort()
        elif self._head_since is not None and now - self._head_since > get_settings().head_seconds:
            if self._head_bytes and not self._in_message:
                self._refuse(_SLOW_HEAD)
            else:
                self.transport.close()
        elif self._answered_at is not None and now - self._answered_at > self.timeout_keep_alive:
            self.transport.close()

    @property
    def idle_since(self) -> float | None:
        """When its last head began, if no request of it is being answered."""
        idle = self._head_since is not None or self._idle
        return self._last_head if idle and not self.transport.is_closing() else None

    @property
    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _make_room(self) -> None:
        others = [other for other in _ours(self.connections) if other is not self and other.idle_since is not None]
        if others:
            min(others, key=lambda other: other.idle_since or 0.0).transport.abort()
        else:
            self._refuse(_FULL)

    def _refuse(self, error: RequestError) -> None:
        if self.transport.is_closing():
            return
        answer = problem_response(error, os.urandom(12).hex())
        head = [f"HTTP/1.1 {error.status} {error.title}", "connection: close"]
        head += [f"{name.decode()}: {value.decode()}" for name, value in answer.raw_headers]
        self.transport.write("\r\n".join([*head, "", ""]).encode() + bytes(answer.body))
        self.transport.close()


def _lane(application: object) -> Lane | None:
    while inner := getattr(application, "app", None):  # uvicorn's layer for headers of proxies
        application = inner
    return getattr(application, "lane", None)


def _first_lines(headers: list[tuple[bytes, bytes]]) -> bytes:
    global _lines
    # The same list until the clock's next second.
    if _lines[0] is not headers:
        _lines = headers, STATUS_LINE[200] + b"".join([b"%b: %b\r\n" % header for header in headers])
    return _lines[1]


_lines: tuple[list[tuple[bytes, bytes]], bytes] = ([], b"")
_SLOW_HEAD = RequestError(408, "slow-head", "The request did not come in time", "The request's head did not end.")
_LONG_HEAD = RequestError(
    431, "head-too-large", "The request's head is too large", f"The head has more than {HEAD_BYTES} bytes."
)
_FULL = RequestError(503, "connections", "Too many connections", "No connection is free.", headers={"retry-after": "1"})
_watched: weakref.WeakSet[ServerState] = weakref.WeakSet()


def _ours(connections: Iterable[object]) -> list[Connection]:
    return [connection for connection in connections if isinstance(connection, Connection)]


def _watch(state: ServerState, loop: asyncio.AbstractEventLoop) -> None:
    """Looks at all connections of a server every now and then; a timer for each would be set with every request."""
    if state in _watched:
        return
    _watched.add(state)

    def look() -> None:
        found = _ours(state.connections)
        for connection in found:
            connection.check(loop.time())
        if found:
            loop.call_later(_STEP, look)
        else:
            _watched.discard(state)

    loop.call_later(_STEP, look)
