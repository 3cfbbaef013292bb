"""The programs that read the files of `deploy`, where they are installed."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from sigap.settings import ROOT


def tool(name: str) -> str:
    """Path of a program; skips the test where it is not installed."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"needs {name}, which ./run test installs as root on Debian")
    return path


def said(*command: str) -> str:
    """What a program prints; fails the test with it where the program refuses."""
    ended = subprocess.run([tool(command[0]), *command[1:]], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout
