"""Outcomes beside their predictions in PostgreSQL: each prediction has at most one, whoever sends it how often."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from psycopg import AsyncConnection

Value = float | bool
Status = Literal["recorded", "conflict", "unknown", "ambiguous"]
# Of predictions under one id and row, so many are looked at: two that differ are too many already.
LOOKED_AT = 5
# How often a list is begun anew because somebody else wrote down the same prediction's outcome meanwhile.
ATTEMPTS = 5

_FIND = """
    SELECT asked.n, found.id, found.at, found."row", found.model_version
    FROM unnest(%s::text[], %s::int[]) WITH ORDINALITY AS asked (request_id, "row", n)
    CROSS JOIN LATERAL (
        SELECT id, at, p."row", model_version FROM predictions p
        WHERE p.request_id = asked.request_id AND p.model = %s AND NOT p.shadow
            AND (asked."row" IS NULL OR p."row" = asked."row")
        ORDER BY p.id LIMIT %s
    ) AS found ORDER BY asked.n, found.id
"""
_KNOWN = """
    SELECT prediction_id, value FROM outcomes WHERE prediction_id = ANY(%s) ORDER BY prediction_id FOR UPDATE
"""
_ADD = """
    INSERT INTO outcomes (prediction_id, model, value, observed_at, principal)
    SELECT new.id, %s, new.value, coalesce(new.observed_at, now()), %s
    FROM unnest(%s::bigint[], %s::jsonb[], %s::timestamptz[]) AS new (id, value, observed_at)
    ORDER BY new.id ON CONFLICT (prediction_id) DO NOTHING
"""
_CORRECT = """
    UPDATE outcomes SET value = new.value, observed_at = coalesce(new.observed_at, outcomes.observed_at),
        principal = %s, source = 'client', corrected = corrected + 1
    FROM unnest(%s::bigint[], %s::jsonb[], %s::timestamptz[]) AS new (id, value, observed_at)
    WHERE outcomes.prediction_id = new.id
"""


class Sent(NamedTuple):
    """An outcome that is right in itself.

    Attributes:
        request_id: That of the prediction.
        row: Its row; None where the request had only one.
        value: A number, or whether the answer was yes.
        observed_at: When it was observed; None for now.
        correct: Whether it takes the place of another one.
    """

    request_id: str
    row: int | None
    value: Value
    observed_at: datetime | None
    correct: bool


class Noted(NamedTuple):
    """What became of an outcome.

    Attributes:
        status: Whether it stands now, and if not, why.
        known: The value that stands; None where there is no prediction.
        version: The version that had answered.
    """

    status: Status
    known: Value | None = None
    version: str | None = None


class _Match(NamedTuple):
    prediction: int
    version: str


class _Meanwhile(Exception):  # noqa: N818 - no error: the list is begun anew
    """Somebody else has written down one of these outcomes."""


async def record(connection: AsyncConnection[Any], model: str, sent: Sequence[Sent], principal: str) -> list[Noted]:
    """Writes outcomes down, one after another, in one transaction; what is told of each, in their order.

    Args:
        connection: No transaction is open.
        model: The model that had answered.
        sent: The outcomes.
        principal: Who sends them.
    """
    from psycopg.errors import DeadlockDetected, ForeignKeyViolation

    attempts = 1
    while True:
        try:
            async with connection.transaction():
                return await _recorded(connection, model, sent, principal)
        except (_Meanwhile, DeadlockDetected, ForeignKeyViolation):
            # The last: the prediction was deleted by its age between question and answer.
            if attempts == ATTEMPTS:
                raise
            attempts += 1


async def _recorded(connection: AsyncConnection[Any], model: str, sent: Sequence[Sent], principal: str) -> list[Noted]:
    matches = await _matches(connection, model, sent)
    ids = sorted({match.prediction for match in matches.values() if isinstance(match, _Match)})
    cursor = await connection.execute(_KNOWN, [ids])
    known: dict[int, Value] = dict(await cursor.fetchall())
    before = set(known)
    changed: dict[int, Sent] = {}
    noted = []
    for each in sent:
        match = matches.get((each.request_id, each.row), "unknown")
        if not isinstance(match, _Match):
            noted.append(Noted(match))
            continue
        stands = known.get(match.prediction)
        if stands is None or (stands != each.value and each.correct):
            known[match.prediction] = each.value
            changed[match.prediction] = each
            noted.append(Noted("recorded", each.value, match.version))
        else:
            noted.append(Noted("recorded" if stands == each.value else "conflict", stands, match.version))
    added = {key: each for key, each in changed.items() if key not in before}
    if added:
        cursor = await connection.execute(_ADD, [model, principal, *_columns(added)])
        if cursor.rowcount != len(added):
            raise _Meanwhile
    if corrected := {key: each for key, each in changed.items() if key in before}:
        await connection.execute(_CORRECT, [principal, *_columns(corrected)])
    return noted


def _columns(rows: Mapping[int, Sent]) -> list[list[Any]]:
    from psycopg.types.json import Jsonb

    ordered = sorted(rows.items())
    return [
        [key for key, _ in ordered],
        [Jsonb(each.value) for _, each in ordered],
        [each.observed_at for _, each in ordered],
    ]


async def _matches(
    connection: AsyncConnection[Any], model: str, sent: Iterable[Sent]
) -> dict[tuple[str, int | None], _Match | Status]:
    asked = list(dict.fromkeys((each.request_id, each.row) for each in sent))
    values = [[name for name, _ in asked], [row for _, row in asked], model, LOOKED_AT]
    found: dict[tuple[str, int | None], list[tuple[Any, ...]]] = {}
    for n, *rest in await (await connection.execute(_FIND, values)).fetchall():
        found.setdefault(asked[n - 1], []).append(tuple(rest))
    matches: dict[tuple[str, int | None], _Match | Status] = {}
    for key, rows in found.items():
        # The log may hold a prediction twice, after a connection that broke; then it is the same moment and row.
        different = {(at, row) for _, at, row, _ in rows}
        matches[key] = _Match(rows[0][0], str(rows[0][3])) if len(different) == 1 else "ambiguous"
    return matches
