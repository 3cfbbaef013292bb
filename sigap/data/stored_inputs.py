"""Inputs that the API was asked about and kept: what a new version is tried on before it is served."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sigap.catalog import Declaration
from sigap.catalog.declaration import Forecasting
from sigap.catalog.names import expression
from sigap.data import postgres
from sigap.data.postgres import Connection
from sigap.errors import SigapError
from sigap.settings import Settings

log = logging.getLogger(__name__)

MOST = 5_000
SEED = 20240601
# A log that takes longer to read is passed over: it must not hold up a promotion.
READ_SECONDS = 20
STEPS = {"1d": timedelta(days=1), "1h": timedelta(hours=1), "1m": timedelta(minutes=1)}
CANDLES = "candles"
# Drawn by a hash of the row's number, so that the same log gives the same rows.
_INPUTS = """
    SELECT fields, answer ->> 'as_of' FROM predictions
    WHERE model = %s AND NOT shadow AND at > now() - make_interval(days => %s)
    ORDER BY hashint8(id # %s), id LIMIT %s
"""


@dataclass(frozen=True)
class StoredInputs:
    """Inputs of one model.

    Attributes:
        rows: Fields of requests, as they were validated; of a series none.
        series: Of a series: the values that a forecast started from, the oldest first.
        passed_over: Stored inputs that can't be answered again, for a used field of theirs is a hash or was left out,
            or the table no longer holds what a forecast started from.
        reason: Why there are none; empty where there are some.
    """

    rows: Sequence[Mapping[str, Any]] = ()
    series: Sequence[Sequence[float]] = ()
    passed_over: int = 0
    reason: str = ""


def stored_inputs(settings: Settings, declaration: Declaration, used: Collection[str], steps: int = 0) -> StoredInputs:
    """Inputs of the last days, at most 5,000 of them, the same ones each time while nothing is added.

    Never fails: a log that is empty, missing or away gives none, and says why.

    Args:
        settings: Where PostgreSQL is, and how far back to look.
        declaration: The model.
        used: Features that have to be known.
        steps: Of a series: how many values a forecast looks at.
    """
    if settings.replay_days == 0:
        return StoredInputs(reason="Replay is switched off (SIGAP_REPLAY_DAYS is 0).")
    try:
        with (
            postgres.translated(settings, "Reading stored inputs"),
            postgres.connect(settings, read_only=True) as connection,
        ):
            connection.execute(f"SET LOCAL statement_timeout = '{READ_SECONDS}s'")
            values = [declaration.name, settings.replay_days, SEED, MOST]
            kept = connection.execute(_INPUTS, values).fetchall()
            if isinstance(declaration.task, Forecasting):
                found = _series(connection, declaration, kept, steps)
            else:
                found = _rows(declaration, kept, used)
    except (SigapError, KeyError, TypeError, ValueError) as error:
        log.warning("No stored inputs of %s: %s", declaration.name, error)
        return StoredInputs(reason="No stored inputs: the prediction log can't be read.")
    if found.rows or found.series:
        return found
    if found.passed_over:
        why = f"all {found.passed_over} of them lack a field that is kept as a hash or not at all"
        if isinstance(declaration.task, Forecasting):
            why = f"the table no longer holds what {found.passed_over} forecasts started from"
        return StoredInputs(
            passed_over=found.passed_over, reason=f"No stored inputs that can be answered again: {why}."
        )
    return StoredInputs(reason=f"No stored inputs of the last {settings.replay_days} days.")


def _rows(declaration: Declaration, kept: Sequence[Any], used: Collection[str]) -> StoredInputs:
    personal = [each.name for each in declaration.features if each.personal and each.name in used]
    # What was null is null still; any other personal value was hashed, or left out.
    rows = [
        fields
        for fields, _ in kept
        if all(name in fields for name in used) and not any(fields[name] is not None for name in personal)
    ]
    return StoredInputs(rows=rows, passed_over=len(kept) - len(rows))


def _series(connection: Connection, declaration: Declaration, kept: Sequence[Any], steps: int) -> StoredInputs:
    target = declaration.target.name if declaration.target else ""
    own = [[float(each[target]) for each in fields[CANDLES]] for fields, _ in kept if fields.get(CANDLES)]
    # A table that a thousand requests looked at in the same state is one input.
    moments = sorted({datetime.fromisoformat(as_of) for fields, as_of in kept if as_of and not fields.get(CANDLES)})
    known = _values(connection, declaration, moments, steps) if moments else {}
    step = STEPS[declaration.task_as(Forecasting).step]
    series, passed_over = own, 0
    for moment in moments:
        begun = [moment - step * back for back in range(steps - 1, -1, -1)]
        if all(each in known for each in begun):
            series.append([known[each] for each in begun])
        else:
            passed_over += 1
    return StoredInputs(series=series, passed_over=passed_over)


def _values(
    connection: Connection, declaration: Declaration, moments: Sequence[datetime], steps: int
) -> dict[datetime, float]:
    source, target = declaration.source, declaration.target
    time = declaration.column(source.time)
    # Only the declaration's own words get into it.
    begun, value = expression(time.name, time.sql), expression(target.name, target.sql) if target else ""
    first = moments[0] - STEPS[declaration.task_as(Forecasting).step] * steps
    # A LIKE among them is no place for a value.
    begun, value, relation = (word.replace("%", "%%") for word in (begun, value, source.relation))
    rows = connection.execute(
        f"SELECT {begun}, ({value})::double precision FROM {relation} WHERE {begun} BETWEEN %s AND %s",  # noqa: S608
        [first, moments[-1]],
    )
    return {moment: number for moment, number in rows if number is not None}
