"""The rows of an import on their way into the table: each key once, whatever the file repeats."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import psycopg
import pyarrow as pa
import pyarrow.csv
from psycopg import sql

from sigap.catalog import Declaration
from sigap.data import loans
from sigap.data.contract import table_column
from sigap.data.mapping import importable
from sigap.data.origin import has_origin
from sigap.data.postgres import Connection
from sigap.data.refusals import Refusals
from sigap.errors import ContractError

TABLE = "import_rows"
_NUMBER = "import_row"
_REPEATED = "import_repeated"


class ImportRows:
    """Rows that keep the contract, in a temporary table of the import's transaction.

    Args:
        connection: Of that transaction; the table goes with its end.
        declaration: Whose rows.
        names: The declared names that the file gives.
        constants: Further columns of the table that are the same for all rows.

    Raises:
        ContractError: The table lacks a column.
    """

    def __init__(
        self, connection: Connection, declaration: Declaration, names: Sequence[str], constants: Mapping[str, str]
    ) -> None:
        words = {word.name: table_column(word) or word.name for word in importable(declaration)}
        self._connection = connection
        self._declaration = declaration
        self._names = list(names)
        self._constants = dict(constants)
        self._columns = tuple(words[name] for name in names)
        self._key = tuple(words[name] for name in declaration.source.key)
        listed = _listed((*self._constants, *self._columns))
        try:
            connection.execute(
                sql.SQL("CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT {}, 0::bigint AS {} FROM {} LIMIT 0").format(
                    sql.Identifier(TABLE), listed, sql.Identifier(_NUMBER), sql.Identifier(declaration.source.table)
                )
            )
        except psycopg.errors.UndefinedColumn as error:
            raise ContractError(
                f"The table {declaration.source.table} is not as declared: {error.diag.message_primary}.",
                remedy=f"Add the column ({declaration.name!r} is declared in sigap/catalog/{declaration.name}.py).",
            ) from error

    def add(self, good: pa.RecordBatch, numbers: Sequence[int]) -> None:
        """Takes rows, and the number of each in the file."""
        if not good.num_rows:
            return
        arrays = [_csv_plain(good.column(name)) for name in self._names]
        table = pa.table([*arrays, pa.array(numbers, pa.int64())], names=[*self._columns, _NUMBER])
        for at, (name, value) in enumerate(self._constants.items()):
            table = table.add_column(at, name, pa.repeat(pa.scalar(value), table.num_rows))
        content = io.BytesIO()
        # By columns: several times as fast as a Python call a row.
        pyarrow.csv.write_csv(table, content, pyarrow.csv.WriteOptions(include_header=False))
        statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(
            sql.Identifier(TABLE), _listed((*self._constants, *self._columns, _NUMBER))
        )
        with self._connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(content.getbuffer())

    def settle(self, refusals: Refusals) -> int:
        """Keeps one of equal rows, and sets all rows of a key aside where they differ: which is true can't be known.

        Returns:
            How many rows repeat another one.
        """
        key, table, repeated = _listed(self._key), sql.Identifier(TABLE), sql.Identifier(_REPEATED)
        found = self._connection.execute(
            sql.SQL(
                "CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT {key}, min({}) AS first, count(*) AS variants FROM {}"
                " GROUP BY {key} HAVING count(*) > 1"
            ).format(repeated, sql.Identifier(_NUMBER), table, key=key)
        ).rowcount
        if not found:
            return 0
        same = sql.SQL(" AND ").join(sql.SQL("r.{0} = d.{0}").format(sql.Identifier(name)) for name in self._key)
        values = sql.SQL(", ").join(sql.SQL("r.{}").format(sql.Identifier(name)) for name in self._columns)
        self._connection.execute(
            sql.SQL(
                "UPDATE {0} AS u SET variants = v.variants FROM (SELECT d.first, count(DISTINCT ROW({1})) AS variants"
                " FROM {2} AS r JOIN {0} AS d ON {3} GROUP BY d.first) AS v WHERE u.first = v.first"
            ).format(repeated, values, table, same)
        )
        shown = sql.SQL("concat_ws(', ', {})").format(
            sql.SQL(", ").join(sql.SQL("r.{}").format(sql.Identifier(name)) for name in self._key)
        )
        refusals.add_from(
            sql.SQL(
                "SELECT r.{}, {}, {}, {}, 'one row for each key' FROM {} AS r JOIN {} AS d ON {} WHERE d.variants > 1"
            ).format(
                sql.Identifier(_NUMBER), shown, ", ".join(self._declaration.source.key), shown, table, repeated, same
            )
        )
        self._connection.execute(
            sql.SQL("DELETE FROM {} AS r USING {} AS d WHERE {} AND d.variants > 1").format(table, repeated, same)
        )
        return self._connection.execute(
            sql.SQL("DELETE FROM {} AS r USING {} AS d WHERE {} AND r.{} <> d.first").format(
                table, repeated, same, sql.Identifier(_NUMBER)
            )
        ).rowcount

    def count(self) -> int:
        """How many rows there are."""
        found = self._connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(TABLE))).fetchone()
        return int(found[0]) if found else 0

    def store(self) -> tuple[int, int, int]:
        """Puts the rows into the table by their key; mock rows make room for the first.

        Returns:
            Rows that are new, rows that are different now, and mock rows that were removed.

        Raises:
            ContractError: The table has no unique key.
        """
        table = self._declaration.source.table
        marked = has_origin(self._connection, table)
        removed = self._remove_mock(table) if marked and self.count() else 0
        columns, key = (*self._constants, *self._columns), (*self._constants, *self._key)
        try:
            inserted, changed = loans.upsert(self._connection, TABLE, table, columns, key, "import" if marked else "")
        except psycopg.errors.InvalidColumnReference as error:
            raise ContractError(
                f"The table {table} has no unique key on {', '.join(key)}, so rows can't be told apart.",
                remedy=f"ALTER TABLE {table} ADD PRIMARY KEY ({', '.join(key)})",
            ) from error
        return inserted, changed, removed

    def _remove_mock(self, table: str) -> int:
        where = sql.SQL("").join(
            sql.SQL(" AND {} = {}").format(sql.Identifier(name), value) for name, value in self._constants.items()
        )
        return self._connection.execute(
            sql.SQL("DELETE FROM {} WHERE origin = 'mock'{}").format(sql.Identifier(table), where)
        ).rowcount


def _listed(columns: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))


def _csv_plain(array: pa.Array) -> pa.Array:
    """Moments as texts that PostgreSQL reads in any time zone of the session."""
    return pa.compute.cast(array, pa.string()) if pa.types.is_timestamp(array.type) else array
