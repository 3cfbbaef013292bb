"""What every request passes: its identity, its time, its security headers, and the net under unforeseen errors.

Plain ASGI, because Starlette's BaseHTTPMiddleware costs more than a prediction.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.metrics import Metrics
from backend.problems import UNFORESEEN, problem_response
from sigap import logs

log = logging.getLogger("sigap.api")

REQUEST_ID = "sigap.request_id"
_GIVEN_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_ID = b"x-request-id"
# Of each identity: seconds since 1970 before, so that the log's index grows at its end, and what nobody can guess.
_RANDOM_BYTES = 8
_IDS_AT_ONCE = 256
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)
_OURS = frozenset({_ID, *(name for name, _ in _HEADERS)})
# What `_with_ours` makes of the headers of a JSON answer, as it goes over the wire.
_JSON_HEAD = b"content-length: %d\r\ncontent-type: application/json\r\nx-request-id: %b\r\n" + b"".join(
    [b"%b: %b\r\n" % header for header in _HEADERS]
).replace(b"%", b"%%")


class Edge:
    """Wraps the application.

    Args:
        app: The application.
        metrics: Where answers are counted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = request_id_of(scope["headers"])
        scope[REQUEST_ID] = request_id
        logs.REQUEST_ID.set(request_id)
        identity = (_ID, request_id.encode())
        status = 0
        whole = False

        async def send_marked(message: Message) -> None:
            nonlocal status, whole
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _with_ours(message.get("headers", ()), identity)
            else:
                whole = not message.get("more_body")
            await send(message)

        self._metrics.in_progress += 1
        try:
            await self._app(scope, receive, send_marked)
        except Exception:  # the net under all routes: whatever it is, the client gets a problem
            log.exception("Request %s to %s failed in a way that nobody foresaw.", request_id, scope["path"])
            if status and not whole:
                raise  # half an answer is out: the server has to cut the connection
            if not status:
                await problem_response(UNFORESEEN, request_id, scope["path"])(scope, receive, send_marked)
        finally:
            self._metrics.in_progress -= 1
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.answered(method, _route(scope), status or 500, started)


def _with_ours(headers: Sequence[tuple[bytes, bytes]], identity: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """The headers with the request's identity, and with those of ours that they don't set themselves."""
    if _OURS.isdisjoint([name for name, _ in headers]):
        return [*headers, identity, *_HEADERS]
    theirs = [entry for entry in headers if entry[0] != _ID]
    named = {name for name, _ in theirs}
    return [*theirs, identity, *[entry for entry in _HEADERS if entry[0] not in named]]


def json_head(request_id: str, length: int) -> bytes:
    """The headers' lines of a JSON answer of so many bytes that has passed the edge."""
    return _JSON_HEAD % (length, request_id.encode())


def request_id_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The identity that a request brings, or a new one."""
    return given_id(headers) or new_id()


def given_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The identity that a request brings; empty when it brings none that can be taken."""
    for name, value in headers:
        if name == _ID and _GIVEN_ID.fullmatch(value):
            return value.decode()
    return ""


def _new_ids() -> Iterator[str]:
    digits = 2 * _RANDOM_BYTES
    while True:
        # Asking the system for each costs more than the rest of this module.
        block, now = os.urandom(_RANDOM_BYTES * _IDS_AT_ONCE).hex(), f"{int(time.time()):08x}"
        for at in range(0, len(block), digits):
            yield now + block[at : at + digits]


new_id = _new_ids().__next__
"""A new identity."""


def _route(scope: Scope) -> str:
    # The route's pattern, never the path: a scanner's made-up paths must not become metrics.
    return str(getattr(scope.get("route"), "path", "unmatched"))
