"""Every figure that the README states, each by one command: `./run bench`."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import psutil

from sigap.settings import ROOT

# Public files that the project does not carry; every benchmark that reads one takes another file's name as well.
SHARED = Path(os.environ.get("SIGAP_SHARED_DATA") or ROOT.parent / "shared" / "data")


def machine() -> str:
    """The machine that a figure is of: processor, cores, memory, Python, and what else was running."""
    memory = psutil.virtual_memory().total / 2**30
    busy = psutil.getloadavg()[0]
    return (
        f"{platform.processor() or platform.machine()}, {psutil.cpu_count()} cores, {memory:.0f} GiB, "
        f"Python {platform.python_version()}, load {busy:.1f}"
    )
