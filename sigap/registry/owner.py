"""Who a pipeline run belongs to: a process of this machine that waits for it, and whether that one still lives."""

from __future__ import annotations

import platform

import psutil


def this_process() -> str:
    """This process as `host:pid:start`, which no other process ever shares."""
    process = psutil.Process()
    return f"{platform.node()}:{process.pid}:{process.create_time():.2f}"


def is_gone(owner: str) -> bool:
    """Whether the process that `this_process` named is known to be gone; never of one of another machine."""
    try:
        host, pid, start = owner.rsplit(":", 2)
        number, began = int(pid), float(start)
    except ValueError:
        return False
    if host != platform.node():
        return False
    try:
        process = psutil.Process(number)
        # A number is given again; the moment tells the processes apart.
        return process.status() == psutil.STATUS_ZOMBIE or abs(process.create_time() - began) > 1
    except (psutil.NoSuchProcess, FileNotFoundError):
        return True
    except psutil.Error:
        return False
