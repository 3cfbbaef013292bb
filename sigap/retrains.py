"""Trainings that nobody types: may this one start, and what came of it. PostgreSQL's table `retrains`, a row a request.

Alerts, changed rows and the watcher all come through here, so that one model never has two runs at once, the same
request starts one run however often it is sent, and a flood of requests starts a few.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from filelock import FileLock, Timeout

from sigap.errors import PipelineError, ServiceError
from sigap.settings import Settings

if TYPE_CHECKING:
    import psycopg

log = logging.getLogger(__name__)

Json = dict[str, Any]
Cause = Literal["drift", "performance", "change", "schedule", "person"]
Verdict = Literal["started", "refused_running", "refused_cooldown", "refused_cap", "failed"]
Outcome = Literal["promoted", "kept", "waiting", "failed", "cancelled", "stuck", "lost"]

GOING_ON = ("initial", "running")
"""States of a run in Mage that has not ended."""
ALARMS = ("drift", "performance")
AUTOMATIC = (*ALARMS, "change")
UNDONE = ("failed", "stuck", "lost")
"""Outcomes after which the same request may start once more."""
MOST_ATTEMPTS = 2
"""How often changed rows have a training started that comes to nothing."""
DETAIL_LENGTH = 500

_CONNECT_SECONDS = 5
_QUERY_MILLISECONDS = 10_000
# Between the row that says so and Mage's answer lie moments; a start that took longer was cut off.
_STARTING_SECONDS = 60
_AGAIN_SECONDS = 300
_LOCK_SECONDS = 10.0
# Any fixed number will do; it keeps two requests at once from being decided side by side.
_DECIDING = 7_401_896
# Not now(), which is when a transaction began: another that began later may have been decided on before.
_WITHIN = "BETWEEN clock_timestamp() - make_interval(secs => %s) AND clock_timestamp()"


class Pipelines(Protocol):
    """Mage, as far as a start needs it. Each call raises `PipelineError` when Mage is away or refuses."""

    def runs(self, model: str) -> Sequence[Json]:
        """The newest runs of the model's pipeline, newest first: `id`, `status`, `variables`."""

    def start(self, model: str, variables: Json) -> int:
        """Starts a run; its id."""


@dataclass(frozen=True)
class Ask:
    """A request to train a model.

    Attributes:
        model: Its name.
        cause: What for.
        fingerprint: The same one again is the same request.
        detail: Why, in a sentence.
        asked_by: Who or what asks, as the gate's decision will record it: `alert:SigapDrift`, `change`.
    """

    model: str
    cause: Cause
    fingerprint: str
    detail: str
    asked_by: str


@dataclass(frozen=True)
class Answer:
    """What was decided on a request.

    Attributes:
        id: Of its row.
        decision: The verdict.
        run: Number of the run in Mage; None where none was started.
        known: Whether it was decided before, and nothing was done now.
        mark: Which start it is, among those of every database: the variable `retrain` of its run.
    """

    id: int
    decision: Verdict
    run: int | None
    known: bool
    mark: str = ""


def request(settings: Settings, ask: Ask, mage: Pipelines) -> Answer:
    """Decides on a request, records the decision, and starts the pipeline where it may.

    A request that was refused, or whose run came to nothing, is decided anew when it is made again; one whose run goes
    on or has ended well is not.

    Raises:
        PipelineError: Mage is away or refuses; the row says `failed`, and the next time it is tried again.
        ServiceError: PostgreSQL can't be asked; nothing was started.
    """
    try:
        with starting(settings, ask.model):
            return _decided(settings, ask, mage)
    except Timeout:
        # Whoever holds it is starting a run of this model.
        return _book(settings, ask, going_on=0, started={})


@contextmanager
def starting(settings: Settings, model: str, wait: float = _LOCK_SECONDS) -> Iterator[None]:
    """Holds the right to start a run of the model on this machine.

    Raises:
        Timeout: Of `filelock`: somebody else has been starting one for `wait` seconds.
    """
    folder = settings.state / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"pipeline-{model}.lock", thread_local=False).acquire(timeout=wait):
        yield


