"""Snapshots from a real PostgreSQL into a real Git and DVC checkout."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pq
import pytest

from sigap.catalog import Declaration
from sigap.data import draft as draft_module
from sigap.data import snapshot as snapshot_module
from sigap.data.snapshot import take_snapshot
from sigap.data.versions import DataVersions
from sigap.errors import ContractError, ServiceError, VersionError
from sigap.settings import Settings
from tests.conftest import Checkout
from tests.data.conftest import in_another_process

Execute = Callable[..., list[tuple[Any, ...]]]
POINTER = "data/raw/education_snapshot.parquet.dvc"


def test_the_seed_figures_become_the_first_version(
    settings: Settings, checkout: Checkout, education: Declaration, execute: Execute
) -> None:
    seen: list[tuple[int, int]] = []
    taken = take_snapshot(education, settings, progress=lambda done, total: seen.append((done, total)))

    assert json.loads(json.dumps(asdict(taken))) == asdict(taken)
    assert (taken.version, taken.rows, taken.rejected, taken.created, taken.rejects_path) == ("v1", 212, 0, True, "")
    path = settings.root / taken.path
    assert hashlib.md5(path.read_bytes()).hexdigest() == taken.md5
    assert seen[-1] == (212, 212)
    table = pq.read_table(path)
    assert table.column_names == [word.name for word in (*education.columns, *education.features)]
    keys = list(zip(table["provinsi_id"].to_pylist(), table["tahun"].to_pylist(), strict=True))
    assert keys == sorted(keys)
    assert len(set(keys)) == 212
    assert table["angka_melek_huruf"].null_count == 212 - 54
    assert next(one for one in table.to_pylist() if one["break_en"])["tahun"] == 2024
    metadata = pq.read_metadata(path).metadata
    assert (metadata[b"sigap.rows"], metadata[b"sigap.query"].decode()) == (b"212", taken.query)
    assert checkout.git("rev-parse", "education/v1^{commit}") == taken.git_commit
    assert checkout.git("status", "--porcelain") == ""
    # The query can be repeated as it is written down.
    assert len(execute(taken.query)) == 212


def test_identical_rows_give_identical_bytes_and_no_new_version(
    settings: Settings, checkout: Checkout, education: Declaration, execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = take_snapshot(education, settings)
    head = checkout.git("rev-parse", "HEAD")
    # Another order on the disk, touched rows, other batches: the same figures all the same.
    execute("CREATE TABLE shuffled AS SELECT * FROM education_data ORDER BY random()")
    execute("TRUNCATE education_data")
    execute("INSERT INTO education_data SELECT * FROM shuffled")
    execute("UPDATE education_data SET updated_at = now() + interval '1 day'")
    second = take_snapshot(education, settings, version="v_2025_Q1")
    assert (second.md5, second.version, second.created) == (first.md5, "v1", False)
    assert checkout.git("rev-parse", "HEAD") == head

    execute("UPDATE education_data SET rata_lama_sekolah = 8.4 WHERE provinsi_id = 'P35' AND tahun = 2024")
    third = take_snapshot(education, settings, version="v_2025_Q1")
    assert (third.version, third.created, third.rows) == ("v_2025_Q1", True, 212)
    with pytest.raises(VersionError, match="can't be the name"):
        take_snapshot(education, settings, version="not a name")

    execute("UPDATE education_data SET rata_lama_sekolah = 8.5 WHERE provinsi_id = 'P35' AND tahun = 2024")
    content = (settings.root / third.path).read_bytes()
    with pytest.raises(VersionError, match="exists already and holds other data"):
        take_snapshot(education, settings, version="v_2025_Q1")
    assert (settings.root / third.path).read_bytes() == content
    assert checkout.git("status", "--porcelain") == ""

    # However the rows are cut into row groups, all of them arrive.
    monkeypatch.setattr(draft_module, "ROW_GROUP", 50)
    grouped = take_snapshot(education, settings)
    parquet = pq.ParquetFile(settings.root / grouped.path)
    assert [parquet.metadata.row_group(i).num_rows for i in range(parquet.num_row_groups)] == [50, 50, 50, 50, 12]


def test_bad_rows_are_set_aside_with_reasons(
    settings: Settings, education: Declaration, execute: Execute, checkout: Checkout
) -> None:
    execute("UPDATE education_data SET angka_melek_huruf = 998 WHERE provinsi_id = 'P35' AND tahun = 2023")
    execute("UPDATE education_data SET rata_lama_sekolah = 'Infinity' WHERE provinsi_id = 'P36' AND tahun = 2023")
    execute("UPDATE education_data SET provinsi = 'Jabar' WHERE provinsi_id = 'P32' AND tahun = 2020")
    execute("INSERT INTO education_data (provinsi_id, provinsi, tahun) SELECT DISTINCT provinsi_id, provinsi, 2025"
            " FROM education_data WHERE provinsi_id = 'P11'")  # fmt: skip
    taken = take_snapshot(education, settings)
    assert (taken.rows, taken.rejected) == (210, 3)
    with (settings.root / taken.rejects_path).open(encoding="utf-8") as file:
        reasons = list(csv.DictReader(file))
    assert taken.rejects_path == ".sigap/rejects/education/v1.csv"
    assert [tuple(reason.values()) for reason in reasons] == [
        ("P32", "2020", "provinsi", "Jabar", "one name for each provinsi_id, the one most rows have"),
        ("P35", "2023", "angka_melek_huruf", "998.0", "a number from 0 to 100 %"),
        ("P36", "2023", "rata_lama_sekolah", "inf", "a number from 0 to 20 years"),
    ]
    assert checkout.git("status", "--porcelain") == ""
    assert take_snapshot(education, settings).md5 == taken.md5


def test_every_hundredth_row_of_a_large_table_broken(settings: Settings, execute: Execute) -> None:
    execute("TRUNCATE cars")
    execute(
        "INSERT INTO cars (car_id, wheelbase, horsepower, company_name, price)"
        " SELECT n, 99.8, 102, 'honda', CASE WHEN n % 100 = 0 THEN -n ELSE 10000 + n % 5000 END"
        " FROM generate_series(1, 300000) AS n"
    )
    execute("ANALYZE cars")
    script = """
