"""Why a model answers as it does: how much each feature of one request contributes, by the served model itself.

Numbers and probabilities are shared out by Shapley values against a typical row (`backend.shapley`). A clustering's
squared distance to a centre is a sum over features already: each one's part is what it loses when that feature is
moved to the centre.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from fastapi import APIRouter
from fastapi.routing import APIRoute
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from backend.decode import decode
from backend.documentation import problems
from backend.engine import Engine
from backend.follower import Follower
from backend.newest import NewestRows, Series
from backend.predict import direct, encode, read_body, serving
from backend.requests import CANDLES, documented_body, request_model
from backend.served import Served
from backend.shapley import Contributions, contributions
from backend.tasks.classification import ClassificationPredictor
from backend.tasks.clustering import ClusterPredictor
from backend.tasks.forecasting import ForecastingPredictor
from backend.tasks.predictor import Row
from backend.tasks.regression import RegressionPredictor, target_of
from sigap.bundle import Bilingual, ClassificationManifest, ClusteringManifest, RegressionManifest
from sigap.catalog import Declaration
from sigap.catalog.declaration import Classification, Clustering, Forecasting
from sigap.settings import Settings

Floats = NDArray[np.float64]
Method = Literal["exact_shapley", "sampled_shapley", "squared_distance"]
# Explanations that a worker computes at once: one may ask the model thousands of rows.
AT_ONCE = 2


class Contribution(BaseModel):
    """What one feature contributes."""

    feature: str
    value: float | str | None = Field(description="What was sent of it; null where it is unknown.")
    reference: float | str | None = Field(
        description="What it is compared with; null where the centre of a clustering has no single category."
    )
    contribution: float = Field(description="What it adds to the baseline, in the unit of `value`.")
    share: float = Field(description="Its part of all contributions, by size.", ge=0, le=1)
    standard_error: float | None = Field(description="Of a sampled contribution; null where it is exact.")


class Explanation(BaseModel):
    """The contributions to one answer: `baseline` plus all of them is `value`."""

    model_config = ConfigDict(protected_namespaces=())

    model: str
    model_version: str
    data_version: str
    method: Method
    explained: Bilingual = Field(description="What `value` is.")
    unit: Bilingual
    value: float
    baseline: float
    baseline_is: Bilingual = Field(description="What the request is compared with.")
    contributions: list[Contribution] = Field(description="The greatest first, either way.")
    evaluations: int = Field(description="How many rows the model was asked.")


class Service(Protocol):
    """What these routes need of the service."""

    settings: Settings
    followers: dict[str, Follower]
    tables: dict[str, NewestRows]

    def follower(self, model: str) -> Follower:
        """The follower of `model`."""


class Compared(NamedTuple):
    """One request beside what it is compared with."""

    method: Method
    explained: tuple[str, str]
    unit: tuple[str, str]
    baseline_is: tuple[str, str]
    features: Sequence[str]
    values: Sequence[float | str | None]
    references: Sequence[float | str | None]
    found: Contributions


def explain(served: Served, values: Mapping[str, Any], newest: Series | None = None) -> dict[str, Any]:
    """The explanation of the answer to validated fields, as `Explanation` describes it.

    Args:
        served: The version that answers.
        values: The validated fields.
        newest: The newest rows of the table, for a forecast that brings none of its own.

    Raises:
        RequestError: 422, the fields are valid, but not for this version.
        BundleError: The model gives no number that could be explained.
    """
    predictor = served.predictor
    if isinstance(predictor, ForecastingPredictor):
        compared = _forecast(served, predictor, values, newest)
    elif isinstance(predictor, ClusterPredictor):
        compared = _distance(served, predictor, values)
    elif isinstance(predictor, RegressionPredictor | ClassificationPredictor):
        compared = _number(served, predictor.row, predictor.engine, values)
    else:
        raise TypeError(f"{type(predictor).__name__} can't be explained")
    return _told(served, compared)


def explain_routes(service: Service) -> APIRouter:
    """`POST /models/{model}/explain` of every model."""
    router, free = APIRouter(), asyncio.Semaphore(AT_ONCE)
    for name, follower in service.followers.items():
        _add_route(router, service, follower, service.tables.get(name), free)
    router.route_class = APIRoute

    @router.post("/models/{model}/explain", tags=["predict"], include_in_schema=False)
    async def unknown(model: str) -> None:
        service.follower(model)

    return router


def _add_route(
    router: APIRouter, service: Service, follower: Follower, table: NewestRows | None, free: asyncio.Semaphore
) -> None:
    model = follower.declaration

    async def answer(request: Request) -> Response:
        body = await read_body(request, service.settings.max_body_bytes)
        served, newest = serving(follower), None
        values = served.validated(decode(body) if table is None or body.strip() else {})
        if table and isinstance(served.predictor, ForecastingPredictor) and values[CANDLES] is None:
            newest = await table.rows(served.predictor.rows)
        async with free:
            told = await asyncio.to_thread(explain, served, values, newest)
        return Response(encode(told), media_type="application/json")

    async def documented(body: Any) -> None:
        """Stands for the handler in the documentation; its route class answers instead."""

    documented.__annotations__["body"] = request_model(model)
    router.route_class = direct(answer)
    router.add_api_route(
        f"/models/{model.name}/explain",
        documented,
        methods=["POST"],
        response_model=Explanation,
        responses=problems(400, 408, 413, 422, 503),
        tags=["predict"],
        summary=f"{model.title.en}: what each feature contributes",
        description=_description(model),
        operation_id=f"explain_{model.name}",
        openapi_extra={"requestBody": documented_body(model)},
    )


def _description(model: Declaration) -> str:
    if isinstance(model.task, Clustering):
        return (
            "Which part of the squared distance each feature has: to the centre of the next better level, or to the "
            "own centre at the best level and of a segment. The parts add up to the squared distance."
        )
    return (
        "Shapley values against a typical row (baseline Shapley, https://arxiv.org/abs/1908.08474), computed with the "
        "served model: exact up to 11 features that differ from it, beyond by antithetic permutations with their "
        "standard errors. `baseline` plus all contributions is `value`."
    )


def _number(served: Served, row: Row, engine: Engine, values: Mapping[str, Any]) -> Compared:
    reference = _reference(served)
    here = np.array(row.encode(values), np.float64)
    there = np.array(row.encode(reference), np.float64)
    columns = _columns(row)
    # A feature that is as in the reference adds nothing to any coalition.
    differing = [
        name for name in row.used if not np.array_equal(here[columns[name]], there[columns[name]], equal_nan=True)
    ]
    owner = np.zeros((len(differing), len(here)), bool)
    for at, name in enumerate(differing):
        owner[at, columns[name]] = True

    def game(present: NDArray[np.bool_]) -> Floats:
        mine = present.astype(np.int8) @ owner.astype(np.int8) > 0
        return engine.many_numbers(np.where(mine, here, there))

    found = contributions(game, len(differing))
    spread = np.zeros(len(row.used))
    spread[[row.used.index(name) for name in differing]] = found.values
    errors = None
    if found.errors is not None:
        errors = np.zeros(len(row.used))
        errors[[row.used.index(name) for name in differing]] = found.errors
    return Compared(
        method="exact_shapley" if found.errors is None else "sampled_shapley",
        explained=_explained(served.declaration),
        unit=_unit(served.declaration),
        baseline_is=("baris yang lazim dalam data latih", "a typical row of the training data"),
        features=row.used,
        values=[values[name] for name in row.used],
        references=[reference[name] for name in row.used],
        found=found._replace(values=spread, errors=errors),
    )


def _reference(served: Served) -> dict[str, float | str | None]:
    """A typical value per used feature."""
    manifest = served.manifest
    known: dict[str, float | str | None] = {}
    if isinstance(manifest, RegressionManifest | ClassificationManifest):
        known = dict(manifest.reference)
    imputed = {column.feature: column.impute for column in manifest.inputs if column.kind == "number"}
    for name in manifest.features_used:
        if name not in known:
            # An older bundle: what stands for an unknown number, else the middle of what was trained on.
            span = manifest.training_range.get(name)
            middle = (span.minimum + span.maximum) / 2 if span else None
            stands = imputed.get(name)
            known[name] = middle if stands is None else stands
    return known


def _columns(row: Row) -> dict[str, slice]:
    """Which of the model's columns a feature fills."""
    if row.encoder is None:
        return {name: slice(at, at + 1) for at, name in enumerate(row.used)}
    found, start = {}, 0
    for column in row.encoder.inputs:
        found[column.feature] = slice(start, start + column.width)
        start += column.width
    return found