def _decided(settings: Settings, ask: Ask, mage: Pipelines) -> Answer:
    try:
        runs = mage.runs(ask.model)
    except PipelineError as error:
        _not_started(settings, ask, error)
        raise
    going_on = next((int(run["id"]) for run in runs if run["status"] in GOING_ON), None)
    answer = _book(settings, ask, going_on, {mark: int(run["id"]) for run in runs if (mark := _mark(run))})
    if answer.decision != "started" or answer.known:
        return answer
    variables = {"asked_by": ask.asked_by, "retrain": answer.mark}
    try:
        number = mage.start(ask.model, variables)
    except PipelineError as error:
        _not_started(settings, ask, error)
        raise
    with transaction(settings) as connection:
        connection.execute("UPDATE retrains SET pipeline_run = %s WHERE id = %s", [number, answer.id])
    about = {"model": ask.model, "pipeline_run": number}
    log.info("%s: %s started run %d of the pipeline.", ask.model, ask.asked_by, number, extra=about)
    return Answer(answer.id, "started", number, False, answer.mark)


def mark_sql(attempt: int = 0) -> str:
    """SQL for the mark of a row's last start, or of the start `attempt` later."""
    return f"concat_ws('.', id, attempts + {attempt}, (extract(epoch FROM asked_at) * 1000000)::bigint)"


def _mark(run: Json) -> str:
    """The mark of the start that a run comes from; empty when from none."""
    variables = run.get("variables")
    return str(variables.get("retrain") or "") if isinstance(variables, dict) else ""


class _Row(NamedTuple):
    """What is known of a request that was made before; `young` and `just_ended` by the server's clock."""

    id: int
    decision: Verdict
    run: int | None
    ended: bool
    outcome: Outcome | None
    attempts: int
    mark: str
    young: bool | None
    just_ended: bool | None


def _book(settings: Settings, ask: Ask, going_on: int | None, started: dict[str, int]) -> Answer:
    """Decides in one transaction, one request after another."""
    with transaction(settings) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_DECIDING])
        found = connection.execute(
            f"SELECT id, decision, pipeline_run, ended_at IS NOT NULL, outcome, attempts, {mark_sql()},"  # noqa: S608
            f" started_at {_WITHIN}, ended_at {_WITHIN} FROM retrains WHERE fingerprint = %s",
            [_STARTING_SECONDS, _AGAIN_SECONDS, ask.fingerprint],
        ).fetchone()
        row = _Row(*found) if found is not None else None
        if row is not None and (answer := _known(connection, ask, row, started)) is not None:
            return answer
        verdict = _verdict(settings, connection, ask, going_on)
        if row is not None and row.decision == "started" and verdict != "started":
            # What became of its run is worth more than that it may not start again yet.
            return Answer(row.id, verdict, None, False)
        saved = connection.execute(
            "INSERT INTO retrains (model, cause, fingerprint, detail, asked_by, decision, attempts, started_at)"  # noqa: S608
            " VALUES (%(model)s, %(cause)s, %(fingerprint)s, %(detail)s, %(asked_by)s, %(decision)s, %(starts)s,"
            " CASE WHEN %(decision)s = 'started' THEN clock_timestamp() END)"
            " ON CONFLICT (fingerprint) DO UPDATE SET decision = EXCLUDED.decision, detail = EXCLUDED.detail,"
            " attempts = retrains.attempts + EXCLUDED.attempts, pipeline_run = NULL, ended_at = NULL, outcome = NULL,"
            " model_version = NULL, resolved_at = NULL,"
            " started_at = coalesce(EXCLUDED.started_at, retrains.started_at)"
            f" RETURNING id, {mark_sql()}",
            {
                "model": ask.model,
                "cause": ask.cause,
                "fingerprint": ask.fingerprint,
                "detail": ask.detail[:DETAIL_LENGTH],
                "asked_by": ask.asked_by,
                "decision": verdict,
                "starts": int(verdict == "started"),
            },
        ).fetchone()
    assert saved is not None  # noqa: S101 - RETURNING always gives a row
    if verdict != "started":
        about = {"model": ask.model}
        log.info("%s: %s asked for a training: %s.", ask.model, ask.asked_by, verdict, extra=about)
    return Answer(saved[0], verdict, None, False, saved[1])


