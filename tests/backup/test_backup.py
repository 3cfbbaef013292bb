"""Backups: whole or not there, of one moment, and back after everything was destroyed."""

from __future__ import annotations

import json
import shutil
import sqlite3
import stat
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import bcrypt
import psycopg
import pytest

from sigap.backup import postgres
from sigap.backup.parts import PARTS
from sigap.backup.shelf import find, listed
from sigap.data.versions import DataVersions
from sigap.errors import BackupError, ServiceError
from tests.backup.conftest import Little
from tests.data.conftest import write_snapshot
from tests.stores import BUCKET, SECRET, ObjectStore, Stalling


def test_everything_comes_back_after_it_was_destroyed(little: Little) -> None:
    before = little.told()
    one = little.backup()
    assert one.manifest is not None
    assert set(one.manifest.parts) == {*PARTS} - {"secrets"}
    assert one.manifest.served == {"education": "v3"}
    assert one.manifest.databases["postgres"].tables["public.predictions"] == 1
    assert one.manifest.rows == sum(one.manifest.databases["postgres"].tables.values())
    for path in Path(one.url).iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE(Path(one.url).stat().st_mode) == 0o700

    little.destroy()
    done = little.restore(one)

    assert little.told() == before
    assert done.notes == []
    assert little.left() == []
    assert little.checkout.git("status", "--porcelain") == ""
    versions = DataVersions(little.settings)
    assert versions.restore("education", "v1").name == "v1"
    assert versions.path("education").read_bytes() == b"one"
    # Mage is told the password that is made up here, and no API starts from bundles of another time.
    with closing(sqlite3.connect(little.settings.state / "mage/mage_project/mage-ai.db")) as mage:
        (hashed,) = mage.execute("SELECT password_hash FROM user").fetchone()
    assert bcrypt.checkpw(little.settings.secret("mage_password").encode(), hashed.encode())
    assert not (little.settings.state / "mage/mage_project/.cache").exists()
    assert not (little.settings.state / "api/education/v3-abc").exists()
    # The way back of what was checked out before is kept too.
    assert "refs/sigap/" in little.checkout.git("for-each-ref")


def test_secrets_go_in_only_when_asked_and_come_back_for_their_owner_alone(little: Little) -> None:
    password = little.settings.secret("mage_password")
    without = little.backup()
    assert all(password.encode() not in path.read_bytes() for path in Path(without.url).iterdir())
    one = little.backup(target=f"{little.shelf}-locked-away", with_secrets=True)
    little.destroy()
    little.restore(one)
    path = little.settings.state / "secrets" / "mage_password"
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == (password, 0o600)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_system_that_is_not_empty_is_kept_unless_told(little: Little) -> None:
    one = little.backup()
    little.sql("DELETE FROM education_data")
    (little.settings.state / "rejects/education/v2.csv").write_text("newer")
    write_snapshot(little.settings, b"three")
    DataVersions(little.settings).record("education")
    after = little.told()
    with pytest.raises(BackupError, match=r"not empty.*tables.*MLflow.*Mage.*--replace"):
        little.restore(one)
    assert little.told() == after

    little.restore(one, replace=True, skip=("mage",))
    assert little.sql("SELECT count(*) FROM education_data") == [(212,)]
    assert not (little.settings.state / "rejects/education/v2.csv").exists()
    # A newer data version stays, and can be had.
    assert [one.name for one in DataVersions(little.settings).list("education")] == ["v2", "v_2025_Q1", "v1"]
    assert DataVersions(little.settings).path("education").read_bytes() == b"two"
    assert (little.settings.state / "mage/mage_project/.cache").exists(), "was to be left as it was"
    assert little.left() == []


def test_what_others_write_meanwhile_is_in_it_whole_or_not_at_all(little: Little) -> None:
    path = little.settings.state / "mlflow/mlflow.db"
    with closing(sqlite3.connect(path)) as registry, registry:
        registry.execute("PRAGMA journal_mode = WAL")
        registry.execute("CREATE TABLE pairs (n INTEGER)")
    little.sql("CREATE TABLE pairs (n integer)")
    stop = threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(path, timeout=30)) as registry:
            while not stop.is_set():
                little.sql("INSERT INTO pairs VALUES (1), (2)")
                with registry:
                    registry.execute("INSERT INTO pairs VALUES (1), (2)")
                (little.settings.state / "rejects/education/v1.csv").write_text("row" * 1000)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        one = little.backup()
    finally:
        stop.set()
        writer.join()
    little.destroy()
    little.restore(one)
    assert one.manifest is not None
    rows = one.manifest.databases["postgres"].tables["public.pairs"]
    assert little.sql("SELECT count(*) FROM pairs") == [(rows,)]
    assert rows % 2 == 0
    assert one.manifest.databases["mlflow"].tables["pairs"] % 2 == 0