def _distance(served: Served, predictor: ClusterPredictor, values: Mapping[str, Any]) -> Compared:
    manifest, row = served.manifest, predictor.row
    assert isinstance(manifest, ClusteringManifest)  # noqa: S101 - `predictor` was made for it
    here = np.array(row.encode(values), np.float64)
    cluster = int(predictor.engine.run([here.tolist()])[0][0])
    levels = served.declaration.task_as(Clustering).order == "readiness"
    towards = manifest.levels[cluster - 1 if levels and cluster > 0 else cluster]

    def squared(rows: Floats) -> Floats:
        distances = predictor.engine.many(rows)[1]
        return np.asarray(distances[:, towards.cluster], np.float64) ** 2

    center = _center(row, here, towards.center, squared)
    columns = _columns(row)
    moved = np.tile(here, (len(row.used) + 2, 1))
    for at, name in enumerate(row.used):
        moved[at, columns[name]] = center[columns[name]]
    moved[-1] = center
    numbers = squared(moved)
    # At the centre itself the distance is 0; what the model's arithmetic leaves of it is no number to show.
    value, baseline = float(numbers[-2]), round(float(numbers[-1]), 12)
    found = Contributions(value - numbers[:-2], None, value, baseline, len(moved) + 3 * len(here))
    name_id, name_en = towards.label.id, towards.label.en
    return Compared(
        method="squared_distance",
        explained=(f"jarak kuadrat ke pusat {name_id}", f"squared distance to the centre of {name_en}"),
        unit=("simpangan baku kuadrat", "squared standard deviations"),
        baseline_is=(f"pusat {name_id}", f"the centre of {name_en}"),
        features=row.used,
        values=[values[name] for name in row.used],
        references=[towards.center.get(name) for name in row.used],
        found=found,
    )


