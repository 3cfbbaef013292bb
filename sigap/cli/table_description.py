"""What PostgreSQL knows of a table that a new model is to learn from: columns, kinds, ranges, categories, key."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from sigap.catalog.declaration import Kind
from sigap.catalog.names import quoted
from sigap.errors import ConfigurationError

_INTEGERS = ("smallint", "integer", "bigint")
_NUMBERS = ("real", "double precision", "numeric")
_TEXTS = ("text", "character varying", "character")
_MOST_CATEGORIES = 50
# Columns that tables of Sigap's own carry beside their content.
_OURS = ("origin", "updated_at")


@dataclass(frozen=True)
class Found:
    """A column that can be learnt from.

    Attributes:
        column: Its name.
        kind: What its values are.
        minimum: Smallest value that is expected, wider than what was seen.
        maximum: Greatest one.
        categories: Of a text, its different values.
        sample: A usual value.
        flag: Whether it is true or false in the table, which is read as 1 and 0.
    """

    column: str
    kind: Kind
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] = ()
    sample: Any = None
    flag: bool = False


@dataclass(frozen=True)
class Description:
    """A table.

    Attributes:
        table: Its name.
        relation: The name as SQL has it.
        key: The column of its primary key.
        key_kind: What that is.
        key_sql: What selects it.
        found: The columns that can be learnt from, in the table's order.
        left_out: Why others can't be, by name.
    """

    table: str
    relation: str
    key: str
    key_kind: Kind
    key_sql: str
    found: tuple[Found, ...]
    left_out: dict[str, str]


def describe(connection: psycopg.Connection, table: str) -> Description:
    """Looks at the table and its rows.

    Raises:
        ConfigurationError: There is no such table, its name needs quotes, it has no primary key of one column that is a
            number or a text, or no rows.
    """
    relation = _relation(connection, table)
    kinds = _kinds(connection, table)
    key = _key(connection, table, list(kinds))
    if not connection.execute(sql.SQL("SELECT FROM {} LIMIT 1").format(sql.Identifier(table))).fetchall():
        raise ConfigurationError(
            f"The table {table} is empty: what kinds, ranges and choices there are is read from its rows.",
            remedy="Load rows into it, then do this again.",
        )
    found: list[Found] = []
    left_out: dict[str, str] = {}
    for name, kind in kinds.items():
        if name == key:
            continue
        seen = _described(connection, table, name, kind)
        if isinstance(seen, Found):
            found.append(seen)
        else:
            left_out[name] = seen
    whole = kinds[key] in _INTEGERS
    cast = "" if whole or kinds[key] in _TEXTS else "::text"
    return Description(
        table, relation, key, Kind.INTEGER if whole else Kind.TEXT, f"t.{quoted(key)}{cast}", tuple(found), left_out
    )


def _relation(connection: psycopg.Connection, table: str) -> str:
    row = connection.execute(
        "SELECT quote_ident(relname) FROM pg_class WHERE relname = %s AND pg_table_is_visible(oid)"
        " AND relkind IN ('r', 'p', 'f', 'v', 'm')",
        [table],
    ).fetchone()
    if row is None:
        raise ConfigurationError(
            f"PostgreSQL has no table {table!r}.",
            remedy="Make it, or name another by --table, without its schema; it needs a primary key.",
        )
    if not re.fullmatch(r"[a-z_][a-z0-9_]*", table):
        raise ConfigurationError(
            f"The table's name {table!r} has capitals, spaces or signs, which Sigap can't follow everywhere.",
            remedy=f"Give it one of small letters, digits and _: ALTER TABLE {quoted(table)} RENAME TO …",
        )
    return str(row[0])


def _kinds(connection: psycopg.Connection, table: str) -> dict[str, str]:
    """PostgreSQL's type of each column, in the table's order; an enumeration is a text."""
    rows = connection.execute(
        "SELECT attname, CASE WHEN t.typtype = 'e' THEN 'text' ELSE format_type(atttypid, NULL) END"
        " FROM pg_attribute JOIN pg_type t ON t.oid = atttypid"
        " WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        [table],
    ).fetchall()
    return {str(name): str(kind) for name, kind in rows}


def _key(connection: psycopg.Connection, table: str, columns: list[str]) -> str:
    rows = connection.execute(
        "SELECT a.attname, quote_ident(c.relname) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        " JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)"
        " WHERE i.indrelid = to_regclass(%s) AND i.indisprimary ORDER BY array_position(i.indkey::int2[], a.attnum)",
        [table],
    ).fetchall()
    if len(rows) == 1:
        return str(rows[0][0])
    added = next(name for name in ("id", "row_id", *(f"row_id_{n}" for n in range(2, 1700))) if name not in columns)
    add = f"ADD COLUMN {added} bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
    if rows:
        # A table has one primary key: the columns of the former stay unique.
        former = ", ".join(quoted(str(name)) for name, _ in rows)
        add = f"DROP CONSTRAINT {rows[0][1]}, ADD UNIQUE ({former}), {add}"
    raise ConfigurationError(
        f"{table} has a primary key of {len(rows)} columns, expected one.",
        remedy=f"`ALTER TABLE {table} {add}` gives it one.",
    )


def _described(connection: psycopg.Connection, table: str, name: str, kind: str) -> Found | str:
    """The column, or in words why nothing can be learnt from it."""
    if name in _OURS:
        return "Sigap notes in a column of that name where a row is from and when it came"
    if kind == "boolean":
        return _flag(connection, table, name)
    if kind in _TEXTS:
        return _category(connection, table, name)
    if kind in (*_INTEGERS, *_NUMBERS):
        return _number(connection, table, name, Kind.INTEGER if kind in _INTEGERS else Kind.NUMBER)
    return f"of type {kind}; learnt from are numbers, choices, and true or false"


def _flag(connection: psycopg.Connection, table: str, name: str) -> Found | str:
    query = sql.SQL("SELECT DISTINCT {c} FROM {t} WHERE {c} IS NOT NULL")
    rows = connection.execute(query.format(c=sql.Identifier(name), t=sql.Identifier(table))).fetchall()
    if len(rows) < 2:
        return f"every row has {str(rows[0][0]).lower()} there" if rows else "no row has a value there"
    return Found(name, Kind.INTEGER, 0, 1, sample=1, flag=True)


def _number(connection: psycopg.Connection, table: str, name: str, kind: Kind) -> Found | str:
    # No range has an end that is infinite or no number; the contract sets such values aside.
    query = sql.SQL(
        "SELECT min({c}), max({c}), percentile_disc(0.5) WITHIN GROUP (ORDER BY {c}) FROM {t}"
        " WHERE {c}::float8 BETWEEN -1e300 AND 1e300"
    )
    row = connection.execute(query.format(c=sql.Identifier(name), t=sql.Identifier(table))).fetchone()
    if row is None or row[0] is None:
        return "no row has a number there"
    if row[0] == row[1]:
        return f"every row has {row[0]} there"
    low, high = float(row[0]), float(row[1])
    sample = int(row[2]) if kind is Kind.INTEGER else float(row[2])
    if kind is Kind.INTEGER and (low, high) == (0, 1):
        return Found(name, kind, low, high, sample=sample)
    margin = (high - low) / 2
    # Wider than what was seen, for what can be true is seldom in one table; below zero only what was seen there.
    minimum = math.floor(low - margin) if low < 0 else max(0.0, math.floor(low - margin))
    return Found(name, kind, float(minimum), float(math.ceil(high + margin)), sample=sample)


def _category(connection: psycopg.Connection, table: str, name: str) -> Found | str:
    query = sql.SQL("SELECT {c}, count(*) FROM {t} WHERE {c} IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {n}")
    limit = sql.Literal(_MOST_CATEGORIES + 1)
    rows = connection.execute(query.format(c=sql.Identifier(name), t=sql.Identifier(table), n=limit)).fetchall()
    if len(rows) > _MOST_CATEGORIES:
        return f"more than {_MOST_CATEGORIES} different texts"
    if len(rows) < 2:
        return "every row has the same text there" if rows else "no row has a text there"
    return Found(name, Kind.CATEGORY, categories=tuple(sorted(str(row[0]) for row in rows)), sample=str(rows[0][0]))
