"""Many rows in one request: `POST /models/{model}/predict-batch` with a JSON array."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, cast

import msgspec
import numpy as np
from fastapi import APIRouter, Query
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from backend.batch_answer import batch_example, batch_model
from backend.columns import Checked, as_object, check_rows
from backend.decode import EXPECTED_ROWS, decode_rows
from backend.documentation import problems
from backend.follower import Follower
from backend.metrics import Metrics
from backend.newest import NewestRows, Series
from backend.predict import Handler, asked_by, direct, logged, read_body, serving
from backend.prediction_log import PredictionLog
from backend.problems import FieldProblem, RequestError
from backend.requests import CANDLES, documented_example, request_model
from backend.served import Served
from backend.tasks.forecasting import ForecastingPredictor
from backend.tasks.predictor import RowPredictor
from sigap.catalog import Declaration
from sigap.settings import Settings

# Fewer rows than these are answered sooner than a thread is woken.
INLINE_ROWS = 16
# From so many rows on, two threads answer a batch.
SPLIT_ROWS = 256
# Most rows of a batch that is kept: the log writes them beside all other predictions.
# So many rows are encoded for the log before the loop has its turn.
KEPT_AT_ONCE = 50
KEPT_ROWS = 1000
_SECOND = ThreadPoolExecutor(2, "sigap-batch")  # starts no thread before it is used
# Number of a row, its validated fields and its answer.
Kept = tuple[int, dict[str, Any], dict[str, Any]]


def batch_paths(model: str, default: str) -> tuple[str, ...]:
    """Where a model answers batches."""
    aliases = ("/predict-batch", "/batch-predict") if model == default else ()
    return (*aliases, f"/models/{model}/predict-batch")


def batch_examples(followers: Mapping[str, Follower], default: str) -> dict[str, dict[str, Any]]:
    """The documented answers, by path."""
    return {
        path: batch_example(follower.declaration)
        for name, follower in followers.items()
        for path in batch_paths(name, default)
    }


def batch_routes(
    settings: Settings,
    followers: Mapping[str, Follower],
    default: str,
    metrics: Metrics,
    tables: Mapping[str, NewestRows],
    log: PredictionLog,
) -> APIRouter:
    """The paths that answer batches.

    Args:
        settings: Their limits.
        followers: By model.
        default: The model that answers where the path names none.
        metrics: Where predictions are counted.
        tables: Of each series: where a forecast without candles of its own looks.
        log: Where the rows of a batch that asks for it are kept.
    """
    router = APIRouter()
    for name, follower in followers.items():
        limits = settings.max_file_bytes, settings.max_batch_rows
        handle = batch_handler(follower, metrics, *limits, tables.get(name), log)
        types = _types(follower.declaration, settings.max_batch_rows)
        for path in batch_paths(name, default):
            _add_route(router, path, follower.declaration, handle, types)
    router.route_class = APIRoute
    return router


def batch_handler(
    follower: Follower,
    metrics: Metrics,
    limit: int,
    most_rows: int,
    table: NewestRows | None = None,
    log: PredictionLog | None = None,
) -> Handler:
    """The function that answers batches of one model; `limit` is the most bytes of a body."""

    async def predict_batch(request: Request) -> Response:
        body = await read_body(request, limit, f"Send fewer rows, or a file to {_file_path(request)}.")
        started = time.perf_counter()
        served = serving(follower)
        full, keep = _flag(request, "full"), _flag(request, "keep")
        rows = _rows(body, min(most_rows, KEPT_ROWS) if keep else most_rows)
        newest = await _newest(served, rows, table)
        kept: list[Kept] | None = [] if keep and log is not None else None
        if len(rows) <= INLINE_ROWS:
            content, counts = answer(served, rows, newest, full=full, kept=kept)
        else:
            content, counts = await asyncio.to_thread(answer, served, rows, newest, full=full, kept=kept)
        count(metrics, served, counts)
        for row, values, part in kept or ():
            assert log is not None  # noqa: S101 - without one nothing was kept
            log.put(logged(*asked_by(request.scope), served, values, part, started, newest)._replace(row=row))
            if row % KEPT_AT_ONCE == 0:
                await asyncio.sleep(0)
        return Response(content, media_type="application/json")

    return predict_batch


def answer(
    served: Served,
    rows: Sequence[Any],
    newest: Series | None = None,
    *,
    full: bool = False,
    kept: list[Kept] | None = None,
) -> tuple[bytes, Counter[str]]:
    """The answer to decoded rows as JSON, and how many predictions there were of each outcome.

    Args:
        served: The model version that answers all of them.
        rows: Decoded; each may be anything.
        newest: The newest rows of the table, for forecasts without candles of their own.
        full: Whether every row repeats what all answers have in common.
        kept: Gets every answered row as the log takes it.
    """
    predictor = served.predictor
    if isinstance(predictor, ForecastingPredictor):
        parts, refused = _forecasts(served, predictor, rows, newest)
        if kept is not None:
            kept += [(at + 1, served.validated(as_object(rows[at])), part) for at, part in parts.items()]
    else:
        checked = check_rows(served.declaration, rows, served.validator, predictor.needed)
        parts, refused = _parts(cast(RowPredictor, predictor), checked)
        if kept is not None:
            about = served.declaration.request_columns
            for place, (at, part) in enumerate(parts.items()):
                values = {name: rows[at][name] for name in about} | checked.columns.values(place)
                kept.append((at + 1, values, part))
    constant = predictor.constant
    predictions = []
    for position in range(len(rows)):
        head = {"row": position + 1, "status": "refused" if position in refused else "answered"}
        if position in refused:
            predictions.append({**head, "errors": [entry.model_dump() for entry in refused[position]]})
        else:
            predictions.append({**head, **parts[position], **(constant if full else {})})
    outcome = predictor.outcome
    counts = Counter(str(part[outcome]) if outcome else "" for part in parts.values())
    told = {
        **constant,
        "rows": len(rows),
        "answered": len(parts),
        "refused": len(refused),
        "predictions": predictions,
    }
    return msgspec.json.encode(told), counts


def count(metrics: Metrics, served: Served, counts: Mapping[str, int]) -> None:
    """Counts predictions, given how many there were of each outcome."""
    for value, times in counts.items():
        labels = {"cluster": value} if served.predictor.outcome == "cluster" else {"outcome": value}
        metrics.predicted(served.manifest.model, served.model_version, times=times, **labels)


def _parts(
    predictor: RowPredictor, checked: Checked
) -> tuple[dict[int, dict[str, Any]], Mapping[int, Sequence[FieldProblem]]]:
    columns = checked.columns
    if columns.size < SPLIT_ROWS:
        parts = predictor.parts(columns) if columns.size else []
    else:
        # A large model computes long enough for a second thread to be worth waking; ONNX Runtime lets both run.
        first, second = np.array_split(np.arange(columns.size), 2)
        later = _SECOND.submit(predictor.parts, columns.only(second))
        parts = predictor.parts(columns.only(first)) + later.result()
    return dict(zip(checked.accepted.tolist(), parts, strict=True)), checked.refused


def _forecasts(
    served: Served, predictor: ForecastingPredictor, rows: Sequence[Any], newest: Series | None
) -> tuple[dict[int, dict[str, Any]], Mapping[int, Sequence[FieldProblem]]]:
    parts, refused = {}, {}
    constant = predictor.constant
    for position, row in enumerate(rows):
        try:
            told = served.predict(as_object(row), newest)
        except RequestError as error:
            refused[position] = error.errors
        else:
            parts[position] = {name: value for name, value in told.items() if name not in constant}
    return parts, refused


async def _newest(served: Served, rows: Iterable[Any], table: NewestRows | None) -> Series | None:
    if table is None or not isinstance(served.predictor, ForecastingPredictor):
        return None
    if all(isinstance(row, dict) and row.get(CANDLES) is not None for row in rows):
        return None
    return await table.rows(served.predictor.rows)


def _rows(body: bytes, most: int) -> list[Any]:
    rows = decode_rows(body)
    if not rows:
        raise RequestError(
            422,
            "invalid-request",
            "The request is not valid",
            "The array is empty.",
            errors=(FieldProblem(field="", value=0, expected="at least one row", remedy=f"Send {EXPECTED_ROWS}."),),
        )
    if len(rows) > most:
        raise RequestError(
            413,
            "too-many-rows",
            "There are too many rows",
            f"The array has {len(rows)} rows.",
            remedy=f"Send at most {most} at once, or a file to …/predict-file.",
        )
    return rows


def _file_path(request: Request) -> str:
    return request.url.path.replace("batch-predict", "predict-batch").replace("predict-batch", "predict-file")


def _flag(request: Request, name: str) -> bool:
    value = request.query_params.get(name, "false")
    if value.lower() in ("true", "1"):
        return True
    if value.lower() in ("false", "0", ""):
        return False
    raise RequestError(
        422,
        "invalid-request",
        "The request is not valid",
        f"The parameter `{name}` can't be used.",
        errors=(FieldProblem(field=name, value=value[:80], expected="true or false", remedy="Leave it out."),),
    )


def _types(declaration: Declaration, most_rows: int) -> tuple[Any, type[BaseModel]]:
    """The types of a batch and of its answer, built once for all paths of a model."""
    rows = Annotated[list[request_model(declaration)], Field(min_length=1, max_length=most_rows)]  # type: ignore[misc, valid-type]
    return rows, batch_model(declaration)


def _add_route(
    router: APIRouter, path: str, declaration: Declaration, handle: Handler, types: tuple[Any, type[BaseModel]]
) -> None:
    """Adds a path that answers batches, with its documentation."""

    async def documented(
        body: Any,
        full: Annotated[bool, Query(description="Whether every row repeats what all answers have in common.")] = False,
        keep: Annotated[
            bool,
            Query(
                description=f"Whether its rows, then {KEPT_ROWS} at most, are kept as single predictions are, so that "
                "outcomes can be told of them."
            ),
        ] = False,
    ) -> None:
        """Stands for the handler in the documentation; its route class answers instead."""

    documented.__annotations__["body"], answer_type = types
    answers = problems(400, 408, 413, 422, 503)
    answers[200] = {"description": "One entry a row.", "content": {"application/json": {}}}
    router.route_class = direct(handle)
    router.add_api_route(
        path,
        documented,
        methods=["POST"],
        response_model=answer_type,
        responses=answers,
        tags=["predict"],
        summary=f"{declaration.title.en}, many rows",
        description="A row that is wrong is refused with its reasons; the others are answered all the same.",
        operation_id="_".join(part for part in path.replace("-", "_").split("/") if part),
        openapi_extra={
            "requestBody": {"content": {"application/json": {"example": [documented_example(declaration)]}}}
        },
    )
