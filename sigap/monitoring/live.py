"""The live score of a model: its served version's outcomes beside its promise, written down, and the alarm."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
from psycopg.types.json import Jsonb

from sigap.bundle import ForecastingManifest, Manifest, RegressionManifest, SupervisedManifest, read_manifest
from sigap.catalog import Declaration, declaration, declarations
from sigap.catalog.declaration import Clustering
from sigap.data import postgres
from sigap.data.postgres import Connection
from sigap.errors import BundleError, ConfigurationError, SigapError
from sigap.monitoring.outcomes import feed_from_table, joined, versions
from sigap.monitoring.scores import DECISIVE, MINIMUM, Promise, Score, judged, scored
from sigap.settings import Settings, get_settings

if TYPE_CHECKING:
    from sigap.registry.models import Registry

log = logging.getLogger(__name__)

# The alarm is raised when so many of the last so many computations found the version worse; computations on the same
# outcomes are one.
NEEDED, OF_LAST = 2, 3
# Outcomes are kept as long as their predictions; a forecast is fed from the table as long as its window may ask for it.
FEED_MARGIN_DAYS = 7
FAILED = "failed"
_LOCK = "sigap.live_scores"
_COLUMNS = (
    "model", "model_version", "computed_at", "window_from", "window_to", "metric", "value", "low", "high", "n",
    "promised", "promised_sd", "decisive", "worse", "alarm", "reason", "detail",
)  # fmt: skip
_INSERT = f"INSERT INTO live_scores ({', '.join(_COLUMNS)}) VALUES ({', '.join(['%s'] * len(_COLUMNS))})"  # noqa: S608
# By number, not by time: a clock that was put back must not hide what came later.
_EARLIER = """
    SELECT worse, detail ->> 'evidence' FROM live_scores
    WHERE model = %s AND model_version = %s AND decisive ORDER BY id DESC LIMIT 100
"""
_NEWEST_VERSION = "SELECT model_version FROM live_scores WHERE model = %s ORDER BY id DESC LIMIT 1"


class Window(NamedTuple):
    """The time whose outcomes are scored; it ends at `until`, the moment of the computation by PostgreSQL's clock."""

    since: datetime
    until: datetime


def scorable() -> tuple[str, ...]:
    """Names of the models that outcomes can be told of: all with a target."""
    return tuple(each.name for each in declarations() if not isinstance(each.task, Clustering))


def score_live(settings: Settings, model: str) -> list[dict[str, Any]]:
    """Scores the served version, and earlier ones that still have outcomes, over the last days; writes rows down.

    First the model's own table is asked for the outcomes of its forecasts. What can't be computed counts as worse, so
    that an alarm is raised rather than missed.

    Args:
        settings: Where PostgreSQL and MLflow are, and how long the window is.
        model: The model's name.

    Returns:
        The served version's rows of the table `live_scores`, plain JSON; none while nothing is served.

    Raises:
        UnknownModelError: There is no such model.
        ConfigurationError: It has no target, so that there is no outcome.
        ServiceError: PostgreSQL can't be reached or has no such tables.
        RegistryError: MLflow can't be reached, and nothing was ever scored that the failure could be held against.
    """
    declared = declaration(model)
    if isinstance(declared.task, Clustering):
        raise ConfigurationError(
            f"{model} groups rows and has no target: nothing comes later that it could be measured by.",
            remedy=f"Choose one of: {', '.join(scorable())}.",
        )
    with postgres.connect(settings) as connection, postgres.translated(settings, f"Scoring {model} live"):
        # One at a time for a model, so that two at once are not two computations.
        connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s), hashtext(%s))", [_LOCK, model])
        window = _window(connection, settings.live_window_days)
        version = ""
        try:
            registry = _registry(settings)
            champion = registry.champion(model)
            if champion is None:
                return []
            version = champion.name
            manifest = read_manifest(registry.bundle(champion))
        except SigapError as error:
            return _failure(connection, declared, version or _last_version(connection, model, error), window, error)
        try:
            with connection.transaction():
                feed_from_table(connection, declared, settings.live_window_days + FEED_MARGIN_DAYS)
                _score_earlier(connection, declared, version, window)
                found = _scored(connection, declared, version, promise_of(manifest), window)
        except psycopg.errors.UndefinedTable:
            raise  # the schema is not there: nothing can be written either
        except (SigapError, psycopg.Error, ArithmeticError, ValueError, TypeError) as error:
            log.warning("The live score of %s can't be computed.", model, exc_info=not isinstance(error, SigapError))
            return _failure(connection, declared, version, window, error)
        return _written(connection, declared, version, window, found)