@pytest.mark.parametrize(
    ("place", "number"),
    [
        ("sigap.backup.postgres.begin", 2),
        ("pathlib.Path.rename", 1),
    ],
)
def test_a_killed_backup_is_none_and_the_next_clears_it_away(little: Little, place: str, number: int) -> None:
    target = str(little.shelf)
    little.killed(place, f"back_up(settings, {target!r})", number)
    assert listed(little.settings, target) == []
    assert little.left() != []
    one = little.backup()
    assert little.left() == []
    assert [each.name for each in listed(little.settings, target)] == [one.name]


def test_further_databases_of_the_server_come_along(make_little: Callable[..., Little]) -> None:
    little = make_little(backup_databases="of_mlflow", MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    server = postgres.of_database(little.settings, "postgres")
    further = postgres.of_database(little.settings, "of_mlflow")
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute("CREATE DATABASE of_mlflow")
        try:
            with psycopg.connect(further.dsn) as other:
                other.execute("CREATE TABLE registered_model_aliases AS SELECT 'education' AS name, 4 AS version")
                other.execute("ALTER TABLE registered_model_aliases ADD alias text DEFAULT 'champion'")
            one = little.backup()
            assert one.manifest is not None
            assert one.manifest.served == {"education": "v4"}
            assert "MLFLOW_TRACKING_URI" in one.manifest.left_out["mlflow"]
            connection.execute("DROP DATABASE of_mlflow")
            little.restore(one, replace=True, skip=("mage", "data", "git", "state"))
            with psycopg.connect(further.dsn) as other:
                assert other.execute("SELECT version FROM registered_model_aliases").fetchall() == [(4,)]
        finally:
            connection.execute("DROP DATABASE IF EXISTS of_mlflow WITH (FORCE)")


def test_only_the_newest_are_kept(little: Little) -> None:
    names = ["sigap-20240101T000000Z", "sigap-20250101T000000Z"]
    one = little.backup(target=f"{little.shelf}-first")
    for name in names:
        shutil.copytree(one.url, little.shelf / name)
    names.append(little.backup(keep=2).name)
    (little.shelf / "notes").mkdir()
    (little.shelf / "sigap-20200101T000000Z").mkdir()  # broken off, without a manifest
    assert [one.name for one in listed(little.settings, str(little.shelf))] == names[:0:-1]
    assert find(little.settings, str(little.shelf)).name == names[2]
    with pytest.raises(BackupError, match=rf"no whole backup .*{names[2]}"):
        find(little.settings, str(little.shelf / "sigap-20200101T000000Z"))


def test_there_and_back_through_an_object_store(make_little: Callable[..., Little], object_store: ObjectStore) -> None:
    little = make_little(**object_store.settings())
    target = f"s3://{BUCKET}/backups"
    before = little.told()

    # Killed while it sends: nothing there counts as a backup.
    large = little.settings.state / "mlflow/artifacts/1/run/large"
    large.write_bytes(b"\0" * 2**20)
    line = Stalling(object_store.port, 2**19)
    try:
        script = "from sigap.backup.create import back_up; from sigap.settings import get_settings; "
        script += f"back_up(get_settings(), {target!r})"
        sending = little.process(script, SIGAP_S3_ENDPOINT_URL=f"http://127.0.0.1:{line.port}")
        assert line.reached.wait(60), sending.communicate()
        sending.kill()
        sending.communicate()
    finally:
        line.close()
    large.unlink()
    assert listed(little.settings, target) == []

    one = little.backup(target=target)
    assert one.url.startswith(f"{target}/sigap-")
    assert [each.name for each in listed(little.settings, target)] == [one.name]
    assert SECRET not in one.manifest.model_dump_json()  # type: ignore[union-attr]
    little.destroy()
    little.restore(find(little.settings, one.url))
    assert little.told() == before
    assert little.left() == []

    for path in object_store.objects(f"backups/{one.name}").values():
        if path.name == "artifacts.tar":
            path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(BackupError, match=r"artifacts\.tar is damaged"):
        little.restore(find(little.settings, one.url), replace=True)
    assert little.told() == before
    with pytest.raises(ServiceError, match="no bucket 'nowhere'"):
        little.backup(target="s3://nowhere")


def test_two_at_once_and_a_disk_that_is_full(little: Little, monkeypatch: pytest.MonkeyPatch) -> None:
    from sigap.backup.create import alone

    with alone(little.settings), pytest.raises(BackupError, match="Another backup or restore"):
        little.backup()
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(BackupError, match=r"takes up to .* MiB free"):
        little.backup()
    (little.shelf.parent / "file").touch()
    with pytest.raises(BackupError, match="can't be written"):
        little.backup(target=str(little.shelf.parent / "file" / "shelf"))
    assert json.loads((little.settings.state / "keys.json").read_text())["keys"]
