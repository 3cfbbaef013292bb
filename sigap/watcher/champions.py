"""New champions: looked at right after their promotion, so that what was said of the old one does not outlive it.

Whoever promotes, the gate, a person or a rollback, writes the decision into PostgreSQL; nobody waits for the check.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Protocol

from sigap.data.postgres import Connection

log = logging.getLogger(__name__)

MONITORING = "monitoring"
"""The pipeline that checks champions; its schedule does so every ten minutes."""

# A model that was never checked has nothing that could be outdated: its first check is the schedule's. An outcome is
# scored version by version, the served one last.
_DUE = """
    SELECT m.model, decided.id, decided.champion_after
    FROM unnest(%s::text[]) AS m(model),
    LATERAL (SELECT id, champion_after FROM decisions WHERE decisions.model = m.model ORDER BY id DESC LIMIT 1)
        AS decided
    WHERE decided.champion_after IS NOT NULL AND (
        EXISTS (
            SELECT FROM unnest(ARRAY['live', 'table']) AS s(subject),
            LATERAL (
                SELECT model_version FROM drift_checks AS c WHERE c.model = m.model AND c.subject = s.subject
                ORDER BY id DESC LIMIT 1
            ) AS newest WHERE newest.model_version <> decided.champion_after
        ) OR EXISTS (
            SELECT FROM (
                SELECT model_version FROM live_scores AS l WHERE l.model = m.model ORDER BY id DESC LIMIT 1
            ) AS newest WHERE newest.model_version <> decided.champion_after
        )
    ) ORDER BY decided.id
"""


class Pipelines(Protocol):
    """Mage, as far as a start needs it."""

    def start(self, model: str, variables: dict[str, Any]) -> int:
        """Starts a run of a pipeline; its id."""


@dataclass
class ChampionSensor:
    """Has the pipeline `monitoring` look at a model whose newest check is about another version than the served one.

    Attributes:
        mage: Mage.
        models: Whose champions are looked after.
    """

    mage: Pipelines
    models: Collection[str]
    _asked: dict[str, int] = field(default_factory=dict)

    def look(self, connection: Connection, busy: Collection[str]) -> str | None:
        """Starts at most one check; the others follow when it has ended. One that fails is left to the schedule.

        Args:
            connection: To PostgreSQL, in autocommit.
            busy: Pipelines with a run that goes on. What the schedule is at need not be asked for.

        Returns:
            The model that is checked; None where there is nothing to do.

        Raises:
            psycopg.Error: PostgreSQL does not answer, or was never prepared.
            PipelineError: Mage is away or refuses; the next look tries again.
        """
        if MONITORING in busy:
            return None
        for model, decision, version in connection.execute(_DUE, [list(self.models)]).fetchall():
            if self._asked.get(model) == decision:
                continue
            run = self.mage.start(MONITORING, {"model": model, "only_new": True})
            self._asked[model] = decision
            ids = {"model": model, "model_version": version, "pipeline_run": run}
            log.info("%s: %s is served now, and checked by run %d of %s.", model, version, run, MONITORING, extra=ids)
            return str(model)
        return None
