"""Starts Mage's server: `python -m sigap.services.mage_launch HOST PORT`, the project in `MAGE_REPO_PATH`.

`mage start` would do, but for faults of Mage 0.9.80 that are mended here before anything of it runs: its queue loses
jobs, its time triggers run what nobody is owed, every start sleeps five seconds, SIGTERM leaves children behind, and it
uses names that NumPy 2 took away. What concerns Mage's child processes stands at module level: a platform without
`fork` imports this module again in each.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Any

import numpy as np
import psutil

from sigap.services.service import relatives

_NUMPY_1 = {
    "float_": np.float64,
    "complex_": np.complex128,
    "string_": np.bytes_,
    "unicode_": np.str_,
    "NaN": np.nan,
}
for _name, _value in _NUMPY_1.items():
    if not hasattr(np, _name):
        setattr(np, _name, _value)

from sigap.services import mage_queue, mage_schedule  # noqa: E402 - import Mage, which uses the names above

mage_queue.install()
mage_schedule.install()


def end_family(signal_number: int, _: FrameType | None) -> None:
    """Ends this process and every one below it; left alone, Mage's scheduler and workers outlive their server."""
    for child in relatives(os.getpid()):
        try:
            child.terminate()
        except (psutil.NoSuchProcess, FileNotFoundError):
            continue
    os._exit(128 + signal_number)


def main(host: str, port: str) -> None:
    """Serves the project until a signal ends it."""
    # NOTE: scheduler and workers inherit the handler, so that a signal to the whole group ends each of them too.
    signal.signal(signal.SIGTERM, end_family)
    from mage_ai.orchestration.db.database_manager import database_manager
    from mage_ai.server import active_kernel, server, setup
    from mage_ai.settings.repo import get_repo_path, set_repo_path

    project = get_repo_path()
    set_repo_path(project)  # also puts it where blocks find their imports
    # The server sleeps because the scheduler may still be making the tables; so they are made first.
    database_manager.run_migrations()
    server.sleep = _no_operation
    # The page may not run code by itself (DISABLE_NOTEBOOK_EDIT_ACCESS), so no Jupyter kernel has to stand by.
    active_kernel.switch_active_kernel = _no_operation
    server.get_messages = _no_operation
    setup.initialize_globals()
    server.start_server(host=host, port=port, project=project)


def _no_operation(*_: Any, **__: Any) -> None:
    return None


if __name__ == "__main__":
    main(*sys.argv[1:])
