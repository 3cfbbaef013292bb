"""What the checks for drift found of each champion: read from PostgreSQL, where the monitoring writes it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from backend.documentation import problems
from backend.follower import Follower
from backend.problems import RequestError
from backend.provenance import asked
from backend.registry_client import RegistryClient
from backend.served import Served
from sigap.bundle import Bilingual
from sigap.catalog import Declaration
from sigap.settings import Settings

log = logging.getLogger("sigap.api")

QUERY_SECONDS = 5.0
CONNECT_SECONDS = 2
HISTORY = 144
# The schedule of the pipeline `monitoring`, and how many of its turns may pass without a check: one may be long, and
# the next be left out for that.
PERIOD_SECONDS = 600
OVERDUE_PERIODS = 3
REPORT_BYTES = 32 * 2**20
AT_ONCE = 4
# Evidently's page is one file with scripts of its own. It may run them, but as nobody's page: without cookies, storage
# or any address to talk to.
REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' data: blob:;"
    " style-src 'unsafe-inline'; img-src data: blob:; font-src data:; worker-src blob:; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'self'"
)
State = Literal["unchecked", "steady", "moved", "drifting", "too_few", "failed"]
Subject = Literal["live", "table"]
_CHECKS = """
    SELECT id, checked_at, model_version, rows, reference_rows, status, share, drifted, alarm, reason, report, details
    FROM drift_checks WHERE model = %s AND subject = %s ORDER BY id DESC LIMIT %s
"""
_WINDOW = """
    SELECT id FROM drift_checks WHERE model = %s AND subject = %s AND status = 'computed' ORDER BY id DESC LIMIT 1
"""
_FEATURES = """
    SELECT feature, test, statistic, p, p_adjusted, effect, effect_name, drifted, bins
    FROM drift_features WHERE check_id = %s ORDER BY drifted DESC, effect DESC, feature
"""
_REPORT = "SELECT run_id, report FROM drift_checks WHERE model = %s AND id = %s"


class DriftFeature(BaseModel):
    """One feature in a window."""

    feature: str
    title: Bilingual
    unit: Bilingual
    test: str = Field(description="Such as `ks`, `chi_square`, `fisher` or `permutation`; see docs/drift.md.")
    statistic: float
    p: float | None
    p_adjusted: float | None = Field(description="After the correction over all features of the window.")
    effect: float = Field(description="How far the two distributions are apart, from 0 to 1.")
    effect_name: str
    drifted: bool
    bins: dict[str, Any] = Field(
        description="Both distributions to be drawn: `kind`, `missing` (reference, now), counts `reference` and `now`, "
        "and `edges` and `means` of a number, or `labels` and `new` of a category."
    )


class DriftCheck(BaseModel):
    """One check."""

    model_config = ConfigDict(protected_namespaces=())

    id: int
    checked_at: datetime
    model_version: str
    rows: int
    reference_rows: int
    status: Literal["computed", "too_few", "failed"]
    share: float | None = Field(description="Drifted features over tested ones; null where nothing was computed.")
    drifted: bool = Field(description="This window alone; true where the check failed.")
    alarm: bool = Field(description="After the persistence rule.")
    reason: str
    report: str | None = Field(description="Path of Evidently's report, where one was made.")
    details: dict[str, Any] = Field(description="Such as `rules`, the thresholds, and `scope`, what was looked at.")


class DriftSubject(BaseModel):
    """How live inputs, or the newest table, stand to what the champion was trained on."""

    state: State = Field(
        description="`unchecked`; `steady`; `moved`: a window drifted, which is no alarm yet; `drifting`: an alarm; "
        "`too_few` rows to decide; `failed`: the check can't be made, which is an alarm."
    )
    check: DriftCheck | None = Field(description="The newest one.")
    window: int | None = Field(description="Id of the check that `features` are of: the newest that was computed.")
    features: list[DriftFeature] = Field(description="The drifted ones first, by effect.")
    history: list[DriftCheck] = Field(description="The newest checks, the newest first.")


class Drift(BaseModel):
    """Drift of a model's live inputs and of its table."""

    model: str
    live: DriftSubject
    table: DriftSubject


