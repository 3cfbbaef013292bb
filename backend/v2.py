"""The Open Inference Protocol (V2, REST), so that clients of KServe, MLServer and Triton work unchanged.

A model takes one tensor a request field, each of shape [rows] or [rows, 1], and gives one tensor a part of its answer.
Only the served version answers.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from fastapi import APIRouter
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from backend.documentation import problems
from backend.follower import Follower
from backend.metrics import Metrics
from backend.newest import NewestRows
from backend.predict import asked_by, counted, direct, logged, read_body, serving
from backend.prediction_log import PredictionLog
from backend.problems import FieldProblem, RequestError, shown
from backend.requests import CANDLES, refused
from backend.served import Served
from backend.tasks.forecasting import ForecastingPredictor
from backend.tasks.regression import target_of
from backend.tensors import HEADER_LENGTH, NUMBERS, Tensor, decode_inference, encode_inference
from sigap import __version__
from sigap.catalog import Clustering, Column, Declaration, Feature, Kind
from sigap.catalog.declaration import Classification, Forecasting, Regression, Target
from sigap.settings import Settings

PREFIX = "/v2"
PLATFORM = "onnxruntime_onnxv1"
ANSWER = "answer"
# Fewer rows than these are answered sooner than a thread is woken; and no more are kept one by one.
INLINE_ROWS = 16


class Service(Protocol):
    """What these routes need of the service."""

    settings: Settings
    default: str
    followers: dict[str, Follower]
    metrics: Metrics
    log: PredictionLog
    tables: dict[str, NewestRows]

    def follower(self, model: str) -> Follower:
        """The follower of `model`."""


class ServerMetadata(BaseModel):
    """Who answers."""

    name: str = "sigap"
    version: str = __version__
    extensions: list[str] = ["binary_tensor_data"]


class ServerLive(BaseModel):
    """The process answers."""

    live: bool = True


class ServerReady(BaseModel):
    """The default model can answer."""

    ready: bool = True


class ModelReady(BaseModel):
    """The model can answer."""

    name: str
    ready: bool = True


class TensorMetadata(BaseModel):
    """A tensor that a model takes or gives."""

    name: str
    datatype: str
    shape: list[int] = Field(description="-1: as many as there are rows.")


class ModelMetadata(BaseModel):
    """What a model takes and gives."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class RequestTensor(BaseModel):
    """A column of the request."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Any] | None = None
    data: list[Any] | None = Field(None, description="The values; left out where they follow in binary.")


class RequestOutput(BaseModel):
    """An output that is wanted."""

    name: str
    parameters: dict[str, Any] | None = None


class InferRequest(BaseModel):
    """Rows for a model, by column."""

    id: str | None = None
    parameters: dict[str, Any] | None = None
    inputs: list[RequestTensor]
    outputs: list[RequestOutput] | None = Field(None, description="All but `answer` if left out.")


class AnswerTensor(BaseModel):
    """A column of the answer."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Any] | None = None
    data: list[Any] | None = None


class InferAnswer(BaseModel):
    """What the model says of each row, by column."""

    model_config = ConfigDict(protected_namespaces=())

    model_name: str
    model_version: str
    id: str | None = None
    parameters: dict[str, Any] | None = None
    outputs: list[AnswerTensor]


def v2_routes(service: Service) -> APIRouter:
    """The routes under `/v2`."""
    router = APIRouter(prefix=PREFIX, tags=["open inference protocol"])

    @router.get("", summary="The server")
    async def server() -> ServerMetadata:
        return ServerMetadata()

    @router.get("/health/live", summary="Whether the process answers")
    async def live() -> ServerLive:
        return ServerLive()

    @router.get("/health/ready", summary="Whether the default model can answer", responses=problems(503))
    async def ready() -> ServerReady:
        serving(service.follower(service.default))
        return ServerReady()

    for path in ("/models/{model}", "/models/{model}/versions/{version}"):
        _add_model_routes(router, service, path)
    router.route_class = APIRoute
    return router


