"""How the command line talks: steps with their times, tables, and errors without tracebacks."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from sigap.errors import SigapError

# Into a file or a pipe, lines are not cut to the 80 columns that nobody has there.
_WIDTH = None if sys.stdout.isatty() else 200


class Speaker(Console):
    """A console that falls silent when its reader went away, where rich would end the program."""

    def on_broken_pipe(self) -> None:
        """Nobody reads any more: say nothing from now on, not at the interpreter's end either."""
        self.quiet = True
        with contextlib.suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.file.fileno())
            os.close(nowhere)


console: Console = Speaker(highlight=False, width=_WIDTH)
errors: Console = Speaker(highlight=False, stderr=True)


def say(text: str | Table | Text = "", style: str = "") -> None:
    """Print; a reader that went away (`./run | head`, a closed terminal) must not keep us from stopping services."""
    with contextlib.suppress(OSError):
        if isinstance(text, str):
            console.print(Text(text, style=style), soft_wrap=True)
        else:
            console.print(text)


def show_error(error: SigapError) -> None:
    """An error and its remedy, for people."""
    with contextlib.suppress(OSError):
        errors.print(Text.assemble(("Error: ", "bold red"), error.message.rstrip()), soft_wrap=True)
        if error.remedy:
            errors.print(Text(error.remedy), soft_wrap=True)


def tell_program(answer: Callable[[], dict[str, Any]]) -> None:
    """Print an answer as one line of JSON, or the error that came instead, for the program that asked.

    Raises:
        SystemExit: 1 after an error.
    """
    try:
        told, code = answer(), 0
    except SigapError as error:
        told = {"error": type(error).__name__, "message": error.message, "remedy": error.remedy}
        code = 1
    sys.stdout.write(f"{json.dumps(told)}\n")
    sys.stdout.flush()
    if code:
        raise SystemExit(code)


@contextlib.contextmanager
def clean_exit(log: Callable[[], Path]) -> Iterator[None]:
    """Turn errors into messages and exit codes.

    Args:
        log: Gives the file for the traceback of an error that nobody foresaw.

    Raises:
        SystemExit: 1 after any error, 130 after Ctrl-C.
    """
    try:
        yield
    except SigapError as error:
        show_error(error)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except PermissionError as error:
        fault = SigapError(
            f"{error.filename} can't be read or written by this account.",
            remedy="Was Sigap run by another account before? Use that one, or give this one the folder (chown).",
        )
        show_error(fault)
        raise SystemExit(1) from None
    except Exception as error:
        place = ""
        with contextlib.suppress(Exception):
            path = log()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(traceback.format_exc())
            place = f" Its details are in {path}."
        fault = SigapError(
            f"Something unforeseen happened: {type(error).__name__}: {error}.{place}",
            remedy="This is a fault in Sigap; please report it with that file.",
        )
        show_error(fault)
        raise SystemExit(1) from None


@dataclass
class _Step:
    name: str
    state: str
    style: str
    detail: str = ""
    begin: float = field(default_factory=time.monotonic)
    seconds: float | None = None


class Steps:
    """Steps with their times: live on a terminal, one line a finished step elsewhere.

    Args:
        title: What the steps are of.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self._steps: dict[str, _Step] = {}
        self._lock = threading.Lock()
        self._spinner = Spinner("dots" if console.encoding.lower().startswith("utf") else "line", style="cyan")
        self._live: Live | None = None

    def __enter__(self) -> Steps:
        say(self.title, style="bold")
        if console.is_terminal:
            self._live = Live(console=console, get_renderable=self._table, refresh_per_second=8)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            with self._lock:
                # What never finished is not part of the record that stays on the screen.
                self._steps = {name: step for name, step in self._steps.items() if step.seconds is not None}
            with contextlib.suppress(OSError):
                self._live.stop()
        say()

    def begin(self, name: str, state: str = "starting") -> None:
        """A step has begun."""
        with self._lock:
            self._steps[name] = _Step(name, state, "cyan")

    def note(self, name: str, detail: str) -> None:
        """How far a step that runs has got."""
        with self._lock:
            self._steps[name].detail = detail

    def finish(
        self, name: str, state: str = "done", detail: str = "", *, seconds: float | None = None, ok: bool = True
    ) -> None:
        """A step has ended, well or not."""
        with self._lock:
            step = self._steps.setdefault(name, _Step(name, state, "cyan"))
            step.state, step.detail, step.style = state, detail or step.detail, "green" if ok else "bold red"
            step.seconds = time.monotonic() - step.begin if seconds is None else seconds
            if self._live is None:
                say(f"  {name:<22} {state:<9} {step.seconds:5.1f} s  {step.detail}".rstrip())

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 1))
        table.add_column(width=1)
        table.add_column(min_width=22)
        table.add_column(min_width=9)
        table.add_column(justify="right", min_width=7)
        table.add_column(style="dim", overflow="ellipsis", no_wrap=True)
        with self._lock:
            for step in self._steps.values():
                running = step.seconds is None
                seconds = time.monotonic() - step.begin if step.seconds is None else step.seconds
                table.add_row(
                    self._spinner if running else "",
                    step.name,
                    Text(step.state, style=step.style),
                    f"{seconds:.1f} s",
                    Text(step.detail),
                )
        return table


def table(*columns: str, title: str | None = None) -> Table:
    """An empty table in the house style."""
    result = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        # An address that is broken over two lines can't be clicked or copied.
        result.add_column(column, overflow="fold", no_wrap=column == "Address")
    return result