class DriftState(BaseModel):
    """Drift of a model, in short."""

    model: str
    state: State = Field(description="The graver one of the two subjects'.")
    live: State
    table: State
    checked_at: datetime | None
    overdue: bool = Field(
        description="Whether the served champion is long without a check: for three periods of the schedule since the "
        "newest one, and since the API serves it."
    )


class DriftStates(BaseModel):
    """Drift of every model, in short."""

    models: list[DriftState]


class Watched(Protocol):
    """What these routes need of the service."""

    settings: Settings
    registry: RegistryClient
    followers: dict[str, Follower]

    def follower(self, model: str) -> Follower:
        """The follower of `model`."""


_GRAVITY: tuple[State, ...] = ("unchecked", "too_few", "steady", "moved", "drifting", "failed")
_SUBJECTS: tuple[Subject, ...] = ("live", "table")


def drift_routes(service: Watched) -> APIRouter:
    """The routes that tell of drift."""
    router = APIRouter(tags=["provenance"])
    # Whoever may read may ask: so few at once that they leave the database its connections.
    turn = asyncio.Semaphore(AT_ONCE)

    async def read(queries: Sequence[tuple[str, list[Any]]]) -> list[list[tuple[Any, ...]]]:
        async with turn:
            return await _read(service.settings, queries)

    @router.get("/drift", summary="Whether champions still meet what they were trained on", responses=problems(503))
    async def states() -> DriftStates:
        names = list(service.followers)
        found = await read([(_CHECKS, [name, subject, 1]) for name in names for subject in _SUBJECTS])
        return DriftStates(
            models=[
                _short(name, found[2 * at : 2 * at + 2], service.followers[name].served)
                for at, name in enumerate(names)
            ]
        )

    @router.get(
        "/models/{model}/drift", summary="Drift of live inputs and of the newest table", responses=problems(404, 503)
    )
    async def drift(model: str) -> Drift:
        declared = service.follower(model).declaration
        checks = await read([(_CHECKS, [model, subject, HISTORY]) for subject in _SUBJECTS])
        windows = await read([(_WINDOW, [model, subject]) for subject in _SUBJECTS])
        ids = [int(rows[0][0]) if rows else None for rows in windows]
        features = await read([(_FEATURES, [each]) for each in ids])
        live, table = (_subject(declared, *each) for each in zip(checks, ids, features, strict=True))
        return Drift(model=model, live=live, table=table)

    @router.get(
        "/models/{model}/drift/report/{check_id}",
        summary="Evidently's report of a check, as a page",
        responses={**problems(404, 503), 200: {"content": {"text/html": {}}}},
        response_class=Response,
    )
    async def report(model: str, check_id: str) -> Response:
        service.follower(model)
        rows: list[tuple[Any, ...]] = []
        if check_id.isascii() and check_id.isdecimal() and len(check_id) <= 15:
            rows = (await read([(_REPORT, [model, int(check_id)])]))[0]
        if not rows or not rows[0][0] or not rows[0][1]:
            raise RequestError(
                404,
                "no-report",
                "There is no such report",
                f"No report of check {check_id[:20]!r} of {model} was made.",
                remedy=f"`GET /models/{model}/drift` names those there are; of steady windows there is one a day.",
            )
        run = await asked(service.registry.run(str(rows[0][0])))
        content = await asked(service.registry.run_file(run, f"{rows[0][1]}/report.html", REPORT_BYTES))
        headers = {"content-security-policy": REPORT_POLICY, "cache-control": "private, max-age=3600"}
        return Response(content, media_type="text/html", headers=headers)

    return router


def _state(rows: Sequence[tuple[Any, ...]]) -> State:
    if not rows:
        return "unchecked"
    _, _, _, _, _, status, _, drifted, alarm, *_ = rows[0]
    if status == "failed":
        return "failed"
    if alarm:
        return "drifting"
    if status == "too_few":
        return "too_few"
    return "moved" if drifted else "steady"


