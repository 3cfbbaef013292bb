"""Connections that dawdle, against a server of its own."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection

import pytest

from sigap.services.service import free_port
from sigap.settings import ROOT

START_SECONDS = 600


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Where `python -m backend` listens, which has little patience."""
    folder = tmp_path_factory.mktemp("api")
    port = free_port()
    env = os.environ | {
        "SIGAP_STATE_DIR": str(folder),
        "SIGAP_HEAD_SECONDS": "2",
        "SIGAP_BODY_SECONDS": "2",
        "SIGAP_MAX_CONNECTIONS": "250",
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
        "DATABASE_URL": "postgresql://nobody:none@127.0.0.1:9/none",
    }
    command = [sys.executable, "-m", "backend", "--port", str(port), "--no-access-log"]
    with (folder / "api.log").open("wb") as log:
        started = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log)
    until = time.monotonic() + START_SECONDS
    try:
        while not alive(port):
            assert started.poll() is None, (folder / "api.log").read_text()
            assert time.monotonic() < until
            time.sleep(0.1)
        yield port
    finally:
        started.terminate()
        started.wait(60)


def alive(port: int) -> bool:
    with contextlib.suppress(OSError):
        return ask(port, "GET", "/health/live") == 200
    return False


def ask(port: int, method: str, path: str) -> int:
    """The status that a client gets over a connection of its own."""
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body=b"{}" if method == "POST" else None)
        return connection.getresponse().status
    finally:
        connection.close()


def until_closed(connection: socket.socket, seconds: float = 60) -> bytes:
    """What the server sends until it closes."""
    connection.settimeout(seconds)
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            received += part
    return received


def problem(received: bytes) -> dict[str, object]:
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    told: dict[str, object] = json.loads(body)
    assert head.startswith(f"HTTP/1.1 {told['status']} ".encode())
    return told


def test_two_hundred_that_drip_do_not_stop_the_others(port: int) -> None:
    heads = [b"GET /models HTTP/1.1\r\nhost: api\r\nx-slow: ", b"", b"\r\n"]
    body = b"POST /predict HTTP/1.1\r\nhost: api\r\ncontent-length: 60000\r\n\r\n{"
    upload = b"POST /predict-file HTTP/1.1\r\nhost: api\r\ntransfer-encoding: chunked\r\n"
    upload += b"content-type: multipart/form-data; boundary=x\r\n\r\n1\r\n-\r\n"
    dripping = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
    for number, connection in enumerate(dripping):
        connection.sendall([*heads, body, upload][number % 5])
    stop = threading.Event()
    ended = set()

    def drip() -> None:
        while not stop.wait(0.3):
            for number, connection in enumerate(dripping):
                try:
                    connection.sendall(b"\r\n" if number % 5 == 2 else b"1\r\n-\r\n" if number % 5 == 4 else b"a")
                except OSError:
                    ended.add(number)

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        with ThreadPoolExecutor(4) as others:
            answers = list(others.map(lambda _: alive(port), range(200)))
            assert all(answers)
            post = list(others.map(lambda _: ask(port, "POST", "/predict"), range(100)))
            assert set(post) == {503}  # nothing is served here, but the question came through
        # All of them are cut off, drip as they may.
        until = time.monotonic() + 600
        while len(ended) < len(dripping) and time.monotonic() < until:
            time.sleep(0.2)
        assert len(ended) == len(dripping)
    finally:
        stop.set()
        thread.join()
        for connection in dripping:
            connection.close()


def test_a_connection_is_closed_for_what_it_is(port: int) -> None:

    def told(sent: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            with contextlib.suppress(OSError):
                connection.sendall(sent)
            return until_closed(connection)

    assert told(b"") == b""
    assert problem(told(b"GET / HTTP/1.1\r\nho"))["type"] == "urn:sigap:problem:slow-head"
    assert problem(told(b"GET / HTTP/1.1\r\nx: " + b"a" * 100_000))["status"] == 431
    assert problem(told(b"NONSENSE\r\n\r\n"))["status"] == 400
    assert problem(told(b"GET / HTTP/1.1\r\ncontent-length: x\r\n\r\n"))["status"] == 400
    # A long body is no long head, and a second request over the same connection is welcome.
    first = b"GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n"
    last = b"GET /health/live HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    assert told(first + last).count(b"HTTP/1.1 200") == 2
    long = b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: 200000\r\n\r\n" + b"x" * 200_000
    assert told(long).startswith(b"HTTP/1.1 413")
    # The head of a later request is waited for no longer than the first one's.
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(first)
        while b"alive" not in connection.recv(65536):
            pass
        connection.sendall(b"GET / HTTP/1.1\r\nho")
        assert problem(until_closed(connection))["status"] == 408


def test_when_connections_run_out_the_idlest_goes(port: int) -> None:
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(300)]
    try:
        assert all(alive(port) for _ in range(10))
        assert until_closed(idle[0]) == b""
        assert until_closed(idle[5]) == b""
    finally:
        for connection in idle:
            connection.close()
