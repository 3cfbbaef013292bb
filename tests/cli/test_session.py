"""`./run` as a whole: a second one, another shell, Ctrl-C, and a supervisor that was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sigap.services.service import marked, port_is_free, recorded, relatives
from tests.cli.conftest import SERVICES, Shell, wait_until

pytestmark = pytest.mark.system


@pytest.fixture(autouse=True)
def _nothing_left(shell: Shell) -> Iterator[None]:
    """What a test that failed left running is no matter of the next."""
    yield
    for process in shell.started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(600)


def all_ports_free(shell: Shell) -> bool:
    return all(port_is_free("127.0.0.1", int(shell.env[f"SIGAP_{name}_PORT"])) for name in SERVICES)


def test_beside_it_others_see_it_and_ctrl_c_in_the_middle_of_a_pipeline_ends_all(shell: Shell, tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    process = shell.start(log)
    state = shell.root / ".sigap"
    wait_until(lambda: "in Mage" in log.read_text() or process.poll() is not None, log.read_text)
    assert process.poll() is None, log.read_text()

    second = shell.run()
    assert second.returncode == 0
    assert f"already runs from this folder (pid {process.pid})" in second.stdout
    status = shell.run("status")
    assert status.returncode == 0, status.stdout
    assert {line.split()[0] for line in status.stdout.splitlines() if " ready " in line} == {
        "watcher",
        *(name.lower() for name in SERVICES),
    }

    foreign = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], cwd=shell.root)
    pids = {each.pid for each in marked(state)} | {int(str(record["pid"])) for record in recorded(state)}
    pids |= {child.pid for pid in pids for child in relatives(pid)}
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(600) == 0, log.read_text()
    assert "Everything that was started has been stopped" in log.read_text()
    assert [pid for pid in pids if psutil.pid_exists(pid)] == []
    assert all_ports_free(shell)
    assert foreign.poll() is None
    foreign.kill()
    foreign.wait()


def test_after_kill_9_status_tells_and_stop_ends_what_is_left(shell: Shell, tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    state = shell.root / ".sigap"
    process = shell.start(log)
    wait_until(lambda: "  postgres  " in log.read_text(), log.read_text)
    process.kill()
    process.wait()
    left = marked(state)
    assert left
    status = shell.run("status")
    assert status.returncode == 1
    assert "was killed" in status.stdout
    stop = shell.run("stop")
    assert stop.returncode == 0, stop.stderr
    assert "Ended what a killed ./run had left running: " in stop.stdout
    assert "postgres" in stop.stdout
    assert not any(each.is_running() for each in left)
    assert all_ports_free(shell)
    assert shell.run("stop").stdout.startswith("Nothing runs")
