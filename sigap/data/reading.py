"""One consistent view of a model's table: its structure checked, its query, and its rows as record batches."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass

import adbc_driver_manager
import adbc_driver_postgresql.dbapi
import psycopg
import pyarrow as pa

from sigap.catalog import Declaration, Kind, brought_along
from sigap.catalog.names import expression, quoted
from sigap.data.content import digest
from sigap.data.contract import Word, declaration_words, table_column
from sigap.data.origin import origin_of
from sigap.data.postgres import Connection, address, connect, translated
from sigap.errors import ContractError, ServiceError
from sigap.settings import Settings

log = logging.getLogger(__name__)

_COUNTED = 200_000
_TEXTS = {"text", "varchar", "bpchar"}
_NUMBERS = {"int2", "int4", "int8", "float4", "float8", "numeric"}
# A number in a text column is read row by row, and only the rows that hold none are set aside.
_SQL_TYPES = {
    Kind.INTEGER: _NUMBERS | _TEXTS,
    Kind.NUMBER: _NUMBERS | _TEXTS,
    Kind.TEXT: _TEXTS,
    Kind.CATEGORY: _TEXTS,
    Kind.TIMESTAMP: {"timestamptz", "timestamp", "date"},
}


@dataclass(frozen=True)
class Reading:
    """A repeatable-read, read-only view of the table; every part of it is as of one moment.

    Attributes:
        query: The SELECT whose rows `batches` gives, in the order of the key.
        names: See `sigap.data.contract.Contract`.
        rows: Number of rows; of a large table about, as PostgreSQL's planner knows it.
        origin: See `sigap.data.snapshot.Snapshot`.
    """

    query: str
    names: Mapping[str, str | None]
    rows: int
    origin: str
    _declaration: Declaration
    _connection: Connection
    _settings: Settings
    _snapshot: str

    def digest(self) -> str:
        """A digest of these very rows, see `sigap.data.content.digest`; empty where it can't be had."""
        try:
            return digest(self._connection, self._declaration)
        except psycopg.Error as error:
            log.warning("The rows of %s have no digest: %s", self._declaration.name, type(error).__name__)
            return ""

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows as Arrow record batches, one declared column each, in the order of the key.

        Raises:
            ServiceError: The server went away meanwhile.
        """
        try:
            with (
                adbc_driver_postgresql.dbapi.connect(self._settings.dsn) as connection,
                connection.cursor() as cursor,
            ):
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                cursor.execute(f"SET TRANSACTION SNAPSHOT '{self._snapshot}'")
                cursor.execute(self.query)
                yield from cursor.fetch_record_batch()
        except (adbc_driver_manager.Error, pa.ArrowException) as error:
            raise ServiceError(
                f"Reading from PostgreSQL at {address(self._settings)} broke off: {error}.",
                remedy="Nothing was changed; run it again when the server is back.",
            ) from error


@contextmanager
def consistent_reading(declaration: Declaration, settings: Settings) -> Iterator[Reading]:
    """Opens a view of the declaration's table as of now; writers go on undisturbed and unseen.

    Raises:
        ContractError: The table, or a column of it, is missing, renamed or of another type, or there are no rows.
        ServiceError: The server can't be reached, or this user may not read the table.
    """
    with closing(connect(settings, read_only=True)) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with translated(settings, f"Reading {declaration.source.table}"):
            snapshot = connection.execute("SELECT pg_export_snapshot()").fetchone()
            assert snapshot is not None  # noqa: S101 - a function call always gives a row
            # These queries also hold a lock that keeps the tables from being altered while their rows are read.
            types = _column_types(connection, declaration)
            query = _query(declaration, types)
            rows = _count(connection, declaration)
            names = _ambiguous_names(connection, declaration)
            origin = origin_of(connection, declaration.source)
        yield Reading(query, names, rows, origin, declaration, connection, settings, snapshot[0])


def _column_types(connection: Connection, declaration: Declaration) -> dict[str, str]:
    """PostgreSQL's type name of each declared column, after all were found fit."""
    table = declaration.source.table
    present = _present_columns(connection, declaration)
    words = declaration_words(declaration)
    for word in words:
        column = table_column(word)
        if column is not None and column not in present:
            raise _missing_column(declaration, column, present)
    select = ", ".join(f"{_selected(word)} AS {quoted(word.name)}" for word in words)
    try:
        cursor = connection.execute(f"SELECT {select} FROM {declaration.source.relation} LIMIT 0".encode())  # noqa: S608
    except psycopg.errors.InsufficientPrivilege:
        raise
    except psycopg.ProgrammingError as error:
        raise ContractError(
            f"The tables behind the model {declaration.name!r} are not as declared: {error.diag.message_primary}.",
            remedy="`./run` brings Sigap's own tables up to date."
            if brought_along(declaration.name)
            else f"Correct `sql` in {_file(declaration)}, or the table. PostgreSQL reads a name in small letters "
            'unless it stands in double quotes: t."Engine Power".',
        ) from error
    oids = [column.type_code for column in cursor.description or ()]
    by_oid: dict[int, str] = dict(
        connection.execute(
            "SELECT oid, CASE WHEN typtype = 'e' THEN 'text' ELSE typname END FROM pg_type WHERE oid = ANY(%s)", [oids]
        ).fetchall()
    )
    types = {word.name: by_oid[oid] for word, oid in zip(words, oids, strict=True)}
    for word in words:
        if types[word.name] not in _SQL_TYPES[word.kind]:
            raise ContractError(
                f"The column {word.name!r} of {table} has the type {types[word.name]}; the model "
                f"{declaration.name!r} expects {word.kind} there ({', '.join(sorted(_SQL_TYPES[word.kind]))}).",
                remedy=f"Change it: ALTER TABLE {table} ALTER COLUMN {table_column(word) or word.name} TYPE … USING …",
            )
    return types


