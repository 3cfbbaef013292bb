"""Restores: what is refused before anything is touched, and what is left when one is killed."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sigap.backup import postgres
from sigap.backup.manifest import Hashing
from sigap.backup.restore import verify
from sigap.backup.shelf import Found, find
from sigap.backup.swap import Entry, Exchange, beside
from sigap.backup.trees import unpack
from sigap.data.analysts import create_analyst, drop_analyst
from sigap.errors import BackupError, ServiceError
from sigap.services.postgres import EmbeddedPostgres
from sigap.services.service import free_port
from sigap.services.supervisor import Supervisor
from sigap.settings import Settings
from tests.backup.conftest import Little


def changed(one: Found, **changes: Any) -> None:
    path = Path(one.url) / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_backup_that_is_not_whole_or_of_another_time_is_refused(little: Little) -> None:
    one = little.backup()
    little.sql("DELETE FROM predictions")
    before = little.told()
    folder, kept = Path(one.url), Path(one.url).with_name("kept")
    shutil.copytree(folder, kept)

    def refused(said: str) -> None:
        with pytest.raises(BackupError, match=said):
            little.restore(find(little.settings, one.url), replace=True)
        assert little.told() == before
        assert little.left() == []
        shutil.rmtree(folder)
        shutil.copytree(kept, folder)

    (folder / "mlflow.db").unlink()
    refused(r"not whole: .*mlflow\.db is missing")
    (folder / "artifacts.tar").write_bytes(b"")
    refused(r"artifacts\.tar has 0 bytes, not ")
    content = bytearray((folder / "postgres.dump").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "postgres.dump").write_bytes(content)
    refused(r"postgres\.dump is damaged")
    (folder / "manifest.json").write_text('{"format": 1')
    refused(r"manifest\.json is no manifest of a backup, or damaged")
    changed(one, format=2, sigap="9.0")
    refused(r"written by Sigap 9\.0 in format 2; this one reads up to 1")
    told = json.loads((folder / "manifest.json").read_text())["databases"]
    told["postgres"]["revision"] = "9999"
    changed(one, databases=told)
    refused("tables are of revision 9999")
    changed(one, files=[{"path": "../secrets", "size": 1, "sha256": "0" * 64}])
    refused("no manifest")
    with pytest.raises(BackupError, match="no part 'tables'"):
        little.restore(one, replace=True, skip=("tables",))
    verify(little.settings, find(little.settings, one.url))


def test_a_running_system_is_left_alone(little: Little) -> None:
    one = little.backup()
    with Supervisor(little.settings.state), pytest.raises(BackupError, match=r"runs from this folder.*\./run stop"):
        little.restore(one, replace=True)


# In another process, in the order in which a restore passes them.
KILLED = [
    ("sigap.backup.sqlite.rehome_mage", 1, False),
    ("sigap.backup.trees.merge", 1, True),
    ("pathlib.Path.rename", 9, True),
]


@pytest.mark.parametrize(("place", "number", "begun"), KILLED)
def test_killed_anywhere_the_same_words_once_more_finish_it(
    little: Little, place: str, number: int, begun: bool
) -> None:
    before = little.told()
    one = little.backup()
    if begun:
        little.sql("DELETE FROM education_data")
        (little.settings.state / "rejects/education/v1.csv").write_text("other")
    else:
        little.destroy()

    little.killed(place, f"restore(settings, find(settings, {one.url!r}), replace={begun})", number)

    assert (little.settings.state / "restore.json").exists() == begun
    if begun:
        with pytest.raises(ServiceError, match=r"restore .* was broken off"), Supervisor(little.settings.state):
            pass
        other = Found("sigap-20200101T000000Z", one.url, one.manifest.model_copy(update={"name": "other"}))  # type: ignore[union-attr]
        with pytest.raises(BackupError, match=rf"restore of {one.name} was broken off"):
            little.restore(other, replace=True)
        with pytest.raises(BackupError, match=rf"restore of {one.name} was broken off"):
            little.backup()
    little.restore(one, replace=begun)
    assert little.told() == before
    assert little.left() == []
    with Supervisor(little.settings.state):
        pass


def test_every_step_of_the_exchange_can_be_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop before each rename in turn, and again: no file is ever lost."""
    stops = 0
    rename = Path.rename
    for number in range(1, 8):
        state = tmp_path / str(number)
        state.mkdir()
        settings = Settings(root=state, state_dir=state)
        for name, old, new in (("both", 1, 1), ("gone", 1, 0), ("new", 0, 1), ("none", 0, 0)):
            if old:
                (state / name).write_text("old")
            if new:
                beside(state / name).write_text("new")
        entries = [Entry(state / name, beside(state / name)) for name in ("both", "gone", "new", "none")]
        exchange = Exchange(settings)
        exchange.begin(entries, {"name": "x", "url": "y"})
        left = number

        def stopping(self: Path, target: Path) -> Path:
            nonlocal left, stops
            left -= 1
            if left == 0:
                stops += 1
                raise KeyboardInterrupt
            return rename(self, target)

        monkeypatch.setattr(Path, "rename", stopping)
        for _ in range(2):
            try:
                exchange.move()
            except KeyboardInterrupt:
                for one in ("both", "gone"):
                    held = [path.read_text() for path in (state / one, state / f".{one}.replaced") if path.exists()]
                    assert "old" in held, "what was there is there until all is well"
        exchange.finish()
        assert sorted(path.name for path in state.iterdir()) == ["both", "new"]
        assert (state / "both").read_text() == "new"
        assert exchange.begun is None
    assert stops == 4, "as many renames as there are to be done"


