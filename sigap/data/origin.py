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


def origin_of(connection: Connection, source: Source) -> str:
    """Where a model's rows are from, in one word.

    Returns:
        `mock` as soon as one row is made up; else `seed`, `import`, `live` or `own` where all rows are that, and
        `mixed` where they are not. Rows that carry no origin are what `data_origin` says was loaded, or `own`; empty
        if that may not be read.
    """
    if has_origin(connection, source.table):
        query = f"SELECT DISTINCT t.origin::text FROM {source.relation}"  # noqa: S608 - declared
        rows = connection.execute(query.encode()).fetchall()
    else:
        # Somebody who may read the rows alone is not told where they are from, and gets them all the same.
        right = "SELECT has_table_privilege(to_regclass('data_origin'), 'SELECT')"
        allowed = (connection.execute(right).fetchone() or (None,))[0]
        if allowed is False:
            return ""
        query = "SELECT DISTINCT origin FROM data_origin WHERE table_name = %s AND rows > 0"
        rows = connection.execute(query, [source.table]).fetchall() if allowed else []
    # A candle out of the exchange's list or added up from its trades: both are live.
    found = {"live" if origin in ("rest", "trades") else str(origin) for (origin,) in rows} or {"own"}
    if "mock" in found:
        return "mock"
    return found.pop() if len(found) == 1 else "mixed"


def has_origin(connection: Connection, table: str) -> bool:
    """Whether the table's rows carry their `origin`: Sigap's own tables do, one that somebody brought may not."""
    found = connection.execute(
        "SELECT FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attname = 'origin' AND NOT attisdropped", [table]
    ).fetchone()
    return found is not None
