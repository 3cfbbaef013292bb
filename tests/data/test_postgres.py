"""Connections, migrations and seed figures on a real server."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.config import Config

from sigap.data.postgres import MIGRATIONS, connect, migrate, newest_revision
from sigap.data.seed import seed
from sigap.errors import ConfigurationError, ServiceError, SigapError
from sigap.settings import Settings
from tests.conftest import Checkout
from tests.data.conftest import in_another_process

Execute = Callable[..., list[tuple[Any, ...]]]


def test_a_fresh_database_gets_schema_and_figures_once(checkout: Checkout, database: str) -> None:
    settings = checkout.settings(database=database)
    with pytest.raises(ServiceError, match="Loading the seed figures"):
        seed(settings)
    migrate(settings)
    loaded = seed(settings)
    assert {"provinces": 38, "definition_breaks": 2, "education_data": 212}.items() <= loaded.items()
    assert all(loaded.values())
    migrate(settings)
    assert seed(settings) == dict.fromkeys(loaded, 0)
    with connect(settings, read_only=True) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(newest_revision(),)]
        found = connection.execute(
            "SELECT count(*), count(angka_melek_huruf), count(anggaran_pendidikan_persen) FROM education_data"
        ).fetchone()
        assert found == (212, 54, 14)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("DELETE FROM education_data")
        connection.rollback()


def test_edits_and_deletions_survive_the_next_start(settings: Settings, execute: Execute, checkout: Checkout) -> None:
    execute("UPDATE education_data SET rata_lama_sekolah = 1.5 WHERE provinsi_id = 'P35' AND tahun = 2024")
    execute("DELETE FROM education_data WHERE tahun = 2019")
    migrate(settings)
    seed(settings)
    edited = "SELECT rata_lama_sekolah FROM education_data WHERE provinsi_id = 'P35' AND tahun = 2024"
    assert execute(edited) == [(1.5,)]
    assert execute("SELECT count(*) FROM education_data") == [(212 - 34,)]

    # A newer seed file brings its new rows and touches none that stand.
    path = checkout.root / "data/seed/education/province_figures.csv"
    path.write_text(path.read_text() + "2025,P35,Jawa Timur,,8.5,13.5,,\n")
    assert seed(settings)["education_data"] >= 1
    assert execute(edited) == [(1.5,)]
    assert execute("SELECT rata_lama_sekolah FROM education_data WHERE tahun = 2025") == [(8.5,)]


def test_updated_at_moves_with_a_change_only(settings: Settings, execute: Execute) -> None:
    moment = "SELECT updated_at FROM education_data WHERE provinsi_id = 'P35' AND tahun = 2024"
    before = execute(moment)
    execute("UPDATE education_data SET rata_lama_sekolah = rata_lama_sekolah")
    assert execute(moment) == before
    execute("UPDATE education_data SET rata_lama_sekolah = 8.4 WHERE provinsi_id = 'P35' AND tahun = 2024")
    assert execute(moment) > before


def test_a_table_of_ones_own_stays_as_it_is(checkout: Checkout, database: str) -> None:
    settings = checkout.settings(database=database)
    with connect(settings) as connection:
        connection.execute("CREATE TABLE education_data (provinsi_id text, tahun integer)")
        connection.execute("INSERT INTO education_data VALUES ('P35', 2024)")
    migrate(settings)
    assert seed(settings)["education_data"] == 0
    with connect(settings) as connection:
        connection.execute("UPDATE education_data SET tahun = 2025")
        assert connection.execute("SELECT * FROM education_data").fetchall() == [("P35", 2025)]


def test_two_starts_at_once(checkout: Checkout, database: str) -> None:
    settings = checkout.settings(database=database)
    script = "from sigap.data import postgres, seed; postgres.migrate(settings); seed.seed(settings); print('done')"
    both = [in_another_process(settings, script) for _ in range(2)]
    assert [process.communicate(timeout=600)[0] for process in both] == ["done\n", "done\n"]
    with connect(settings) as connection:
        assert connection.execute("SELECT count(*) FROM education_data").fetchone() == (212,)


def test_migrations_go_back_and_forth_by_alembic_itself(
    settings: Settings, execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", settings.dsn)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    command.downgrade(config, "base")
    assert execute("SELECT to_regclass('education_data'), to_regclass('seeds')") == [(None, None)]
    command.upgrade(config, "head")
    assert seed(settings)["education_data"] == 212


def test_a_schema_from_a_newer_sigap_is_refused(settings: Settings, execute: Execute) -> None:
    execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ServiceError, match="is not one that this version of Sigap knows"):
        migrate(settings)


def test_a_deployment_that_only_added_can_be_taken_back(
    settings: Settings, execute: Execute, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = newest_revision()
    newer = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, newer)

    def migrated_by_newer(number: str, before: str, word: str) -> None:
        (newer / "versions" / f"{number}_more.py").write_text(
            f"from alembic import op\nrevision = '{number}'\ndown_revision = '{before}'\n{word}\n"
            f"def upgrade():\n    op.execute('CREATE TABLE more_{number} ()')\n"
        )
        with monkeypatch.context() as patch:
            patch.setattr("sigap.data.postgres.MIGRATIONS", newer)
            migrate(settings)
        assert execute("SELECT version_num FROM alembic_version") == [(number,)]

    migrated_by_newer("9001", newest, "additive = True\n")
    migrated_by_newer("9002", "9001", "additive = True\n")
    migrate(settings)  # the former Sigap starts
    assert execute("SELECT version_num FROM alembic_version") == [("9002",)]
    assert set(seed(settings).values()) == {0}

    migrated_by_newer("9003", "9002", "")
    with pytest.raises(ServiceError, match="is not one that this version of Sigap knows"):
        migrate(settings)


def test_a_missing_seed_file_is_named(settings: Settings, checkout: Checkout) -> None:
    shutil.rmtree(checkout.root / "data/seed")
    with pytest.raises(ConfigurationError, match=r"provinces\.csv are missing\. Get them back"):
        seed(settings)


@pytest.mark.parametrize(
    ("url", "kind", "message"),
    [
        ("postgresql://sigap:{password}@127.0.0.1:1/sigap", ServiceError, r"127\.0\.0\.1:1, database 'sigap'.*refused"),
        ("postgresql://sigap:wr0ng@{place}/sigap", ServiceError, r"password authentication failed"),
        ("postgresql://sigap:{password}@{place}/nowhere", ServiceError, r'database "nowhere" does not exist'),
        ("postgresql://nobody:wr0ng@{place}/sigap", ServiceError, r'user "nobody"'),
        ("postgresql://sigap:{password}@host.invalid/sigap", ServiceError, r"host\.invalid"),
        ("postgresql://sigap:p@s3cr:x@:y/sigap", ConfigurationError, r"DATABASE_URL can't be parsed"),
        ("postgresql://sigap:p@s3cr@127.0.0.1/sigap", ConfigurationError, r"DATABASE_URL can't be parsed"),
        ("postgresql://sigap:p/s3cr@127.0.0.1/sigap", ConfigurationError, r"DATABASE_URL can't be parsed"),
        ("postgresql://sigap:p#s3cr@127.0.0.1:1/sigap", SigapError, r"DATABASE_URL"),
    ],
)
def test_a_wrong_database_url_is_explained_without_its_password(
    checkout: Checkout, postgres: str, url: str, kind: type[SigapError], message: str
) -> None:
    account, place = postgres.split("//")[1].rsplit("/", 1)[0].rsplit("@", 1)
    password = account.split(":", 1)[1]
    settings = checkout.settings(database=url.format(password=password, place=place))
    with pytest.raises(kind, match=message) as raised:
        connect(settings)
    assert "DATABASE_URL" in str(raised.value)
    for secret in (password, "wr0ng", "s3cr"):
        assert secret not in str(raised.value)
    assert raised.value.__cause__ is None


def test_the_drivers_question_mark_is_no_part_of_our_sentence() -> None:
    with pytest.raises(ServiceError) as away:
        connect(Settings(_env_file=None, DATABASE_URL="postgresql://me@127.0.0.1:1/x"))
    assert "?." not in away.value.message
    assert away.value.message.endswith(".")