def test_the_embedded_postgres_is_made_anew(little: Little, tmp_path: Path) -> None:
    little.sql("CREATE ROLE reader LOGIN PASSWORD 'x'")
    create_analyst(little.settings, "superset")
    try:
        little.sql("CREATE SCHEMA reports; CREATE VIEW reports.rows AS SELECT * FROM education_data")
        little.sql("GRANT USAGE ON SCHEMA reports TO reader; GRANT SELECT ON reports.rows TO reader")
        one = little.backup()
    finally:
        little.sql("DROP SCHEMA reports CASCADE; DROP ROLE reader")
        drop_analyst(little.settings, "superset")
    expected = little.sql("SELECT * FROM education_data ORDER BY 1, 3")
    shutil.rmtree(little.settings.state)
    # Like a folder of `mktemp -d`: the account that PostgreSQL runs under, as root, can't get in.
    tmp_path.chmod(0o700)
    own = Settings(root=little.checkout.root, state_dir=little.settings.state, postgres_port=free_port())
    with_own = Little(little.checkout, own, little.shelf)
    done = with_own.restore(one)
    assert done.notes == [
        "The role reader was made again, without its password: ALTER ROLE reader LOGIN PASSWORD …",
        "The login superset, a member of sigap_analyst, is not on this server: ./run analyst create superset",
    ]
    assert with_own.left() == []
    with EmbeddedPostgres(own):
        assert with_own.sql("SELECT * FROM education_data ORDER BY 1, 3") == expected
        assert with_own.sql("SELECT has_table_privilege('reader', 'reports.rows', 'select')") == [(True,)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege), psycopg.connect(own.dsn) as connection:
            connection.execute("SET ROLE reader; SELECT * FROM public.education_data")
        # What is there can be backed up again, and that again be put in its place.
        again = with_own.backup(target=str(tmp_path / "again"))
    link = own.state / "postgres"
    former = link.resolve()
    with_own.restore(again, replace=True)
    if link.is_symlink():
        assert not former.exists()
        assert (link.resolve() / "checkout").read_text() == str(link)
        shutil.rmtree(link.resolve())


def test_a_model_whose_declaration_was_in_the_lost_checkout_only_is_told(little: Little) -> None:
    with closing(sqlite3.connect(little.settings.state / "mlflow/mlflow.db")) as registry, registry:
        registry.execute("INSERT INTO registered_model_aliases VALUES ('boats', 'champion', 1)")
    (little.checkout.root / "boats.py").write_text("BOATS = 7\n")
    little.checkout.git("add", "boats.py")
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    little.checkout.git(*identity, "commit", "-q", "-m", "Declare boats")
    head = little.checkout.git("rev-parse", "HEAD")[:12]
    one = little.backup()

    little.destroy()
    done = little.restore(one)
    assert done.notes == [
        "Not declared here, so nobody will serve it: boats v1.",
        f"Code of the backup that this checkout has not: boats.py. `git merge {head}` brings it in.",
    ]
    little.checkout.git(*identity, "merge", "-q", "--no-edit", head)
    assert (little.checkout.root / "boats.py").read_text() == "BOATS = 7\n"
    assert little.restore(one, replace=True).notes == done.notes[:1]


def test_a_dump_that_ends_early_changes_no_table(little: Little, tmp_path: Path) -> None:
    one = little.backup()
    assert one.manifest is not None
    whole = (Path(one.url) / "postgres.dump").read_bytes()
    (tmp_path / "half").write_bytes(whole[: len(whole) * 2 // 3])
    little.sql("CREATE TABLE mine AS SELECT 1 AS n")
    with pytest.raises(BackupError, match="failed with exit code"):
        postgres.load(little.settings, tmp_path / "half", one.manifest.databases["postgres"])
    assert little.sql("SELECT n FROM mine") == [(1,)]
    assert little.sql("SELECT count(*) FROM education_data") == [(212,)]


def test_somebody_who_uses_a_table_keeps_it(little: Little, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "_LOCK_SECONDS", 1)
    one = little.backup()
    with psycopg.connect(little.settings.dsn) as other:
        other.execute("SELECT * FROM cars")
        with pytest.raises(BackupError, match=r"lock timeout.*still using the database"):
            little.restore(one, replace=True)
    assert little.left() == []
    assert little.sql("SELECT count(*) FROM education_data") == [(212,)]


def test_a_tar_file_gets_nowhere_else(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        info = tarfile.TarInfo("../escaped")
        info.size = 1
        archive.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(BackupError, match="can't be unpacked"):
        unpack(tmp_path / "x.tar", tmp_path / "into")
    assert not (tmp_path / "escaped").exists()


def test_a_file_is_written_for_its_owner_alone(tmp_path: Path) -> None:
    out = Hashing(tmp_path / "x")
    out.write(b"one")
    assert out.close().size == 3
    assert (tmp_path / "x").stat().st_mode & 0o077 == 0