taken = take_snapshot(declaration("car_price"), settings)
print(taken.rows, taken.rejected, taken.rejects_path, peak())
"""
    output, _ = in_another_process(settings, script).communicate(timeout=600)
    rows, rejected, path, peak = output.split()
    assert (int(rows), int(rejected)) == (297_000, 3_000)
    with (settings.root / path).open(encoding="utf-8") as file:
        reasons = list(csv.DictReader(file))
    assert [int(each["car_id"]) for each in reasons] == list(range(100, 300_001, 100))
    assert {each["field"] for each in reasons} == {"price"}
    assert [float(each["found"]) for each in reasons] == [-n for n in range(100, 300_001, 100)]
    assert int(peak) < 450, "MB"


def test_a_text_column_and_doubled_rows_of_a_table_of_ones_own(
    settings: Settings, education: Declaration, execute: Execute
) -> None:
    execute("ALTER TABLE education_data DROP CONSTRAINT education_data_pkey")
    execute(
        "ALTER TABLE education_data ALTER rata_lama_sekolah TYPE text, ALTER harapan_lama_sekolah TYPE numeric(9,4)"
    )
    execute("UPDATE education_data SET rata_lama_sekolah = 'sembilan' WHERE provinsi_id = 'P35' AND tahun = 2023")
    execute("INSERT INTO education_data SELECT * FROM education_data WHERE provinsi_id = 'P36' AND tahun = 2023")
    taken = take_snapshot(education, settings)
    assert (taken.rows, taken.rejected) == (210, 3)
    table = pq.read_table(settings.root / taken.path)
    assert str(table.schema.field("rata_lama_sekolah").type) == "double"
    reasons = (settings.root / taken.rejects_path).read_text()
    assert "P35,2023,rata_lama_sekolah,sembilan,a number from 0 to 20 years" in reasons
    assert reasons.count('P36,2023,"provinsi_id, tahun","P36, 2023",one row for each key') == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "ALTER TABLE education_data RENAME angka_melek_huruf TO angka_melek_hurup",
            r"has no column 'angka_melek_huruf'; it has 'angka_melek_hurup'.*RENAME COLUMN angka_melek_hurup TO",
        ),
        ("ALTER TABLE education_data DROP rasio_guru_murid", r"has no column 'rasio_guru_murid'; it has provinsi_id,"),
        (
            "ALTER TABLE education_data ALTER rata_lama_sekolah TYPE boolean USING true",
            r"'rata_lama_sekolah' of education_data has the type bool; .* expects number",
        ),
        (
            "ALTER TABLE education_data DROP CONSTRAINT education_data_pkey,"
            " ALTER provinsi_id TYPE date USING '2020-01-01'",
            "not as declared: operator does not exist: text = date",
        ),
        ("ALTER TABLE provinces RENAME lat TO latitude", r"not as declared: column p.lat does not exist"),
        ("DROP TABLE education_data", r"There is no table education_data"),
        ("TRUNCATE education_data", r"education_data is empty"),
        ("UPDATE education_data SET rata_lama_sekolah = 99", r"None of the 212 rows .* rata_lama_sekolah is 99\.0"),
    ],
)
def test_a_table_that_is_not_as_declared_changes_nothing(
    settings: Settings, checkout: Checkout, education: Declaration, execute: Execute, change: str, message: str
) -> None:
    execute(change)
    with pytest.raises((ContractError, ServiceError), match=message):
        take_snapshot(education, settings)
    assert not list((settings.root / "data/raw").glob("*.parquet*"))
    assert not list((settings.root / "data/raw").glob(".*parquet*"))
    assert checkout.git("tag") == ""


def test_a_user_who_may_not_read_is_told_what_is_missing(
    settings: Settings, checkout: Checkout, education: Declaration, execute: Execute
) -> None:
    name = f"reader_{execute('SELECT current_database()')[0][0]}"
    execute(f"CREATE ROLE {name} LOGIN PASSWORD 'p'")
    url = f"postgresql://{name}:p@{settings.dsn.rsplit('@', 1)[1]}"
    try:
        with pytest.raises(ServiceError, match=r"Reading education_data at .* is not allowed .*GRANT"):
            take_snapshot(education, checkout.settings(database=url))
        execute(f"GRANT SELECT ON education_data, provinces, definition_breaks TO {name}")
        # Reading is all that a snapshot needs.
        assert take_snapshot(education, checkout.settings(database=url)).rows == 212
    finally:
        execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


def test_a_reading_is_of_one_moment_while_others_write(
    settings: Settings, education: Declaration, execute: Execute
) -> None:
    """Two writers move figures between rows, which never changes their sum; every snapshot has to show that sum."""
    execute(
        "INSERT INTO education_data (provinsi_id, provinsi, tahun, angka_melek_huruf, rasio_guru_murid)"
        " SELECT 'P' || n / 100 + 1000, 'District ' || n / 100 + 1000, 2000 + n % 100, 50, 50"
        " FROM generate_series(0, 59999) AS n"
    )
    total = execute("SELECT sum(angka_melek_huruf)::float8, count(*) FROM education_data")[0]
    stop = threading.Event()
    moved = [0, 0]

    def write(number: int) -> None:
        with psycopg.connect(settings.dsn) as connection:
            while not stop.is_set():
                for low, change in ((1000, 1), (1300, -1)):
                    connection.execute(
                        "UPDATE education_data SET angka_melek_huruf = angka_melek_huruf + %s"
                        " WHERE provinsi_id = 'P' || %s AND tahun = %s",
                        [change * (-1) ** (moved[number] // 40), low + moved[number] % 300, 2000 + number],
                    )
                connection.execute(
                    "INSERT INTO education_data (provinsi_id, provinsi, tahun) VALUES ('P9999', 'x', 2050)"
                    " ON CONFLICT (provinsi_id, tahun) DO UPDATE SET rasio_guru_murid = 20"
                )
                connection.execute("DELETE FROM education_data WHERE provinsi_id = 'P9999'")
                connection.commit()
                moved[number] += 1

    writers = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for writer in writers:
        writer.start()
    try:
        before = sum(moved)
        for _ in range(2):
            taken = take_snapshot(education, settings.model_copy(update={"git_commit": False}))
            table = pq.read_table(settings.root / taken.path)
            assert (sum(filter(None, table["angka_melek_huruf"].to_pylist())), table.num_rows) == pytest.approx(total)
        assert sum(moved) > before
    finally:
        stop.set()
        for writer in writers:
            writer.join()


def test_a_full_disk_while_writing_leaves_the_last_snapshot(
    settings: Settings, checkout: Checkout, education: Declaration, execute: Execute
) -> None:
    first = take_snapshot(education, settings)
    content = (settings.root / first.path).read_bytes()
    execute(
        "INSERT INTO education_data SELECT 'P' || 1000 + n / 100, 'x', 2000 + n % 100, random(), random(), random(),"
        " 1 + random(), random() FROM generate_series(0, 59999) AS n"
    )
    script = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    take_snapshot(education, settings)
except SigapError as error:
    print(type(error).__name__, error)
"""
    output, _ = in_another_process(settings, script).communicate(timeout=600)
    assert "VersionError The snapshot of 'education' can't be written" in output
    assert "File too large" in output
    assert (settings.root / first.path).read_bytes() == content
    assert [path.name for path in (settings.root / "data/raw").iterdir() if path.name.startswith(".")] == [".gitignore"]
    assert checkout.git("status", "--porcelain") == ""
    assert checkout.git("tag") == "education/v1"


