"""The application: `uvicorn backend.app:app`."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import sys
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from backend.admin import admin_routes
from backend.alerts import alert_routes
from backend.batch import batch_examples, batch_routes
from backend.data_acts import data_routes
from backend.describe import detail, summary
from backend.documentation import add_documentation, problems
from backend.drift import drift_routes
from backend.edge import Edge
from backend.experiments import experiment_routes
from backend.explain import explain_routes
from backend.files.routes import file_routes
from backend.follower import Follower
from backend.health import Health, Live, Ready, health, ready
from backend.hold import Hold
from backend.hot import Hot, HotRoutes
from backend.lane import Lane
from backend.lean import give_memory_back
from backend.listener import Listener
from backend.mage import Mage
from backend.metrics import CONTENT_TYPE, Metrics
from backend.newest import NewestRows
from backend.observed import observed
from backend.outcomes import outcome_routes
from backend.page import POLICY, page
from backend.performance import performance_routes
from backend.personal import Mask
from backend.pipelines import pipeline_routes
from backend.predict import direct, handler, request_id, serving
from backend.prediction_log import PredictionLog
from backend.predictions import prediction_routes
from backend.problems import MEDIA_TYPE, UNFORESEEN, FieldProblem, RequestError, problem_response, shown
from backend.provenance import provenance_routes
from backend.registry_client import RegistryClient
from backend.requests import documented_body, problem_example, refused, request_model
from backend.retrains import retrain_routes
from backend.schemas import Clusters, ModelDetail, Models, SegmentClusters, SegmentsDetail, SupervisedDetail
from backend.security.protection import protect
from backend.series import series_routes
from backend.shadow import Shadow, ShadowFollower, ShadowMetrics
from backend.simulations import simulation_routes
from backend.store import BundleStore
from backend.tasks import answer_example, answer_model
from backend.traffic import Traffic, traffic_routes
from backend.usable import usable
from backend.v2 import v2_routes
from backend.workers import Workers
from sigap import __version__
from sigap.catalog import Declaration, declaration
from sigap.catalog.declaration import Forecasting
from sigap.errors import ConfigurationError, ServiceError
from sigap.logs import set_up
from sigap.production import require_secrets
from sigap.settings import Settings, get_settings

DESCRIPTION = """Answers with the champions that the model registry names, each model in the words of its declaration.

