"""What a model's tables hold, told in two ways: a digest of every declared value, and counts that cost nothing to ask.

PostgreSQL counts the rows that were written to each table. While its counts stand still, so does the table, and nobody
has to read it. Where they have moved, a digest tells whether what the model is trained on is any other than before.

Imports neither Arrow nor NumPy: a process that waits for changes all day shall be small.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from sigap.catalog import Declaration
from sigap.catalog.names import expression
from sigap.data.origin import origin_of
from sigap.data.postgres import Connection, connect, translated
from sigap.settings import Settings

log = logging.getLogger(__name__)

# A row's text depends on these, and a digest must not.
_SESSION = (
    ("TimeZone", "UTC"),
    ("DateStyle", "ISO, YMD"),
    ("IntervalStyle", "iso_8601"),
    ("extra_float_digits", "1"),
)


@dataclass(frozen=True)
class Content:
    """What a model's tables held at one moment.

    Attributes:
        digest: Of every declared value; the same for the same rows in any order.
        counters: What PostgreSQL had counted no later than the rows were read: newer counts are looked into, and a
            change between the two is never taken for one that was seen.
        read_at: By the server's clock.
    """

    digest: str
    counters: str
    read_at: datetime


def counters(connection: Connection, declaration: Declaration) -> str:
    """How often rows of the tables behind the model were written, and which files hold them.

    Takes about a millisecond, however large they are. PostgreSQL adds a transaction's rows within a second after its
    end, or ten where its connection falls idle at once; after a crash it begins to count anew.

    Raises:
        psycopg.Error: The tables are not as declared.
    """
    found = connection.execute(
        "SELECT s.schemaname, s.relname, s.n_tup_ins, s.n_tup_upd, s.n_tup_del, pg_relation_filenode(s.relid)"
        " FROM pg_stat_all_tables AS s JOIN unnest(%s::text[], %s::text[]) AS t (schema_name, name)"
        " ON s.schemaname = t.schema_name AND s.relname = t.name ORDER BY 1, 2",
        [list(names) for names in zip(*tables(connection, declaration), strict=True)] or [[], []],
    ).fetchall()
    # After a reset the counts begin at nothing, where they may have stood before.
    reset = connection.execute("SELECT stats_reset FROM pg_stat_database WHERE datname = current_database()").fetchone()
    return ";".join([*(":".join(map(str, row)) for row in found), str(reset and reset[0])])


def tables(connection: Connection, declaration: Declaration) -> list[tuple[str, str]]:
    """Schema and name of each table that the model's query reads, also through views and partitions.

    Raises:
        psycopg.Error: The tables are not as declared.
    """
    plan = connection.execute(f"EXPLAIN (FORMAT JSON, VERBOSE) {_rows(declaration)}".encode()).fetchone()
    steps = plan[0] if plan is not None else []
    return sorted(set(_relations(json.loads(steps) if isinstance(steps, str) else steps)))


def digest(connection: Connection, declaration: Declaration) -> str:
    """A digest of every declared value of every row, in one scan on the server; in the transaction's view.

    64-bit hashes of the rows are added up, so the order of the rows plays no part and a row that stands twice counts
    twice. Rows are hashed as they are; of types that have no hash, and by PostgreSQL before 14, as text, which takes
    three times as long.

    Raises:
        psycopg.Error: The tables are not as declared.
    """
    try:
        return _digest(connection, declaration, "hash_record_extended(r, 0)")
    except psycopg.errors.UndefinedFunction:
        return _digest(connection, declaration, "hashtextextended(r::text, 0)")


def _digest(connection: Connection, declaration: Declaration, hashed: str) -> str:
    with connection.transaction():
        for name, value in _SESSION:
            connection.execute("SELECT set_config(%s, %s, true)", [name, value])
        query = f"SELECT count(*), sum({hashed}) FROM ({_rows(declaration)}) AS r"  # noqa: S608 - declared, not given
        rows, hashes = connection.execute(query.encode()).fetchone() or (0, 0)
        # The same figures are other data once they are no longer made up.
        return f"{rows}:{hashes or 0}:{origin_of(connection, declaration.source)}"


def noted(connection: Connection) -> dict[str, Content]:
    """What each model's tables held when its last decision was prepared.

    Raises:
        psycopg.Error: There is no such table yet.
    """
    rows = connection.execute("SELECT model, digest, counters, read_at FROM table_contents").fetchall()
    return {model: Content(*values) for model, *values in rows}


def note(connection: Connection, model: str, content: Content) -> None:
    """Notes what the data held that a decision is about; what was read earlier never takes the place of later.

    Raises:
        psycopg.Error: There is no such table yet.
    """
    connection.execute(
        "INSERT INTO table_contents (model, digest, counters, read_at) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (model) DO UPDATE SET digest = EXCLUDED.digest, counters = EXCLUDED.counters,"
        " read_at = EXCLUDED.read_at WHERE table_contents.read_at <= EXCLUDED.read_at",
        [model, content.digest, content.counters, content.read_at],
    )


def note_decided(settings: Settings, model: str, told: dict[str, str]) -> None:
    """Notes what a pipeline has taken its decision on, as its snapshot told; a failure costs one needless training.

    Args:
        settings: Where the database is.
        model: Whose tables.
        told: `digest`, `counters` and `read_at`; empty where the data was not read from the tables.
    """
    if not told:
        return
    content = Content(told["digest"], told["counters"], datetime.fromisoformat(told["read_at"]))
    try:
        with connect(settings) as connection, translated(settings, "Noting what was trained on"):
            note(connection, model, content)
    except Exception as error:  # the decision stands, whatever became of this note
        log.warning("What %s was trained on is not in PostgreSQL: %s", model, type(error).__name__)


def counted_now(settings: Settings, declaration: Declaration) -> dict[str, str]:
    """The counters and the time as of now, before the rows are read; empty where they can't be asked.

    Raises:
        ServiceError: PostgreSQL can't be reached.
    """
    with connect(settings, read_only=True) as connection:
        try:
            (moment,) = connection.execute("SELECT clock_timestamp()").fetchone() or (None,)
            return {"counters": counters(connection, declaration), "read_at": moment.isoformat() if moment else ""}
        except psycopg.Error as error:
            log.warning("The rows of %s can't be counted: %s", declaration.name, type(error).__name__)
            return {}


def _rows(declaration: Declaration) -> str:
    target = (declaration.target,) if declaration.target is not None else ()
    words = (*declaration.columns, *declaration.features, *target)
    selected = ", ".join(f"{expression(word.name, word.sql)} AS c{at}" for at, word in enumerate(words))
    return f"SELECT {selected} FROM {declaration.source.relation}"  # noqa: S608 - declared, not given


def _relations(step: Any) -> Iterator[tuple[str, str]]:
    if isinstance(step, list):
        for each in step:
            yield from _relations(each)
    elif isinstance(step, dict):
        if "Relation Name" in step:
            yield str(step.get("Schema", "public")), str(step["Relation Name"])
        for value in step.values():
            if isinstance(value, (list, dict)):
                yield from _relations(value)
