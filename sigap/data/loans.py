"""Loan applications from staging to the warehouse, in SQL: typed, spelt as declared, in one scale, each once.

The statements are made from the declaration: its categories, ranges and columns stand there alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from psycopg import sql

from sigap.catalog import Declaration, Kind
from sigap.catalog.loan_approval import LOAN_APPROVAL
from sigap.data.contract import Word, declaration_words, expected, table_column
from sigap.data.postgres import Connection, connect, translated
from sigap.data.repair import MISSING, spellings
from sigap.errors import ContractError
from sigap.settings import Settings

STAGING, WAREHOUSE, REJECTS = "loan_staging", "loan_applications", "loan_rejects"

# Short enough for any match to be a double.
_NUMBER = r"^[+-]?([0-9]{1,30}[.]?[0-9]{0,30}|[.][0-9]{1,30})([eE][+-]?[0-9]{1,2})?$"
# An instalment loan is many monthly incomes: 33 in the public file. In thousands it looks like 0.03 of one, and
# multiplied by a thousand once too often like 33,000.
_THOUSANDS_BELOW, _UNITS_ABOVE, _UNITS_BELOW = 0.5, 2.0, 1000.0


@dataclass(frozen=True)
class Loaded:
    """What became of one batch of staged applications.

    Attributes:
        batch: Its name.
        staged: Rows in it.
        inserted: New applications.
        changed: Applications that stood already and are different now.
        unchanged: Applications that stood already as they are.
        doubles: Staged rows that repeat another one of the batch.
        rejected: Staged rows that were set aside; the reasons are in `loan_rejects`.
        scale: What LoanAmount was multiplied by to be in units.
        mock_removed: Made-up applications that gave way.
    """

    batch: str
    staged: int
    inserted: int
    changed: int
    unchanged: int
    doubles: int
    rejected: int
    scale: float
    mock_removed: int


def load_staged(connection: Connection, batch: str, *, scale: Decimal | None = None, origin: str = "import") -> Loaded:
    """Loads one batch of `loan_staging` into `loan_applications`, in the caller's transaction.

    Doing it again changes nothing. An empty cell never wipes a value that stands.

    Args:
        connection: With a transaction of the caller's.
        batch: Which rows.
        scale: What LoanAmount is multiplied by; by default 1000 or 1, by how it compares with the incomes.
        origin: `import`, `own`, or `mock`; mock rows give way to others.

    Raises:
        ContractError: Whether LoanAmount is in units or in thousands can't be told.
    """
    declared = LOAN_APPROVAL
    connection.execute("DROP TABLE IF EXISTS pg_temp.loan_typed, pg_temp.loan_good")
    connection.execute(_typed(declared), {"batch": batch})
    factor = _scale(connection) if scale is None else scale
    connection.execute("UPDATE loan_typed SET loan_amount = loan_amount * %s", [factor])
    connection.execute(sql.SQL("DELETE FROM {} WHERE batch = %s").format(sql.Identifier(REJECTS)), [batch])
    for statement in _rejections(declared):
        connection.execute(statement, {"batch": batch})
    connection.execute(_good(declared), {"batch": batch})
    staged, rejected, good = _counts(connection, batch)
    removed = 0
    if origin != "mock" and good:
        removed = connection.execute(f"DELETE FROM {WAREHOUSE} WHERE origin = 'mock'".encode()).rowcount  # noqa: S608
    inserted, changed = upsert(connection, "loan_good", WAREHOUSE, _columns(declared), ("loan_id",), origin)
    connection.execute(f"UPDATE {STAGING} SET loaded_at = now() WHERE batch = %s".encode(), [batch])  # noqa: S608
    return Loaded(
        batch=batch,
        staged=staged,
        inserted=inserted,
        changed=changed,
        unchanged=good - inserted - changed,
        doubles=staged - rejected - good,
        rejected=rejected,
        scale=float(factor),
        mock_removed=removed,
    )


def run_elt(settings: Settings) -> list[Loaded]:
    """Loads every batch that waits in `loan_staging`, each in a transaction of its own.

    Whoever stages rows by other means (a COPY, an orchestrator) gives what arrived together one `batch`.

    Raises:
        ContractError: See `load_staged`; batches before it are loaded.
        ServiceError: PostgreSQL can't be reached.
    """
    with connect(settings) as connection, translated(settings, f"Loading {WAREHOUSE}"):
        waiting = connection.execute(
            f"SELECT batch FROM {STAGING} WHERE loaded_at IS NULL GROUP BY batch ORDER BY min(id)".encode()  # noqa: S608
        ).fetchall()
        loaded = []
        for (batch,) in waiting:
            with connection.transaction():
                loaded.append(load_staged(connection, str(batch)))
        return loaded


def upsert(
    connection: Connection, temporary: str, table: str, columns: tuple[str, ...], key: tuple[str, ...], origin: str
) -> tuple[int, int]:
    """Puts the rows of a temporary table into `table` by their key; an empty cell never wipes a value.

    Args:
        connection: Of the caller's transaction.
        temporary: Table with `columns`, one row a key.
        table: Where to; `origin` is set where its rows carry one.
        columns: Which.
        key: Those among them that tell rows apart; `table` has a unique index on them.
        origin: For new and changed rows; empty if the table's rows carry none.

    Returns:
        Rows that are new, and rows that are different now.
    """
    values = [name for name in columns if name not in key]
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    kept = {name: sql.SQL("COALESCE(excluded.{0}, t.{0})").format(sql.Identifier(name)) for name in values}
    sets: list[sql.Composable] = [sql.SQL("{} = {}").format(sql.Identifier(name), kept[name]) for name in values]
    insert: sql.Composable = names
    given: sql.Composable = names
    if origin:
        insert = sql.SQL("{}, origin").format(names)
        given = sql.SQL("{}, {}").format(names, origin)
        sets.append(sql.SQL("origin = excluded.origin"))
    target = sql.Identifier(table)
    conflict: sql.Composable = sql.SQL("DO NOTHING")
    if values:
        conflict = sql.SQL("DO UPDATE SET {} WHERE ({}) IS DISTINCT FROM ({})").format(
            sql.SQL(", ").join(sets),
            sql.SQL(", ").join(sql.SQL("t.{}").format(sql.Identifier(name)) for name in values),
            sql.SQL(", ").join(kept.values()),
        )
    before = _size(connection, target)
    touched = connection.execute(
        sql.SQL("INSERT INTO {} AS t ({}) SELECT {} FROM {} ON CONFLICT ({}) {}").format(
            target,
            insert,
            given,
            sql.Identifier(temporary),
            sql.SQL(", ").join(map(sql.Identifier, key)),
            conflict,
        )
    ).rowcount
    inserted = _size(connection, target) - before
    return inserted, touched - inserted


def _size(connection: Connection, table: sql.Identifier) -> int:
    row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(table)).fetchone()
    return int(row[0]) if row else 0


def _words(declared: Declaration) -> Iterator[tuple[Word, str]]:
    for word in declaration_words(declared):
        column = table_column(word)
        if column is not None:
            yield word, column


def _columns(declared: Declaration) -> tuple[str, ...]:
    return tuple(column for _, column in _words(declared))


def _typed(declared: Declaration) -> sql.Composed:
    """Staged texts of a batch as `loan_typed`: each column in its type (NULL where it can't be read), and its text."""
    parts: list[sql.Composable] = [sql.SQL("id, row_number")]
    for word, column in _words(declared):
        raw: sql.Composable = sql.SQL("NULLIF(btrim({}), '')").format(sql.Identifier(column))
        text = sql.SQL("CASE WHEN lower({0}) = ANY({1}) THEN NULL ELSE {0} END").format(raw, sorted(MISSING))
        value: sql.Composable = text
        if word.kind in (Kind.NUMBER, Kind.INTEGER):
            said = [
                sql.SQL("WHEN lower({}) = {} THEN {}").format(raw, small, float(declared))
                for small, declared in spellings(word).items()
            ]
            value = sql.SQL("CASE WHEN {0} ~ {1} THEN ({0})::double precision {2} END").format(
                raw, _NUMBER, sql.SQL(" ").join(said)
            )
        elif known := spellings(word):
            whens = [sql.SQL("WHEN {} THEN {}").format(small, declared) for small, declared in known.items()]
            value = sql.SQL("CASE lower({0}) {1} ELSE {2} END").format(raw, sql.SQL(" ").join(whens), text)
        parts.append(sql.SQL("{} AS {}").format(value, sql.Identifier(column)))
        parts.append(sql.SQL("{} AS {}").format(text, sql.Identifier(f"{column}_text")))
    return sql.SQL("CREATE TEMP TABLE loan_typed ON COMMIT DROP AS SELECT {} FROM {} WHERE batch = %(batch)s").format(
        sql.SQL(", ").join(parts), sql.Identifier(STAGING)
    )


def _rejections(declared: Declaration) -> Iterator[sql.Composed]:
    """One INSERT into `loan_rejects` for each rule."""
    key = declared.source.key[0]
    for word, column in _words(declared):
        name, text = sql.Identifier(column), sql.Identifier(f"{column}_text")
        rules: list[sql.Composable] = [sql.SQL("({} IS NULL AND {} IS NOT NULL)").format(name, text)]
        if word.name == key:
            rules.append(sql.SQL("{} IS NULL").format(name))
        if word.minimum is not None:
            rules.append(sql.SQL("{} < {}").format(name, word.minimum))
        if word.maximum is not None:
            rules.append(sql.SQL("{} > {}").format(name, word.maximum))
        if word.kind is Kind.CATEGORY:
            rules.append(sql.SQL("{} <> ALL({})").format(name, list(getattr(word, "categories", ()))))
        if word.kind is Kind.INTEGER:
            rules.append(sql.SQL("{0} <> round({0})").format(name))
        yield _reject(word.name, text, expected(word), sql.SQL(" OR ").join(rules))
    yield _reject(
        key,
        sql.Identifier(f"{key}_text"),
        f"one application for each {key}; rows that differ were all set aside",
        sql.SQL("{0} IN (SELECT {0} FROM loan_typed GROUP BY {0} HAVING count(DISTINCT ({1})) > 1)").format(
            sql.Identifier(key), sql.SQL(", ").join(map(sql.Identifier, _columns(declared)))
        ),
    )


def _reject(field: str, found: sql.Composable, wanted: str, rule: sql.Composable) -> sql.Composed:
    return sql.SQL(
        "INSERT INTO {} (staging_id, batch, row_number, loan_id, field, found, expected)"
        " SELECT id, %(batch)s, row_number, loan_id, {}, left({}, 120), {} FROM loan_typed WHERE {}"
        " ON CONFLICT DO NOTHING"
    ).format(sql.Identifier(REJECTS), field, found, wanted.replace("%", "%%"), rule)


def _good(declared: Declaration) -> sql.Composed:
    return sql.SQL(
        "CREATE TEMP TABLE loan_good ON COMMIT DROP AS SELECT DISTINCT {} FROM loan_typed AS t WHERE NOT EXISTS"
        " (SELECT FROM {} AS r WHERE r.batch = %(batch)s AND r.staging_id = t.id)"
    ).format(sql.SQL(", ").join(map(sql.Identifier, _columns(declared))), sql.Identifier(REJECTS))


def _counts(connection: Connection, batch: str) -> tuple[int, int, int]:
    row = connection.execute(
        sql.SQL(
            "SELECT (SELECT count(*) FROM loan_typed),"
            " (SELECT count(DISTINCT staging_id) FROM {} WHERE batch = %s), (SELECT count(*) FROM loan_good)"
        ).format(sql.Identifier(REJECTS)),
        [batch],
    ).fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM gives one row
    return int(row[0]), int(row[1]), int(row[2])


def _scale(connection: Connection) -> Decimal:
    """What LoanAmount has to be multiplied by to be in units, read off how it compares with the monthly incomes."""
    row = connection.execute(
        "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY loan_amount), percentile_cont(0.5) WITHIN GROUP"
        " (ORDER BY applicant_income + COALESCE(coapplicant_income, 0)) FROM loan_typed"
        " WHERE loan_amount > 0 AND applicant_income > 0"
    ).fetchone()
    amount, income = row if row else (None, None)
    if amount is None or not income:
        return Decimal(1)
    if amount / income < _THOUSANDS_BELOW:
        return Decimal(1000)
    if _UNITS_ABOVE < amount / income < _UNITS_BELOW:
        return Decimal(1)
    raise ContractError(
        f"Half of the loans are below {amount:,.10g} and half of the incomes below {income:,.10g} a month: that fits "
        "neither amounts in units nor in thousands.",
        remedy="Say which: `--unit LoanAmount=1` for units, `--unit LoanAmount=1000` for thousands, "
        "`--unit LoanAmount=0.001` for thousandths.",
    )


def clear_staged(connection: Connection, batch: str) -> None:
    """Removes an earlier batch of that name from `loan_staging`, and why rows of it were set aside."""
    connection.execute(sql.SQL("DELETE FROM {} WHERE batch = %s").format(sql.Identifier(REJECTS)), [batch])
    connection.execute(sql.SQL("DELETE FROM {} WHERE batch = %s").format(sql.Identifier(STAGING)), [batch])


def stage(connection: Connection, batch: str, rows: Iterable[Sequence[Any]]) -> int:
    """Adds rows to a batch in `loan_staging`.

    Args:
        connection: Of the caller's transaction.
        batch: What arrives together.
        rows: Tuples of the row's number in its file and a text or None for each declared column, in their order.

    Returns:
        Number of rows.
    """
    columns = sql.SQL(", ").join(map(sql.Identifier, ("batch", "row_number", *_columns(LOAN_APPROVAL))))
    count = 0
    with (
        connection.cursor() as cursor,
        cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(STAGING), columns)) as copy,
    ):
        for row in rows:
            copy.write_row((batch, *row))
            count += 1
    return count


def rejected_rows(batch: str) -> sql.Composed:
    """A SELECT of a batch's reasons: row number, loan_id, field, found, expected."""
    return sql.SQL(
        "SELECT COALESCE(row_number, 0), COALESCE(loan_id, ''), field, COALESCE(found, 'NULL'), expected FROM {}"
        " WHERE batch = {} ORDER BY staging_id, field"
    ).format(sql.Identifier(REJECTS), batch)
