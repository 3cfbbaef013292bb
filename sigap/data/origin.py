"""Where a table's rows come from: made up, out of a file, brought along, live, or written by its owner."""

from __future__ import annotations

from typing import Any

from psycopg.types.json import Jsonb

from sigap.catalog import Source
from sigap.data.postgres import Connection


def record_origin(
    connection: Connection,
    table: str,
    origin: str,
    rows: int,
    *,
    file: str = "",
    sha256: str = "",
    rejected: int = 0,
    details: dict[str, Any] | None = None,
) -> None:
    """Notes in `data_origin` that rows were loaded, in the caller's transaction.

    Args:
        connection: Of the transaction that loads them.
        table: Into which.
        origin: `mock`, `import`, `seed` or `live`.
        rows: How many the table took.
        file: Name of the file they are from.
        sha256: Of the file's bytes.
        rejected: Rows that were set aside.
        details: What else there is to say, plain JSON.
    """
    connection.execute(
        "INSERT INTO data_origin (table_name, origin, file, sha256, rows, rejected, details)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        [table, origin, file, sha256, rows, rejected, Jsonb(details or {})],
    )


def origins(connection: Connection, source: Source) -> dict[str, int]:
    """A model's rows by their `origin`, such as `{"mock": 300}`; empty for a table whose rows carry none."""
    if not has_origin(connection, source.table):
        return {}
    query = f"SELECT t.origin::text, count(*) FROM {source.relation} GROUP BY 1 ORDER BY 1"  # noqa: S608 - declared
    rows = connection.execute(query.encode()).fetchall()
    return {str(origin): int(count) for origin, count in rows}


def has_origin(connection: Connection, table: str) -> bool:
    """Whether the table's rows carry their `origin`: Sigap's own tables do, one that somebody brought may not."""
    found = connection.execute(
        "SELECT FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attname = 'origin' AND NOT attisdropped", [table]
    ).fetchone()
    return found is not None
