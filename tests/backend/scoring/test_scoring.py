"""A partitioned data set is scored whole: each row in its place, each partition once, whatever is killed or wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock

from backend.requests import Validator
from backend.scoring.run import Scored, score_folder
from backend.served import load
from sigap.catalog import Declaration
from sigap.catalog.bitcoin_price import BITCOIN_PRICE
from sigap.catalog.car_price import CAR_PRICE
from sigap.catalog.credit_approval import CREDIT_APPROVAL
from sigap.catalog.customer_segments import CUSTOMER_SEGMENTS
from sigap.data import mock
from sigap.errors import BundleError, FileError
from sigap.settings import ROOT, Settings
from tests.backend.task_bundles import write_task_bundle

ROWS = {CAR_PRICE.name: mock.cars, CUSTOMER_SEGMENTS.name: mock.customers, CREDIT_APPROVAL.name: mock.credits}


def data_set(folder: Path, declared: Declaration = CAR_PRICE, parts: int = 3, rows: int = 40) -> Path:
    """Partitions of made rows, the key in front."""
    folder.mkdir(parents=True)
    table = ROWS[declared.name](parts * rows)
    for at in range(parts):
        table[at * rows : (at + 1) * rows].to_parquet(folder / f"part-{at:03}.parquet", index=False)
    return folder


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles")
    for declared in (CAR_PRICE, CUSTOMER_SEGMENTS, CREDIT_APPROVAL, BITCOIN_PRICE):
        write_task_bundle(folder / declared.name, declared)
    return folder


@pytest.fixture
def cars(tmp_path: Path) -> Path:
    return data_set(tmp_path / "in")


def scored(bundles: Path, source: Path, folder: Path, model: str = CAR_PRICE.name, **more: Any) -> Scored:
    settings = more.pop("settings", Settings())
    return score_folder(settings, model, source, folder, bundles / model, more.pop("version", "3"), **more)


def content(folder: Path) -> dict[str, bytes]:
    """The partitions' bytes, and the manifest's."""
    paths = [*folder.rglob("*.parquet"), folder / "_sigap" / "manifest.json"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def left(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*.draft")]


@pytest.mark.parametrize("declared", [CAR_PRICE, CUSTOMER_SEGMENTS, CREDIT_APPROVAL], ids=lambda each: each.name)
def test_rows_get_the_answers_of_the_api(declared: Declaration, bundles: Path, tmp_path: Path) -> None:
    source = data_set(tmp_path / "in", declared, parts=2)
    found = scored(bundles, source, tmp_path / "out", declared.name)
    served = load(
        bundles / declared.name, declared, Validator(declared), version="3", manifest_sha256="0" * 64, origin="disk"
    )
    assert (found.rows, found.refused, len(found.parts)) == (80, 0, 2)
    for name in ("part-000.parquet", "part-001.parquet"):
        given, got = pd.read_parquet(source / name), pd.read_parquet(tmp_path / "out" / name)
        pd.testing.assert_frame_equal(got[given.columns], given)
        assert set(got["status"]) == {"answered"}
        assert set(got["model_version"]) == {"v3"}
        assert got["problem"].isna().all()
        wanted = (*declared.request_columns, *declared.feature_names)
        for at in range(0, len(given), 7):
            row = {key: None if pd.isna(given[key][at]) else _plain(given[key][at]) for key in wanted}
            answer = served.predict(row)
            for key in set(answer) & set(got.columns) - set(given.columns):
                if isinstance(answer[key], float | int | str):
                    assert got[key][at] == answer[key], key


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def test_rows_that_break_the_contract_stay_with_their_reason(bundles: Path, tmp_path: Path) -> None:
    source = data_set(tmp_path / "in", parts=1)
    path = source / "part-000.parquet"
    table = pd.read_parquet(path)
    table.loc[3, "horsepower"] = 100_000
    table.loc[5, "fueltype"] = "steam"
    table.loc[6, "horsepower"] = 200_000
    table.to_parquet(path, index=False)
    found = scored(bundles, source, tmp_path / "out")
    got = pd.read_parquet(tmp_path / "out" / "part-000.parquet")
    assert list(got.index[got["status"] == "refused"]) == [3, 5, 6]
    assert "horsepower: found 100000" in got["problem"][3]
    assert "steam" in got["problem"][5]
    assert got["price_predicted" if "price_predicted" in got else "predicted_price"][[3, 5, 6]].isna().all()
    manifest = json.loads(found.manifest.read_text())
    assert (manifest["rows"], manifest["answered"], manifest["refused"]) == (40, 37, 3)
    assert sorted(manifest["reasons"].values()) == [1, 2]
    assert any(reason.startswith("horsepower: expected") for reason in manifest["reasons"])


def test_the_manifest_says_what_answered_and_what(bundles: Path, cars: Path, tmp_path: Path) -> None:
    found = scored(bundles, cars, tmp_path / "out")
    manifest = json.loads(found.manifest.read_text())
    assert manifest["complete"]
    assert manifest["model_version"] == "v3"
    assert manifest["trained_on"] == {"data_version": "v1", "data_md5": "0" * 32}
    assert [part["name"] for part in manifest["partitions"]] == [f"part-{at:03}.parquet" for at in range(3)]
    assert len(manifest["input_sha256"]) == 64
    assert pq.read_schema(tmp_path / "out" / "part-000.parquet").metadata[b"sigap.model_version"] == b"v3"
    # The folder is a data set again, as readers of such take it.
    assert len(pd.read_parquet(tmp_path / "out")) == 120


def test_the_same_again_changes_nothing_and_scores_nothing(bundles: Path, cars: Path, tmp_path: Path) -> None:
    first, once = scored(bundles, cars, tmp_path / "out"), content(tmp_path / "out")
    again = scored(bundles, cars, tmp_path / "out")
    assert (first.kept, again.kept) == (0, 3)
    assert content(tmp_path / "out") == once
    elsewhere = scored(bundles, cars, tmp_path / "other")
    assert elsewhere.kept == 0
    assert content(tmp_path / "other") == once


def test_processes_write_the_same_bytes(bundles: Path, cars: Path, tmp_path: Path) -> None:
    scored(bundles, cars, tmp_path / "one")
    scored(bundles, cars, tmp_path / "two", processes=2)
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_what_was_altered_or_changed_is_scored_again(bundles: Path, cars: Path, tmp_path: Path) -> None:
    scored(bundles, cars, tmp_path / "out")
    once = content(tmp_path / "out")
    (tmp_path / "out" / "part-001.parquet").write_bytes(b"")
    record = tmp_path / "out" / "_sigap" / "parts.jsonl"
    record.write_text(record.read_text() + '{"name": "part-002.par')  # cut off by a kill
    assert scored(bundles, cars, tmp_path / "out").kept == 2
    assert content(tmp_path / "out") == once
    table = pd.read_parquet(cars / "part-002.parquet")[:10]
    table.to_parquet(cars / "part-002.parquet", index=False)
    again = scored(bundles, cars, tmp_path / "out")
    assert (again.kept, again.rows) == (2, 90)


def test_partitions_in_folders_that_name_a_column(bundles: Path, tmp_path: Path) -> None:
    table = mock.cars(20)
    for fuel in ("gas", "diesel"):
        folder = tmp_path / "in" / f"fueltype={fuel}"
        folder.mkdir(parents=True)
        table[table["fueltype"] == fuel].drop(columns="fueltype").to_parquet(folder / "0.parquet", index=False)
    (tmp_path / "in" / "_SUCCESS").touch()
    found = scored(bundles, tmp_path / "in", tmp_path / "out")
    assert (found.rows, found.refused) == (20, 0)
    assert sorted(part.name for part in found.parts) == ["fueltype=diesel/0.parquet", "fueltype=gas/0.parquet"]
    assert (tmp_path / "out" / "fueltype=gas" / "0.parquet").is_file()


def test_odd_partitions(bundles: Path, cars: Path, tmp_path: Path) -> None:
    empty = pd.read_parquet(cars / "part-000.parquet")[:0]
    empty.to_parquet(cars / "part-003.parquet", index=False)
    (cars / "part-004.parquet").write_bytes((cars / "part-000.parquet").read_bytes()[:-50])
    (cars / "part-005.parquet").write_bytes(b"")
    pd.read_parquet(cars / "part-000.parquet").drop(columns="horsepower").to_parquet(cars / "part-006.parquet")
    odd = pd.read_parquet(cars / "part-000.parquet")
    odd["enginesize"] = odd["enginesize"].astype("int8", errors="ignore").astype(object).map(lambda value: [value])
    odd.to_parquet(cars / "part-007.parquet", index=False)
    found = scored(bundles, cars, tmp_path / "out")
    assert (found.rows, found.refused) == (120, 0)
    failed = {part.name: part.failed for part in found.failed}
    assert list(failed) == [f"part-{at:03}.parquet" for at in (4, 5, 6, 7)]
    assert "no whole parquet file" in failed["part-004.parquet"]
    assert "no whole parquet file" in failed["part-005.parquet"]
    assert "horsepower" in failed["part-006.parquet"]
    assert "more than one value" in failed["part-007.parquet"]
    assert len(pd.read_parquet(tmp_path / "out" / "part-003.parquet")) == 0
    assert not (tmp_path / "out" / "part-004.parquet").exists()
    assert not left(tmp_path / "out")
    manifest = json.loads(found.manifest.read_text())
    assert not manifest["complete"]
    assert set(manifest["failed"]) == set(failed)
    # Mended, the same command scores what is left.
    for at in (4, 5, 6, 7):
        (cars / f"part-{at:03}.parquet").write_bytes((cars / "part-000.parquet").read_bytes())
    again = scored(bundles, cars, tmp_path / "out")
    assert (again.kept, again.rows, len(again.failed)) == (4, 280, 0)


def test_damage_in_the_middle_fails_the_partition_alone(bundles: Path, cars: Path, tmp_path: Path) -> None:
    path = cars / "part-001.parquet"
    damaged = bytearray(path.read_bytes())
    damaged[40:400] = b"\xff" * 360
    path.write_bytes(bytes(damaged))
    found = scored(bundles, cars, tmp_path / "out")
    assert [part.name for part in found.failed] == ["part-001.parquet"]
    assert found.rows == 80


@pytest.mark.parametrize("kind", ["int64", "float32", "string", "decimal"])
def test_numbers_of_any_type_are_the_same_numbers(kind: str, bundles: Path, tmp_path: Path) -> None:
    table = pa.Table.from_pandas(mock.cars(20), preserve_index=False)
    at = table.column_names.index("horsepower")
    types = {"int64": pa.int64(), "float32": pa.float32(), "string": pa.string(), "decimal": pa.decimal128(25, 2)}
    for name, column in (
        ("plain", table),
        (kind, table.set_column(at, "horsepower", table["horsepower"].cast(types[kind]))),
    ):
        (tmp_path / name).mkdir()
        pq.write_table(column, tmp_path / name / "0.parquet")
    found = []
    for name in ("plain", kind):
        assert scored(bundles, tmp_path / name, tmp_path / f"{name}-out").refused == 0
        found.append(pd.read_parquet(tmp_path / f"{name}-out" / "0.parquet").iloc[:, len(table.column_names) :])
    pd.testing.assert_frame_equal(*found)


def test_inputs_that_are_none(bundles: Path, cars: Path, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="is not there, expected a folder"):
        scored(bundles, tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(FileError, match="is a file, expected a folder"):
        scored(bundles, cars / "part-000.parquet", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileError, match=r"has no \*\.parquet file"):
        scored(bundles, tmp_path / "empty", tmp_path / "out")
    with pytest.raises(FileError, match="answers series, not rows"):
        scored(bundles, cars, tmp_path / "out", BITCOIN_PRICE.name)
    with pytest.raises(BundleError, match="is of the model"):
        score_folder(Settings(), CREDIT_APPROVAL.name, cars, tmp_path / "out", bundles / CAR_PRICE.name, "3")
    assert not (tmp_path / "out").exists()


def test_outputs_that_can_not_be_used(bundles: Path, cars: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").touch()
    with pytest.raises(FileError, match="is not empty"):
        scored(bundles, cars, tmp_path / "full")
    with pytest.raises(FileError, match="lie in one another"):
        scored(bundles, cars, cars / "out")
    with pytest.raises(FileError, match="lie in one another"):
        scored(bundles, cars, tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="can't be used"):
        scored(bundles, cars, tmp_path / "file")
    scored(bundles, cars, tmp_path / "out")
    with pytest.raises(FileError, match="whose model version is v3, not v4") as raised:
        scored(bundles, cars, tmp_path / "out", version="4")
    assert "--version" in raised.value.remedy
    (cars / "part-000.parquet").unlink()
    with pytest.raises(FileError, match=r"1 partitions that the input no longer has, first part-000\.parquet"):
        scored(bundles, cars, tmp_path / "out")


def test_two_runs_at_once_into_one_folder(bundles: Path, cars: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "_sigap").mkdir(parents=True)
    with (
        FileLock(tmp_path / "out" / "_sigap" / "lock"),
        pytest.raises(FileError, match="Another process is scoring into"),
    ):
        scored(bundles, cars, tmp_path / "out")
    assert scored(bundles, cars, tmp_path / "out").rows == 120


def begun(bundles: Path, source: Path, folder: Path, **environment: str) -> subprocess.Popen[str]:
    """`python -m backend.scoring` of the car bundle."""
    command = [sys.executable, "-m", "backend.scoring", "car_price", str(source), str(folder)]
    command += ["--bundle", str(bundles / "car_price"), "--version", "3"]
    variables = {**os.environ, **environment}
    return subprocess.Popen(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_killed_in_the_middle_the_same_command_goes_on(bundles: Path, tmp_path: Path) -> None:
    source = data_set(tmp_path / "in", parts=12, rows=2000)
    scored(bundles, source, tmp_path / "whole")
    with begun(bundles, source, tmp_path / "out") as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip().startswith("1/12")
        process.kill()
    done = len(list((tmp_path / "out").glob("*.parquet")))
    assert 0 < done < 12
    (tmp_path / "out" / ".part-011.parquet.0.draft").write_bytes(b"half")  # what a kill while writing leaves
    with begun(bundles, source, tmp_path / "out") as process:
        told, errors = process.communicate(timeout=240)
    assert (process.returncode, errors) == (0, "")
    assert "was finished before" in told
    assert "24,000 rows in 12 partitions, 0 refused" in told
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert not left(tmp_path / "out")


def test_the_command_says_what_is_wrong(bundles: Path, cars: Path, tmp_path: Path) -> None:
    (cars / "part-001.parquet").write_bytes(b"nothing")
    with begun(bundles, cars, tmp_path / "out") as process:
        told, errors = process.communicate(timeout=240)
    assert (process.returncode, errors) == (1, "")
    assert "1 partitions could not be scored, first part-001.parquet: it is no whole parquet file" in told
    with begun(bundles, tmp_path / "nowhere", tmp_path / "out") as process:
        told, errors = process.communicate(timeout=240)
    assert process.returncode == 1
    assert errors.startswith("Error: The input")
