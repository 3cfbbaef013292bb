"""What Sigap brings along, loaded once and never over somebody's edits: published figures, and mock rows."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pandas as pd
from psycopg import sql

from sigap.catalog import Declaration
from sigap.data import loans
from sigap.data.contract import declaration_words, table_column
from sigap.data.market import mock_candles
from sigap.data.mock import MOCKS
from sigap.data.origin import has_origin, record_origin
from sigap.data.postgres import SCHEMA_LOCK, Connection, connect, translated
from sigap.errors import ConfigurationError
from sigap.settings import Settings

# Table by file, below data/seed/. The sources stand in data/seed/README.md.
SEEDS = {
    "education/provinces.csv": "provinces",
    "education/breaks.csv": "definition_breaks",
    "education/province_figures.csv": "education_data",
}
_CANDLES = ("opened_at", "open", "high", "low", "close", "volume")


def seed(settings: Settings) -> dict[str, int]:
    """Loads each seed file whose content has not been loaded before, all in one transaction.

    Rows that stand already, changed or not, stay as they are; rows that somebody deleted don't come back. A table
    that holds rows of somebody's own before its first seed gets none of ours. The tables of the other models get mock
    rows, said to be mock in `data_origin` and in the rows themselves; the first import takes their place.

    Returns:
        Rows inserted by table; 0 where there was nothing to do.

    Raises:
        ConfigurationError: The checkout lacks a seed file.
        ServiceError: The server can't be reached, or the tables are not there (`migrate` makes them).
    """
    with connect(settings) as connection, translated(settings, "Loading the seed figures"):
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [SCHEMA_LOCK])
        loaded = {
            table: _seed_file(connection, name, settings.root / "data" / "seed" / name, table)
            for name, table in SEEDS.items()
        }
        return loaded | seed_mock(connection)


def seed_mock(connection: Connection) -> dict[str, int]:
    """Fills the empty tables of the models that nobody has given data yet with mock rows, once.

    Returns:
        Rows inserted by table.
    """
    loaded = {}
    for declaration, make in MOCKS:
        table = declaration.source.table
        loaded[table] = 0
        if _wants_mock(connection, table):
            loaded[table] = _insert_mock(connection, declaration, make())
            _note_mock(connection, table, loaded[table])
    loaded["candles"] = 0
    if _wants_mock(connection, "candles"):
        rows = [("BTC-USD", "1d", "mock", *astuple(candle)) for candle in mock_candles()]
        loaded["candles"] = _copy(connection, "candles", ("product", "step", "origin", *_CANDLES), rows)
        _note_mock(connection, "candles", loaded["candles"])
    return loaded


def _wants_mock(connection: Connection, table: str) -> bool:
    known = connection.execute("SELECT FROM seeds WHERE name = %s", [f"mock/{table}"]).fetchone()
    return known is None and has_origin(connection, table) and _is_empty(connection, table)


def _note_mock(connection: Connection, table: str, rows: int) -> None:
    connection.execute("INSERT INTO seeds (name, sha256, rows_inserted) VALUES (%s, '', %s)", [f"mock/{table}", rows])
    record_origin(connection, table, "mock", rows)


def _insert_mock(connection: Connection, declaration: Declaration, table: pd.DataFrame) -> int:
    cells = table.astype(object).itertuples(index=False, name=None)
    rows = (tuple(None if pd.isna(cell) else cell for cell in row) for row in cells)
    if declaration.source.table == loans.WAREHOUSE:
        # The way every loan application takes: as text into staging, and from there in SQL.
        texts = ((number, *(None if cell is None else str(cell) for cell in row)) for number, row in enumerate(rows, 1))
        loans.clear_staged(connection, "mock")
        loans.stage(connection, "mock", texts)
        return loans.load_staged(connection, "mock", origin="mock").inserted
    words = {word.name: table_column(word) for word in declaration_words(declaration)}
    columns = [words[name] or name for name in table.columns]
    return _copy(connection, declaration.source.table, (*columns, "origin"), ((*row, "mock") for row in rows))


def _copy(connection: Connection, table: str, columns: Iterable[str], rows: Iterable[tuple[Any, ...]]) -> int:
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with connection.cursor() as cursor:
        with cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
        return cursor.rowcount


def _seed_file(connection: Connection, name: str, path: Path, table: str) -> int:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ConfigurationError(
            f"The seed figures {path} are missing.", remedy="Get them back: `git checkout -- data/seed`."
        ) from None
    digest = hashlib.sha256(content).hexdigest()
    known = connection.execute("SELECT sha256 FROM seeds WHERE name = %s", [name]).fetchone()
    if known is not None and known[0] == digest:
        return 0
    inserted = 0
    if known is not None or _is_empty(connection, table):
        inserted = _insert_new(connection, content.decode("utf-8").splitlines(), table)
    connection.execute(
        "INSERT INTO seeds (name, sha256, rows_inserted) VALUES (%s, %s, %s)"
        " ON CONFLICT (name) DO UPDATE SET sha256 = excluded.sha256, rows_inserted = excluded.rows_inserted,"
        " seeded_at = now()",
        [name, digest, inserted],
    )
    if inserted:
        record_origin(connection, table, "seed", inserted, file=path.name, sha256=digest)
    return inserted


def _is_empty(connection: Connection, table: str) -> bool:
    return connection.execute(sql.SQL("SELECT FROM {} LIMIT 1").format(sql.Identifier(table))).fetchone() is None


def _insert_new(connection: Connection, lines: list[str], table: str) -> int:
    reader = csv.reader(lines)
    columns = next(reader)
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT DO NOTHING").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join([sql.Placeholder()] * len(columns)),
    )
    # An empty cell is a figure that was not published: NULL, never zero. Texts that may be empty are NOT NULL.
    empty = {column: "" if column == "alias" else None for column in columns}
    rows = [[cell or empty[column] for column, cell in zip(columns, row, strict=True)] for row in reader]
    with connection.cursor() as cursor:
        cursor.executemany(statement, rows)
        return cursor.rowcount
