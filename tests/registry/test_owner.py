"""Who waits for a run, and whether that process still lives."""

from __future__ import annotations

import subprocess
import sys

from sigap.registry.owner import is_gone, this_process
from sigap.settings import ROOT

WORDS = [sys.executable, "-c", "from sigap.registry.owner import this_process; print(this_process())"]


def test_this_process_lives_and_one_that_ended_is_gone() -> None:
    assert not is_gone(this_process())
    assert is_gone(subprocess.run(WORDS, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip())


def test_a_number_that_was_given_again_is_another_process() -> None:
    host, pid, start = this_process().rsplit(":", 2)
    assert is_gone(f"{host}:{pid}:{float(start) - 60}")


def test_what_can_not_be_told_counts_as_living() -> None:
    _, pid, start = this_process().rsplit(":", 2)
    for owner in ("", "nonsense", "a:b:c", f"another-machine:{pid}:{float(start) - 60}"):
        assert not is_gone(owner)
