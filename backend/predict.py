"""The hot path: decode, validate, predict, encode; each a function of its own that knows nothing of the others."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from backend.decode import decode
from backend.edge import REQUEST_ID
from backend.follower import Follower
from backend.metrics import Metrics
from backend.newest import NewestRows, Series
from backend.prediction_log import Logged, PredictionLog
from backend.problems import RequestError
from backend.requests import CANDLES
from backend.security.body import too_large
from backend.security.tokens import PRINCIPAL
from backend.served import Served
from backend.tasks.forecasting import ForecastingPredictor

# Of a request's candles, the newest that are kept.
KEPT_CANDLES = 64

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def encode(answer: dict[str, Any]) -> bytes:
    """The answer's JSON."""
    return json.dumps(answer, separators=(",", ":"), allow_nan=False).encode()


def serving(follower: Follower) -> Served:
    """What the follower serves.

    Raises:
        RequestError: 503, there is nothing.
    """
    if follower.served is None:
        model = follower.declaration.name
        raise RequestError(
            503,
            "no-champion",
            "No model is served",
            f"No champion of {model!r} is loaded. {follower.fault or ''}".rstrip(),
            remedy=(
                f"`./run pipeline {model}` trains again; better data or other candidates may pass."
                if follower.refusal
                else f"If no training is under way, `./run pipeline {model}` does it; it is served within seconds."
            ),
            headers={"retry-after": "5"},
        )
    return follower.served


async def read_body(request: Request, limit: int, remedy: str = "Send one request's fields only.") -> bytes:
    """The request's body, which the guard has bounded in length and time; `remedy` is told when it is too long.

    Raises:
        RequestError: 413 over `limit` bytes.
    """
    body = await request.body()
    if len(body) > limit:
        raise too_large(limit, remedy)
    return body


def handler(
    follower: Follower, metrics: Metrics, kept: PredictionLog, limit: int, table: NewestRows | None = None
) -> Handler:
    """The function that answers prediction requests.

    Args:
        follower: Of the model.
        metrics: Where predictions are counted.
        kept: Where predictions are kept.
        limit: Most bytes of a body.
        table: Of a series: where a forecast without candles of its own looks. Such a request may have no body at all.
    """

    async def predict(request: Request) -> Response:
        body = await read_body(request, limit)
        started = time.perf_counter()
        served = serving(follower)
        newest = None
        if table is None:
            values = served.validated(decode(body))
        else:
            values = served.validated(decode(body) if body.strip() else {})
            newest = await _newest(served, values, table)
        answer = served.answer(values, newest)
        counted(metrics, served, answer)
        kept.put(logged(*asked_by(request.scope), served, values, answer, started, newest))
        return Response(encode(answer), media_type="application/json")

    return predict


async def _newest(served: Served, values: Mapping[str, Any], table: NewestRows) -> Series | None:
    if values[CANDLES] is None and isinstance(served.predictor, ForecastingPredictor):
        return await table.rows(served.predictor.rows)
    return None


def asked_by(scope: Scope) -> tuple[str, str]:
    """A request's identity, and the name of the key that asks; empty without one."""
    return str(scope.get(REQUEST_ID, "")), getattr(scope.get(PRINCIPAL), "name", "")


def logged(
    request_id: str,
    principal: str,
    served: Served,
    values: Mapping[str, Any],
    answer: Mapping[str, Any],
    started: float,
    newest: Series | None = None,
    text: bytes = b"",
) -> Logged:
    """A prediction as the log takes it.

    Args:
        request_id: The request's identity.
        principal: Name of the key that asked; empty without one.
        served: The version that answered.
        values: The validated fields.
        answer: The answer.
        started: When the body was there, by `time.perf_counter()`.
        newest: The table's rows that a forecast started from.
        text: The answer as JSON, if that was made already.
    """
    if values.get(CANDLES):
        # A request may bring thousands; no model looks further back.
        values = {**values, CANDLES: values[CANDLES][-KEPT_CANDLES:]}
    return Logged(
        served.manifest.model,
        served.model_version,
        request_id,
        principal,
        time.time(),
        values,
        answer,
        False,
        time.perf_counter() - started,
        newest,
        0,
        text,
    )


def counted(metrics: Metrics, served: Served, answer: Mapping[str, Any]) -> None:
    """Counts a prediction by what was answered."""
    name = served.predictor.outcome
    value = str(answer[name]) if name else ""
    cluster, outcome = (value, "") if name == "cluster" else ("", value)
    metrics.predicted(served.manifest.model, served.model_version, cluster=cluster, outcome=outcome)


def direct(predict: Handler) -> type[APIRoute]:
    """A route class that documents what its endpoint's signature says and answers with `predict`.

    FastAPI's own reading of a body takes the last of two equal fields and answers 500 to NaN; and it costs more than
    the prediction.
    """

    class DirectRoute(APIRoute):
        def get_route_handler(self) -> Handler:
            return predict

    return DirectRoute


def request_id(request: Request) -> str:
    """The request's identity as `Edge` set it."""
    return str(request.scope.get(REQUEST_ID, ""))
