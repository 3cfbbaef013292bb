"""A real Mage server for the whole session: the product's project, and beside its pipelines one of small steps."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from sigap.services.mage import mage_service
from sigap.services.service import Running, free_port
from sigap.settings import ROOT, Settings

SMALL_STEPS = Path(__file__).parent / "project"

Start = Callable[[Settings], AbstractContextManager[Running]]


@contextmanager
def running_mage(settings: Settings) -> Iterator[Running]:
    running = Running(mage_service(settings), settings.state)
    try:
        running.wait_ready()
        yield running
    finally:
        running.stop()


def checkout(root: Path) -> Path:
    """A Git checkout in `root` that holds both projects' files."""
    passing_over = shutil.ignore_patterns("__pycache__", ".ssh_tunnel", ".file_versions", ".cache", "metadata.yaml")
    shutil.copytree(ROOT / "mage_project", root / "mage_project", ignore=shutil.ignore_patterns(".*", "__pycache__"))
    shutil.copytree(SMALL_STEPS, root / "mage_project", ignore=passing_over, dirs_exist_ok=True)
    shutil.copytree(SMALL_STEPS / "pipelines", root / "mage_project" / "pipelines", dirs_exist_ok=True)
    shutil.copy(ROOT / ".gitignore", root)
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    for command in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "Start"]):
        subprocess.run(["git", *command], cwd=root, check=True)
    return root


@pytest.fixture(scope="session")
def mage_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    root = checkout(tmp_path_factory.mktemp("checkout"))
    return Settings(_env_file=None, root=root, state_dir=Path(".sigap"), mage_port=free_port(), log_format="json")


@pytest.fixture(scope="session")
def mage(mage_settings: Settings) -> Iterator[Running]:
    with running_mage(mage_settings) as running:
        yield running


@pytest.fixture
def own_settings(tmp_path: Path) -> Settings:
    """Settings of a server that a test may kill."""
    return Settings(_env_file=None, root=checkout(tmp_path), state_dir=Path(".sigap"), mage_port=free_port())