@contextmanager
def _tiny_disk(path: Path) -> Iterator[None]:
    path.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", path], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("mounting needs root")
    try:
        yield
    finally:
        subprocess.run(["umount", path], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize("place", [".dvc/cache/files", ".sigap/dvc-remote/files"])
def test_a_full_disk_while_recording_leaves_the_last_version(
    settings: Settings, checkout: Checkout, education: Declaration, execute: Execute, place: str
) -> None:
    first = take_snapshot(education, settings)
    before = (settings.root / first.path).read_bytes(), (settings.root / POINTER).read_bytes()
    execute("UPDATE education_data SET rata_lama_sekolah = rata_lama_sekolah + random()")
    with _tiny_disk(settings.root / place), pytest.raises(VersionError, match=r"(?i)DVC can't do its part"):
        take_snapshot(education, settings)
    assert ((settings.root / first.path).read_bytes(), (settings.root / POINTER).read_bytes()) == before
    assert checkout.git("status", "--porcelain") == ""
    assert checkout.git("tag") == "education/v1"
    assert take_snapshot(education, settings).version == "v2"


@pytest.mark.parametrize("place", ["sigap.data.versions.DataVersions.adopt", "sigap.data.git.Git.commit_file"])
def test_a_killed_run_is_repaired_by_the_next(
    settings: Settings, checkout: Checkout, education: Declaration, execute: Execute, place: str
) -> None:
    take_snapshot(education, settings)
    execute("UPDATE education_data SET rata_lama_sekolah = 8.4 WHERE provinsi_id = 'P35' AND tahun = 2024")
    process = in_another_process(settings, f'killed_at("{place}"); take_snapshot(education, settings)')
    output, _ = process.communicate(timeout=600)
    assert process.returncode == -9, output
    assert checkout.git("tag") == "education/v1"
    repaired = take_snapshot(education, settings)
    assert (repaired.version, repaired.created) == ("v2", True)
    assert checkout.git("status", "--porcelain") == ""
    assert not list((settings.root / "data/raw").glob(".*parquet*"))


def test_two_runs_at_once_make_one_version(settings: Settings, checkout: Checkout) -> None:
    script = "s = take_snapshot(education, settings); print(s.version, s.created)"
    both = [in_another_process(settings, script) for _ in range(2)]
    outputs = [process.communicate(timeout=600)[0].strip() for process in both]
    assert sorted(outputs) == ["v1 False", "v1 True"]
    assert checkout.git("rev-list", "--count", "HEAD") == "2"


def test_rolled_back_data_is_recorded_as_what_it_is(
    settings: Settings, checkout: Checkout, education: Declaration, execute: Execute
) -> None:
    first = take_snapshot(education, settings)
    execute("UPDATE education_data SET rata_lama_sekolah = 8.4 WHERE provinsi_id = 'P35' AND tahun = 2024")
    second = take_snapshot(education, settings)
    versions = DataVersions(settings)
    versions.restore("education", "v1")
    assert hashlib.md5(versions.path("education").read_bytes()).hexdigest() == first.md5
    # The table has gone on, so the next run is the second version again and not a third one.
    again = take_snapshot(education, settings)
    assert (again.version, again.md5, again.created) == ("v2", second.md5, False)
    assert checkout.git("status", "--porcelain") == ""


def test_a_server_that_goes_away_leaves_the_last_snapshot(
    settings: Settings, checkout: Checkout, education: Declaration, execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = take_snapshot(education, settings)
    content = (settings.root / first.path).read_bytes()
    streaming = snapshot_module._stream

    def cut_off(*arguments: Any) -> None:
        execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        streaming(*arguments)

    monkeypatch.setattr(snapshot_module, "_stream", cut_off)
    with pytest.raises(ServiceError, match=r"Reading from PostgreSQL at 127\.0\.0\.1:\d+.* broke off"):
        take_snapshot(education, settings)
    assert (settings.root / first.path).read_bytes() == content
    assert checkout.git("status", "--porcelain") == ""
