"""Calls on this machine: one after another, or in a few processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import TypeVar

from sigap import logs
from sigap.errors import ClusterError

Item = TypeVar("Item")
Result = TypeVar("Result")


def completed(
    function: Callable[[Item], Result], items: Sequence[tuple[int, Item]], processes: int
) -> Iterator[tuple[int, Result]]:
    """Positions and results, as they are finished.

    Raises:
        ClusterError: A process of ours was ended from outside, as by a machine that is out of memory.
    """
    if processes <= 1 or len(items) <= 1:
        for at, item in items:
            yield at, function(item)
        return
    # Not forked: a copy of a process whose libraries have started threads may stand still for ever.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(
        min(processes, len(items)), mp_context=context, initializer=_begin, initargs=(logs.way(),)
    )
    try:
        waiting = {pool.submit(function, item): at for at, item in items}
        for future in as_completed(waiting):
            yield waiting.pop(future), future.result()
    except BrokenProcessPool as error:
        raise ClusterError(
            "A process that did a part of the work was ended from outside.",
            remedy="Perhaps memory ran out: use fewer processes, then run it again.",
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(way: logs.Way | None) -> None:
    """Has the process end with its parent, however that ends, and without a word at Ctrl-C; it logs as its parent."""
    if way is not None:
        logs.set_up(way.form, level=way.level, **way.ids)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
