"""`./run status` and `./run stop`: about a session from another shell."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import psutil
from rich.text import Text

from sigap.cli.output import say, table
from sigap.services.installed import missing as not_installed
from sigap.services.service import Service, recorded, relatives
from sigap.services.stack import WATCHING
from sigap.services.supervisor import stop_supervisor, supervisor_record
from sigap.settings import Settings


def status(settings: Settings) -> int:
    """Show every service: whether it answers, since when it runs, and the memory it takes.

    Returns:
        0 when all that was started answers, else 1.
    """
    supervisor = supervisor_record(settings.state)
    records = recorded(settings.state)
    if supervisor is None and not records:
        say("Nothing runs from this folder. `./run` starts it.")
        return 1
    if supervisor is None:
        say("The ./run that started these was killed; the next ./run, or ./run stop, ends them.\n", style="yellow")
    else:
        say(f"Sigap runs as pid {supervisor['pid']} since {_since(supervisor)}.\n")
    with ThreadPoolExecutor(max_workers=8) as pool:
        answers = list(pool.map(_answers, records))
    lines = table("Service", "State", "Pid", "Since", "Memory", "Address")
    for record, ready in zip(records, answers, strict=True):
        state = state_of(record, answers=ready)
        shown = Text(state, "green" if ready else "yellow")
        lines.add_row(
            str(record["name"]), shown, str(record["pid"]), _since(record), _memory(record), str(record["address"])
        )
    for name, address in missing(supervisor, records).items():
        lines.add_row(name, Text("starting", "yellow"), "-", "-", "-", address)
    say(lines)
    if settings.watching and (line := not_installed()):
        say(f"\n{line}", style="dim")
    _show_models(settings, [str(record["name"]) for record in records])
    # What watches the others is no part of what they do.
    needed = [ready for record, ready in zip(records, answers, strict=True) if record["name"] not in WATCHING]
    complete = supervisor is not None and not missing(supervisor, records).keys() - {*WATCHING}
    return 0 if complete and needed and all(needed) else 1


def state_of(record: dict[str, object], *, answers: bool) -> Literal["ready", "starting", "not answering"]:
    """How a service that runs is: one that does not answer is starting until it first did."""
    if answers:
        return "ready"
    return "not answering" if record.get("ready", True) else "starting"


def missing(supervisor: dict[str, Any] | None, records: list[dict[str, object]]) -> dict[str, str]:
    """Services that the supervisor keeps and that don't run at this moment, with their addresses."""
    running = {record["name"] for record in records}
    kept: dict[str, str] = supervisor["services"] if supervisor is not None else {}
    return {name: address for name, address in kept.items() if name not in running}


def stop(settings: Settings) -> int:
    """End the session of another shell, and what a killed one left.

    Returns:
        Exit code.
    """
    begin = time.monotonic()
    pid, leftovers = stop_supervisor(settings.state)
    if pid is not None:
        say(f"Stopped Sigap (pid {pid}) and its services in {time.monotonic() - begin:.1f} s.")
    if leftovers:
        say(f"Ended what a killed ./run had left running: {', '.join(leftovers)}.")
    if pid is None and not leftovers:
        say("Nothing runs from this folder.")
    return 0


def _answers(record: dict[str, object]) -> bool:
    probe = Service(
        name=str(record["name"]),
        command=[],
        log=Path(str(record["log"])),
        port=int(str(record["port"])),
        address="",
        host=str(record["host"]),
        ready_url=str(record["ready_url"]) if record["ready_url"] else None,
    )
    return probe.is_ready(timeout=1)


def _since(record: dict[str, object]) -> str:
    return time.strftime("%d %b %H:%M:%S", time.localtime(float(str(record["started"]))))


def _memory(record: dict[str, object]) -> str:
    total = 0
    pid = int(str(record["pid"]))
    try:
        for process in (psutil.Process(pid), *relatives(pid)):
            total += process.memory_info().rss
    except (psutil.Error, FileNotFoundError):
        return "-"
    return f"{total / 2**20:.0f} MB"


def _show_models(settings: Settings, names: list[str]) -> None:
    if "mlflow" not in names:
        return
    from sigap.cli.summary import show_lines, summary

    say()
    show_lines(summary(settings))
