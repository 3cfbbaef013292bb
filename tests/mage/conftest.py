"""A real Mage server for the whole session, with a project of small steps that stand in for the real ones."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest

from sigap.services.mage import mage_service
from sigap.services.service import Running
from sigap.settings import Settings

PROJECT = Path(__file__).parent / "project"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def mage_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("checkout")
    shutil.copytree(PROJECT, root / "mage_project", ignore=shutil.ignore_patterns("__pycache__"))
    return root


@pytest.fixture(scope="session")
def mage_settings(mage_root):
    return Settings(_env_file=None, root=mage_root, state_dir=mage_root / "state", mage_port=free_port())


@pytest.fixture(scope="session")
def mage(mage_settings):
    running = Running(mage_service(mage_settings), mage_settings.state)
    try:
        running.wait_ready()
        yield running
    finally:
        running.stop()
