"""What `./run import` says of what it did."""

from __future__ import annotations

import csv
import json
import os
import signal
from pathlib import Path
from typing import Any

import psycopg
import pytest
import typer

from sigap.cli import importing
from sigap.cli.importing import import_told, pairs, run_import, show
from sigap.data.importing import Imported
from sigap.data.understanding import Options
from sigap.errors import FileError, SigapError
from sigap.settings import Settings


def test_the_commonest_reasons_and_what_a_missing_column_means_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rejects = tmp_path / "cars-broken.csv"
    rejects.write_text(
        "row,key,field,found,expected\n"
        "5,4,price,-1,a number of at least 100\n"
        '9,8,horsepower,"strong, very",a whole number\n'
        "11,10,horsepower,weak,a whole number\n"
        "12,,,3 cells,as many cells as headings\n"
    )
    show(
        Imported(
            table="cars",
            model="car_price",
            file="broken.csv",
            kind="CSV",
            rows=9,
            inserted=5,
            changed=0,
            unchanged=0,
            doubles=0,
            rejected=4,
            rejects_path=rejects,
            mock_removed=0,
            headings={"price": "Price"},
            missing=("enginesize",),
            unused=(),
            notes=(),
            dry_run=True,
            mock_said=2,
        )
    )
    said = capsys.readouterr().out.splitlines()
    assert "broken.csv (CSV) → cars" in said
    assert "Not in the file: enginesize. Rows that stand keep their values; new rows have none." in said
    first = said.index("  2 × horsepower: expected a whole number; found strong, very in row 9")
    assert said[first + 1 : first + 3] == [
        "  1 × price: expected a number of at least 100; found -1 in row 5",
        "  1 × row: expected as many cells as headings; found 3 cells in row 12",
    ]
    assert str(rejects) in said[first + 3]
    assert "2 rows say that they are mock (column origin)." in " ".join(said)


NUMBERS = ("price", "horsepower", "carlength", "carwidth", "curbweight", "enginesize", "citympg")


def imported(**changes: Any) -> Imported:
    nothing = {"rows": 0, "inserted": 0, "changed": 0, "unchanged": 0, "doubles": 0, "rejected": 0, "mock_removed": 0}
    told = {"table": "cars", "model": "car_price", "file": "cars.csv", "kind": "CSV", "rejects_path": None}
    words = {"headings": {}, "missing": (), "unused": (), "notes": (), "dry_run": False}
    return Imported(**{**nothing, **told, **words, **changes})


def test_what_did_not_happen_is_not_said(capsys: pytest.CaptureFixture[str]) -> None:
    show(imported(rows=3, unchanged=3))
    said = capsys.readouterr().out
    assert "3 rows: 0 new, 0 changed, 3 unchanged, 0 set aside." in said
    for words in ("Not in the file", "Not needed", "Note", "repeated", "mock", "dry run", "trains on it"):
        assert words not in said
    show(imported(rows=3, changed=1, doubles=2, mock_removed=7, unused=("colour",), notes=("two dates mended",)))
    said = capsys.readouterr().out
    for words in ("Not needed: colour", "Note: two dates mended.", "2 repeated in the file", "7 mock rows give way"):
        assert words in said
    assert "`./run pipeline car_price` trains on it" in said


def test_of_many_reasons_the_commonest_are_said_and_the_others_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rejects = tmp_path / "rejects.csv"
    lines = [[str(row), "1", name, "x", "a number"] for row, name in enumerate((*NUMBERS, "price"), 2)]
    with rejects.open("w", newline="") as file:
        csv.writer(file).writerows([["row", "key", "field", "found", "expected"], *lines])
    show(imported(rows=8, rejected=8, rejects_path=rejects))
    said = capsys.readouterr().out
    assert "2 × price: expected a number; found x in row 2" in said
    assert f"and {len(NUMBERS) - 5} other reasons" in said


