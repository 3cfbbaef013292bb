"""What PostgreSQL holds about checks, scores, decisions, retrains and data: the newest row of each, and counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from sigap.catalog import Declaration
from sigap.catalog.names import expression
from sigap.settings import Settings

if TYPE_CHECKING:
    from psycopg import AsyncConnection

CONNECT_SECONDS = 3
STATEMENT_MS = 3000
CAUSES = ("drift", "performance", "change", "schedule", "person")

_CHECKS = """
    SELECT newest.* FROM unnest(%s::text[]) AS m(model), unnest(ARRAY['live', 'table']) AS s(subject),
    LATERAL (
        SELECT id, model, subject, checked_at, rows, share, alarm FROM drift_checks
        WHERE drift_checks.model = m.model AND drift_checks.subject = s.subject
        ORDER BY id DESC LIMIT 1
    ) AS newest
"""
_FEATURES = "SELECT check_id, feature, effect FROM drift_features WHERE check_id = ANY(%s) AND effect IS NOT NULL"
# Only those that were not counted yet: the table grows for ever.
_CHECKED = """
    SELECT model, subject, status, count(*), max(id) FROM drift_checks
    WHERE id > %s AND model = ANY(%s) AND subject IN ('live', 'table') GROUP BY 1, 2, 3
"""
# Those of a model's last computation, which writes a row a metric.
_SCORES = """
    SELECT newest.* FROM unnest(%s::text[]) AS m(model),
    LATERAL (
        SELECT DISTINCT ON (metric) model, metric, computed_at, value, low, high, n, alarm FROM (
            SELECT *, first_value(computed_at) OVER (ORDER BY id DESC) AS last FROM (
                SELECT * FROM live_scores WHERE live_scores.model = m.model ORDER BY id DESC LIMIT 100
            ) AS several
        ) AS dated WHERE computed_at = last ORDER BY metric, id DESC
    ) AS newest
"""
_DECISIONS = """
    SELECT model, CASE WHEN rule IN ('approved', 'by_hand', 'rollback') THEN 'by_hand' WHEN promoted THEN 'promoted'
        WHEN rule = 'waiting' THEN 'waiting' ELSE 'refused' END, count(*), max(decided_at)
    FROM decisions WHERE model = ANY(%s) GROUP BY 1, 2
"""
_RETRAINS = """
    SELECT model, cause, decision, count(*), max(asked_at) FROM retrains WHERE model = ANY(%s) GROUP BY 1, 2, 3
