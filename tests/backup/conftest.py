"""A system with something in every part, small enough to be backed up by the dozen."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sigap.backup.create import back_up
from sigap.backup.restore import Restored, restore
from sigap.backup.shelf import Found
from sigap.data.versions import DataVersions
from sigap.keys import Keys
from sigap.settings import ROOT, Settings
from tests.conftest import Checkout, new_checkout
from tests.data.conftest import write_snapshot


def make_sqlite(path: Path, *statements: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as made, made:
        for statement in statements:
            made.execute(statement)


@dataclass
class Little:
    """A checkout with a database, a registry, Mage's runs, two data versions, a key and a rejected row."""

    checkout: Checkout
    settings: Settings
    shelf: Path

    def fill(self) -> None:
        state = self.settings.state
        write_snapshot(self.settings, b"one")
        versions = DataVersions(self.settings)
        versions.record("education")
        write_snapshot(self.settings, b"two")
        versions.record("education", "v_2025_Q1")
        make_sqlite(
            state / "mlflow/mlflow.db",
            "CREATE TABLE registered_model_aliases (name TEXT, alias TEXT, version INTEGER)",
            "INSERT INTO registered_model_aliases VALUES ('education', 'champion', 3), ('education', 'previous', 2)",
        )
        make_sqlite(
            state / "mage/mage_project/mage-ai.db",
            "CREATE TABLE pipeline_schedule (repo_path TEXT)",
            "CREATE TABLE generic_job (repo_path TEXT)",
            "CREATE TABLE user (email TEXT, password_hash TEXT, password_salt TEXT)",
            "INSERT INTO user VALUES ('admin@sigap.local', 'x', 'x')",
            f"INSERT INTO pipeline_schedule VALUES ('{self.settings.root}/mage_project')",
        )
        for name, text in {
            "mlflow/artifacts/1/run/artifacts/bundle/model.onnx": "model",
            "mage/mage_project/pipelines/education/run.log": "log",
            "mage/mage_project/.cache/blocks": "cache",
            "rejects/education/v1.csv": "row",
            "api/education/held.json": '{"version": "2"}',
            "api/education/v3-abc/model.onnx": "fetched",
        }.items():
            (state / name).parent.mkdir(parents=True, exist_ok=True)
            (state / name).write_text(text)
        Keys(self.settings).create("partner", ["predict"])
        self.settings.secret("mage_password")

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.settings.dsn) as connection:
            cursor = connection.execute(statement)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def backup(self, **options: Any) -> Found:
        return back_up(self.settings, options.pop("target", str(self.shelf)), **options)[0]

    def restore(self, one: Found, **options: Any) -> Restored:
        return restore(self.settings, one, **options)

    def destroy(self) -> None:
        """As if the disk had been lost, and the repository cloned anew."""
        self.checkout.git("tag", "-d", "education/v1", "education/v_2025_Q1")
        self.checkout.git("reset", "-q", "--hard", self.checkout.git("rev-list", "--max-parents=0", "HEAD"))
        for folder in (".sigap", ".dvc/cache"):
            shutil.rmtree(self.checkout.root / folder)
        write_snapshot(self.settings, b"").unlink()
        self.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")

    def told(self) -> dict[str, Any]:
        """Everything that has to come back, in a form that can be compared."""
        state = self.settings.state
        versions = DataVersions(self.settings)
        keys = json.loads((state / "keys.json").read_text())
        with closing(sqlite3.connect(state / "mlflow/mlflow.db")) as registry:
            aliases = registry.execute("SELECT * FROM registered_model_aliases ORDER BY 2").fetchall()
        return {
            "rows": self.sql("SELECT * FROM education_data ORDER BY 1, 3"),
            "decisions": self.sql("SELECT * FROM decisions ORDER BY 1"),
            "predictions": self.sql("SELECT * FROM predictions ORDER BY 1"),
            "versions": [(one.name, one.md5, one.commit, one.created_at) for one in versions.list("education")],
            "snapshot": versions.path("education").read_bytes(),
            "keys": keys,
            "aliases": aliases,
            "files": {
                path.relative_to(state).as_posix(): path.read_text()
                for name in ("mlflow/artifacts", "mage/mage_project/pipelines", "rejects")
                for path in sorted((state / name).rglob("*"))
                if path.is_file()
            },
            "held": (state / "api/education/held.json").read_text(),
        }

    def left(self) -> list[str]:
        """What no backup or restore should leave behind."""
        return [
            path.name
            for pattern in (".*.restored", ".*.replaced", "restore.json", "restore", ".*.part")
            for folder in (self.settings.state, self.settings.state / "mlflow", self.shelf)
            for path in folder.glob(pattern)
        ]

    def killed(self, place: str, script: str, number: int = 1) -> None:
        """Runs code in another process that is killed, as by `kill -9`, when it calls `place` for that time."""
        module, name = place.rsplit(".", 1)
        prelude = f"""
import importlib, os, signal
from pathlib import Path
from sigap.backup.create import back_up
from sigap.backup.restore import restore
from sigap.backup.shelf import find
from sigap.settings import get_settings
settings = get_settings()
owner = importlib.import_module({module!r}) if {module!r} != "pathlib.Path" else Path
real, calls = getattr(owner, {name!r}), []
def killed(*words, **options):
    calls.append(words)
    if len(calls) == {number}:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*words, **options)
setattr(owner, {name!r}, killed)
"""
        done = self.process(prelude + script)
        output, _ = done.communicate(timeout=120)
        assert done.returncode == -9, output

    def process(self, script: str, **variables: str) -> subprocess.Popen[str]:
        """Runs code in another process with these settings."""
        return subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env=os.environ | self.settings.as_environment() | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


@pytest.fixture(scope="module")
def _filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A filled checkout to be copied: two data versions take DVC a second."""
    checkout = new_checkout(tmp_path_factory.mktemp("filled") / "checkout")
    Little(checkout, checkout.settings(), checkout.root).fill()
    return checkout.root


@pytest.fixture
def make_little(_filled: Path, seeded_database: str, tmp_path: Path) -> Callable[..., Little]:
    def make(**changes: Any) -> Little:
        checkout = Checkout(tmp_path / "checkout")
        shutil.copytree(_filled, checkout.root)
        little = Little(checkout, checkout.settings(database=seeded_database, **changes), tmp_path / "shelf")
        with closing(sqlite3.connect(checkout.root / ".sigap/mage/mage_project/mage-ai.db")) as mage, mage:
            mage.execute("UPDATE pipeline_schedule SET repo_path = ?", [f"{checkout.root}/mage_project"])
        little.sql(
            "INSERT INTO decisions (model, run_id, model_version, promoted, rule, reason, record) "
            """VALUES ('education', 'r', 'v3', true, 'first', '"the first"', '{"score": 0.371}')"""
        )
        little.sql(
            "INSERT INTO predictions (at, model, model_version, request_id, fields, answer) "
            """VALUES ('2025-01-31', 'education', 'v3', 'q', '{}', '{"cluster": 0}')"""
        )
        return little

    return make


@pytest.fixture
def little(make_little: Callable[..., Little]) -> Little:
    return make_little()