def test_a_word_without_a_value_is_refused() -> None:
    assert pairs(["tahun=2025", "provinsi=a=b", "note="], "--set") == {"tahun": "2025", "provinsi": "a=b", "note": ""}
    for word in ("tahun", "=2025", ""):
        with pytest.raises(typer.BadParameter, match="--set takes NAME=VALUE"):
            pairs([word], "--set")


@pytest.fixture
def given(seeded_database: str, tmp_path: Path) -> Settings:
    return Settings(_env_file=None, state_dir=tmp_path / "state", DATABASE_URL=seeded_database)


def figures(settings: Settings, folder: Path, *more: dict[str, Any]) -> Path:
    """A row of the table as a file, and it again with other cells."""
    with psycopg.connect(settings.dsn) as connection:
        cursor = connection.execute("SELECT * FROM education_data ORDER BY provinsi_id, tahun LIMIT 1")
        row = {each.name: value for each, value in zip(cursor.description or (), cursor.fetchone() or (), strict=True)}
    row = {name: value for name, value in row.items() if name not in ("created_at", "updated_at", "origin")}
    path = folder / "figures.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([list(row), *((row | changes).values() for changes in ({}, *more))])
    return path


def test_a_program_is_told_of_each_row_that_was_set_aside_and_of_none(given: Settings, tmp_path: Path) -> None:
    whole = "SELECT count(*), count(DISTINCT tahun) FROM education_data"
    with psycopg.connect(given.dsn) as connection:
        before = connection.execute(whole).fetchone()
    told = import_told(given, "education", figures(given, tmp_path), Options(dry_run=True), "a test")
    assert (told["table"], told["rows"], told["rejected"], told["dry_run"]) == ("education_data", 1, 0, True)
    assert (told["reasons"], told["refused"]) == ([], [])
    told = import_told(given, "education", figures(given, tmp_path, {"tahun": "soon"}), Options(dry_run=True), "a test")
    assert told["rejected"] == 1
    assert [(each["field"], each["rows"]) for each in told["reasons"]] == [("tahun", 1)]
    assert [(each["row"], each["field"], each["found"]) for each in told["refused"]] == [(3, "tahun", "soon")]
    assert json.loads(json.dumps(told)) is not None
    with psycopg.connect(given.dsn) as connection:
        assert connection.execute(whole).fetchone() == before


def test_the_word_shows_its_steps_and_a_file_that_is_none_fails_in_one(
    given: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_import(given, "education_data", figures(given, tmp_path), Options(dry_run=True))
    said = capsys.readouterr().out
    assert said.startswith("Import figures.csv\n")
    assert "This was a dry run; nothing was changed." in said
    with pytest.raises(FileError, match="no table 'boats'"):
        run_import(given, "boats", tmp_path / "boats.csv", Options())
    with pytest.raises(SigapError, match=r"nowhere\.csv"):
        run_import(given, "education", tmp_path / "nowhere.csv", Options())
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    with pytest.raises(SigapError, match="empty"):
        run_import(given, "education", empty, Options())


def test_stopped_in_the_middle_nothing_was_changed(
    given: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = "SELECT to_jsonb(t) FROM education_data AS t ORDER BY provinsi_id, tahun"
    with psycopg.connect(given.dsn) as connection:
        before = connection.execute(whole).fetchall()
    path, begin = figures(given, tmp_path, {"tahun": 2030}), importing.import_file

    def stopped(*words: Any, progress: Any, **others: Any) -> Imported:
        def tell(what: str, detail: str) -> None:
            progress(what, detail)
            # As Ctrl-C comes, in the middle of a step.
            os.kill(os.getpid(), signal.SIGINT)

        return begin(*words, progress=tell, **others)

    monkeypatch.setattr(importing, "import_file", stopped)
    with pytest.raises(typer.Exit) as ended:
        run_import(given, "education", path, Options())
    assert ended.value.exit_code == 130
    said = capsys.readouterr().out
    assert "failed" in said
    assert "Stopped; nothing was changed." in said
    with psycopg.connect(given.dsn) as connection:
        assert connection.execute(whole).fetchall() == before