def _present_columns(connection: Connection, declaration: Declaration) -> list[str]:
    table = declaration.source.table
    rows = connection.execute(
        "SELECT attname::text FROM pg_attribute"
        " WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        [table],
    ).fetchall()
    if not rows:
        raise ContractError(
            f"There is no table {table} in the database.",
            remedy="`./run` makes and fills it; check that DATABASE_URL names the right database."
            if brought_along(declaration.name)
            else f"Bring it back, or correct `table` in {_file(declaration)}; check that DATABASE_URL names the right "
            "database.",
        )
    return [row[0] for row in rows]


def _missing_column(declaration: Declaration, name: str, present: list[str]) -> ContractError:
    table = declaration.source.table
    known = {table_column(word) for word in declaration_words(declaration)}
    if same := next((column for column in present if column.lower() == name.lower()), None):
        return ContractError(
            f"The table {table} has no column {name!r}; it has {same!r}, which is written with other capitals.",
            remedy=f"Write t.{quoted(same)} for it in {_file(declaration)}: PostgreSQL reads a name in small letters "
            "unless it stands in double quotes.",
        )
    near = difflib.get_close_matches(name, [column for column in present if column not in known], n=1, cutoff=0.5)
    if near:
        return ContractError(
            f"The table {table} has no column {name!r}; it has {near[0]!r}, which looks like it.",
            remedy=f"If that is the column: ALTER TABLE {table} RENAME COLUMN {quoted(near[0])} TO {quoted(name)}",
        )
    return ContractError(
        f"The table {table} has no column {name!r}; it has {', '.join(present)}.",
        remedy=f"Add it ({declaration.name!r} is declared in {_file(declaration)}).",
    )


def _file(declaration: Declaration) -> str:
    return f"sigap/catalog/{declaration.name}.py"


def _query(declaration: Declaration, types: Mapping[str, str]) -> str:
    words = declaration_words(declaration)
    select = ", ".join(f"{_selected(word)} AS {quoted(word.name)}" for word in words)
    # Texts by their bytes: the order, and with it the file, must not depend on the server's language.
    order = ", ".join(
        _selected(declaration.column(name)) + (' COLLATE "C"' if types[name] in _TEXTS else "")
        for name in declaration.source.key
    )
    return f"SELECT {select} FROM {declaration.source.relation} ORDER BY {order}"  # noqa: S608 - declared, not given


def _count(connection: Connection, declaration: Declaration) -> int:
    """How many rows there are: exact up to `_COUNTED`, beyond it the planner's guess.

    Counting ten million would take a twentieth of the time of reading them.
    """
    some = f"SELECT FROM {declaration.source.relation}"
    counted = f"SELECT count(*) FROM ({some} LIMIT {_COUNTED + 1}) AS counted"  # noqa: S608 - declared, not given
    found = connection.execute(counted.encode()).fetchone()
    if found is None or found[0] == 0:
        brought = brought_along(declaration.name)
        seeds = "; what Sigap brings along comes back when its line in `seeds` is deleted too" if brought else ""
        raise ContractError(
            f"The table {declaration.source.table} is empty.",
            remedy=f"Load rows into it first (`./run import {declaration.source.table} FILE`){seeds}.",
        )
    if found[0] <= _COUNTED:
        return int(found[0])
    plan = connection.execute(f"EXPLAIN (FORMAT JSON) {some}".encode()).fetchone()
    return max(int(found[0]), int(plan[0][0]["Plan"]["Plan Rows"]) if plan else 0)


def _ambiguous_names(connection: Connection, declaration: Declaration) -> dict[str, str | None]:
    """Most frequent name of each entity that has several, None where two are equally frequent."""
    source = declaration.source
    if source.entity_name in ("", source.entity):
        return {}
    entity, name = _selected(declaration.column(source.entity)), _selected(declaration.column(source.entity_name))
    rows = connection.execute(
        "SELECT entity, name, n FROM (SELECT entity::text, name::text, count(*) AS n, count(*) OVER"  # noqa: S608
        f" (PARTITION BY entity) AS names FROM (SELECT {entity} AS entity, {name} AS name FROM {source.relation}) AS r"
        " WHERE entity IS NOT NULL AND name IS NOT NULL GROUP BY entity, name) AS g"
        " WHERE names > 1 ORDER BY entity, n DESC".encode()
    ).fetchall()
    names: dict[str, str | None] = {}
    most: dict[str, int] = {}
    for entity_id, label, count in rows:
        if entity_id not in most:
            most[entity_id], names[entity_id] = count, label
        elif count == most[entity_id]:
            names[entity_id] = None
    return names


def _selected(word: Word) -> str:
    return expression(word.name, word.sql)
