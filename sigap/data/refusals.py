"""Why rows of a file were set aside: kept in a temporary table, so that a million reasons need no memory here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path

from psycopg import sql

from sigap.data.postgres import Connection

TABLE = "import_refusals"
_COLUMNS = '"row", key, field, found, expected'


@dataclass(frozen=True)
class Refusal:
    """Why a row was set aside: the row's number in the file, its key, the field, what stood there, what is expected."""

    row: int
    key: str
    field: str
    found: str
    expected: str


class Refusals:
    """The reasons of one import, in its transaction.

    Args:
        connection: Of that transaction; the table goes with its end.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        connection.execute(
            f'CREATE TEMP TABLE {TABLE} (id bigserial, "row" bigint, key text, field text, found text, expected text)'
            " ON COMMIT DROP".encode()
        )

    def add(self, refused: Iterable[Refusal]) -> None:
        """Takes some more."""
        with (
            self._connection.cursor() as cursor,
            cursor.copy(f"COPY {TABLE} ({_COLUMNS}) FROM STDIN".encode()) as copy,
        ):
            for each in refused:
                copy.write_row(astuple(each))

    def add_from(self, select: sql.Composable, *values: object) -> None:
        """Takes those that a SELECT gives: row number, key, field, found, expected."""
        insert = sql.SQL(f"INSERT INTO {TABLE} ({_COLUMNS}) {{}}").format(select)
        self._connection.execute(insert, values or None)

    def rows(self) -> int:
        """How many rows there is a reason for."""
        found = self._connection.execute(f'SELECT count(DISTINCT "row") FROM {TABLE}'.encode()).fetchone()  # noqa: S608
        return int(found[0]) if found else 0

    def first(self) -> Refusal | None:
        """The reason of the file's first row that has one."""
        query = f'SELECT {_COLUMNS} FROM {TABLE} ORDER BY "row", id LIMIT 1'  # noqa: S608 - our own names
        found = self._connection.execute(query.encode()).fetchone()
        return Refusal(*found) if found else None

    def write(self, path: Path) -> Path | None:
        """Writes them to a CSV in the file's order; None, and no file there, if there are none."""
        if self.first() is None:
            path.unlink(missing_ok=True)
            return None
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.draft")
        query = f'COPY (SELECT {_COLUMNS} FROM {TABLE} ORDER BY "row", id) TO STDOUT (FORMAT csv, HEADER)'  # noqa: S608
        with (
            draft.open("wb") as file,
            self._connection.cursor() as cursor,
            cursor.copy(query.encode()) as copy,
        ):
            file.writelines(copy)
        return draft.replace(path)
