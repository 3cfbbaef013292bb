"""The tutorial, typed command by command into the running system; what it shows is what comes."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Thread

import httpx
import pytest

from sigap.settings import ROOT
from tests.system.conftest import System

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl, which is not installed"),
]

TUTORIAL = ROOT / "docs" / "tutorial.md"
BLOCK = re.compile(r"^(<!-- repeat -->\n+)?```sh\n(.*?)^```\n(?:\n```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)
# The newest versions here may have other numbers than in a clone in which nothing else was done.
VERSION = re.compile(r"\bv\d+\b")
PATIENCE = 600


@dataclass(frozen=True)
class Step:
    """A block of commands, what it shows, and whether its reader is told to repeat it."""

    command: str
    shown: str
    repeat: bool

    def is_seen_in(self, said: str) -> bool:
        """Whether what is shown comes in this order, whatever stands for `…` and however lines are broken."""
        said, place = " ".join(said.split()), 0
        for part in re.split("…|\n", self.shown):
            known = re.escape(" ".join(VERSION.sub("VERSION", part).split()))
            found = re.compile(known.replace("VERSION", r"v\w+")).search(said, place)
            if found is None:
                return False
            place = found.end()
        return True


def steps() -> Iterator[Step]:
    for repeat, command, shown in BLOCK.findall(TUTORIAL.read_text()):
        yield Step(command, shown, bool(repeat))


@dataclass
class Terminal:
    """The second terminal: what is exported in one block is there in the next."""

    system: System

    def here(self, text: str) -> str:
        """The text with this system's addresses in place of those of a system with default ports."""
        settings = self.system.settings
        ports = {8000: settings.api_port, 8501: settings.dashboard_port}
        ports |= {6789: settings.mage_port, 5000: settings.mlflow_port}
        for usual, port in ports.items():
            text = text.replace(f"127.0.0.1:{usual}", f"127.0.0.1:{port}")
        return text

    def type(self, command: str, *, may_fail: bool) -> str:
        """What the commands print, in a shell that ends at the first failure."""
        root, kept = self.system.root, self.system.root.parent / "exported"
        kept.touch()
        run = shlex.join([sys.executable, str(root / "run")])
        script = f". {kept}\n{self.here(command).replace('./run', run)}\nexport -p > {kept}\n"
        env = {key: value for key, value in self.system.env.items() if not key.endswith("_PORT")}
        done = subprocess.run(
            ["bash", "-euo", "pipefail"],
            input=script,
            cwd=root,
            env=env | {"COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert may_fail or done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def test_every_command_of_the_tutorial_does_what_it_says(system: System) -> None:
    first, *others = steps()
    assert first.command == "./run\n"
    # A reader's system trains by itself when rows change, which the stories before had switched off.
    system.stop()
    system.start(SIGAP_RETRAIN_ON_CHANGE="education", SIGAP_SENSOR_SECONDS="1")
    # Somebody has to take note of its end, as a shell does, or `./run stop` waits for a process that is only a record.
    Thread(target=system.process.wait, daemon=True).start()
    terminal = Terminal(system)
    for address in re.findall(r"<(http://127\.0\.0\.1:\d+[^>]*)>", TUTORIAL.read_text()):
        assert httpx.get(terminal.here(address), timeout=30, follow_redirects=True).is_success, address
    served = [system.served()]
    for step in others:
        until = time.monotonic() + (PATIENCE if step.repeat else 0)
        while not step.is_seen_in(said := terminal.type(step.command, may_fail=step.repeat)):
            assert time.monotonic() < until, f"{step.command}\nshall show\n{step.shown}\nbut says\n{said}"
            time.sleep(1)
        if (version := system.served()) not in ("", served[-1]):
            served.append(version)
    before, trained, after = served
    assert (before, before != trained) == (after, True), "the new model was served, and then the old one again"
    assert others[-1].command.endswith("./run stop\n")
    assert system.process.wait(timeout=60) == 0
