"""What is peculiar to single tables when a file is imported: names of places, and candles that must hang together."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd
from psycopg import sql

from sigap.catalog import Declaration
from sigap.catalog.declaration import Forecasting
from sigap.data.mapping import Headings
from sigap.data.market import STEPS
from sigap.data.postgres import Connection
from sigap.data.refusals import Refusal
from sigap.data.repair import TEXT, plain_name
from sigap.errors import FileError

_DISTRICTS = frozenset({"kabkota", "kabupaten", "kota", "kabupatenkota", "district", "regency"})


def constants(declared: Declaration) -> dict[str, str]:
    """Columns of the table that are no part of the declaration and the same for all rows of a file, by name."""
    if declared.source.table == "candles":
        return {"product": "BTC-USD", "step": declared.task_as(Forecasting).step}
    return {}


def derived(declared: Declaration, known: Collection[str]) -> set[str]:
    """Declared names that can be made of those that are known: a province's code of its name and the reverse."""
    if declared.source.table == "education_data" and {"provinsi", "provinsi_id"} & set(known):
        return {"provinsi", "provinsi_id"}
    return set()


def refuse_finer(declared: Declaration, mapping: Headings) -> None:
    """Refuses figures of districts that are only known by their province: they would become the province's own.

    Raises:
        FileError: The file has a column of districts and none of codes.
    """
    districts = [name for name in mapping.unused if plain_name(name) in _DISTRICTS]
    if declared.source.table == "education_data" and "provinsi_id" not in mapping.found and districts:
        raise FileError(
            f"The rows are of districts ({districts[0]!r}), but nothing gives a district's code.",
            remedy="Add a column provinsi_id with the BPS code of each, such as P3578.",
        )


def inconsistent(declared: Declaration, typed: Mapping[str, pd.Series[Any]]) -> list[Refusal]:
    """Rows whose values contradict each other although each alone is possible."""
    if isinstance(declared.task, Forecasting) and {"opened_at", "open", "high", "low", "close"} <= typed.keys():
        return _broken_candles(declared, typed)
    return []


def notices(connection: Connection, declared: Declaration, table: str) -> list[str]:
    """What its owner may want to know of rows that are in order, for people; `table` holds them."""
    if not isinstance(declared.task, Forecasting):
        return []
    step = STEPS[declared.task.step]
    opened = sql.Identifier(declared.source.key[0])
    found = connection.execute(
        sql.SQL(
            "SELECT count(*), sum(round(extract(epoch FROM at - before) / {step}) - 1)::bigint,"
            " (array_agg(before + {step} * interval '1 second' ORDER BY at - before DESC, at))[1],"
            " (array_agg(at ORDER BY at - before DESC, at))[1]"
            " FROM (SELECT {0} AS at, lag({0}) OVER (ORDER BY {0}) AS before FROM {1}) AS pairs"
            " WHERE at - before > {step} * interval '1 second'"
        ).format(opened, sql.Identifier(table), step=step)
    ).fetchone()
    if not found or not found[0]:
        return []
    gaps, missing, start, end = found
    return [
        f"{missing} candles are missing in {gaps} gaps, the longest from {start:%Y-%m-%d %H:%M} "
        f"to {end:%Y-%m-%d %H:%M}; gaps stay gaps"
    ]


class Repairs:
    """Repairs rows, some at a time, with what stands in tables of the database.

    Args:
        connection: Of the import's transaction.
        declared: Whose rows.
    """

    def __init__(self, connection: Connection, declared: Declaration) -> None:
        self._places = declared.source.table == "education_data"
        self._official: dict[str, str] = {}
        self._codes: dict[str, str] = {}
        self._coded = self._renamed = 0
        if self._places:
            rows = connection.execute("SELECT provinsi_id, provinsi, alias FROM provinces").fetchall()
            self._official = {str(code): str(name) for code, name, _ in rows}
            self._codes = {plain_name(name): code for code, name in self._official.items()}
            for code, _, alias in rows:
                self._codes |= {plain_name(other): str(code) for other in str(alias).split(";") if other.strip()}

    def apply(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, list[Refusal]]:
        """The rows repaired, and reasons of those that can't be stored.

        Args:
            frame: Texts under their declared names; the index is the row's number in the file.
        """
        return self._with_official_names(frame.copy()) if self._places else (frame, [])

    def notes(self) -> list[str]:
        """What was done so far, for people."""
        notes = []
        if self._coded:
            notes.append(f"provinces are known by name: {self._coded} rows got their code")
        if self._renamed:
            notes.append(f"{self._renamed} names are written as in the table provinces")
        return notes

    def _with_official_names(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, list[Refusal]]:
        refused: list[Refusal] = []
        if "provinsi_id" in frame:
            bare = frame["provinsi_id"].str.fullmatch(r"\d{2}(\d{2})?").fillna(False)
            frame["provinsi_id"] = frame["provinsi_id"].str.upper().mask(bare, "P" + frame["provinsi_id"])
        else:
            plain = frame["provinsi"].map(plain_name, na_action="ignore")
            frame["provinsi_id"] = plain.map(self._codes).astype(TEXT)
            refused = _unknown_places(frame, self._official)
            self._coded += int(frame["provinsi_id"].notna().sum())
        names = frame["provinsi_id"].map(self._official).astype(TEXT)
        if "provinsi" in frame:
            self._renamed += int((names.notna() & (names != frame["provinsi"])).sum())
            names = names.fillna(frame["provinsi"])
        frame["provinsi"] = names
        return frame, refused


def _unknown_places(frame: pd.DataFrame, official: Mapping[str, str]) -> list[Refusal]:
    refused = []
    lost = frame["provinsi_id"].isna() & frame["provinsi"].notna()
    for row, name in frame.loc[lost, "provinsi"].items():
        near = difflib.get_close_matches(str(name).title(), official.values(), n=1, cutoff=0.6)
        hint = f"; did it mean {near[0]}?" if near else ""
        refused.append(Refusal(int(str(row)), "", "provinsi", str(name), f"a name of the table provinces{hint}"))
    return refused


def _broken_candles(declared: Declaration, typed: Mapping[str, pd.Series[Any]]) -> list[Refusal]:
    prices = {
        name: pd.to_numeric(typed[name], errors="coerce").astype("Float64") for name in ("open", "high", "low", "close")
    }
    frame = pd.DataFrame(prices)
    highest, lowest = frame[["open", "close", "low"]].max(axis=1), frame[["open", "close", "high"]].min(axis=1)
    refused = []
    for bad, name, wanted in (
        (frame["high"] < highest, "high", "the highest price of the candle"),
        (frame["low"] > lowest, "low", "the lowest price of the candle"),
    ):
        for row in frame.index[bad.fillna(False)]:
            key = str(typed["opened_at"][row])
            refused.append(Refusal(int(row), key, name, f"{frame.loc[row, name]}", wanted))
    opened = typed["opened_at"]
    step = declared.task_as(Forecasting).step
    off = opened.notna() & (opened != opened.dt.floor(pd.Timedelta(seconds=STEPS[step])))
    for row in opened.index[off]:
        refused.append(
            Refusal(int(row), str(opened[row]), "opened_at", str(opened[row]), f"a start of a {step} candle")
        )
    return refused
