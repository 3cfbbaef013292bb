"""The HTML document that every page begins with, as the browser gets it."""

from __future__ import annotations

import importlib
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import config

# Each takes a part of a second, which else the first reader would wait for.
MODULES = (
    "httpx",
    "numpy",
    "plotly.graph_objects",
    "plotly.subplots",
    "frontend.boundaries",
    "frontend.charts",
    "frontend.views.batch",
    "frontend.views.education",
    "frontend.views.experiments",
    "frontend.views.model",
    "frontend.views.monitoring",
    "frontend.views.operations",
    "frontend.views.overview",
)
_HEAD = b"<head>"


def read_ahead() -> None:
    """Imports what the pages will ask for."""
    for name in MODULES:
        importlib.import_module(name)


class OneAddress:
    """Names the server's address in the document, so that no other one is tried.

    A proxy that serves the dashboard below a path of its own, and says so in `x-forwarded-prefix`, gets the document
    as it is: there, the browser has to find out.

    Args:
        app: What answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        base = str(config.get_option("server.baseUrlPath") or "").strip("/")
        address = f'location.origin+"/{base}{"/" if base else ""}"'
        script = f"<head><script>window.__streamlit={{BACKEND_BASE_URL:{address}}}</script>"
        self._head = script.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http" or scope["method"] != "GET" or not _asks_for_document(scope):
            await self._app(scope, receive, send)
            return
        # What is to be changed must not come packed.
        plain = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        await self._app({**scope, "headers": plain}, receive, _Rewriting(send, self._head))


def _asks_for_document(scope: Scope) -> bool:
    headers: dict[bytes, bytes] = dict(scope["headers"])
    return b"text/html" in headers.get(b"accept", b"") and b"x-forwarded-prefix" not in headers


class _Rewriting:
    """Sends an answer on, an HTML document with another beginning of its head."""

    def __init__(self, send: Send, head: bytes) -> None:
        self._send = send
        self._head = head
        self._start: Message | None = None
        self._body = bytearray()

    async def __call__(self, message: Message) -> None:
        """Takes one message."""
        if message["type"] == "http.response.start":
            kind = MutableHeaders(raw=message["headers"]).get("content-type", "")
            if message["status"] == 200 and kind.startswith("text/html"):
                self._start = message
                return
        if self._start is None or message["type"] != "http.response.body":
            await self._send(message)
            return
        self._body += message.get("body", b"")
        if message.get("more_body"):
            return
        body = bytes(self._body).replace(_HEAD, self._head, 1)
        start: dict[str, Any] = dict(self._start)
        headers = MutableHeaders(raw=list(start["headers"]))
        headers["content-length"] = str(len(body))
        # The tags are those of the file, which this is not.
        for name in ("etag", "last-modified"):
            if name in headers:
                del headers[name]
        await self._send({**start, "headers": headers.raw})
        await self._send({"type": "http.response.body", "body": body})
