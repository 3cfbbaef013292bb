"""Calls that workers import."""

from __future__ import annotations

import os
import time
from pathlib import Path

from sigap.errors import TrainingError


def square(number: int) -> int:
    return number * number


def slowly(folder: Path, number: int) -> tuple[int, int]:
    """Leaves a file of its process when it begins, then takes its time."""
    (folder / f"{number}.{os.getpid()}").touch()
    time.sleep(0.15)
    return number, os.getpid()


def refuse(number: int) -> int:
    raise TrainingError(f"Number {number} can't be trained on.", remedy="Take another.")


def stumble(folder: Path, number: int) -> int:
    """Fails unforeseen the first time, as a full disk does."""
    mark = folder / f"stumbled-{number}"
    if not mark.exists():
        mark.touch()
        raise OSError("no space left on device")
    return number


def die(_: int) -> int:
    os._exit(9)
