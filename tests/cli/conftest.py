"""A copy of this tree as a fresh checkout, and `./run` in it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sigap.services.service import free_port, marked
from sigap.settings import ROOT
from tests.trees import copy_tree

SERVICES = ("API", "DASHBOARD", "MLFLOW", "MAGE", "POSTGRES")


@dataclass
class Shell:
    """Where `./run` is typed."""

    root: Path
    env: dict[str, str] = field(default_factory=dict)
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "run", *words],
            cwd=self.root,
            env=self.env | variables,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def start(self, log: Path) -> subprocess.Popen[bytes]:
        """`./run` as a terminal starts it: in a process group of its own, which Ctrl-C reaches as a whole."""
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "run"], cwd=self.root, env=self.env, stdout=out, stderr=out, start_new_session=True
            )
        self.started.append(process)
        return process


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    # Below a closed folder, as `mktemp -d` makes one.
    with tempfile.TemporaryDirectory(prefix="sigap-test-cli-") as folder:
        root = Path(folder) / "sigap"
        root.mkdir()
        copy_tree(root)
        env = {name: value for name, value in os.environ.items() if not name.startswith("SIGAP_")}
        for name in ("DATABASE_URL", "MLFLOW_TRACKING_URI"):
            env.pop(name, None)
        env |= {f"SIGAP_{name}_PORT": str(free_port()) for name in SERVICES}
        # One model is enough to see how a start behaves; the second story of tests/system brings up all.
        env |= {"SIGAP_VENV": sys.prefix, "SIGAP_TRAIN_AT_START": "education", "SIGAP_WATCHING": "false"}
        shell = Shell(root, env)
        yield shell
        for process in shell.started:
            process.kill()
            process.wait()
        for left in marked(root / ".sigap"):
            left.send_signal(signal.SIGKILL)


def wait_until(check: Callable[[], object], what: Callable[[], str], seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, f"not within {seconds} s: {what()}"
        time.sleep(0.1)


@pytest.fixture(scope="module", autouse=True)
def _no_state_in_this_tree() -> Iterator[None]:
    before = (ROOT / ".sigap" / "run").exists()
    yield
    assert (ROOT / ".sigap" / "run").exists() == before
