"""A PostgreSQL of a benchmark's own, and measurements in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sigap.services.postgres import EmbeddedPostgres
from sigap.services.service import free_port
from sigap.settings import ROOT, Settings


@contextmanager
def own_postgres() -> Iterator[tuple[Path, Settings]]:
    """A folder that is gone afterwards, and the settings of a PostgreSQL that runs in it meanwhile."""
    with tempfile.TemporaryDirectory(prefix="sigap-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # as root, PostgreSQL runs under an ordinary account
        settings = Settings(root=ROOT, state_dir=folder / "state", postgres_port=free_port())
        with EmbeddedPostgres(settings):
            yield folder, settings


def told_by(module: str, words: Sequence[str], environment: Mapping[str, str]) -> dict[str, Any]:
    """The JSON in the last line that a module prints, run as a process with these words and added variables.

    Raises:
        SystemExit: It failed; with what it said.
    """
    command = [sys.executable, "-m", module, *words]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told
