"""Snapshots of many rows: folders of partitions, recorded, restored, repaired and read as one file is."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from sigap.catalog import Declaration
from sigap.data import draft, parts
from sigap.data.keeping import kept, md5_of, put
from sigap.data.profile import profile_version
from sigap.data.snapshot import take_snapshot
from sigap.data.versions import DataVersions
from sigap.errors import VersionError
from sigap.settings import Settings
from tests.conftest import Checkout
from tests.data.conftest import in_another_process
from tests.data.test_snapshot import _tiny_disk

Execute = Callable[..., list[tuple[Any, ...]]]
POINTER = "data/raw/education_snapshot.parquet.dvc"
CHANGE = "UPDATE education_data SET rata_lama_sekolah = {} WHERE provinsi_id = '{}' AND tahun = 2024"
# Appended to each script that another process runs.
SMALL = 'settings = settings.model_copy(update={"partition_rows": 100})\n'


@pytest.fixture
def small(settings: Settings) -> Settings:
    """Settings with which the 212 seed figures are three partitions."""
    return settings.model_copy(update={"partition_rows": 100})


def _hashes(path: Path) -> dict[str, str]:
    return {each.name: md5_of(each) for each in sorted(path.iterdir())}


def test_many_rows_become_partitions_that_are_one_version(
    small: Settings, settings: Settings, checkout: Checkout, education: Declaration, execute: Execute
) -> None:
    first = take_snapshot(education, small)
    path = small.root / first.path
    assert [pq.read_metadata(each).num_rows for each in parts.parts(path)] == [100, 100, 12]
    assert first.md5 == md5_of(path)
    assert first.md5.endswith(".dir")
    assert (first.version, first.rows, first.created) == ("v1", 212, True)
    assert checkout.git("show", "--format=", "--name-only", "education/v1") == POINTER
    assert checkout.git("status", "--porcelain") == ""
    told = parts.described(path)
    assert (told.rows, told.facts["sigap.rows"], told.facts["sigap.query"]) == (212, "212", first.query)
    table = parts.read(path)
    keys = list(zip(table["provinsi_id"].to_pylist(), table["tahun"].to_pylist(), strict=True))
    assert keys == sorted(keys)

    # Another order on the disk: the same files, and nothing new is versioned.
    before = _hashes(path)
    execute("CREATE TABLE shuffled AS SELECT * FROM education_data ORDER BY random()")
    execute("TRUNCATE education_data")
    execute("INSERT INTO education_data SELECT * FROM shuffled")
    again = take_snapshot(education, small)
    assert (again.md5, again.version, again.created) == (first.md5, "v1", False)

    # A changed row changes its partition alone; P94 is the last in the order of the key.
    execute(CHANGE.format(9.9, "P94"))
    second = take_snapshot(education, small, version="v_2025_Q1")
    after = _hashes(path)
    assert (second.version, second.created) == ("v_2025_Q1", True)
    assert {name for name in after if after[name] != before[name]} == {"part-000002.parquet"}

    # The same rows as one file say the same, and so does their profile. Git's tags know seconds, and no less.
    time.sleep(1.1)
    whole = take_snapshot(education, settings)
    assert not (settings.root / whole.path).is_dir()
    assert pq.read_table(settings.root / whole.path).equals(
        parts.read(DataVersions(small).stored("education", second.md5))
    )
    told_of = [profile_version(education, small, each.version, each.md5) for each in (second, whole)]
    assert told_of[0].estimated_from is None
    for ours, theirs in zip(told_of[0].columns, told_of[1].columns, strict=True):
        assert ours.model_dump(exclude={"mean", "sd"}) == theirs.model_dump(exclude={"mean", "sd"})
        assert (ours.mean, ours.sd) == pytest.approx((theirs.mean, theirs.sd))
    assert told_of[0].duplicates == told_of[1].duplicates
    changes = told_of[0].changes
    assert changes is not None
    assert (changes.against, changes.added, changes.removed, changes.changed) == ("v1", 0, 0, 1)


def test_the_way_back_between_files_and_folders(
    small: Settings, settings: Settings, checkout: Checkout, education: Declaration, execute: Execute
) -> None:
    as_file = take_snapshot(education, settings)
    execute(CHANGE.format(9.9, "P94"))
    as_folder = take_snapshot(education, small)
    versions, path = DataVersions(small), small.root / as_folder.path
    (checkout.root / "README").write_text("staged\n")
    checkout.git("add", "README")
    for taken in (as_file, as_folder, as_file):
        assert versions.restore("education", taken.version).md5 == taken.md5 == md5_of(path)
    assert checkout.git("status", "--porcelain") == "A  README"
    assert checkout.git("log", "-1", "--format=%s") == "Return education data to v1"
    # By hand, with Git and DVC alone.
    checkout.git("checkout", "education/v2", "--", POINTER)
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    subprocess.run([sys.executable, "-m", "dvc", "checkout", "--quiet"], cwd=checkout.root, check=True)
    assert md5_of(path) == as_folder.md5


def test_a_part_that_is_damaged_or_gone_is_fetched_or_named(
    small: Settings, checkout: Checkout, education: Declaration
) -> None:
    taken = take_snapshot(education, small)
    versions = DataVersions(small)
    stored = versions.stored("education", taken.md5)
    assert parts.read(stored).num_rows == 212
    cached = parts.parts(stored)[1].resolve()
    cached.chmod(0o644)
    cached.write_bytes(b"damaged")
    assert md5_of(versions.stored("education", taken.md5)) == taken.md5
    pushed = small.state / "dvc-remote/files/md5" / cached.parent.name / cached.name
    for content, message in ((b"damaged", "is damaged"), (None, "nor whole in the remote")):
        shutil.rmtree(checkout.root / ".dvc/cache")
        pushed.unlink()
        if content is not None:
            pushed.write_bytes(content)
            with pytest.raises(VersionError, match=f"A part of the data of education/v1 .*{message}"):
                versions.stored("education", taken.md5)
            assert not cached.exists()
    with pytest.raises(VersionError, match="nor whole in the remote"):
        versions.restore("education", "v1")
    assert md5_of(small.root / taken.path) == taken.md5


def test_bad_rows_and_doubles_across_partitions_are_set_aside(
    small: Settings, education: Declaration, execute: Execute
) -> None:
    execute("ALTER TABLE education_data DROP CONSTRAINT education_data_pkey")
    execute("ALTER TABLE education_data ALTER harapan_lama_sekolah TYPE numeric(9,4)")
    execute("UPDATE education_data SET rata_lama_sekolah = 'Infinity' WHERE provinsi_id = 'P36' AND tahun = 2023")
    order = execute('SELECT provinsi_id, tahun FROM education_data ORDER BY provinsi_id COLLATE "C", tahun')
    # Two rows of one key, one of which would be the last of a partition and the other the first of the next.
    doubled = order[99]
    execute("INSERT INTO education_data SELECT * FROM education_data WHERE (provinsi_id, tahun) = (%s, %s)", *doubled)
    taken = take_snapshot(education, small)
    assert (taken.rows, taken.rejected) == (210, 3)
    with (small.root / taken.rejects_path).open(encoding="utf-8") as file:
        reasons = [(each["provinsi_id"], each["field"]) for each in csv.DictReader(file)]
    assert sorted(reasons) == sorted([(doubled[0], "provinsi_id, tahun")] * 2 + [("P36", "rata_lama_sekolah")])
    assert str(parts.described(small.root / taken.path).schema.field("harapan_lama_sekolah").type) == "double"


@pytest.mark.parametrize(
    "place",
    ["sigap.data.draft.Draft._end", "sigap.data.git.Git.commit_file"],
    ids=["between partitions", "before the commit"],
)
def test_a_killed_run_is_repaired_by_the_next(
    small: Settings, checkout: Checkout, education: Declaration, execute: Execute, place: str
) -> None:
    take_snapshot(education, small)
    execute(CHANGE.format(9.9, "P94"))
    process = in_another_process(small, SMALL + f'killed_at("{place}"); take_snapshot(education, settings)')
    output, _ = process.communicate(timeout=120)
    assert process.returncode == -9, output
    assert checkout.git("tag") == "education/v1"
    repaired = take_snapshot(education, small)
    assert (repaired.version, repaired.created) == ("v2", True)
    assert checkout.git("status", "--porcelain") == ""
    assert not list((small.root / "data/raw").glob(".*parquet*"))


def test_a_folder_that_was_being_replaced_is_found_again(tmp_path: Path) -> None:
    path, new = tmp_path / "snapshot.parquet", tmp_path / "new"
    for folder, text in ((path, "old"), (new, "new")):
        folder.mkdir()
        (folder / "part").write_text(text)
    # As a process leaves it that is killed after the old folder was moved away.
    shutil.copytree(path, path.with_name(".snapshot.parquet.kept"))
    path.rename(path.with_name(".snapshot.parquet.old.draft"))

    def fails() -> None:
        with kept(path):
            assert (path / "part").read_text() == "old"
            put(new, path)
            assert (path / "part").read_text() == "new"
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fails()
    assert (path / "part").read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["snapshot.parquet"]


def test_a_full_disk_while_writing_a_partition_leaves_the_last_snapshot(
    small: Settings, checkout: Checkout, education: Declaration, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = take_snapshot(education, small)
    before, writing = _hashes(small.root / first.path), draft._Part.write

    def full(part: Any, table: Any) -> None:
        if part._hashed._file.name.endswith("000001.parquet"):
            raise OSError(28, os.strerror(28))
        writing(part, table)

    monkeypatch.setattr(draft._Part, "write", full)
    with pytest.raises(VersionError, match=r"snapshot of 'education' can't be written .*No space left"):
        take_snapshot(education, small)
    assert _hashes(small.root / first.path) == before
    assert [path.name for path in (small.root / "data/raw").iterdir() if path.name.startswith(".")] == [".gitignore"]
    assert (checkout.git("tag"), checkout.git("status", "--porcelain")) == ("education/v1", "")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_full_disk_while_recording_leaves_the_last_version(
    small: Settings, checkout: Checkout, education: Declaration, execute: Execute
) -> None:
    first = take_snapshot(education, small)
    before = _hashes(small.root / first.path), (small.root / POINTER).read_bytes()
    execute("UPDATE education_data SET rata_lama_sekolah = rata_lama_sekolah + random()")
    with (
        _tiny_disk(small.root / ".sigap/dvc-remote/files"),
        pytest.raises(VersionError, match=r"(?i)DVC can't do its part"),
    ):
        take_snapshot(education, small)
    assert (_hashes(small.root / first.path), (small.root / POINTER).read_bytes()) == before
    assert checkout.git("tag") == "education/v1"
    assert take_snapshot(education, small).version == "v2"


def test_two_runs_at_once_make_one_version(small: Settings, checkout: Checkout) -> None:
    script = SMALL + "s = take_snapshot(education, settings); print(s.version, s.created)"
    both = [in_another_process(small, script) for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0].strip() for process in both]
    assert sorted(outputs) == ["v1 False", "v1 True"]
    assert checkout.git("rev-list", "--count", "HEAD") == "2"


def test_only_a_model_that_changes_train_has_its_rows_digested(settings: Settings, education: Declaration) -> None:
    assert take_snapshot(education, settings).content["digest"]
    off = settings.model_copy(update={"retrain_on_change": "none"})
    content = take_snapshot(education, off).content
    assert (content["digest"], bool(content["counters"])) == ("", True)
