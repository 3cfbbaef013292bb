"""Fixtures of the data layer's tests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

import sigap.catalog
from sigap.catalog import Declaration, declaration
from sigap.catalog.bitcoin_price import BITCOIN_PRICE
from sigap.catalog.car_price import CAR_PRICE
from sigap.catalog.credit_approval import CREDIT_APPROVAL
from sigap.catalog.customer_segments import CUSTOMER_SEGMENTS
from sigap.catalog.loan_approval import LOAN_APPROVAL
from sigap.settings import ROOT, Settings
from tests.conftest import Checkout


@pytest.fixture
def settings(checkout: Checkout, seeded_database: str) -> Settings:
    """A checkout of its own with a seeded database of its own."""
    return checkout.settings(database=seeded_database)


@pytest.fixture
def execute(settings: Settings) -> Callable[..., list[tuple[Any, ...]]]:
    """Runs SQL in the test's database and commits."""

    def run(statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(settings.dsn) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    return run


@pytest.fixture
def education() -> Declaration:
    return declaration("education")


def in_another_process(settings: Settings, script: str) -> subprocess.Popen[str]:
    """Starts Python code that finds `settings`, `DataVersions`, `take_snapshot`, `education`, `killed_at`, `peak`."""
    dsn = settings.database_url.get_secret_value() if settings.database_url else ""
    prelude = f"""
import importlib, os, signal
from pathlib import Path
from sigap.catalog import declaration
from sigap.data.snapshot import take_snapshot
from sigap.data.versions import DataVersions
from sigap.errors import SigapError
from sigap.settings import Settings
education = declaration("education")
settings = Settings(root=Path({str(settings.root)!r}), state_dir=Path({str(settings.state)!r}), DATABASE_URL={dsn!r})

def peak():
    # In MB. Not `ru_maxrss`, which begins with what the process that started this one had taken.
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) // 1024

def killed_at(place):
    # The process ends there as by `kill -9`: no handler, no `finally`.
    module, owner, name = place.rsplit(".", 2)
    kill = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
    setattr(getattr(importlib.import_module(module), owner), name, kill)
"""
    return subprocess.Popen(
        [sys.executable, "-c", prelude + script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def write_snapshot(settings: Settings, content: bytes) -> Path:
    """Puts bytes where the snapshot lies; to DVC and Git it is any file."""
    path = settings.root / "data" / "raw" / "education_snapshot.parquet"
    path.write_bytes(content)
    return path


@pytest.fixture
def catalogue(monkeypatch: pytest.MonkeyPatch) -> dict[str, Declaration]:
    """All six models, those not yet reachable among them."""
    for one in (CAR_PRICE, CUSTOMER_SEGMENTS, LOAN_APPROVAL, CREDIT_APPROVAL, BITCOIN_PRICE):
        monkeypatch.setitem(sigap.catalog._DECLARATIONS, one.name, one)
    return {one.name: one for one in sigap.catalog.declarations()}
