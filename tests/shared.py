"""Real data that tests read and the project doesn't carry."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sigap.settings import ROOT

# Read when tests are collected: later, no test sees a variable of ours.
SHARED = Path(os.environ.get("SIGAP_SHARED_DATA") or ROOT.parent / "shared" / "data")


def shared(*parts: str) -> Path:
    """A file of the shared data; skips the test on a machine without them."""
    if not SHARED.is_dir():
        pytest.skip(
            f"the shared data are not on this machine: neither in {ROOT.parent / 'shared' / 'data'} nor where "
            "SIGAP_SHARED_DATA says"
        )
    return SHARED.joinpath(*parts)
