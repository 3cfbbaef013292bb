"""A service, its process, and the certainty that a process is ours before it is ended.

Every process that Sigap starts leads its own session, carries a mark in its environment that its children inherit,
and has a record (pid and birth) in the state folder. A process counts as ours only when the record or the
mark says so: a pid alone may belong to somebody else by now.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from pydantic import SecretStr

from sigap.errors import ServiceError
from sigap.settings import Settings

MARK = "SIGAP_PROCESS_OF"
"""Environment variable that every process of ours carries; its value is `<state folder>:<service>`."""

_TICK = 0.05
_LOG_BYTES = 10_000_000


@dataclass(frozen=True)
class Account:
    """The account that a process runs under when it isn't the one that starts it."""

    uid: int
    gid: int
    name: str


@dataclass(frozen=True)
class Service:
    """A server that Sigap starts and watches.

    Attributes:
        name: Short name, also of its log and record: `mlflow`.
        command: Program and arguments.
        log: File that gets standard output and error.
        port: Port it listens on; 0 for none, then it is ready as soon as it runs.
        address: What a person opens, or a client connects to.
        env: Variables added to the environment.
        ready_url: Address that answers with a status below 500 once the service is ready.
        ready: Used instead of `ready_url`: whether it is ready; an exception counts as not yet.
        host: Address it binds to.
        port_setting: Setting that moves the port, named when the port is taken.
        cwd: Folder it runs in.
        prepare: Done before every start, such as creating a data folder.
        stop_signal: Signal that asks it to end.
        start_seconds: Time it has to get ready.
        stop_seconds: Time it has to end before it is killed.
        account: Account to run under; None for our own.
        store: Whether other services keep their data in it, so that it is stopped last.
    """

    name: str
    command: list[str]
    log: Path
    port: int
    address: str
    env: dict[str, str] = field(default_factory=dict)
    ready_url: str | None = None
    ready: Callable[[], bool] | None = None
    host: str = "127.0.0.1"
    port_setting: str = ""
    cwd: Path | None = None
    prepare: Callable[[], None] | None = None
    stop_signal: int = signal.SIGTERM
    start_seconds: float = 60
    stop_seconds: float = 8
    account: Account | None = None
    store: bool = False

    def is_ready(self, timeout: float = 2) -> bool:
        """Whether the service answers; never raises."""
        try:
            if self.ready is not None:
                return self.ready()
            if self.ready_url is not None:
                return _answers(self.ready_url, timeout)
            if not self.port:
                return True
            with socket.create_connection((self.host, self.port), timeout=timeout):
                return True
        except Exception:  # whatever a probe meets, the service isn't ready yet
            return False


def _answers(url: str, timeout: float) -> bool:
    # NOTE: no proxy, whatever the environment says: the service is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout) as answer:
            return int(answer.status) < 400
    except urllib.error.HTTPError as error:
        return error.code < 500


def environment(settings: Settings) -> dict[str, str]:
    """The settings that were given, as variables, so that a service's process reads the same ones.

    Addresses that decide what a service talks to are always among them.
    """
    variables = {"SIGAP_ROOT": str(settings.root), "SIGAP_STATE_DIR": str(settings.state)}
    for name in settings.model_fields_set - {"root", "state_dir"}:
        value = getattr(settings, name)
        if value is None:
            continue
        text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        shared = {
            "database_url": "DATABASE_URL",
            "mlflow_tracking_uri": "MLFLOW_TRACKING_URI",
            "aws_access_key_id": "AWS_ACCESS_KEY_ID",
            "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY",
        }
        variables[shared.get(name, f"SIGAP_{name.upper()}")] = text
    return variables


