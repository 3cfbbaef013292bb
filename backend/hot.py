"""The hot path: an ordinary request for a prediction, answered ahead of the framework, which costs more than a model.

It knows a body only as far as it is sure to read it as `backend.predict` does, and hands every other one on to it:
what is not valid, and what is valid but unusual. So `backend.predict` says what a body means, and this only is quicker.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple, cast

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.follower import Follower
from backend.metrics import Metrics
from backend.predict import asked_by, counted, logged
from backend.prediction_log import Logged
from backend.problems import RequestError
from backend.served import Served
from backend.tasks.predictor import RowPredictor
from sigap.catalog import Column, Declaration, Feature, Kind
from sigap.catalog.declaration import Forecasting

_ENCODE = msgspec.json.Encoder().encode


class Hot:
    """Ordinary predictions of rows.

    Args:
        followers: Of the models, by the path on which each is asked.
        metrics: Where predictions are counted.
        keep: Takes each prediction for the log.

    Attributes:
        routes: By path, what is asked there; metrics call it by that path, as they do the framework's routes.
    """

    def __init__(self, followers: Mapping[str, Follower], metrics: Metrics, keep: Callable[[Logged], None]) -> None:
        self._metrics = metrics
        self._keep = keep
        self.routes = {
            path: HotRoute(path, follower, Reader(follower.declaration))
            for path, follower in followers.items()
            if not isinstance(follower.declaration.task, Forecasting)
        }

    def read(self, route: HotRoute, body: bytes) -> Reading | None:
        """What a body says and which version shall answer it; None for one that is not ordinary."""
        served = route.follower.served
        values = route.read(body) if served is not None else None
        if served is None or values is None:
            return None
        predictor = cast(RowPredictor, served.predictor)
        if None in values.values() and any(values[name] is None for name in predictor.needed):
            return None
        return Reading(served, predictor, values)

    def answer(self, reading: Reading, request_id: str, principal: str, started: float) -> bytes | None:
        """The answer's JSON, counted and kept; None when the model refuses to answer.

        Args:
            reading: As `read` gives it.
            request_id: The request's identity.
            principal: Name of the key that asks; empty without one.
            started: When the body was there, by `time.perf_counter()`.
        """
        served, predictor, values = reading
        try:
            part = predictor.part(values)
        except RequestError:
            return None
        counted(self._metrics, served, part)
        text = _ENCODE(part)
        self._keep(logged(request_id, principal, served, values, part, started, text=text))
        # What stands the same in every answer is encoded once, and put into its place.
        seam = text.index(served.seam) if served.seam else -1
        return b"%b%b%b" % (text[:seam], served.constant, text[seam:])


class HotRoutes:
    """Answers ordinary predictions of rows, and hands everything else on.

    Args:
        app: Answers the rest.
        hot: What ordinary predictions are.
    """

    def __init__(self, app: ASGIApp, hot: Hot) -> None:
        self._app = app
        self._hot = hot

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, or has it answered."""
        route = self._hot.routes.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if route is None:
            await self._app(scope, receive, send)
            return
        message = await receive()
        answer = self._answer(route, scope, message)
        if answer is None:
            await self._app(scope, _again(message, receive), send)
            return
        scope["route"] = route
        headers = [(b"content-length", b"%d" % len(answer)), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    def _answer(self, route: HotRoute, scope: Scope, message: Message) -> bytes | None:
        started = time.perf_counter()
        if message["type"] != "http.request" or message.get("more_body"):
            return None
        reading = self._hot.read(route, message.get("body", b""))
        return None if reading is None else self._hot.answer(reading, *asked_by(scope), started)


class Reading(NamedTuple):
    """The validated fields of an ordinary request, and the version that answers them."""

    served: Served
    predictor: RowPredictor
    values: dict[str, Any]


class HotRoute(NamedTuple):
    """Where a model is asked."""

    path: str
    follower: Follower
    read: Reader


class Reader:
    """Reads the ordinary bodies of one model: all fields, each once, categories in a usual spelling, in plain ASCII.

    Args:
        declaration: The model's, whose requests are rows.
    """

    def __init__(self, declaration: Declaration) -> None:
        declared: list[Column | Feature] = [declaration.column(name) for name in declaration.request_columns]
        declared += declaration.features
        fields = [(each.name, _type(each)) for each in declared]
        self._decode = msgspec.json.Decoder(msgspec.defstruct("Row", fields, forbid_unknown_fields=True)).decode
        self._texts = tuple(each.name for each in declared if each.kind not in (Kind.NUMBER, Kind.INTEGER))
        self._quotes = 2 * (len(fields) + len(self._texts))
        self._spellings = [(each.name, _spellings(each.categories)) for each in declaration.features if each.categories]

    def __call__(self, body: bytes) -> dict[str, Any] | None:
        """The fields as the validator returns them; None for a body that it may read otherwise, or refuse."""
        if not body.isascii() or b"\\" in body:
            return None
        try:
            values = msgspec.structs.asdict(self._decode(body))
            for name, spellings in self._spellings:
                values[name] = spellings[values[name]]
        except (msgspec.MsgspecError, RecursionError, KeyError):
            return None
        # msgspec takes the last of two equal fields. It shows in the quotes: two for each name and for each text.
        quotes = self._quotes
        for name in self._texts:
            if values[name] is None:
                quotes -= 2
        return values if body.count(b'"') == quotes else None


def _type(declared: Column | Feature) -> Any:
    if declared.kind is Kind.NUMBER:
        kind: Any = Annotated[float, msgspec.Meta(ge=declared.minimum, le=declared.maximum)]
    elif declared.kind is Kind.INTEGER:
        low, high = declared.minimum, declared.maximum
        kind = Annotated[
            int, msgspec.Meta(ge=None if low is None else math.ceil(low), le=None if high is None else math.floor(high))
        ]
    else:
        pattern = isinstance(declared, Column) and declared.pattern
        # The validator's `$` is only the end; Python's is also that before a last line feed.
        kind = Annotated[str, msgspec.Meta(pattern=rf"^(?:{pattern})\Z")] if pattern else str
    return kind if isinstance(declared, Column) and declared.required else kind | None


def _spellings(categories: tuple[str, ...]) -> dict[str | None, str | None]:
    """The declared spelling by the usual ones; null stays null."""
    spelled: dict[str | None, str | None] = {None: None}
    for way in (str.lower, str.upper, str.title, str.capitalize, str):
        spelled |= {way(name): name for name in categories}
    return spelled


def _again(message: Message, receive: Receive) -> Receive:
    """Gives the message that was taken, then what `receive` gives."""
    taken: Message | None = message

    async def receive_again() -> Message:
        nonlocal taken
        if taken is None:
            return await receive()
        given, taken = taken, None
        return given

    return receive_again
