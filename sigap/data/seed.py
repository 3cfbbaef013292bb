"""The figures that Sigap brings along, loaded once and never over somebody's edits."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

from psycopg import sql

from sigap.data.postgres import SCHEMA_LOCK, Connection, connect, translated
from sigap.errors import ConfigurationError
from sigap.settings import Settings

# Table by file, below data/seed/. The sources stand in data/seed/README.md.
SEEDS = {
    "education/provinces.csv": "provinces",
    "education/breaks.csv": "definition_breaks",
    "education/province_figures.csv": "education_data",
}


def seed(settings: Settings) -> dict[str, int]:
    """Loads each seed file whose content has not been loaded before, all in one transaction.

    Rows that stand already, changed or not, stay as they are; rows that somebody deleted don't come back. A table
    that holds rows of somebody's own before its first seed gets none of ours.

    Returns:
        Rows inserted by table; 0 where there was nothing to do.

    Raises:
        ConfigurationError: The checkout lacks a seed file.
        ServiceError: The server can't be reached, or the tables are not there (`migrate` makes them).
    """
    with connect(settings) as connection, translated(settings, "Loading the seed figures"):
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [SCHEMA_LOCK])
        return {
            table: _seed_file(connection, name, settings.root / "data" / "seed" / name, table)
            for name, table in SEEDS.items()
        }


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
