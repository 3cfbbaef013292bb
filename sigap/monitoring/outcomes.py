"""Outcomes in PostgreSQL: those that a table's own target tells, and each beside the prediction it belongs to."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import numpy as np

from sigap.catalog import Declaration
from sigap.catalog.declaration import Classification, Clustering, Forecasting
from sigap.catalog.names import expression
from sigap.data.postgres import Connection
from sigap.monitoring.scores import Pairs

STEPS = {"1d": "1 day", "1h": "1 hour", "1m": "1 minute"}
# Of a window, the newest that are scored: more would change no digit that is shown.
MOST_PAIRS = 5_000

# A forecast counts once for each version and step, however often it was asked for, and only if the table still holds
# the value that it started from: rows that took the place of others are another series.
_FORECASTS = """
    WITH series AS (
        SELECT {time} AS begun, ({target})::double precision AS value FROM {relation}
    ), forecasts AS (
        SELECT DISTINCT ON (model_version, answer ->> 'forecast_for')
            id, at, (answer ->> 'as_of')::timestamptz AS as_of,
            (answer ->> 'forecast_for')::timestamptz AS forecast_for,
            (answer ->> 'naive_forecast')::double precision AS naive
        FROM predictions
        WHERE model = %(model)s AND NOT shadow AND at > now() - make_interval(days => %(days)s)
            AND answer ->> 'source' IN ('table', 'snapshot')
        ORDER BY model_version, answer ->> 'forecast_for', id
    ), known AS (
        SELECT f.id, came.value, greatest(f.forecast_for + %(step)s::interval, f.at) AS observed_at
        FROM forecasts f
        JOIN series here ON here.begun = f.as_of AND abs(here.value - f.naive) <= 1e-9 * abs(f.naive)
        JOIN series came ON came.begun = f.forecast_for
        WHERE f.forecast_for + %(step)s::interval <= now()
    )
"""
_FEED = """
    INSERT INTO outcomes (prediction_id, model, value, observed_at, source)
    SELECT id, %(model)s, to_jsonb(value), observed_at, 'table' FROM known ORDER BY id
    ON CONFLICT (prediction_id) DO UPDATE SET value = excluded.value, corrected = outcomes.corrected + 1
    WHERE outcomes.source = 'table' AND outcomes.value <> excluded.value
"""
_RETRACT = """
    DELETE FROM outcomes WHERE model = %(model)s AND source = 'table'
        AND prediction_id IN (SELECT id FROM forecasts) AND prediction_id NOT IN (SELECT id FROM known)
"""
_EVENT = {
    # The same step from the same value is one forecast, whoever asked how often.
    "forecasting": "p.answer ->> 'forecast_for', p.answer ->> 'naive_forecast'",
}
_PAIRS = """
    SELECT predicted, actual, low, high, naive, outcome, corrected FROM (
        SELECT DISTINCT ON ({event})
            {predicted} AS predicted, {actual} AS actual,
            (p.answer #>> '{{interval,low}}')::double precision AS low,
            (p.answer #>> '{{interval,high}}')::double precision AS high,
            (p.answer ->> 'naive_forecast')::double precision AS naive,
            o.observed_at, o.id AS outcome, o.corrected, p.id AS prediction
        FROM outcomes o JOIN predictions p ON p.id = o.prediction_id
        WHERE o.model = %(model)s AND p.model = %(model)s AND p.model_version = %(version)s AND NOT p.shadow
            AND o.observed_at > %(since)s AND o.observed_at <= %(until)s
        ORDER BY {event}, p.id
    ) AS pairs
    WHERE predicted IS NOT NULL AND actual IS NOT NULL {above}
    ORDER BY observed_at DESC, prediction DESC LIMIT %(most)s
"""
_VERSIONS = """
    SELECT p.model_version, count(*) FROM outcomes o JOIN predictions p ON p.id = o.prediction_id
    WHERE o.model = %(model)s AND NOT p.shadow AND o.observed_at > %(since)s AND o.observed_at <= %(until)s
    GROUP BY p.model_version ORDER BY min(p.id)
"""


class Joined(NamedTuple):
    """The pairs of a version, and what they rest on.

    Attributes:
        pairs: The oldest first.
        evidence: Another one as soon as an outcome comes, goes or is corrected.
    """

    pairs: Pairs
    evidence: str


def feed_from_table(connection: Connection, declaration: Declaration, days: int) -> int:
    """Writes down what the model's own table tells of its forecasts of the last `days`; how many rows changed.

    Only a forecast can be matched with its table: it names the step that it is about. A request about a car carries no
    key, and an equal car is another one.
    """
    task, target = declaration.task, declaration.target
    if not isinstance(task, Forecasting) or target is None:
        return 0
    source = declaration.source
    column = declaration.column(source.time)
    words = {
        "time": expression(column.name, column.sql),
        "target": expression(target.name, target.sql),
        "relation": source.relation,
    }
    # Only the declaration's own words get into it; a LIKE among them is no place for a value.
    shared = _FORECASTS.format(**{name: word.replace("%", "%%") for name, word in words.items()})
    values = {"model": declaration.name, "days": days, "step": STEPS[task.step]}
    with connection.transaction():
        retracted = connection.execute(shared + _RETRACT, values).rowcount
        return retracted + connection.execute(shared + _FEED, values).rowcount


def versions(connection: Connection, model: str, since: datetime, until: datetime) -> dict[str, int]:
    """Of each version with outcomes in the window how many, the one that answered first in front."""
    values = {"model": model, "since": since, "until": until}
    return {str(name): int(count) for name, count in connection.execute(_VERSIONS, values)}


def joined(connection: Connection, declaration: Declaration, version: str, since: datetime, until: datetime) -> Joined:
    """The version's predictions whose outcome was observed in the window, the newest 5,000 of them.

    Each prediction stands at most once, and what is read does not depend on the order in which outcomes came.

    Raises:
        TypeError: The model has no target.
    """
    task, target = declaration.task, declaration.target
    if isinstance(task, Clustering) or target is None:
        raise TypeError(f"{declaration.name} has no target")
    number = "(o.value #>> '{}')::double precision"
    names = {"classification": "probability", "forecasting": f"next_{target.name}"}
    words = {
        "event": _EVENT.get(task.kind, "p.id"),
        "predicted": f"(p.answer ->> '{names.get(task.kind, target.name)}')::double precision",
        "actual": "(o.value = 'true'::jsonb)::int::double precision" if isinstance(task, Classification) else number,
        # A price of zero has no logarithm; the API takes none.
        "above": "AND predicted > 0 AND actual > 0" if isinstance(task, Forecasting) else "",
    }
    values = {"model": declaration.name, "version": version, "since": since, "until": until, "most": MOST_PAIRS}
    rows = connection.execute(_PAIRS.format(**words), values).fetchall()
    rows.reverse()
    columns = np.array([[np.nan if value is None else value for value in row[:5]] for row in rows], np.float64)
    columns = columns.reshape(len(rows), 5).T
    # Corrections and late outcomes of the same number change it; the same outcomes in another order do not.
    newest, corrections = max((row[5] for row in rows), default=0), sum(row[6] for row in rows)
    return Joined(Pairs(*columns), f"{len(rows)}-{newest}-{corrections}")
