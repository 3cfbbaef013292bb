"""Runs that nobody follows: each has its row, its end is written down, and one that sticks is ended and tried again.

Times here are this process's own: a clock that jumps neither ends a run nor spares one.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from filelock import Timeout

from sigap.data.postgres import Connection
from sigap.errors import PipelineError
from sigap.registry.owner import is_gone
from sigap.retrains import Ask, Outcome, mark_sql, request, starting
from sigap.services.mage_api import Json, RefusedError
from sigap.settings import Settings
from sigap.watcher.mage import Mage

log = logging.getLogger(__name__)

_MOST_DEATHS = 3
_MOST_REFUSALS = 5
"""Looks in vain for a run in Mage's database after which it counts as lost."""
_OPEN = (
    "SELECT id, model, pipeline_run, outcome, cause, fingerprint, detail, asked_by,"  # noqa: S608 - a constant
    f" {mark_sql(1)}, coalesce(started_at, asked_at) NOT BETWEEN now() - interval '60 seconds' AND now()"
    " FROM retrains WHERE decision = 'started' AND ended_at IS NULL ORDER BY id"
)


@dataclass
class _Progress:
    """What was seen of a run: its steps' states, since when they are the same, and steps whose process died."""

    states: dict[str, str] = field(default_factory=dict)
    moved: float = field(default_factory=time.monotonic)
    deaths: Counter[str] = field(default_factory=Counter)


@dataclass
class RunKeeper:
    """Looks after runs.

    Attributes:
        settings: How long nothing may happen, and where everything is.
        mage: Mage.
        models: Whose runs have a row; of other pipelines, runs that stick are only ended.
    """

    settings: Settings
    mage: Mage
    models: frozenset[str]
    _progress: dict[int, _Progress] = field(default_factory=dict)
    _refusals: Counter[int] = field(default_factory=Counter)

    def look(self, connection: Connection) -> set[str]:
        """Writes down new runs and ends, ends what sticks, and repeats it once.

        Args:
            connection: To PostgreSQL, in autocommit.

        Returns:
            Models with a run that goes on.

        Raises:
            psycopg.Error: PostgreSQL does not answer, or was never prepared.
            PipelineError: Mage does not.
        """
        going_on = {int(run["id"]): run for run in self.mage.going_on()}
        for run in going_on.values():
            if run["pipeline_uuid"] in self.models:
                adopt(connection, run)
            # Of another pipeline, such as the monitoring's, its schedule begins the next one.
            if not _followed(run) and self._sticks(run):
                self._end(connection, run)
        self._progress = {run: seen for run, seen in self._progress.items() if run in going_on}
        self._close(connection, set(going_on))
        return {str(run["pipeline_uuid"]) for run in going_on.values()}

    def _sticks(self, run: Json) -> bool:
        """Whether no step has moved for so long that none will, or a step's process dies again and again."""
        seen = self._progress.setdefault(int(run["id"]), _Progress())
        states = {"": str(run["status"])} | {str(each["id"]): str(each["status"]) for each in run["block_runs"]}
        if states != seen.states:
            for step, state in states.items():
                seen.deaths[step] += seen.states.get(step) == "running" and state in ("initial", "queued")
            seen.states, seen.moved = states, time.monotonic()
        working = any(each["status"] == "running" for each in run["block_runs"])
        allowed = self.settings.stuck_seconds + (self.settings.step_timeout_seconds if working else 0)
        return time.monotonic() - seen.moved > allowed or max(seen.deaths.values(), default=0) >= _MOST_DEATHS

    def _end(self, connection: Connection, run: Json) -> None:
        number, model = int(run["id"]), run["pipeline_uuid"]
        about = {"model": model, "pipeline_run": number}
        log.warning("%s: run %d of the pipeline does not move any more, and is ended.", model, number, extra=about)
        # First the word, then the deed: a watcher that is killed in between finds what it wanted.
        connection.execute("UPDATE retrains SET outcome = 'stuck' WHERE pipeline_run = %s AND ended_at IS NULL"
                           " AND model = %s", [number, model])  # fmt: skip
        self.mage.cancel(number)

    def _close(self, connection: Connection, going_on: set[int]) -> None:
        for row in connection.execute(_OPEN).fetchall():
            id_, model, number, outcome, cause, fingerprint, detail, asked_by, next_mark, settled = row
            if number is None:
                if settled:
                    connection.execute(
                        "UPDATE retrains SET decision = 'failed', started_at = NULL WHERE id = %s AND pipeline_run"
                        " IS NULL", [id_]
                    )  # fmt: skip
                    log.warning(
                        "%s: the start of a run was cut off, and is made up for.", model, extra={"model": model}
                    )
                    request(self.settings, Ask(model, cause, fingerprint, detail, asked_by), self.mage)
                continue
            if number in going_on:
                continue
            run = self._ended(id_, number)
            if run is None:
                continue
            if (run.get("status") == "cancelled" and outcome == "stuck") or self._cut_off(run):
                self._again(connection, id_, next_mark, run)
            else:
                finish(connection, id_, *self._outcome(run))

    def _ended(self, id_: int, number: int) -> Json | None:
        """The run's record if it has ended; an empty one if Mage knows of none, None if that can't be told yet."""
        try:
            run = self.mage.run(number)
        except RefusedError:
            self._refusals[id_] += 1
            return {} if self._refusals[id_] >= _MOST_REFUSALS else None
        self._refusals.pop(id_, None)
        return run if run["status"] in ("completed", "failed", "cancelled") else None

    def _cut_off(self, run: Json) -> bool:
        """Whether a Mage that was killed calls a run done that has not come to its last step."""
        if run.get("status") != "completed":
            return False
        try:
            last = self.mage.last_block(str(run["pipeline_uuid"]))
        except RefusedError:  # the pipeline is there no more
            return False
        return last not in {each["block_uuid"] for each in run["block_runs"]}

    def _outcome(self, run: Json) -> tuple[Outcome, str | None]:
        status = run.get("status")
        if status is None:
            return "lost", None
        if status != "completed":
            return ("cancelled" if status == "cancelled" else "failed"), None
        try:
            result = self.mage.result(run)
        except (PipelineError, LookupError, TypeError):
            return "kept", None
        version = result.get("model_version") or None
        if result.get("promoted"):
            return "promoted", version
        return ("waiting" if result.get("rule") == "waiting" else "kept"), version

    def _again(self, connection: Connection, id_: int, next_mark: str, run: Json) -> None:
        """Repeats a run that stuck, once: what sticks twice has a cause that a third run would meet too."""
        variables, model = dict(run.get("variables") or {}), str(run["pipeline_uuid"])
        if variables.get("retry_of"):
            finish(connection, id_, "stuck", None)
            about = {"model": model, "pipeline_run": run["id"]}
            log.error("%s: run %d stuck or was cut off too, and is given up.", model, run["id"], extra=about)
            return
        try:
            with starting(self.settings, model, wait=0):
                if any(each["status"] in ("initial", "running") for each in self.mage.runs(model)):
                    # Somebody else has started one meanwhile, which does what this one was for.
                    finish(connection, id_, "stuck", None)
                    return
                kept = {name: variables[name] for name in ("asked_by", "version", "data_version") if name in variables}
                mark = {"retrain": next_mark, "retry_of": int(run["id"])}
                number = self.mage.start(model, {**kept, **mark})
                connection.execute(
                    "UPDATE retrains SET pipeline_run = %s, attempts = attempts + 1, outcome = NULL WHERE id = %s",
                    [number, id_],
                )
        except Timeout:
            return
        about = {"model": model, "pipeline_run": number}
        log.warning(
            "%s: run %d takes the place of run %d, which stuck or was cut off.", model, number, run["id"], extra=about
        )


