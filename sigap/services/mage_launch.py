"""Starts Mage's server: `python -m sigap.services.mage_launch PROJECT HOST PORT`.

`mage start` would do, but for faults of Mage 0.9.80 that are mended here, before anything of it runs: its queue loses
jobs, a start sleeps five seconds, SIGTERM leaves children behind, and NumPy 2 took away names that it uses. What
concerns Mage's child processes stands at module level: a platform without `fork` imports this module again in each.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import sys
import time
import traceback
from types import FrameType
from typing import Any

import numpy as np
import psutil

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

from mage_ai.orchestration.queue import process_queue  # noqa: E402 - it uses the names above

_POLL_SECONDS = 0.2


def serve_jobs(queue: Any, size: int, job_dict: Any, *_: Any) -> None:
    """Runs queued jobs, each in a process of its own, for as long as the scheduler lives.

    Mage's own loop ends as soon as it sees neither a worker nor a job. A job that is queued at that moment finds the
    pool alive, so no other one is started, and the job stays `queued` for ever. A pool that doesn't end can't lose it.

    Args:
        queue: Mage's queue of jobs.
        size: Largest number of workers at a time.
        job_dict: Mage's table of the jobs' states, which the workers keep.
    """
    _import_steps()
    scheduler = multiprocessing.parent_process()
    workers: list[multiprocessing.Process] = []
    while scheduler is not None and scheduler.is_alive():
        workers = [worker for worker in workers if worker.is_alive()]
        while len(workers) < size and not queue.empty():
            worker = process_queue.Worker(queue, job_dict)
            worker.start()
            workers.append(worker)
        time.sleep(_POLL_SECONDS)


def _import_steps() -> None:
    """Imports the blocks' libraries once, so that a forked worker has them at hand instead of seconds later."""
    try:
        importlib.import_module("sigap.workflow")
    except Exception:  # the block that needs it says so, in its own run
        traceback.print_exc()


process_queue.poll_job_and_execute = serve_jobs


def end_family(signal_number: int, _: FrameType | None) -> None:
    """Ends this process and every one below it; left alone, Mage's scheduler and workers outlive their server."""
    for child in psutil.Process().children(recursive=True):
        try:
            child.terminate()
        except psutil.NoSuchProcess:
            continue
    os._exit(128 + signal_number)


def main(project: str, host: str, port: str) -> None:
    """Serves the project until it is ended by a signal."""
    # NOTE: scheduler and workers inherit the handler, so that a signal to the whole group ends each of them too.
    signal.signal(signal.SIGTERM, end_family)
    from mage_ai.settings.repo import set_repo_path

    set_repo_path(project)  # decides which database the next imports open
    from mage_ai.orchestration.db.database_manager import database_manager
    from mage_ai.server import active_kernel, server, setup

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
