"""Ten thousand malformed requests and clients that dawdle: refused politely, memory bounded, others are answered."""

from __future__ import annotations

import contextlib
import json
import random
import socket
from collections import Counter
from collections.abc import Callable

import psutil
import pytest

from tests.backend.bundles import BODY
from tests.backend.conftest import MlflowServer, wait_for
from tests.backend.faults.conftest import Load, Workers, aliased

pytestmark = pytest.mark.load

REQUESTS = 10_000
MOST_GROWTH = 40 * 2**20
DAWDLERS = 150
PATHS = (
    "/predict",
    "/models/education/predict",
    "/predict-batch",
    "/predict-file",
    "/token",
    "/model/load",
    "/nothing",
)
PIECES = (
    b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b'"', b"{", b"[" * 50, b"NaN", b"1e999", b"-0", b"\\u0000", b"\\ud800",
    b"\r\n", b"9" * 400, b"null", b"true", b'"provinsi_id":1,', b"--boundary", b"%00", b" " * 300,
)  # fmt: skip
HEADS = (
    b"content-type: text/plain", b"content-type: multipart/form-data; boundary=boundary", b"content-length: -1",
    b"content-length: 99999999999", b"transfer-encoding: chunked", b"transfer-encoding: gzip", b"expect: 100-continue",
    b"authorization: Bearer a.b.c", b"authorization: Basic \xff", b"x-request-id: \xff" + b"a" * 90,
    b"accept: text/csv", b"content-encoding: br", b"a" * 3000 + b": b", b"connection: upgrade",
    b"upgrade: websocket", b"host:", b"\x00: \x00",
)  # fmt: skip


def mutated(chance: random.Random) -> bytes:
    """A request that is wrong in its body, its head, or its bytes."""
    body = bytearray(json.dumps(BODY).encode())
    for _ in range(chance.randrange(1, 4)):
        place = chance.randrange(len(body))
        body[place : place + chance.randrange(6)] = chance.choice(PIECES)
    method = chance.choice(("POST",) * 6 + ("GET", "PUT", "TRACE", "po st"))
    heads = [b"host: api", b"content-type: application/json", b"content-length: %d" % len(body)]
    for _ in range(chance.randrange(3)):
        heads.insert(chance.randrange(len(heads) + 1), chance.choice(HEADS))
    path = chance.choice(PATHS) + chance.choice(("", "", "", "/", "?a=%ff", "/../x", "\u00e9", "%2e%2e"))
    request = bytearray(f"{method} {path} HTTP/1.1\r\n".encode() + b"\r\n".join(heads) + b"\r\n\r\n" + body)
    if chance.random() < 0.3:
        for _ in range(chance.randrange(1, 5)):
            request[chance.randrange(len(request))] = chance.randrange(256)
    return bytes(request)


def answered(place: tuple[str, int], request: bytes) -> str:
    """First status of what comes back."""
    with socket.create_connection(place, timeout=20) as connection:
        try:
            connection.sendall(request)
            # So that a request that promises more than it brings is over.
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(4096)
        except ConnectionError:
            return "reset"
        return (
            answer[9:12].decode("latin-1") if answer.startswith(b"HTTP/1.1 ") else "closed" if not answer else "other"
        )


def memory(api: Workers) -> int:
    """Resident bytes of the worker."""
    return psutil.Process(api.pid).memory_info().rss


def test_ten_thousand_malformed_requests_are_refused_and_leave_nothing_behind(
    registry: MlflowServer, start_workers: Callable[..., Workers]
) -> None:
    aliased(registry, "malformed")
    api = start_workers(registry.uri, "malformed", workers=1)
    place = ("127.0.0.1", int(api.url.rsplit(":", 1)[1]))
    chance = random.Random(10)
    for _ in range(500):
        answered(place, mutated(chance))
    before = memory(api)
    seen = Counter(answered(place, mutated(chance)) for _ in range(REQUESTS))
    grown = memory(api) - before
    print(dict(seen), f"{grown / 2**20:.1f} MB more")
    assert seen.total() == REQUESTS
    assert not [status for status in seen if status.startswith("5")], _faults(api)
    assert "other" not in seen
    assert seen["400"] + seen["422"] > REQUESTS / 4
    assert grown < MOST_GROWTH
    assert api.predict(BODY).status_code == 200
    assert "Traceback" not in api.log.read_text()


def test_clients_that_dawdle_are_closed_and_hold_up_nobody(
    registry: MlflowServer, start_workers: Callable[..., Workers]
) -> None:
    aliased(registry, "dawdling")
    api = start_workers(registry.uri, "dawdling", workers=1, SIGAP_HEAD_SECONDS="2", SIGAP_BODY_SECONDS="2")
    place = ("127.0.0.1", int(api.url.rsplit(":", 1)[1]))
    begun = {
        "head": b"POST /predict HTTP/1.1\r\nhost: api\r\nx-a: ",
        "body": b"POST /predict HTTP/1.1\r\nhost: api\r\ncontent-length: 200\r\n\r\n{",
        "silent": b"",
    }
    open_ones = [(kind, socket.create_connection(place, timeout=20)) for kind in begun for _ in range(DAWDLERS // 3)]
    for kind, connection in open_ones:
        connection.sendall(begun[kind])
        connection.setblocking(False)
    closed: Counter[str] = Counter()

    def drip() -> bool:
        for kind, connection in list(open_ones):
            if _is_closed(connection, drip=kind != "silent"):
                closed[kind] += 1
                connection.close()
                open_ones.remove((kind, connection))
        return not open_ones

    with Load(api.url) as load:
        wait_for(drip, "The end of all that dawdle", 600)
        answered_then = load.answered
        wait_for(lambda: load.answered > answered_then + 50, "Answers")
    print(f"{load.answered} answers beside {dict(closed)}")
    assert closed == dict.fromkeys(begun, DAWDLERS // 3)
    assert load.failed == {}
    assert load.mixed == []


def _is_closed(connection: socket.socket, *, drip: bool) -> bool:
    """Whether the other side has ended; sends one more byte first."""
    try:
        if drip:
            connection.send(b"a")
        with contextlib.suppress(BlockingIOError):
            # A refusal may come before the end.
            while connection.recv(4096):
                pass
            return True
    except ConnectionError:
        return True
    return False


def _faults(api: Workers) -> str:
    """What the log says beside refusals."""
    return "\n".join(each for each in api.log.read_text().splitlines() if "Invalid HTTP request" not in each)[-6000:]