def _add_model_routes(router: APIRouter, service: Service, path: str) -> None:
    of_version = "version" if "{version}" in path else "model"
    router.route_class = APIRoute

    async def metadata(request: Request) -> Response:
        return JSONResponse(describe(_served(service, request)).model_dump())

    async def ready(request: Request) -> Response:
        return JSONResponse(ModelReady(name=_served(service, request).manifest.model).model_dump())

    async def infer(request: Request) -> Response:
        return await _infer(service, request)

    async def documented(body: InferRequest) -> None:
        """Stands for the handler in the documentation; its route class answers instead."""

    named = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in ("model", "version")
        if f"{{{name}}}" in path
    ]
    errors = problems(404, 503)
    router.add_api_route(
        path,
        metadata,
        summary="What the model takes and gives",
        operation_id=f"v2_metadata_of_{of_version}",
        response_model=ModelMetadata,
        responses=errors,
        openapi_extra={"parameters": named},
    )
    router.add_api_route(
        f"{path}/ready",
        ready,
        summary="Whether the model can answer",
        operation_id=f"v2_ready_of_{of_version}",
        response_model=ModelReady,
        responses=errors,
        openapi_extra={"parameters": named},
    )
    router.route_class = direct(infer)
    router.add_api_route(
        f"{path}/infer",
        documented,
        methods=["POST"],
        tags=["predict"],
        summary="Predict rows given by column",
        description="JSON, or JSON followed by binary tensors, whose length the header "
        "`Inference-Header-Content-Length` tells apart. NaN stands for an unknown number, and so does null.",
        operation_id=f"v2_infer_of_{of_version}",
        response_model=InferAnswer,
        responses={
            **problems(400, 404, 408, 413, 422, 503),
            200: {
                "description": "The outputs",
                "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
            },
        },
        openapi_extra={"parameters": named},
    )


def describe(served: Served) -> ModelMetadata:
    """What the served version takes and gives."""
    declaration = served.declaration
    return ModelMetadata(
        name=declaration.name,
        versions=[served.version],
        platform=PLATFORM,
        inputs=[_metadata(name, datatype) for name, datatype in _inputs(declaration).items()],
        outputs=[_metadata(name, datatype) for name, datatype in {**_outputs(declaration), ANSWER: "BYTES"}.items()],
    )


def _served(service: Service, request: Request) -> Served:
    """The version that the path names.

    Raises:
        RequestError: 404, there is no such model, or another version is served; 503, none is.
    """
    model, version = request.path_params["model"], request.path_params.get("version")
    served = serving(service.follower(model))
    if version is not None and version not in (served.version, served.model_version):
        raise RequestError(
            404,
            "unknown-version",
            "There is no such version",
            f"Version {version[:80]!r} of {model} is not served.",
            remedy=f"The served one is {served.version}.",
        )
    return served


async def _infer(service: Service, request: Request) -> Response:
    body = await read_body(request, service.settings.max_file_bytes, "Send fewer rows.")
    started = time.perf_counter()
    served = _served(service, request)
    wanted = decode_inference(body, request.headers.get(HEADER_LENGTH))
    outputs = _outputs(served.declaration)
    if unknown := set(wanted.outputs) - {*outputs, ANSWER}:
        raise _unknown("outputs", sorted(unknown)[0], [*outputs, ANSWER])
    rows = _rows(served.declaration, wanted.inputs, service.settings.max_batch_rows)
    if isinstance(served.predictor, ForecastingPredictor):
        values = [served.validated(rows[0])]
        table = service.tables.get(served.manifest.model)
        newest = await table.rows(served.predictor.rows) if table and values[0][CANDLES] is None else None
        answers = [served.answer(values[0], newest)]
    elif len(rows) <= INLINE_ROWS:
        values, answers = _answered(served, rows)
    else:
        values, answers = await asyncio.to_thread(_answered, served, rows)
    for row, (value, answer) in enumerate(zip(values, answers, strict=True), 1):
        counted(service.metrics, served, answer)
        if len(answers) <= INLINE_ROWS:
            service.log.put(logged(*asked_by(request.scope), served, value, answer, started)._replace(row=row))
    told = wanted.outputs or dict.fromkeys(outputs, wanted.binary)
    tensors = [(_output(name, {**outputs, ANSWER: "BYTES"}[name], answers), binary) for name, binary in told.items()]
    head: dict[str, Any] = {"model_name": served.manifest.model, "model_version": served.version}
    if wanted.id is not None:
        head["id"] = wanted.id
    head["parameters"] = {"data_version": served.manifest.data.version}
    content, headers, media_type = encode_inference(head, tensors)
    return Response(content, headers=headers, media_type=media_type)