def _short(model: str, found: Sequence[list[tuple[Any, ...]]], served: Served | None = None) -> DriftState:
    live, table = (_state(rows) for rows in found)
    times = [rows[0][1] for rows in found if rows]
    return DriftState(
        model=model,
        state=max(live, table, key=_GRAVITY.index),
        live=live,
        table=table,
        checked_at=max(times, default=None),
        overdue=served is not None and _overdue([served.loaded_at, *times], datetime.now(UTC)),
    )


def _overdue(times: Sequence[datetime], now: datetime) -> bool:
    """Whether nothing of this has happened lately: a check, or that the champion was put into use."""
    return (now - max(times)).total_seconds() > OVERDUE_PERIODS * PERIOD_SECONDS


def _subject(
    declared: Declaration, checks: Sequence[tuple[Any, ...]], window: int | None, features: Sequence[tuple[Any, ...]]
) -> DriftSubject:
    history = [_check(declared.name, row) for row in checks]
    return DriftSubject(
        state=_state(checks),
        check=history[0] if history else None,
        window=window,
        features=[_feature(declared, row) for row in features],
        history=history,
    )


def _check(model: str, row: tuple[Any, ...]) -> DriftCheck:
    number, at, version, rows, reference, status, share, drifted, alarm, reason, report, details = row
    return DriftCheck(
        id=number,
        checked_at=at,
        model_version=version,
        rows=rows,
        reference_rows=reference,
        status=status,
        share=share,
        drifted=drifted,
        alarm=alarm,
        reason=reason,
        report=f"/models/{model}/drift/report/{number}" if report else None,
        details=details,
    )


def _feature(declared: Declaration, row: tuple[Any, ...]) -> DriftFeature:
    name, test, statistic, p, adjusted, effect, effect_name, drifted, bins = row
    title, unit = _words(declared, name)
    return DriftFeature(
        feature=name,
        title=title,
        unit=unit,
        test=test,
        statistic=statistic,
        p=p,
        p_adjusted=adjusted,
        effect=effect,
        effect_name=effect_name,
        drifted=drifted,
        bins=bins,
    )


def _words(declared: Declaration, name: str) -> tuple[Bilingual, Bilingual]:
    known: Mapping[str, Any] = {feature.name: feature for feature in declared.features}
    if name in known:
        title, unit = known[name].title, known[name].unit
        return Bilingual(id=title.id, en=title.en), Bilingual(id=unit.id, en=unit.en)
    # Of a series the change of each step is tested and not the price.
    target = declared.target.title if declared.target else None
    title = (
        Bilingual(id=f"Perubahan {target.id}", en=f"Change of {target.en}") if target else Bilingual(id=name, en=name)
    )
    return title, Bilingual(id="logaritma per langkah", en="logarithm a step")


async def _read(settings: Settings, queries: Sequence[tuple[str, list[Any]]]) -> list[list[tuple[Any, ...]]]:
    if not settings.has_database:
        raise _away("There is no database.", "Set DATABASE_URL.")
    # Here, not above: an API without a database needs no driver.
    from psycopg import AsyncConnection

    try:
        async with (
            asyncio.timeout(QUERY_SECONDS),
            await AsyncConnection.connect(
                settings.dsn, autocommit=True, connect_timeout=CONNECT_SECONDS, application_name="sigap-api"
            ) as connection,
        ):
            return [await (await connection.execute(query, values)).fetchall() for query, values in queries]
    except Exception as error:  # a driver's errors and the time-out mean the same here
        log.warning("The checks for drift can't be read: %s", type(error).__name__)
        raise _away("PostgreSQL does not answer.", "`./run status` shows whether it runs.") from error


def _away(found: str, remedy: str) -> RequestError:
    return RequestError(
        503, "drift-away", "The checks for drift can't be read", found, remedy=remedy, headers={"retry-after": "5"}
    )
