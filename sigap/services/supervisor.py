"""Starts services side by side, restarts one that dies, and ends all of them and nothing else."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import psutil
from filelock import FileLock, Timeout

from sigap.errors import ServiceError
from sigap.services.service import Running, Service, alive, birth_of, check_ports, describe_exit, end_leftovers
from sigap.settings import Settings

RESTORING = "restore.json"
"""In the state folder while a restore puts everything into its place; what is there is half of this, half of that."""

_TICK = 0.1
_STABLE_SECONDS = 60
_LONGEST_PAUSE = 30.0


@dataclass(frozen=True)
class Event:
    """What happened to a service.

    Attributes:
        service: Its name.
        kind: `starting`, `ready`, `died`, `failed` (a start that didn't come to be ready), or `stopped`.
        text: In words, for `died` and `failed`.
        seconds: How long getting ready took; otherwise 0.
        again: Whether this is a restart.
    """

    service: str
    kind: Literal["starting", "ready", "died", "failed", "stopped"]
    text: str = ""
    seconds: float = 0
    again: bool = False


class AlreadyRunningError(ServiceError):
    """Another supervisor has this state folder."""


class Supervisor:
    """Keeper of the services of one state folder; only one exists at a time.

    Args:
        state: State folder: records go to `run/`.
        notify: Called with every event, from a service's own thread.
        restoring: Whether it is a restore that takes the state folder; it starts nothing there.
    """

    def __init__(
        self, state: Path, notify: Callable[[Event], None] = lambda _: None, *, restoring: bool = False
    ) -> None:
        self.state = state
        self._restoring = restoring
        self.notify = notify
        self.leftovers: list[str] = []
        self._keepers: list[_Keeper] = []
        self._started = 0.0
        self._lock = FileLock(state / "run" / "supervisor.lock")

    def __enter__(self) -> Supervisor:
        """Take the state folder, and end what a killed supervisor left in it.

        Raises:
            AlreadyRunningError: Another supervisor runs.
            ServiceError: The state folder can't be written, or a restore of it was broken off.
        """
        try:
            (self.state / "run").mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout:
            found = supervisor_record(self.state)
            pid = f" (pid {found['pid']})" if found else ""
            raise AlreadyRunningError(
                f"Sigap already runs from this folder{pid}.", remedy="`./run status` shows it, `./run stop` ends it."
            ) from None
        except OSError as error:
            raise ServiceError(
                f"The state folder {self.state} can't be written: {error.strerror}.",
                remedy="Give your account the right to, or set SIGAP_STATE_DIR to a folder of yours.",
            ) from error
        if (self.state / RESTORING).exists() and not self._restoring:
            self._lock.release()
            raise ServiceError(
                f"A restore of {self.state} was broken off.",
                remedy="`./run restore BACKUP`, with the same backup, goes on with it.",
            )
        self.leftovers = end_leftovers(self.state)
        self._started = time.time()
        self._write_record()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        _record_path(self.state).unlink(missing_ok=True)
        self._lock.release()

    @property
    def names(self) -> list[str]:
        """Names of the services that it keeps."""
        return [keeper.service.name for keeper in self._keepers]

    def start(self, services: Iterable[Service]) -> None:
        """Start services side by side; returns at once.

        Raises:
            ServiceError: A port is taken; none was started then.
        """
        services = list(services)
        check_ports(services)
        keepers = [_Keeper(service, self.state, self.notify) for service in services]
        self._keepers += keepers
        self._write_record()
        for keeper in keepers:
            keeper.start()

    def _write_record(self) -> None:
        record = {
            "pid": os.getpid(),
            "birth": birth_of(os.getpid()),
            "started": self._started,
            "services": {keeper.service.name: keeper.service.address for keeper in self._keepers},
        }
        path = _record_path(self.state)
        draft = path.with_suffix(".part")
        draft.write_text(json.dumps(record))
        draft.replace(path)

    def wait_ready(self, *names: str) -> None:
        """Wait until services are ready.

        Args:
            names: Which; all for none.

        Raises:
            ServiceError: One of them did not get ready.
        """
        for keeper in self._keepers:
            if not names or keeper.service.name in names:
                keeper.settled.wait()
        for keeper in self._keepers:
            if keeper.fault is not None and (not names or keeper.service.name in names):
                raise keeper.fault

    def stop(self) -> None:
        """End every service: first those that use others, side by side, then the stores."""
        for store in (False, True):
            wave = [keeper for keeper in self._keepers if keeper.service.store is store]
            for keeper in wave:
                keeper.stopping.set()
            for keeper in wave:
                keeper.join()
        self._keepers.clear()


class _Keeper(threading.Thread):
    """Starts one service and keeps it running."""

    def __init__(self, service: Service, state: Path, notify: Callable[[Event], None]) -> None:
        super().__init__(name=f"keeper of {service.name}", daemon=True)
        self.service = service
        self.stopping = threading.Event()
        self.settled = threading.Event()
        self.fault: ServiceError | None = None
        self._state = state
        self._notify = notify
        self._running: Running | None = None

    def run(self) -> None:
        try:
            if self._bring_up(again=False):
                self._keep()
        finally:
            if self._running is not None:
                self._running.stop()
                self._notify(Event(self.service.name, "stopped"))
            self.settled.set()

    def _bring_up(self, *, again: bool) -> bool:
        name = self.service.name
        self._notify(Event(name, "starting", again=again))
        begin = time.monotonic()
        try:
            self._running = Running(self.service, self._state)
            ready = self._running.wait_ready(self.stopping.is_set)
        except Exception as fault:
            # Whatever it is has to reach whoever waits; a thread that just ends would look like a ready service.
            error = fault if isinstance(fault, ServiceError) else _as_service_error(name, fault)
            if self._running is not None:
                self._running.stop()
                self._running = None
            if not self.stopping.is_set():
                self._notify(Event(name, "failed", str(error), again=again))
            if not again:
                self.fault = error
                self.settled.set()
            return False
        if ready:
            self._notify(Event(name, "ready", seconds=time.monotonic() - begin, again=again))
            self.settled.set()
        return ready

    def _keep(self) -> None:
        pause = 0.5
        while not self.stopping.is_set():
            since = time.monotonic()
            code = self._watch()
            if code is None:
                return
            if time.monotonic() - since > _STABLE_SECONDS:
                pause = 0.5
            self._notify(Event(self.service.name, "died", describe_exit(code)))
            while not self.stopping.wait(pause):
                pause = min(pause * 2, _LONGEST_PAUSE)
                if self._bring_up(again=True):
                    break

    def _watch(self) -> int | None:
        """Wait for the service's end; None when asked to stop before it."""
        running = self._running
        if running is None:
            return None
        while not self.stopping.wait(_TICK):
            if (code := running.exit_code) is not None:
                running.stop()  # children it left behind
                self._running = None
                return code
        return None


def _as_service_error(name: str, fault: Exception) -> ServiceError:
    if isinstance(fault, PermissionError):
        return ServiceError(
            f"{name} can't be started: {fault.filename} can't be used by this account.",
            remedy="Was it started by another account before? Use that one, or give this one the state folder (chown).",
        )
    return ServiceError(f"{name} can't be started: {type(fault).__name__}: {fault}.")


def _record_path(state: Path) -> Path:
    return state / "run" / "supervisor.json"


def supervisor_record(state: Path) -> dict[str, object] | None:
    """Record of the supervisor that has the state folder (pid, birth, start, addresses); None when none runs."""
    try:
        record: dict[str, object] = json.loads(_record_path(state).read_text())
    except (OSError, ValueError):
        return None
    return record if alive(record) else None


def as_running(settings: Settings) -> Settings:
    """The settings with the ports of the services that run from this state folder, whatever this shell names."""
    record = supervisor_record(settings.state)
    addresses: dict[str, str] = record["services"] if record else {}  # type: ignore[assignment]
    ports = {f"{name}_port": urlsplit(address).port for name, address in addresses.items()}
    return settings.model_copy(update={name: port for name, port in ports.items() if port and hasattr(settings, name)})


def stop_supervisor(state: Path, seconds: float = 90) -> tuple[int | None, list[str]]:
    """End the running supervisor from another process, and what a killed one left.

    Returns:
        The pid of the supervisor that was ended (None when none ran), and the names of ended leftovers.

    Raises:
        ServiceError: It belongs to another account, or does not end.
    """
    record = supervisor_record(state)
    if record is None:
        return None, end_leftovers(state)
    pid = int(str(record["pid"]))
    try:
        psutil.Process(pid).terminate()
    except psutil.NoSuchProcess:
        pass
    except psutil.AccessDenied as error:
        raise ServiceError(
            f"Sigap runs as pid {pid} of another account.", remedy="Stop it from that account, or as root."
        ) from error
    # One that has ended may stay as a zombie for as long as its parent pleases.
    end = time.monotonic() + seconds
    while alive(record):
        if time.monotonic() > end:
            raise ServiceError(
                f"Sigap (pid {pid}) did not end within {seconds:.0f} s.",
                remedy=f"End it by `kill -9 {pid}`; then ./run stop.",
            )
        time.sleep(0.05)
    return pid, end_leftovers(state)
