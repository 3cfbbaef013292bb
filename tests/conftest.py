"""Fixtures for all parts: a real PostgreSQL, a fresh database, a fresh Git and DVC checkout."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import dvc  # noqa: F401 - it logs to the stderr of its import, and one that a test captures is closed when that ends
import httpx
import psycopg
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as examples

from sigap.settings import ROOT, Settings, get_settings
from tests.stores import ObjectStore, running_store

_numbers = count(1)

# Started in the background by a shell, this process ignores Ctrl-C, and so would all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Two tests at a time on a busy machine: what is slow is no fault, and nothing here is timed.
examples.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
examples.load_profile("patient")
for _part in ("connect", "read", "write", "pool"):
    setattr(httpx._config.DEFAULT_TIMEOUT_CONFIG, _part, 120.0)
# Every `httpx.get` would read all authorities' certificates anew, which takes longer than the answer it waits for.
httpx._transports.default.create_ssl_context = cache(httpx._transports.default.create_ssl_context)


@cache
def _group(file: str) -> str:
    """What goes to one process as a whole: a file; all that fill a machine; all that share a Dask cluster."""
    if file.startswith("tests/scale/"):
        return "scale"
    return "alone" if re.search(r"pytest\.mark\.(system|browser|load)\b", (ROOT / file).read_text()) else file


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What fills a machine comes first, since it takes longest."""
    items.sort(key=lambda item: _group(item.nodeid.partition("::")[0]) != "alone")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Of two processes that share the tests, one gets all that fill a machine; xdist's marks for it need pytest < 9."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid.partition("::")[0])

    return Groups(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test depends on the settings, or on the Git identity and hooks, of whoever runs it."""
    for name in list(os.environ):
        ours = name.startswith(("SIGAP_", "GIT_", "AWS_")) or name in ("DATABASE_URL", "MLFLOW_TRACKING_URI")
        if ours and name != "SIGAP_VENV":
            monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium that looks nothing up of its own accord; closed with its module, for others share no loop."""
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("needs Chromium, which ./run test installs as root on Debian")
    flags = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=[*flags, "--no-first-run"])
        yield started
        started.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a PostgreSQL server of this session alone, with its password."""
    from sigap.services.postgres import EmbeddedPostgres
    from sigap.services.service import free_port

    # Not below `tmp_path`, whose folders are closed: as root the server runs under an ordinary account.
    with tempfile.TemporaryDirectory(prefix="sigap-test-postgres-") as folder:
        Path(folder).chmod(0o755)
        settings = Settings(root=ROOT, state_dir=Path(folder) / "state", postgres_port=free_port())
        with EmbeddedPostgres(settings):
            with psycopg.connect(settings.dsn, autocommit=True) as connection:
                # What a test wrote need not survive a power failure.
                for name in ("fsync", "synchronous_commit", "full_page_writes"):
                    connection.execute(f"ALTER SYSTEM SET {name} = off")
                connection.execute("SELECT pg_reload_conf()")
            yield settings.dsn


def _make_database(server: str, template: str = "template0") -> str:
    name = f"test_{next(_numbers)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    return f"{server.rsplit('/', 1)[0]}/{name}"


def _drop_database(server: str, url: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {url.rsplit('/', 1)[1]} WITH (FORCE)")


@pytest.fixture
def database(postgres: str) -> Iterator[str]:
    """URL of a fresh, empty database."""
    url = _make_database(postgres)
    yield url
    _drop_database(postgres, url)


@pytest.fixture(scope="session")
def _seeded_template(postgres: str) -> str:
    from sigap.data.postgres import migrate
    from sigap.data.seed import seed

    url = _make_database(postgres)
    settings = Settings(DATABASE_URL=url)
    migrate(settings)
    seed(settings)
    return url.rsplit("/", 1)[1]


@pytest.fixture
def seeded_database(postgres: str, _seeded_template: str) -> Iterator[str]:
    """URL of a fresh database with Sigap's schema and seed figures."""
    url = _make_database(postgres, _seeded_template)
    yield url
    _drop_database(postgres, url)


@pytest.fixture(scope="module")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """A real S3 server of this module alone, with one empty bucket."""
    with running_store(tmp_path_factory.mktemp("s3")) as store:
        yield store


@dataclass(frozen=True)
class Checkout:
    """A fresh checkout: a folder with Git, DVC's configuration, the seed figures and one commit."""

    root: Path

    def settings(self, **changes: Any) -> Settings:
        """Settings of this checkout; `database` is a URL."""
        if "database" in changes:
            changes["DATABASE_URL"] = changes.pop("database")
        return Settings(**{"root": self.root, "state_dir": self.root / ".sigap", **changes})

    def git(self, *words: str) -> str:
        """Output of a git command in it."""
        return subprocess.run(["git", *words], cwd=self.root, check=True, capture_output=True, text=True).stdout.strip()


def new_checkout(root: Path, *, commit: bool = True) -> Checkout:
    """Makes a checkout; `commit=False` leaves HEAD unborn."""
    checkout = Checkout(root)
    for part in (".dvc/config", ".dvc/.gitignore", ".dvcignore", "data/raw/.gitignore", ".gitignore"):
        (checkout.root / part).parent.mkdir(parents=True, exist_ok=True)
        # Contents only: a checkout of this test may be written to, whatever rights the files here have.
        shutil.copyfile(ROOT / part, checkout.root / part)
    seeds = checkout.root / "data" / "seed"
    shutil.copytree(ROOT / "data" / "seed", seeds, copy_function=shutil.copyfile)
    checkout.git("init", "--quiet", "--initial-branch=main")
    if commit:
        checkout.git("add", "--all")
        checkout.git("-c", "user.name=Test", "-c", "user.email=t@example.org", "commit", "--quiet", "-m", "Begin")
    return checkout


@pytest.fixture
def make_checkout(tmp_path: Path) -> Callable[..., Checkout]:
    """Makes a checkout below `tmp_path`; `commit=False` leaves HEAD unborn."""
    return lambda name="checkout", *, commit=True: new_checkout(tmp_path / name, commit=commit)


@pytest.fixture
def checkout(make_checkout: Callable[..., Checkout]) -> Checkout:
    """A fresh checkout with one commit."""
    return make_checkout()
