"""A supervised session: services that live as long as the command that started them."""

from __future__ import annotations

import contextlib
import logging
import signal
import time
from collections.abc import Iterator
from types import FrameType

from sigap.cli.output import Steps, say
from sigap.logs import into_file
from sigap.services.supervisor import Event, Supervisor
from sigap.settings import Settings

log = logging.getLogger("sigap.supervisor")

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class StopRequested(BaseException):
    """Ctrl-C, `./run stop`, or a closed terminal: not an error, and nothing but the session may catch it."""


@contextlib.contextmanager
def stop_on_signal() -> Iterator[None]:
    """Raise `StopRequested` at the first signal to end; later ones are ignored while services stop."""

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        for name in _SIGNALS:
            signal.signal(name, signal.SIG_IGN)
        raise StopRequested

    before = {name: signal.signal(name, stop) for name in _SIGNALS}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


class Reporter:
    """Shows what happens to services: as steps while they start, as lines afterwards."""

    def __init__(self) -> None:
        self.steps: Steps | None = None
        self.addresses: dict[str, str] = {}
        self.stopping = False

    def __call__(self, event: Event) -> None:
        """Show one event, and write it down."""
        self._log(event)
        if self.steps is not None and not event.again:
            self._step(self.steps, event)
        elif not self.stopping:
            self._line(event)

    def _log(self, event: Event) -> None:
        # The text of a failed start quotes the service's own log, which is not ours to hand on.
        told = {
            "starting": (logging.INFO, "is started again" if event.again else "is started"),
            "ready": (logging.INFO, f"is ready after {event.seconds:.1f} s"),
            "died": (logging.WARNING, f"{event.text}, and is started again"),
            "failed": (logging.ERROR, "did not get ready"),
            "stopped": (logging.INFO, "has been stopped"),
        }
        level, what = told[event.kind]
        log.log(level, "%s %s.", event.service, what)

    def _step(self, steps: Steps, event: Event) -> None:
        if event.kind == "starting":
            steps.begin(event.service)
        elif event.kind == "ready":
            steps.finish(event.service, "ready", self.addresses.get(event.service, ""), seconds=event.seconds)
        elif event.kind == "failed":
            steps.finish(event.service, "failed", ok=False)
        elif event.kind == "died":
            steps.finish(event.service, "died", event.text, ok=False)

    def _line(self, event: Event) -> None:
        now = time.strftime("%H:%M:%S")
        if event.kind == "died":
            say(f"{now}  {event.service} {event.text}; starting it again", style="yellow")
        elif event.kind == "ready" and event.again:
            say(f"{now}  {event.service} is ready again after {event.seconds:.1f} s", style="green")
        elif event.kind == "failed":
            # What fails at its first start is given up: nothing else needs it, or everything ends with it.
            say(f"{now}  {event.text}" + (f"\n{now}  trying again" if event.again else ""), style="red")


@contextlib.contextmanager
def supervised(settings: Settings) -> Iterator[tuple[Supervisor, Reporter]]:
    """A supervisor whose services end with the block, whatever ends it.

    Raises:
        AlreadyRunningError: Another one has the state folder.
    """
    reporter = Reporter()
    events = into_file(log, settings.state / "logs" / "run.log", settings.log_format)
    with Supervisor(settings.state, reporter) as supervisor, events:
        if supervisor.leftovers:
            say(f"Ended what an earlier, killed ./run had left running: {', '.join(supervisor.leftovers)}.\n")
        try:
            yield supervisor, reporter
        finally:
            reporter.stopping = True
            for name in _SIGNALS:
                signal.signal(name, signal.SIG_IGN)
            if supervisor.names:
                begin = time.monotonic()
                say("\nStopping ...", style="dim")
                supervisor.stop()
                say(f"Everything that was started has been stopped ({time.monotonic() - begin:.1f} s).", style="dim")