"""
_LOADED = "SELECT table_name, max(at) FROM data_origin WHERE table_name = ANY(%s) AND rows > 0 GROUP BY 1"
_ROWS = "SELECT relname, max(n_live_tup) FROM pg_stat_user_tables WHERE relname = ANY(%s) GROUP BY 1"
_EXISTS = "SELECT 1 WHERE to_regclass(%s) IS NOT NULL"
_BYTES = "SELECT pg_database_size(current_database())"


class Tables:
    """The tables of one database.

    Args:
        settings: Whose database it is.
        models: Of which models it is told.
    """

    name = "postgresql"

    def __init__(self, settings: Settings, models: Sequence[Declaration]) -> None:
        self._settings = settings
        self._models = models
        self._names = [each.name for each in models]
        self._connection: AsyncConnection[Any] | None = None
        self._checks: Counter[tuple[str, str, str]] = Counter()
        self._last_check = 0

    @property
    def wanted(self) -> bool:
        """Whether there is a database to ask."""
        return self._settings.has_database

    async def look(self) -> list[Metric]:
        """What the tables hold; of one that is not there, nothing.

        Raises:
            psycopg.Error: The database does not answer.
        """
        try:
            parts: list[Callable[[], Awaitable[list[Metric]]]] = [
                self._drift,
                self._checked,
                self._scores,
                self._decisions,
                self._retrains,
                self._data,
                self._newest,
            ]
            return [metric for part in parts for metric in await part()]
        except BaseException:
            # A connection that is cut, or in the middle of a question, is of no more use.
            await self.close()
            raise

    async def close(self) -> None:
        """Closes the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        from psycopg.errors import InsufficientPrivilege, UndefinedColumn, UndefinedTable

        connection = await self._connected()
        try:
            # Some of our own fixed texts; no word of anybody else's gets into them.
            return await (await connection.execute(query, values)).fetchall()
        except (UndefinedTable, UndefinedColumn, InsufficientPrivilege):
            return []

    async def _connected(self) -> AsyncConnection[Any]:
        if self._connection is None:
            # Here, not above: an API without a database needs no driver.
            from psycopg import AsyncConnection

            self._connection = await AsyncConnection.connect(
                self._settings.dsn,
                autocommit=True,
                connect_timeout=CONNECT_SECONDS,
                application_name="sigap-api-metrics",
                options=f"-c statement_timeout={STATEMENT_MS} -c default_transaction_read_only=on",
            )
        return self._connection

    async def _drift(self) -> list[Metric]:
        labels = ["model", "subject"]
        share = GaugeMetricFamily(
            "sigap_drift_share", "Drifted features per tested feature at the last check that could tell.", labels=labels
        )
        alarm = GaugeMetricFamily(
            "sigap_drift_alarm", "1 while the last checks together say that the data drifted, else 0.", labels=labels
        )
        window = GaugeMetricFamily("sigap_drift_rows", "Rows that the last check looked at.", labels=labels)
        last = GaugeMetricFamily(
            "sigap_drift_last_check_timestamp_seconds", "When drift was looked for last.", labels=labels
        )
        feature = GaugeMetricFamily(
            "sigap_drift_feature", "Effect size of a feature's drift at the last check.", labels=[*labels, "feature"]
        )
        of: dict[int, list[str]] = {}
        for number, model, subject, at, rows, drifted, alarmed in await self._rows(_CHECKS, self._names):
            of[number] = [model, subject]
            _add(share, [model, subject], drifted)
            alarm.add_metric([model, subject], float(alarmed))
            _add(window, [model, subject], rows)
            last.add_metric([model, subject], at.timestamp())
        if of:
            for number, name, effect in await self._rows(_FEATURES, [*of]):
                feature.add_metric([*of[number], name], effect)
        return [share, alarm, window, last, feature]

    async def _checked(self) -> list[Metric]:
        checks = CounterMetricFamily(
            "sigap_drift_checks", "Looks for drift, by what came of them.", labels=["model", "subject", "status"]
        )
        for model, subject, status, count, last in await self._rows(_CHECKED, self._last_check, self._names):
            self._checks[model, subject, status] += count
            self._last_check = max(self._last_check, last)
        for labels, count in self._checks.items():
            checks.add_metric(labels, count)
        return [checks]

    async def _scores(self) -> list[Metric]:
        labels = ["model", "metric"]
        score = GaugeMetricFamily(
            "sigap_live_score", "Score of the served model by outcomes that came later.", labels=labels
        )
        bound = GaugeMetricFamily(
            "sigap_live_score_bound", "Lower and upper end of its interval.", labels=[*labels, "bound"]
        )
        outcomes = GaugeMetricFamily("sigap_live_score_outcomes", "Outcomes that it rests on.", labels=labels)
        computed = GaugeMetricFamily("sigap_live_score_timestamp_seconds", "When it was computed.", labels=labels)
        alarm = GaugeMetricFamily(
            "sigap_performance_alarm", "1 while a live score is worse than it may be, else 0.", labels=["model"]
        )
        alarms: dict[str, bool] = {}
        for model, metric, at, value, low, high, count, alarmed in await self._rows(_SCORES, self._names):
            _add(score, [model, metric], value)
            _add(bound, [model, metric, "low"], low)
            _add(bound, [model, metric, "high"], high)
            _add(outcomes, [model, metric], count)
            computed.add_metric([model, metric], at.timestamp())
            alarms[model] = alarms.get(model, False) or bool(alarmed)
        for model, alarmed in alarms.items():
            alarm.add_metric([model], float(alarmed))
        return [score, bound, outcomes, computed, alarm]

    async def _decisions(self) -> list[Metric]:
        if not await self._rows(_EXISTS, "decisions"):
            return []
        decisions = CounterMetricFamily(
            "sigap_gate_decisions",
            "Decisions on a model's versions, by what came of them.",
            labels=["model", "outcome"],
        )
        last = GaugeMetricFamily(
            "sigap_gate_last_decision_timestamp_seconds", "When was decided last.", labels=["model"]
        )
        counts = {(model, outcome): 0 for model in self._names for outcome in ("promoted", "refused")}
        newest: dict[str, datetime] = {}
        for model, outcome, count, at in await self._rows(_DECISIONS, self._names):
            counts[model, outcome] = count
            newest[model] = max(at, newest.get(model, at))
        for labels, count in counts.items():
            decisions.add_metric(labels, count)
        for model, at in newest.items():
            last.add_metric([model], at.timestamp())
        return [decisions, last]

    async def _retrains(self) -> list[Metric]:
        if not await self._rows(_EXISTS, "retrains"):
            return []
        retrains = CounterMetricFamily(
            "sigap_retrains",
            "Retrains that were asked for, by cause and answer.",
            labels=["model", "cause", "decision"],
        )
        last = GaugeMetricFamily(
            "sigap_retrain_last_timestamp_seconds", "When a retrain was started last.", labels=["model"]
        )
        counts = {(model, cause, "started"): 0 for model in self._names for cause in CAUSES}
        newest: dict[str, datetime] = {}
        for model, cause, decision, count, at in await self._rows(_RETRAINS, self._names):
            counts[model, cause, decision] = count
            if decision == "started":
                newest[model] = max(at, newest.get(model, at))
        for labels, count in counts.items():
            retrains.add_metric(labels, count)
        for model, at in newest.items():
            last.add_metric([model], at.timestamp())
        return [retrains, last]

    async def _data(self) -> list[Metric]:
        loaded = GaugeMetricFamily(
            "sigap_data_loaded_timestamp_seconds",
            "When rows were loaded into the model's table last.",
            labels=["model"],
        )
        rows = GaugeMetricFamily(
            "sigap_data_rows", "Rows of the model's table, as PostgreSQL estimates them.", labels=["model"]
        )
        size = GaugeMetricFamily("sigap_database_bytes", "Size of the database.")
        tables = [each.source.table for each in self._models]
        self._each_table(loaded, await self._rows(_LOADED, tables), lambda at: at.timestamp())
        self._each_table(rows, await self._rows(_ROWS, tables), float)
        for (count,) in await self._rows(_BYTES):
            size.add_metric([], count)
        return [loaded, rows, size]

    def _each_table(
        self, family: GaugeMetricFamily, rows: Iterable[tuple[Any, ...]], number: Callable[[Any], float]
    ) -> None:
        known = dict(rows)
        for each in self._models:
            if known.get(each.source.table) is not None:
                family.add_metric([each.name], number(known[each.source.table]))

    async def _newest(self) -> list[Metric]:
        newest = GaugeMetricFamily(
            "sigap_data_newest_timestamp_seconds", "Time of the newest row of a series.", labels=["model"]
        )
        for each in self._models:
            if each.task.kind == "forecasting" and each.source.time:
                # Only the declaration's own words get into it.
                column = expression(each.source.time, each.column(each.source.time).sql)
                query = f"SELECT max({column}) FROM {each.source.relation}"  # noqa: S608
                for (at,) in await self._rows(query):
                    if isinstance(at, datetime):
                        newest.add_metric([each.name], at.timestamp())
        return [newest]


def _add(family: GaugeMetricFamily, labels: list[str], value: float | None) -> None:
    if value is not None:
        family.add_metric(labels, float(value))