class Running:
    """A started service.

    Args:
        service: What to start.
        state: State folder; the record goes to `run/<name>.json` in it.
    """

    def __init__(self, service: Service, state: Path) -> None:
        self.service = service
        self.state = state
        self.record = state / "run" / f"{service.name}.json"
        self.record.parent.mkdir(parents=True, exist_ok=True)
        service.log.parent.mkdir(parents=True, exist_ok=True)
        if service.prepare is not None:
            service.prepare()
        _rotate(service.log)
        account = service.account
        with service.log.open("ab") as log:
            self.log_start = log.tell()
            try:
                self.process = subprocess.Popen(
                    service.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=service.cwd,
                    env=os.environ | service.env | {MARK: mark(state, service.name)},
                    start_new_session=True,
                    user=account.uid if account else None,
                    group=account.gid if account else None,
                    extra_groups=[] if account else None,
                )
            except OSError as error:
                raise ServiceError(
                    f"{service.name} can't be started: {service.command[0]}: {error.strerror}.",
                    remedy="Remove the environment (.sigap/venv) and run ./run again.",
                ) from error
        self._started = time.time()
        self._write_record()

    def _write_record(self, *, ready: bool = False) -> None:
        birth = birth_of(self.process.pid)
        if birth is None:
            return
        draft = self.record.with_suffix(".part")
        draft.write_text(
            json.dumps(
                {
                    "name": self.service.name,
                    "pid": self.process.pid,
                    "birth": birth,
                    "started": self._started,
                    # Whether it ever answered: what has not yet, is starting.
                    "ready": ready,
                    "host": self.service.host,
                    "port": self.service.port,
                    "ready_url": self.service.ready_url,
                    "address": self.service.address,
                    "log": str(self.service.log),
                    "stop_signal": int(self.service.stop_signal),
                    "store": self.service.store,
                }
            )
        )
        draft.replace(self.record)

    @property
    def exit_code(self) -> int | None:
        """Exit code, negative for the signal that ended it; None while it runs."""
        return self.process.poll()

    def wait_ready(self, cancelled: Callable[[], bool] = lambda: False) -> bool:
        """Wait until the service answers.

        Args:
            cancelled: Asked between two tries; True gives up waiting.

        Returns:
            Whether it is ready; False when cancelled.

        Raises:
            ServiceError: It ended, or took longer than `start_seconds`; with the last lines of its log.
        """
        limit = time.monotonic() + self.service.start_seconds
        while not cancelled():
            if self.exit_code is not None:
                raise ServiceError(
                    f"{self.service.name} {describe_exit(self.exit_code)} before it was ready.{self.log_tail()}",
                    remedy=f"The whole log is in {self.service.log}.",
                )
            if self.service.is_ready() and self.exit_code is None:
                self._write_record(ready=True)
                return True
            if time.monotonic() > limit:
                raise ServiceError(
                    f"{self.service.name} did not answer within {self.service.start_seconds:.0f} s.{self.log_tail()}",
                    remedy=f"The whole log is in {self.service.log}.",
                )
            time.sleep(_TICK)
        return False

    def log_tail(self, lines: int = 8) -> str:
        """The last lines this start has logged, set off for an error message; empty when there are none."""
        try:
            with self.service.log.open("rb") as log:
                log.seek(max(self.log_start, self.service.log.stat().st_size - 8192))
                text = log.read().decode(errors="replace")
        except OSError:
            return ""
        kept = [line for line in text.splitlines() if line.strip()][-lines:]
        return "".join(f"\n  {line}" for line in kept) + ("\n" if kept else "")

    def stop(self) -> None:
        """Ask the service to end, then kill what is left of it and its children."""
        family = relatives(self.process.pid) if self.exit_code is None else []
        end(
            [psutil.Process(self.process.pid)] if self.exit_code is None else [],
            signal_number=self.service.stop_signal,
            seconds=self.service.stop_seconds,
        )
        # Popen must collect it, or it stays behind as a zombie.
        self.process.wait()
        end([*family, *marked(self.state, self.service.name)], seconds=1)
        self.record.unlink(missing_ok=True)


def _rotate(log: Path) -> None:
    """Put a log that has grown large aside, keeping one."""
    if log.exists() and log.stat().st_size > _LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))


def mark(state: Path, name: str) -> str:
    """Value of the mark that the processes of service `name` carry."""
    return f"{state.resolve()}:{name}"