def _center(row: Row, here: Floats, known: Mapping[str, float], squared: Any) -> Floats:
    """The centre in the model's columns: as the bundle says, else where the squared distance is least.

    Along one column that distance is a parabola, which three points tell.
    """
    center, columns = here.copy(), _columns(row)
    for name in row.used:
        part = columns[name]
        if name in known:
            center[part] = known[name]
            continue
        span = row.manifest.training_range.get(name)
        for at in range(part.start, part.stop):
            # Of a category's column 0, ½ and 1; of a number points well within what it was trained on.
            middle, step = (
                ((span.minimum + span.maximum) / 2, (span.maximum - span.minimum) / 10) if span else (0.5, 0.5)
            )
            points = np.tile(here, (3, 1))
            points[:, at] = middle - step, middle, middle + step
            low, mid, high = squared(points)
            bend = low - 2 * mid + high
            # A column that nothing depends on has no bend.
            center[at] = middle - step * (high - low) / (2 * bend) if bend > 1e-12 else here[at]
    return center


def _forecast(
    served: Served, predictor: ForecastingPredictor, values: Mapping[str, Any], newest: Series | None
) -> Compared:
    declaration = served.declaration
    closes, _, _ = predictor.looked_at(values, newest)
    returns = np.array(predictor.returns(closes))

    def game(present: NDArray[np.bool_]) -> Floats:
        return closes[-1] * np.exp(predictor.engine.many_numbers(np.where(present, returns, 0.0)))

    found = contributions(game, len(returns))
    names = [f"{target_of(declaration).name} t-{lag}" for lag in range(len(returns))]
    return Compared(
        method="exact_shapley" if found.errors is None else "sampled_shapley",
        explained=_explained(declaration),
        unit=_unit(declaration),
        baseline_is=(
            "prakiraan bila harga tidak bergerak di semua langkah yang dilihat",
            "the forecast if nothing had moved in all the steps looked at",
        ),
        features=names,
        values=[float(value) for value in returns],
        references=[0.0] * len(returns),
        found=found,
    )


def _explained(declaration: Declaration) -> tuple[str, str]:
    task, target = declaration.task, target_of(declaration)
    if isinstance(task, Classification):
        return f"peluang {task.yes}", f"probability of {task.yes}"
    if isinstance(task, Forecasting):
        return f"{target.title.id} berikutnya", f"the next {target.title.en.lower()}"
    return target.title.id, target.title.en


def _unit(declaration: Declaration) -> tuple[str, str]:
    if isinstance(declaration.task, Classification):
        return "peluang", "probability"
    unit = target_of(declaration).unit
    return (unit.id, unit.en) if unit else ("", "")


def _told(served: Served, compared: Compared) -> dict[str, Any]:
    found = compared.found
    total = float(np.abs(found.values).sum())
    order = sorted(range(len(compared.features)), key=lambda at: -abs(found.values[at]))

    def both(text: tuple[str, str]) -> dict[str, str]:
        return {"id": text[0], "en": text[1]}

    return {
        "model": served.manifest.model,
        "model_version": served.model_version,
        "data_version": served.manifest.data.version,
        "method": compared.method,
        "explained": both(compared.explained),
        "unit": both(compared.unit),
        "value": found.value,
        "baseline": found.baseline,
        "baseline_is": both(compared.baseline_is),
        "contributions": [
            {
                "feature": compared.features[at],
                "value": compared.values[at],
                "reference": compared.references[at],
                "contribution": float(found.values[at]),
                "share": min(1.0, abs(float(found.values[at])) / total) if total > 0 and math.isfinite(total) else 0.0,
                "standard_error": None if found.errors is None else float(found.errors[at]),
            }
            for at in order
        ],
        "evaluations": found.evaluations,
    }