Every fault is answered as `application/problem+json` (RFC 9457): what was found, what was expected, what to do.
Every answer carries `x-request-id`."""

START_SECONDS = 3.0


class Service:
    """What the routes share: a follower for each model, the registry and the metrics.

    Args:
        settings: Where the registry is, which alias is followed and where bundles are kept.
        models: The models to serve.
        left_out: Why others can't be, by model.

    Raises:
        ConfigurationError: The default model is one of those.
        UnknownModelError: The default model is not in the catalogue.
    """

    def __init__(
        self, settings: Settings, models: tuple[Declaration, ...], left_out: Mapping[str, ConfigurationError]
    ) -> None:
        self.settings = settings
        self.default = declaration(settings.default_model).name
        if self.default in left_out:
            raise left_out[self.default]
        self.left_out = left_out
        self.metrics = Metrics()
        self.workers = Workers(settings.state / "api-workers", self.metrics.registry)
        self.registry = RegistryClient(settings.tracking_uri)
        self.mage = Mage(settings)
        self.started = time.monotonic()
        self.followers = {model.name: self._follower(model) for model in models}
        self.challengers: dict[str, ShadowFollower] = {}
        self.traffic = Traffic(self.workers)
        self.listener = Listener(settings, self._moved)
        self.log = PredictionLog(
            (lambda: settings.dsn) if settings.prediction_log and settings.has_database else None,
            {model.name: Mask(model, _mask_key(settings), settings.personal_fields) for model in models},
            settings.prediction_log_queue,
            settings.prediction_log_days,
            self.metrics.registry,
        )
        self.observed = observed(settings, models, self.mage, self.workers.watches, self.metrics.registry)
        self.shadow = self._shadow(models) if settings.shadow_alias else None
        self.tables = {
            model.name: NewestRows(model, lambda: _dsn(settings))
            for model in models
            if isinstance(model.task, Forecasting)
        }

    def _follower(self, model: Declaration) -> Follower:
        return Follower(
            model,
            self.settings.served_alias,
            self.settings.follow_seconds,
            self.registry,
            BundleStore(self.settings.state / "api" / model.name),
            self.metrics,
            Hold(self.settings.state / "api" / model.name / "held.json"),
        )

    def _moved(self, model: str) -> None:
        """Has the follower of `model`, or all of them, look at the registry now."""
        for name, follower in (*self.followers.items(), *self.challengers.items()):
            if model in (name, "") or model not in self.followers:
                follower.wake()

    def _shadow(self, models: tuple[Declaration, ...]) -> Shadow:
        settings, metrics = self.settings, ShadowMetrics(self.metrics.registry)
        followers = {
            model.name: ShadowFollower(
                model,
                settings.shadow_alias,
                settings.follow_seconds,
                self.registry,
                BundleStore(settings.state / "api" / f"{model.name}-shadow"),
                metrics,
            )
            for model in models
        }
        self.challengers = followers
        shadow = Shadow(followers, self.log, settings.shadow_per_second, metrics)
        self.log.mirror(shadow.put)
        return shadow

    def follower(self, model: str) -> Follower:
        """The follower of `model`.

        Raises:
            RequestError: 404, there is no such model; 503, its declaration can't be used.
        """
        if model in self.left_out:
            raise RequestError(
                503,
                "unusable-declaration",
                "The model's declaration can't be used",
                f"The model {model!r} is declared in a way that can't be used.",
                remedy="The API's log and `./run status` say what is wrong in which file.",
            )
        if model not in self.followers:
            raise RequestError(
                404,
                "unknown-model",
                "There is no such model",
                f"There is no model {model[:80]!r}.",
                remedy=f"Choose one of: {', '.join(self.followers)}.",
            )
        return self.followers[model]

    @contextlib.asynccontextmanager
    async def lifespan(self, _app: FastAPI) -> AsyncIterator[None]:
        """Follows the registry as long as the application runs."""
        _log_to_stderr(self.settings)
        _shorten_pauses()
        self.started = time.monotonic()
        tasks = [asyncio.create_task(follower.run()) for follower in self.followers.values()]
        tasks.append(asyncio.create_task(self.listener.run()))
        tasks.append(asyncio.create_task(self.workers.run()))
        tasks.append(asyncio.create_task(self.traffic.run()))
        tasks.append(asyncio.create_task(self.observed.run()))
        if self.shadow is not None:
            tasks.append(asyncio.create_task(self.shadow.run()))
        writing = asyncio.create_task(self.log.run())
        # The first request shall find a model, but a registry that hangs shall not keep the API from starting.
        await asyncio.gather(*(follower.started(START_SECONDS) for follower in self.followers.values()))
        # Reading a forest takes twice the memory that it then needs.
        give_memory_back()
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.log.close(writing)
            await self.close()

    async def close(self) -> None:
        """Lets go of the connections that answers opened."""
        await asyncio.gather(*(table.close() for table in self.tables.values()))
        await asyncio.gather(self.observed.close(), self.registry.close(), self.mage.close())


class Api(FastAPI):
    """FastAPI with added middleware before its own, which a hot request needs not and which costs a tenth of it.

    Attributes:
        lane: The short way, for a server that offers it; None where a layer adds to every answer.
    """

    lane: Lane | None = None

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.front: ASGIApp = super().__call__

    def add_middleware(self, middleware_class: Any, *args: Any, **kwargs: Any) -> None:
        """Stands before everything that was added until now."""
        self.front = middleware_class(self.front, *args, **kwargs)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        await self.front(scope, receive, send)


def create_app(settings: Settings | None = None, models: tuple[Declaration, ...] | None = None) -> FastAPI:
    """The application.

    Args:
        settings: Those of this process if not given.
        models: The models to serve; by default the whole catalogue.

    Raises:
        ConfigurationError: A setting can't be used, or the default model's declaration.
        UnknownModelError: The default model is not in the catalogue.
    """
    settings = settings or get_settings()
    require_secrets(settings)
    service = Service(settings, *usable(models))
    app = Api(
        title="Sigap API",
        version=__version__,
        summary="Predictions by the registry's champions",
        description=DESCRIPTION,
        lifespan=service.lifespan,
        openapi_url=None,
        # Its answer would lead to wherever the request's Host says.
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        openapi_tags=[
            {"name": "predict", "description": "What a model answers."},
            {"name": "models", "description": "What is served, how it was made, and every entity's place."},
            {"name": "provenance", "description": "Where an answer comes from, and what was decided why."},
            {"name": "admin", "description": "Which version is served; needs a token with the scope `admin`."},
            {"name": "pipelines", "description": "Runs of the pipelines in Mage, step by step."},
            {"name": "alerts", "description": "Alerts that have models trained; needs a key with the scope `alerts`."},
            {"name": "token", "description": "Who may ask."},
            {"name": "open inference protocol", "description": "V2, for clients of KServe, MLServer and Triton."},
            {"name": "operation", "description": "Health and metrics."},
        ],
    )
    app.state.service = service
    app.include_router(_predict_routes(service))
    # Before the routes with a model in their path, which `/model/metadata` is no case of.
    app.include_router(admin_routes(service))
    app.include_router(
        batch_routes(service.settings, service.followers, service.default, service.metrics, service.tables, service.log)
    )
    app.include_router(file_routes(service.settings, service.followers, service.default, service.metrics))
    app.include_router(_model_routes(service))
    app.include_router(series_routes(service))
    app.include_router(provenance_routes(service))
    app.include_router(pipeline_routes(service))
    app.include_router(retrain_routes(service))
    app.include_router(alert_routes(service))
    app.include_router(data_routes(service))
    app.include_router(simulation_routes(service))
    app.include_router(prediction_routes(service))
    app.include_router(drift_routes(service))
    app.include_router(outcome_routes(service, service.metrics.registry))
    app.include_router(performance_routes(service))
    app.include_router(explain_routes(service))
    app.include_router(experiment_routes(service))
    app.include_router(v2_routes(service))
    app.include_router(_operation_routes(service))
    app.include_router(traffic_routes(service))
    add_documentation(app, _examples(service) | batch_examples(service.followers, service.default))
    app.add_exception_handler(RequestError, _refuse)
    app.add_exception_handler(HTTPException, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse)
    app.add_exception_handler(Exception, _fail)
    hot = Hot(
        {path: follower for name, follower in service.followers.items() for path in _paths(service, name)},
        service.metrics,
        service.log.put,
    )
    app.add_middleware(HotRoutes, hot=hot)
    security = protect(app, service.settings, service.metrics.registry)
    if not settings.cors_origins.strip():  # whose headers depend on the request
        app.lane = Lane(hot, security, service.metrics)
    app.add_middleware(Edge, metrics=service.metrics)
    return app


def _predict_routes(service: Service) -> APIRouter:
    router = APIRouter()
    for name, follower in service.followers.items():
        for path in _paths(service, name):
            _add_predict_route(router, path, service, follower)
    router.route_class = APIRoute

    @router.post("/models/{model}/predict", include_in_schema=False, tags=["predict"])
    async def unknown(model: str) -> None:
        service.follower(model)

    return router


def _paths(service: Service, model: str) -> tuple[str, ...]:
    """Where a model answers."""
    default = ("/predict",) if model == service.default else ()
    return (*default, f"/models/{model}/predict", *service.followers[model].declaration.paths)


def _examples(service: Service) -> dict[str, dict[str, Any]]:
    return {
        path: answer_example(follower.declaration)
        for name, follower in service.followers.items()
        for path in _paths(service, name)
    }


def _add_predict_route(router: APIRouter, path: str, service: Service, follower: Follower) -> None:
    model = follower.declaration
    request = request_model(model)
    main = path == f"/models/{model.name}/predict"
    default = path == "/predict"

    async def documented(body: Any) -> None:
        """Stands for the handler in the documentation; its route class answers instead."""

    documented.__annotations__["body"] = request
    router.route_class = direct(
        handler(follower, service.metrics, service.log, service.settings.max_body_bytes, service.tables.get(model.name))
    )
    router.add_api_route(
        path,
        documented,
        methods=["POST"],
        response_model=answer_model(model),
        responses=_documented_answers(model),
        tags=["predict"],
        summary=f"{model.title.en} (the default model)" if default else model.title.en,
        description=f"{model.question.en}\n\n{model.question.id}\n\nSources: {model.data_source.en}.",
        operation_id="predict" if default else f"predict_{model.name}" if main else f"predict_{_identifier(path)}",
        openapi_extra={"requestBody": documented_body(model)},
    )


def _identifier(path: str) -> str:
    return "_".join(part for part in path.split("/") if part)


def _documented_answers(model: Declaration) -> dict[int | str, dict[str, Any]]:
    answers = problems(400, 408, 413, 422, 503)
    answers[422]["content"][MEDIA_TYPE]["example"] = problem_example(model)
    answers[200] = {"description": model.title.en, "content": {"application/json": {}}}
    return answers


def _model_routes(service: Service) -> APIRouter:
    router = APIRouter(tags=["models"])

    @router.get("/models", summary="All models")
    async def models() -> Models:
        return Models(models=[summary(follower, service.default) for follower in service.followers.values()])

    @router.get(
        "/models/{model}",
        summary="One model: its declaration and what is served",
        response_model=SupervisedDetail | SegmentsDetail | ModelDetail,
        responses=problems(404),
    )
    async def model_detail(model: str) -> ModelDetail | SupervisedDetail:
        return detail(service.follower(model))

    @router.get(
        "/models/{model}/clusters",
        summary="Levels, every entity's place, history and movement",
        response_model=Clusters | SegmentClusters,
        responses=problems(404, 503),
    )
    async def clusters(model: str, request: Request) -> Response:
        served = serving(service.follower(model))
        if served.clusters is None:
            raise RequestError(
                404,
                "no-clusters",
                "The model has no clusters",
                f"{model} is a {served.manifest.task}.",
                remedy=f"`GET /models/{model}` tells what is served of it.",
            )
        headers = {"etag": f'"{served.model_version}-{served.manifest_sha256[:16]}"', "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        return Response(served.clusters, media_type="application/json", headers=headers)

    return router


def _operation_routes(service: Service) -> APIRouter:
    router = APIRouter(tags=["operation"])

    @router.get("/", include_in_schema=False)
    async def root(request: Request) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return HTMLResponse(page(service.followers, service.default), headers={"content-security-policy": POLICY})
        served = service.followers[service.default].served
        return JSONResponse(
            {
                "status": "online",
                "model_loaded": served is not None,
                "model_name": service.default,
                "model_alias": service.settings.served_alias,
                "model_version": served.model_version if served else None,
                "documentation": "/docs",
            }
        )

    @router.get("/health", summary="The API and what it depends on, in detail")
    async def api_health() -> Health:
        return health(service)

    @router.get("/health/live", summary="Whether the process answers")
    async def live() -> Live:
        return Live()

    @router.get(
        "/health/ready",
        summary="Whether predictions can be answered",
        response_model=Ready,
        responses={503: {"model": Ready, "description": "They can't; each model's reason says why."}},
    )
    async def api_ready() -> Response:
        state = ready(service.followers, service.default)
        status = 200 if state.status == "ready" else 503
        return JSONResponse(state.model_dump(), status)

    @router.get("/metrics", summary="Prometheus metrics of all workers", response_class=Response)
    async def metrics() -> Response:
        # Otherwise every look would find itself, and for a second that of another worker too.
        service.metrics.in_progress -= 1
        try:
            text = await asyncio.to_thread(service.workers.text)
        finally:
            service.metrics.in_progress += 1
        return Response(text, headers={"content-type": CONTENT_TYPE})

    return router


async def _refuse(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        error = _http_error(request, error)
    if isinstance(error, RequestValidationError):
        error = _parameter_error(error)
    if not isinstance(error, RequestError):
        raise error
    return problem_response(error, request_id(request), request.url.path)


async def _fail(request: Request, _error: Exception) -> Response:
    # The framework raises the error again afterwards: the edge writes it down.
    return problem_response(UNFORESEEN, request_id(request), request.url.path)


def _parameter_error(error: RequestValidationError) -> RequestError:
    """A parameter of the address that is not what its documentation says."""
    return refused(
        [
            FieldProblem(
                field=str(each["loc"][-1]),
                value=shown(each.get("input")),
                expected=str(each["msg"]),
                remedy="/docs tells what it may be.",
            )
            for each in error.errors()
        ]
    )


def _http_error(request: Request, error: HTTPException) -> RequestError:
    if error.status_code == 405:
        allowed = (error.headers or {}).get("allow", (error.headers or {}).get("Allow", ""))
        return RequestError(
            405,
            "wrong-method",
            "The method is not allowed",
            f"{request.method} is not allowed here.",
            remedy=f"Use {allowed}." if allowed else "",
            headers=dict(error.headers or {}),
        )
    if error.status_code == 404:
        return RequestError(404, "not-found", "There is nothing here", "No such path.", remedy="/docs lists all paths.")
    return RequestError(
        error.status_code, "http", "The request can't be answered", str(error.detail), headers=dict(error.headers or {})
    )


def _dsn(settings: Settings) -> str:
    # Asked of a database that was never started, the settings would make up its password.
    if not settings.has_database:
        raise ServiceError("No database was started yet.")
    return settings.dsn


def _mask_key(settings: Settings) -> bytes:
    # Only where predictions are kept: an API without a database makes up no secret.
    return settings.key_for("prediction log") if settings.prediction_log and settings.has_database else b""


def _shorten_pauses() -> None:
    # What exists by now stays: looking through it for garbage again and again would hold up requests for long.
    gc.collect()
    gc.freeze()
    # Predictions wait for the log by the thousand, none of them in a cycle: with Python's own thresholds, looking at
    # them again and again costs a third of an answer.
    gc.set_threshold(10_000, 20, 50)
    # A new champion is loaded in a thread: let it hold up requests for half a millisecond at a time, not five.
    sys.setswitchinterval(0.0005)


def _log_to_stderr(settings: Settings) -> None:
    # `python -m backend` has done so already; behind another server only what is ours is.
    if not logging.getLogger("sigap").hasHandlers():
        set_up(settings.log_format)


app = create_app()
