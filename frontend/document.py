"""The HTML document that every page begins with, as the browser gets it."""

from __future__ import annotations

import importlib
from typing import Any

from plotly.subplots import make_subplots
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import config

# Each takes a part of a second, which else the first reader would wait for.
MODULES = (
    "PIL.Image",
    "httpx",
    "numpy",
    "plotly.graph_objects",
    "plotly.io",
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
    """Imports what the pages will ask for; of Plotly, which reads each of its words when it first meets it, a chart."""
    for name in MODULES:
        importlib.import_module(name)
    _chart().to_json()


def _chart() -> Any:
    """A chart that has what the pages' charts have."""
    from frontend import charts
    from frontend.palette import LIGHT
    from frontend.words import Words

    figure = make_subplots(rows=2, cols=1, figure=charts.base(LIGHT, Words("en"), 100))
    shared = {"x": [1], "y": [1], "hovertext": ["a"], "hoverinfo": "text", "customdata": [["a"]], "hovertemplate": "a"}
    marker = {
        "size": 9,
        "symbol": "circle",
        "color": "#000000",
        "opacity": 0.7,
        "line": {"width": 1, "color": "#ffffff"},
    }
    figure.add_scatter(
        **shared,
        mode="lines+markers+text",
        marker=marker,
        line={"color": "#000000", "width": 1, "dash": "dot"},
        error_x={"array": [1], "color": "#000000", "thickness": 1, "width": 1},
        text=["a"],
        textposition="top center",
        textfont={"size": 9, "color": "#000000"},
        fill="toself",
        fillcolor="#000000",
        opacity=1,
        name="a",
        showlegend=False,
        cliponaxis=False,
        selected={"marker": {"opacity": 1}},
        unselected={"marker": {"opacity": 1}},
    )
    figure.add_bar(**shared, marker={"color": "#000000", "cornerradius": 3}, text=["a"], textposition="outside")
    figure.add_annotation(
        x=1, y=1, ax=1, ay=1, text="a", showarrow=True, arrowhead=0, arrowwidth=1, arrowcolor="#000000", standoff=1,
        xref="paper", yref="paper", xanchor="left", yanchor="bottom", xshift=1, yshift=1, bgcolor="#000000",
        bordercolor="#000000", borderpad=1, font={"size": 9, "color": "#000000"},
    )  # fmt: skip
    figure.add_vline(x=1, line={"color": "#000000", "width": 1, "dash": "dash"}, layer="below")
    for update in (figure.update_xaxes, figure.update_yaxes):
        update(
            title={"text": "a", "standoff": 1}, range=[0, 1], tickvals=[1], ticktext=["a"], color="#000000", ticks="",
            gridcolor="#000000", linecolor="#000000", tickcolor="#000000", showgrid=False, showline=True, visible=True,
            zeroline=False, fixedrange=True, nticks=5, tickformat=",", tickangle=0, mirror=True, showticklabels=True,
        )  # fmt: skip
    figure.update_layout(margin={"l": 1, "r": 1, "t": 1, "b": 1}, clickmode="event+select", bargap=0.4)
    return figure


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