def relatives(pid: int) -> list[psutil.Process]:
    """Every descendant of a process, whatever session it moved to."""
    while True:
        try:
            return psutil.Process(pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        except FileNotFoundError:
            # One of them ended while it was read: its folder below /proc was still there, what is in it no longer.
            continue


def marked(state: Path, name: str | None = None) -> list[psutil.Process]:
    """Running processes that carry our mark.

    Args:
        state: State folder that they belong to.
        name: Service that they belong to; None for any.
    """
    wanted = mark(state, name or "")
    found = []
    for process in psutil.process_iter():
        try:
            value = process.environ().get(MARK, "")
        except (psutil.Error, OSError):
            continue  # ended meanwhile, or somebody else's
        if value == wanted or (name is None and value.startswith(wanted)):
            found.append(process)
    return found


def end(processes: Iterable[psutil.Process], *, signal_number: int = signal.SIGTERM, seconds: float = 8) -> None:
    """Ask processes to end, and kill those that haven't after `seconds`.

    psutil compares the time of creation before it signals, so a pid that was given to somebody else meanwhile is safe.
    """
    asked = []
    for process in processes:
        try:
            process.send_signal(signal_number)
            asked.append(process)
        except (psutil.Error, FileNotFoundError):
            continue
    _, alive = psutil.wait_procs(asked, timeout=seconds)
    for process in alive:
        try:
            process.kill()
        except (psutil.Error, FileNotFoundError):
            continue
    psutil.wait_procs(alive, timeout=3)


def recorded(state: Path) -> list[dict[str, object]]:
    """Records of services whose process is still the one that was recorded, stores last."""
    records = []
    for path in sorted((state / "run").glob("*.json")):
        try:
            record = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
        if "port" in record and alive(record):
            records.append(record)
    return sorted(records, key=lambda record: bool(record["store"]))


def birth_of(pid: int) -> str | None:
    """What tells a process from every other that had or will have its pid; None when there is no such process."""
    try:
        # Ticks since the start of the machine: unlike a time of day, they don't move when the clock is set.
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}/{ticks}"
    except (OSError, IndexError):
        pass
    try:
        return str(psutil.Process(pid).create_time())
    except (psutil.Error, FileNotFoundError):
        return None


def alive(record: dict[str, object]) -> bool:
    """Whether the process of a record (`pid`, `birth`) still runs."""
    try:
        process = psutil.Process(int(str(record["pid"])))
        return birth_of(process.pid) == record["birth"] and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, FileNotFoundError, KeyError, ValueError):
        return False


def end_leftovers(state: Path) -> list[str]:
    """End what a killed supervisor left running, and nothing else.

    Returns:
        Names of the services that were ended.
    """
    names = []
    for record in recorded(state):
        with contextlib.suppress(psutil.Error, FileNotFoundError):  # it ended by itself meanwhile
            process = psutil.Process(int(str(record["pid"])))
            family = relatives(process.pid)
            end([process], signal_number=int(str(record["stop_signal"])))
            end(family, seconds=1)
            names.append(str(record["name"]))
    rest, unrecorded = marked(state), set()
    for process in rest:
        with contextlib.suppress(psutil.Error, OSError):
            unrecorded.add(process.environ()[MARK].rpartition(":")[2])
    names += sorted(unrecorded - {*names})
    end(rest, seconds=3)
    for path in (state / "run").glob("*.json"):
        path.unlink(missing_ok=True)
    return names


def describe_exit(code: int) -> str:
    """An exit code in words."""
    if code < 0:
        try:
            return f"was ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"was ended by signal {-code}"
    return f"ended with exit code {code}"


def check_ports(services: Iterable[Service]) -> None:
    """See that every service can have its port.

    Raises:
        ServiceError: One or more are taken; each named with its holder, where that can be seen, and its setting.
    """
    faults = []
    settings = []
    for service in services:
        if port_is_free(service.host, service.port):
            continue
        faults.append(f"Port {service.port} for {service.name} is already in use by {port_holder(service.port)}.")
        settings.append(f"{service.port_setting or 'another port'}={free_port(service.host, service.port + 1)}")
    if faults:
        raise ServiceError(
            "\n".join(faults), remedy=f"Stop that process, or choose a free port: {' '.join(settings)} ./run"
        )


def port_is_free(host: str, port: int) -> bool:
    """Whether a server could bind to the port now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def free_port(host: str = "127.0.0.1", start: int = 0) -> int:
    """A port that is free now: the first from `start` on, or any for 0."""
    if start:
        for port in range(start, min(start + 200, 65536)):
            if port_is_free(host, port):
                return port
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def port_holder(port: int) -> str:
    """Who listens on a port, in words: program, pid and account where we may see them."""
    try:
        connections = psutil.net_connections("tcp")
    except psutil.Error:
        connections = []
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port:
            if connection.pid is None:
                break
            try:
                process = psutil.Process(connection.pid)
                return f"{process.name()} (pid {process.pid}, account {process.username()})"
            except psutil.Error:
                break
    return "another process (of another account, or not visible from here)"