def adopt(connection: Connection, run: Json) -> None:
    """Writes down a run that somebody, or the schedule, has started without asking here."""
    variables: dict[str, Any] = run["variables"] if isinstance(run.get("variables"), dict) else {}
    asked_by = str(variables.get("asked_by") or "")
    # The first training belongs to `./run`, which tells of it itself.
    if variables.get("retrain") or (variables.get("owner") and not asked_by):
        return
    cause = "schedule" if asked_by == "schedule" else "person"
    detail = "The month's training." if cause == "schedule" else "Started by hand."
    connection.execute(
        "INSERT INTO retrains (model, cause, fingerprint, detail, asked_by, decision, attempts, started_at,"
        " pipeline_run) VALUES (%s, %s, %s, %s, %s, 'started', 1, now(), %s) ON CONFLICT (fingerprint) DO NOTHING",
        [
            run["pipeline_uuid"], cause, f"run:{run['id']}:{run.get('created_at')}", detail, asked_by or "mage",
            run["id"],
        ],
    )  # fmt: skip


def finish(connection: Connection, id_: int, outcome: Outcome, version: str | None) -> None:
    """Writes down what came of a request."""
    connection.execute(
        "UPDATE retrains SET ended_at = now(), outcome = %s, model_version = %s WHERE id = %s", [outcome, version, id_]
    )


def _followed(run: Json) -> bool:
    """Whether a process waits for the run, and would end and repeat it by itself."""
    variables = run.get("variables")
    owner = str(variables.get("owner") or "") if isinstance(variables, dict) else ""
    return bool(owner) and not is_gone(owner)