def _known(connection: psycopg.Connection[Any], ask: Ask, row: _Row, started: dict[str, int]) -> Answer | None:
    """The answer that a request has already; None if it is to be decided anew."""
    heard = started.get(row.mark)
    if heard is not None and not row.ended and row.decision in ("started", "failed"):
        # Mage has started it, and whoever asked did not hear so.
        connection.execute(
            "UPDATE retrains SET pipeline_run = %s, decision = 'started',"
            " started_at = coalesce(started_at, clock_timestamp()) WHERE id = %s",
            [heard, row.id],
        )
        return Answer(row.id, "started", heard, True, row.mark)
    under_way = not row.ended and (row.run is not None or row.young)
    # What fails does not go on failing without an end; an alert is repeated by its sender, and cools down.
    given_up = ask.cause == "change" and (row.attempts >= MOST_ATTEMPTS or row.just_ended)
    done = row.ended and (row.outcome not in UNDONE or given_up)
    if row.decision == "started" and (under_way or done):
        return Answer(row.id, "started", row.run, True, row.mark)
    return None


def _verdict(settings: Settings, connection: psycopg.Connection[Any], ask: Ask, going_on: int | None) -> Verdict:
    """Times of the future, left behind by a clock that was set back, count for nothing."""
    if going_on is not None:
        return "refused_running"
    being_started = (
        "SELECT FROM retrains WHERE model = %s AND fingerprint <> %s AND decision = 'started' AND pipeline_run IS NULL"
        f" AND ended_at IS NULL AND started_at {_WITHIN}"
    )
    if connection.execute(being_started, [ask.model, ask.fingerprint, _STARTING_SECONDS]).fetchone():
        return "refused_running"
    recent = f"SELECT count(*) FROM retrains WHERE (model = %s OR %s = '') AND cause = ANY(%s) AND started_at {_WITHIN}"  # noqa: S608

    def started(model: str, causes: Sequence[str], seconds: float) -> int:
        found = connection.execute(recent, [model, model, list(causes), seconds]).fetchone()
        return int(found[0]) if found is not None else 0

    if ask.cause in ALARMS and started(ask.model, ALARMS, settings.retrain_cooldown_minutes * 60):
        return "refused_cooldown"
    if ask.cause in AUTOMATIC and started("", AUTOMATIC, 3600) >= settings.retrains_per_hour:
        return "refused_cap"
    return "started"


def _not_started(settings: Settings, ask: Ask, error: PipelineError) -> None:
    """Writes down that Mage could not be asked; a run that goes on for the same request stays what it is."""
    with transaction(settings) as connection:
        connection.execute(
            "INSERT INTO retrains (model, cause, fingerprint, detail, asked_by, decision)"
            " VALUES (%s, %s, %s, %s, %s, 'failed') ON CONFLICT (fingerprint) DO UPDATE"
            " SET decision = 'failed', detail = EXCLUDED.detail, started_at = NULL"
            " WHERE retrains.decision <> 'started' OR (retrains.pipeline_run IS NULL AND retrains.ended_at IS NULL)",
            [ask.model, ask.cause, ask.fingerprint, f"{ask.detail} {error.message}"[:DETAIL_LENGTH], ask.asked_by],
        )


def resolved(settings: Settings, fingerprint: str) -> bool:
    """Notes that the alert which asked is over; whether it had asked.

    Raises:
        ServiceError: PostgreSQL can't be asked.
    """
    with transaction(settings) as connection:
        statement = "UPDATE retrains SET resolved_at = coalesce(resolved_at, now()) WHERE fingerprint = %s"
        return connection.execute(statement, [fingerprint]).rowcount > 0


@contextmanager
def transaction(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    """A transaction of its own, which ends with the block.

    Raises:
        ServiceError: PostgreSQL can't be reached or asked; never with the URL.
    """
    # Here, not above: an API without a database needs no driver.
    import psycopg

    if not settings.has_database:
        raise ServiceError("No database was started yet.", remedy="`./run` starts one, or set DATABASE_URL.")
    try:
        with psycopg.connect(
            settings.dsn, connect_timeout=_CONNECT_SECONDS, application_name="sigap-retrains"
        ) as connection:
            connection.execute("SELECT set_config('statement_timeout', %s, true)", [str(_QUERY_MILLISECONDS)])
            yield connection
    except psycopg.Error as error:
        raise ServiceError(
            f"PostgreSQL can't be asked for earlier trainings: {type(error).__name__}.",
            remedy="`./run status` shows whether it runs; `./run` brings its tables up to date.",
        ) from error