def score_all(settings: Settings | None = None, models: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Scores every model that has a target; one that fails keeps no other from its score.

    Args:
        settings: Those of this process if not given.
        models: Score these only; one that has no target is passed over.

    Returns:
        The rows of all of them; see `score_live`.

    Raises:
        SigapError: What the first of those that failed raised, after all others were scored.
    """
    settings = settings or get_settings()
    rows: list[dict[str, Any]] = []
    faults: list[SigapError] = []
    for model in scorable():
        if models and model not in models:
            continue
        try:
            rows += score_live(settings, model)
        except SigapError as error:
            log.warning("%s could not be scored: %s", model, error.message, extra={"model": model})
            faults.append(error)
    if faults:
        raise faults[0]
    return rows


def promise_of(manifest: Manifest) -> Promise:
    """What a version was registered with."""
    if not isinstance(manifest, SupervisedManifest):
        return Promise()
    interval = manifest.interval if isinstance(manifest, RegressionManifest | ForecastingManifest) else None
    return Promise(
        metrics=manifest.metrics,
        confidence=interval.confidence if interval else None,
        coverage=interval.coverage if interval else None,
    )


def _window(connection: Connection, days: int) -> Window:
    row = connection.execute("SELECT now()").fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM gives one row
    return Window(row[0] - timedelta(days=days), row[0])


def _registry(settings: Settings) -> Registry:
    # Here, not above: it imports MLflow, which takes seconds.
    from sigap.registry.models import Registry

    return Registry(settings)


def _last_version(connection: Connection, model: str, error: SigapError) -> str:
    row = connection.execute(_NEWEST_VERSION, [model]).fetchone()
    if row is None:
        raise error
    return str(row[0])


def _scored(
    connection: Connection, declared: Declaration, version: str, promise: Promise, window: Window
) -> list[Score]:
    pairs, evidence = joined(connection, declared, version, window.since, window.until)
    task = declared.task.kind
    found = judged(task, scored(task, pairs), promise)
    if not found:
        metric = next((name for name in DECISIVE[task] if name in promise.metrics), DECISIVE[task][0])
        reason = f"No outcome of a prediction by {version} is known in the window."
        found = [Score(metric, None, None, None, 0, promised=promise.metrics.get(metric), decisive=True, reason=reason)]
    elif not any(score.decisive for score in found):
        # A champion that promised nothing can't be found to keep it.
        raise BundleError(f"{version} was registered without any of {', '.join(DECISIVE[task])}.")
    return [
        replace(score, detail={**score.detail, "evidence": evidence}) if score.decisive else score for score in found
    ]


def _score_earlier(connection: Connection, declared: Declaration, served: str, window: Window) -> None:
    """Versions served before, as far as enough is known of them: told for comparison, and never alarmed about."""
    for version, count in versions(connection, declared.name, window.since, window.until).items():
        if version == served or count < MINIMUM:
            continue
        pairs, _ = joined(connection, declared, version, window.since, window.until)
        _insert(connection, declared.name, version, window, scored(declared.task.kind, pairs), alarm=False)


def _failure(
    connection: Connection, declared: Declaration, version: str, window: Window, error: Exception
) -> list[dict[str, Any]]:
    told = error.message if isinstance(error, SigapError) else type(error).__name__
    reason = f"The live score can't be computed, which counts as worse: {told}"
    metric = DECISIVE[declared.task.kind][0]
    # To ask again and again while a service is away is no new finding either.
    detail = {"evidence": f"{FAILED} {type(error).__name__} {window.until:%Y-%m-%dT%H}", FAILED: True}
    score = Score(metric, None, None, None, 0, decisive=True, worse=True, reason=reason, detail=detail)
    return _written(connection, declared, version, window, [score])


def _written(
    connection: Connection, declared: Declaration, version: str, window: Window, found: Sequence[Score]
) -> list[dict[str, Any]]:
    decisive = next(score for score in found if score.decisive)
    alarm = raised(connection, declared.name, version, decisive)
    if alarm:
        about = {"model": declared.name, "model_version": version}
        log.warning("%s %s: performance alarm. %s", declared.name, version, decisive.reason, extra=about)
    return _insert(connection, declared.name, version, window, found, alarm=alarm)


def raised(connection: Connection, model: str, version: str, now: Score) -> bool:
    """Whether this computation and the ones before it make an alarm: worse in two of the last three.

    Those on the same outcomes count once: to ask again is no new finding. A version that was not judged yet, or has too
    few outcomes, is worse in none.
    """
    seen = {now.detail.get("evidence")}
    found = [now.worse]
    for worse, evidence in connection.execute(_EARLIER, [model, version]):
        if evidence not in seen and len(found) < OF_LAST:
            seen.add(evidence)
            found.append(bool(worse))
    return sum(found) >= NEEDED


def _insert(
    connection: Connection, model: str, version: str, window: Window, found: Sequence[Score], *, alarm: bool
) -> list[dict[str, Any]]:
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM gives one row
    written = []
    for score in found:
        values = {
            "model": model,
            "model_version": version,
            "computed_at": row[0],
            "window_from": window.since,
            "window_to": window.until,
            **{name: getattr(score, name) for name in _COLUMNS if hasattr(score, name)},
            "alarm": alarm,
        }
        connection.execute(_INSERT, [Jsonb(v) if k == "detail" else v for k, v in _ordered(values).items()])
        written.append({k: v.isoformat() if isinstance(v, datetime) else v for k, v in values.items()})
    return written


def _ordered(values: dict[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in _COLUMNS}