def _answered(served: Served, rows: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    values, faults = [], []
    for position, row in enumerate(rows):
        try:
            values.append(served.validated(row))
        except RequestError as error:
            faults += [entry.model_copy(update={"field": f"{entry.field}[{position}]"}) for entry in error.errors]
    if faults:
        raise refused(faults)
    return values, served.predictor.answers(values)


def _rows(declaration: Declaration, inputs: Mapping[str, Tensor], most: int) -> list[dict[str, Any]]:
    """The requests that the tensors hold; of a series one, with the tensors as its candles."""
    known = _inputs(declaration)
    for name, tensor in inputs.items():
        if name not in known:
            raise _unknown("inputs", name, list(known))
        fitting = tensor.datatype == "BYTES" if known[name] == "BYTES" else tensor.datatype in NUMBERS
        if not fitting:
            raise _wrong(f"{name}.datatype", tensor.datatype, known[name])
    lengths = {len(tensor.values) for tensor in inputs.values()}
    series = isinstance(declaration.task, Forecasting)
    if len(lengths) > 1 or (not series and lengths <= {0}):
        raise _wrong("inputs", sorted(lengths), "tensors of the same number of rows, and at least one row")
    count = next(iter(lengths), 0)
    if count > most:
        raise RequestError(
            413, "too-many-rows", "There are too many rows", f"The tensors have {count} rows.",
            remedy=f"Send at most {most} at once.",
        )  # fmt: skip
    rows = [{name: _value(tensor.values[row]) for name, tensor in inputs.items()} for row in range(count)]
    if series:
        return [{CANDLES: rows or None}]
    # A tensor that was left out is a column of unknown values.
    return [{**dict.fromkeys(known), **row} for row in rows]


def _value(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _inputs(declaration: Declaration) -> dict[str, str]:
    """Datatype by the name of a request's field."""
    if isinstance(declaration.task, Forecasting):
        target = target_of(declaration)
        fields: list[Column | Feature | Target] = [declaration.column(declaration.source.time), target]
    else:
        fields = [declaration.column(name) for name in declaration.request_columns]
    fields += declaration.features
    kinds = {Kind.NUMBER: "FP64", Kind.INTEGER: "INT64"}
    return {each.name: kinds.get(each.kind, "BYTES") for each in fields}


def _outputs(declaration: Declaration) -> dict[str, str]:
    """Datatype by the name of an output."""
    task, ends = declaration.task, {"interval_low": "FP64", "interval_high": "FP64"}
    if isinstance(task, Clustering):
        named = "cluster_label" if task.order == "readiness" else "segment"
        return {"cluster": "INT64", named: "BYTES", "distance_to_center": "FP64"}
    if isinstance(task, Classification):
        flag = "BOOL" if task.flag == "is_approved" else "INT64"
        return {"prediction": "BYTES", task.flag: flag, "probability": "FP64"}
    if isinstance(task, Regression):
        segment = {"segment": "BYTES"} if task.segments else {}
        return {target_of(declaration).name: "FP64", **ends, **segment}
    return {f"next_{target_of(declaration).name}": "FP64", **ends, "naive_forecast": "FP64", "direction": "BYTES"}


def _output(name: str, datatype: str, answers: Sequence[Mapping[str, Any]]) -> Tensor:
    if name == ANSWER:
        return Tensor(name, datatype, [json.dumps(answer, separators=(",", ":")) for answer in answers])
    if name.startswith("interval_"):
        return Tensor(name, datatype, [answer["interval"][name.removeprefix("interval_")] for answer in answers])
    return Tensor(name, datatype, [answer[name] for answer in answers])


def _metadata(name: str, datatype: str) -> TensorMetadata:
    return TensorMetadata(name=name, datatype=datatype, shape=[-1])


def _unknown(where: str, name: str, known: Sequence[str]) -> RequestError:
    problem = FieldProblem(
        field=where, value=shown(name), expected=f"of: {', '.join(known)}", remedy="Leave it out, or correct its name."
    )
    return refused([problem])


def _wrong(name: str, value: Any, expected: str) -> RequestError:
    return refused([FieldProblem(field=str(shown(name)), value=shown(value), expected=expected, remedy="Correct it.")])
