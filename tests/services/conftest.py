"""Small real servers, and a state folder that the unprivileged account can reach."""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from sigap.services.service import Service, free_port, marked
from sigap.services.supervisor import Event
from sigap.settings import Settings

SERVER = """
import http.server, os, subprocess, sys, threading
class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words): pass
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(str(os.getpid()).encode())
{extra}
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Quiet).serve_forever()
"""

# A child in a session of its own: neither a signal to the server nor one to its group reaches it.
WITH_CHILD = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)"


@pytest.fixture
def state() -> Iterator[Path]:
    # Not below `tmp_path`, whose folders are closed: as root PostgreSQL runs under an ordinary account.
    with tempfile.TemporaryDirectory(prefix="sigap-test-services-") as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "state"
        path.mkdir()
        yield path
        left = marked(path)
        for process in left:
            process.kill()
        assert not left, f"left running: {left}"


@pytest.fixture
def settings(state: Path) -> Settings:
    return Settings(root=state.parent, state_dir=state, postgres_port=free_port(), mlflow_port=free_port())


@pytest.fixture
def make_service(state: Path) -> Callable[..., Service]:
    """Makes a small HTTP server as a service; `extra` is code that it runs first."""

    def make(name: str = "web", *, extra: str = "", port: int | None = None, **fields: object) -> Service:
        port = port or free_port()
        values: dict[str, object] = {
            "command": [sys.executable, "-c", SERVER.format(extra=extra), str(port)],
            "log": state / "logs" / f"{name}.log",
            "port": port,
            "address": f"http://127.0.0.1:{port}",
            "ready_url": f"http://127.0.0.1:{port}/",
            "port_setting": f"SIGAP_{name.upper()}_PORT",
            "start_seconds": 20,
        }
        return Service(name=name, **(values | fields))  # type: ignore[arg-type]

    return make


class Events(list[Event]):
    """Events as they come, and a way to wait for one."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()

    def __call__(self, event: Event) -> None:
        with self._changed:
            self.append(event)
            self._changed.notify_all()

    def wait(self, kind: str, *, service: str | None = None, again: bool = False, seconds: float = 30) -> Event:
        def found() -> Event | None:
            return next((e for e in self if e.kind == kind and e.again is again and service in (None, e.service)), None)

        with self._changed:
            self._changed.wait_for(found, timeout=seconds)
            event = found()
        assert event is not None, f"no {kind} in {seconds} s, only {list(self)}"
        return event


@pytest.fixture
def events() -> Events:
    return Events()


def wait_until(check: Callable[[], object], what: str, seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
