"""A stated shift written into a model's table, in one transaction, with the way back kept beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from psycopg import sql

from sigap.catalog import Declaration, Feature, declaration
from sigap.catalog.declaration import Forecasting
from sigap.data.contract import table_column
from sigap.data.postgres import Connection, connect, translated
from sigap.decisions import person
from sigap.errors import ConfigurationError
from sigap.monitoring.simulate import Moved, champion_of, chosen_features, shifted
from sigap.settings import Settings
from sigap.simulations import record_of


@dataclass(frozen=True)
class Written:
    """What was written, or brought back.

    Attributes:
        table: Where.
        rows: How many rows.
        moved: The shifted features; none when brought back.
        left: Rows that somebody has changed since, and that were left as they are.
    """

    table: str
    rows: int
    moved: tuple[Moved, ...] = ()
    left: int = 0


def write_shift(
    model: str,
    settings: Settings,
    *,
    feature: str | None = None,
    by: float = 1.0,
    rows: int = 200,
    asked_by: str = "",
) -> Written:
    """Shifts numbers of at most `rows` rows of the table, of its newest period where it has periods.

    Args:
        model: Name of a declaration.
        settings: Where PostgreSQL and the registry are.
        feature: The number to shift; by default all that the champion uses.
        by: Shift in standard deviations of the rows that are changed.
        rows: Most rows to change.
        asked_by: Who wants it, as it is written down beside the way back; by default this account.

    Raises:
        ConfigurationError: An earlier shift was not taken back, or the model's table can't be shifted so.
        ServiceError: PostgreSQL can't be reached, or refuses.
        RegistryError: There is no champion, or MLflow can't be reached.
    """
    declared, record = declaration(model), record_of(settings, model)
    if record.exists():
        raise ConfigurationError(
            f"The table of {model} holds a simulated shift already ({record}).",
            remedy=f"Take it back first: ./run simulate-drift {model} --undo.",
        )
    if isinstance(declared.task, Forecasting):
        raise ConfigurationError(
            f"The table of {model} is a series of prices, where a shift of values is only another price level.",
            remedy=f"Shift its live inputs: ./run simulate-drift {model} --into live.",
        )
    features = [each for each in chosen_features(declared, champion_of(settings, model), feature) if table_column(each)]
    keys = _keys(declared)
    columns = [str(table_column(each)) for each in features]
    with connect(settings) as connection, translated(settings, f"Shifting {declared.source.table}"):
        found = _rows(connection, declared, keys, columns, rows)
        moved = [_move(each, column, found, by) for each, column in zip(features, columns, strict=True)]
        after = [_updated(connection, declared, keys, columns, row) for row in found.astype(object).to_dict("records")]
        content = {
            "table": declared.source.table,
            "asked_by": asked_by or person(),
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "keys": keys,
            "columns": columns,
            "rows": [
                {"key": [str(row[name]) for name in keys], "before": [_text(row[f"{name} before"]) for name in columns],
                 "after": values}
                for row, values in zip(found.astype(object).to_dict("records"), after, strict=True)
            ],
        }  # fmt: skip
        # Before the commit: a shift without the way back is worse than a way back without a shift.
        record.parent.mkdir(parents=True, exist_ok=True)
        draft = record.with_suffix(".draft")
        draft.write_text(json.dumps(content), encoding="utf-8")
        draft.replace(record)
        try:
            connection.commit()
        except BaseException:
            record.unlink(missing_ok=True)
            raise
    return Written(declared.source.table, len(found), tuple(moved))


def undo_shift(model: str, settings: Settings) -> Written:
    """Brings back what was there before, in one transaction; rows that somebody changed since stay as they are.

    Raises:
        ConfigurationError: There is nothing to take back.
        ServiceError: PostgreSQL can't be reached, or refuses.
    """
    declaration(model)
    record = record_of(settings, model)
    if not record.exists():
        raise ConfigurationError(f"No simulated shift of {model} is to be taken back ({record} does not exist).")
    content = json.loads(record.read_text(encoding="utf-8"))
    keys, columns = content["keys"], content["columns"]
    restored = 0
    with connect(settings) as connection, translated(settings, f"Restoring {content['table']}"):
        for row in content["rows"]:
            assignments = sql.SQL(", ").join(
                sql.SQL("{} = CAST(%s AS numeric)").format(sql.Identifier(name)) for name in columns
            )
            same = [sql.SQL("{}::text IS NOT DISTINCT FROM %s").format(sql.Identifier(name)) for name in columns]
            statement = sql.SQL("UPDATE {} SET {} WHERE {}").format(
                sql.Identifier(content["table"]), assignments, sql.SQL(" AND ").join([*_at(keys), *same])
            )
            restored += connection.execute(statement, [*row["before"], *row["key"], *row["after"]]).rowcount
        connection.commit()
    record.unlink()
    return Written(content["table"], restored, left=len(content["rows"]) - restored)


def _keys(declared: Declaration) -> list[str]:
    keys = [table_column(declared.column(name)) for name in declared.source.key]
    if None in keys:
        raise ConfigurationError(
            f"The key of {declared.name} is not a column of {declared.source.table} alone.",
            remedy=f"Shift its live inputs: ./run simulate-drift {declared.name} --into live.",
        )
    return [str(key) for key in keys]


def _rows(
    connection: Connection, declared: Declaration, keys: list[str], columns: list[str], limit: int
) -> pd.DataFrame:
    """Keys and values of the rows to change, locked; drawn by a hash of their key, the same ones each time."""
    names = sql.SQL(", ").join(sql.Identifier(name) for name in [*keys, *columns])
    table = sql.Identifier(declared.source.table)
    time = table_column(declared.column(declared.source.time)) if declared.source.time else None
    # Of several periods the newest with figures is what a model is trained on.
    figures = sql.SQL(" OR ").join(sql.SQL("{} IS NOT NULL").format(sql.Identifier(name)) for name in columns)
    newest = (
        sql.SQL("WHERE {0} = (SELECT max({0}) FROM {1} WHERE {2})").format(sql.Identifier(time), table, figures)
        if time
        else sql.SQL("")
    )
    digest = sql.SQL(" || '/' || ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in keys)
    statement = sql.SQL("SELECT {} FROM {} {} ORDER BY md5({}) LIMIT %s FOR UPDATE").format(
        names, table, newest, digest
    )
    found = connection.execute(statement, [limit]).fetchall()
    if not found:
        raise ConfigurationError(f"The table {declared.source.table} holds no rows to shift.")
    return pd.DataFrame(found, columns=[*keys, *columns])


def _move(feature: Feature, column: str, rows: pd.DataFrame, by: float) -> Moved:
    """Shifts a column of `rows` and keeps what was there beside it."""
    rows[f"{column} before"] = rows[column]
    before = rows[column].astype("float64")
    # Of a single value, or of none, there is no deviation to shift by.
    spread = float(before.std()) if before.notna().sum() > 1 else 0.0
    moved, clipped = shifted(feature, before, by, spread)
    rows[column] = moved
    got = float((moved - before).mean() / spread) if spread > 0 else 0.0
    return Moved(feature.name, by, got, clipped)


def _updated(
    connection: Connection, declared: Declaration, keys: list[str], columns: list[str], row: Mapping[Any, Any]
) -> list[str | None]:
    """Writes a row; its values as PostgreSQL has them afterwards."""
    assignments = sql.SQL(", ").join(
        sql.SQL("{} = CAST(%s AS numeric)").format(sql.Identifier(name)) for name in columns
    )
    back = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in columns)
    statement = sql.SQL("UPDATE {} SET {} WHERE {} RETURNING {}").format(
        sql.Identifier(declared.source.table), assignments, sql.SQL(" AND ").join(_at(keys)), back
    )
    values = [_text(row[name]) for name in columns]
    written = connection.execute(statement, [*values, *(str(row[name]) for name in keys)]).fetchone()
    assert written is not None  # noqa: S101 - the row is locked
    return list(written)


def _at(keys: list[str]) -> list[sql.Composed]:
    return [sql.SQL("{}::text = %s").format(sql.Identifier(name)) for name in keys]


def _text(value: Any) -> str | None:
    return None if value is None or pd.isna(value) else str(value)
