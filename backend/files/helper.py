"""The process that reads XLSX, XLS and Parquet: one helper a worker, which forks itself for every file.

Such files are made by others and unpack to what their makers like: a sheet with one cell in its last corner, a text
that a million cells share. What reads one has limits, can be ended, and takes nothing with it. multiprocessing would
do, but its children import the main module again, which here is whatever starts the API.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from backend.files.reader import Limits, ReadingError, read
from backend.problems import RequestError

if TYPE_CHECKING:
    import pyarrow as pa

ROOT = Path(__file__).resolve().parents[2]
# An idle helper ends; the next file starts another.
IDLE_SECONDS = 300.0
START_SECONDS = 30.0
# Pools and threads of their own would count against the limit, and hide what a file takes.
_LEAN = {"ARROW_DEFAULT_MEMORY_POOL": "system", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
MOST_REQUEST_BYTES = 65536


class Helper:
    """The helper of this process, started when it is first needed."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def ask(self, request: bytes, files: list[int]) -> None:
        """Has a file read; `files` are the descriptors that its process gets.

        Raises:
            OSError: The helper can't be started.
        """
        with self._turn:
            try:
                self._send(request, files)
            except OSError:
                # It ended: idle, or by a signal.
                self.close()
                self._send(request, files)

    def _send(self, request: bytes, files: list[int]) -> None:
        if self._control is None:
            self._start()
        control = self._control
        if control is None:
            raise ConnectionResetError
        socket.send_fds(control, [request], files)
        if control.recv(1) != b"+":
            raise ConnectionResetError

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        command = [sys.executable, "-m", "backend.files.helper", str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                env={**os.environ, **_LEAN, "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        ours.settimeout(START_SECONDS)
        self._control = ours

    def close(self) -> None:
        """Ends the helper."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


_HELPER = Helper()
atexit.register(_HELPER.close)


class Reading:
    """A file that is being read by a process of its own.

    Args:
        path: The file.
        kind: `XLSX`, `XLS` or `Parquet`.
        limits: What it may take.

    Attributes:
        names: The file's headings.

    Raises:
        ReadingError: It can't be read.
        RequestError: 503, no process can be started.
    """

    def __init__(self, path: Path, kind: str, limits: Limits) -> None:
        ours, theirs = socket.socketpair()
        watched, self._life = os.pipe()
        self._connection = Connection(ours.detach(), writable=False)
        request = json.dumps({"path": str(path), "kind": kind, "limits": limits}).encode()
        try:
            _HELPER.ask(request, [theirs.fileno(), watched])
        except OSError as error:
            self.close()
            raise RequestError(
                503,
                "no-reader",
                "Such files can't be read now",
                f"The process that reads {kind} files can't be started.",
                remedy="Send CSV, or try again later.",
                headers={"retry-after": "5"},
            ) from error
        finally:
            theirs.close()
            os.close(watched)
        try:
            self.names: tuple[str, ...] = tuple(json.loads(self._receive() or b"[]"))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends the process, whatever it does."""
        self._connection.close()
        os.close(self._life)

    def tables(self) -> Iterator[pa.Table]:
        """The rows, some at a time; columns are called by their position.

        Raises:
            ReadingError: The file can't be read on.
        """
        import pyarrow as pa

        while content := self._receive():
            with pa.ipc.open_stream(pa.py_buffer(content)) as stream:
                yield stream.read_all()

    def _receive(self) -> bytes:
        try:
            message = self._connection.recv_bytes()
        except (EOFError, OSError):
            raise ReadingError(
                "The file takes too much memory or time to read, or breaks what reads it.",
                "Send it as CSV, or in parts.",
                large=True,
            ) from None
        if message[:1] == b"!":
            raise ReadingError(**json.loads(message[1:]))
        return message[1:]


def main(control: socket.socket) -> None:
    """What the helper does: forks itself for every request."""
    import backend.files.preload  # noqa: F401

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how a child ended
    control.settimeout(IDLE_SECONDS)
    with contextlib.suppress(TimeoutError, ConnectionError):
        while True:
            request, files, _, _ = socket.recv_fds(control, MOST_REQUEST_BYTES, 2)
            if not request:
                return
            if os.fork() == 0:
                control.close()
                _child(request, *files)
            for file in files:
                os.close(file)
            control.send(b"+")


def _child(request: bytes, answer: int, life: int) -> None:
    try:
        # When the API closes its end, because the client went away or the worker ended, this process ends by SIGIO,
        # whatever library it is in.
        fcntl.fcntl(life, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)
        asked = json.loads(request)
        read(asked["path"], asked["kind"], Limits(*asked["limits"]), Connection(answer, readable=False))
    finally:
        os._exit(0)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
