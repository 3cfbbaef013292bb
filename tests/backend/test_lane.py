"""The short way, from a server of its own: what a client gets is what the ordinary way sends."""

from __future__ import annotations

import json
import re
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import httpx
import pytest

from backend.app import Api, create_app
from sigap.settings import Settings
from tests.backend.bundles import BODY
from tests.backend.conftest import free_port, process, wait_for
from tests.backend.test_memory import keep

PAYLOAD = json.dumps(BODY)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Where `python -m backend` answers."""
    folder = tmp_path_factory.mktemp("whole")
    keep(folder, "education")
    port = free_port()
    env = {"SIGAP_STATE_DIR": str(folder), "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    with process([sys.executable, "-m", "backend", "--port", str(port)], Path(folder) / "api.log", **env):
        wait_for(lambda: httpx.get(f"http://127.0.0.1:{port}/health/ready").status_code == 200, "The API", 600)
        yield port


def request(body: str, *headers: str, version: str = "1.1") -> bytes:
    lines = [f"POST /predict HTTP/{version}", "Host: here", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", body]).encode()


def talk(port: int, sent: bytes, answers: int = 1) -> list[tuple[list[str], bytes]]:
    """Status line with headers, and body, of each answer on one connection."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection, connection.makefile("rb") as stream:
        connection.sendall(sent)
        return [read(stream) for _ in range(answers)]


def read(stream: IO[bytes]) -> tuple[list[str], bytes]:
    """Status line with headers, and body, of the next answer."""
    head = []
    while line := stream.readline().decode().strip():
        head.append(line)
    length = next(int(line.split(":")[1]) for line in head if line.startswith("content-length"))
    return head, stream.read(length)


def named(head: list[str]) -> list[str]:
    """The head in any order, without what differs from answer to answer."""
    return sorted(line for line in head if not re.match("(date|x-request-id):", line))


def test_both_ways_send_the_same(port: int) -> None:
    ((hot, answer),) = talk(port, request(PAYLOAD))
    escaped = re.sub(r'^\{"(.)', lambda found: f'{{"\\u{ord(found[1]):04x}', PAYLOAD)
    ((cold, same),) = talk(port, request(escaped))
    assert named(hot) == named(cold)
    assert json.loads(answer) == json.loads(same)
    assert any(line.startswith("date: ") for line in hot)


def test_a_head_that_came_before_is_answered_as_the_first_time(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 10) as connection, connection.makefile("rb") as stream:
        answers = []
        for body in [PAYLOAD, PAYLOAD, PAYLOAD, "[" * len(PAYLOAD), PAYLOAD]:
            connection.sendall(request(body))
            answers.append(read(stream))
    statuses = [head[0].split()[1] for head, _ in answers]
    assert statuses[:3] + statuses[4:] == ["200"] * 4
    assert statuses[3] in ("400", "422")
    assert len({body for head, body in answers if head[0].endswith("200 OK")}) == 1
    assert len({tuple(named(head)) for head, _ in answers if head[0].endswith("200 OK")}) == 1
    identities = [line for head, _ in answers for line in head if line.startswith("x-request-id")]
    assert len(set(identities)) == 5


def test_a_known_head_inside_of_another_request_is_a_part_of_that(port: int) -> None:
    known = request(PAYLOAD)
    talk(port, known)
    with socket.create_connection(("127.0.0.1", port), 10) as connection, connection.makefile("rb") as stream:
        connection.sendall(known)
        read(stream)
        connection.sendall(b"POST /predict HTTP/1.1\r\nX-Request-Id: mine\r\nX-Part: ")
        time.sleep(0.1)
        connection.sendall(known)
        head, _ = read(stream)
        assert "x-request-id: mine" in head
        # And so is one that comes as a body, in a packet of its own.
        connection.sendall(request("x" * len(known), "X-Request-Id: other").partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
        time.sleep(0.1)
        connection.sendall(known)
        head, _ = read(stream)
        assert "x-request-id: other" in head
        assert head[0].split()[1] in ("400", "422")
        connection.sendall(known)
        assert read(stream)[0][0].endswith("200 OK")


def test_who_falls_silent_after_a_known_head_is_let_go(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 60) as connection, connection.makefile("rb") as stream:
        for _ in range(3):
            connection.sendall(request(PAYLOAD))
            read(stream)
        assert stream.read() == b""  # to the connection's end


def test_a_given_identity_comes_back(port: int) -> None:
    ((head, _),) = talk(port, request(PAYLOAD, "X-Request-Id: order-66"))
    assert "x-request-id: order-66" in head


def test_requests_in_one_packet_are_answered_in_turn(port: int) -> None:
    sent = b"".join(request(PAYLOAD, f"X-Request-Id: r{number}") for number in range(20))
    answers = talk(port, sent, 20)
    assert [f"x-request-id: r{number}" in head for number, (head, _) in enumerate(answers)] == [True] * 20
    assert len({body for _, body in answers}) == 1


def test_a_body_in_two_packets_is_answered_too(port: int) -> None:
    sent = request(PAYLOAD)
    with socket.create_connection(("127.0.0.1", port), 10) as connection, connection.makefile("rb") as stream:
        for _ in range(2):
            connection.sendall(sent[:-30])
            time.sleep(0.1)
            connection.sendall(sent[-30:])
            lines = iter(lambda: stream.readline().strip(), b"")
            head = dict(line.split(b": ", 1) for line in lines if b": " in line)
            assert json.loads(stream.read(int(head[b"content-length"])))["model_version"]


@pytest.mark.parametrize("odd", [b"{}", b"", b'{"a":1}', b"nonsense"])
def test_what_is_wrong_is_refused_and_the_connection_goes_on(port: int, odd: bytes) -> None:
    body = odd.decode()
    answers = talk(port, request(PAYLOAD) + request(body) + request(PAYLOAD), 3)
    statuses = [head[0].split()[1] for head, _ in answers]
    assert statuses[0] == statuses[2] == "200"
    assert statuses[1] in ("400", "422")


@pytest.mark.parametrize(("header", "version"), [("Connection: close", "1.1"), ("X-Odd: none", "1.0")])
def test_who_wants_the_connection_closed_gets_it(port: int, header: str, version: str) -> None:
    with socket.create_connection(("127.0.0.1", port), 10) as connection, connection.makefile("rb") as stream:
        connection.sendall(request(PAYLOAD, header, version=version))
        everything = stream.read()  # to the connection's end
    assert everything.startswith(b"HTTP/1.1 200 OK")
    assert b"\r\nconnection: close\r\n" in everything


def test_where_a_layer_adds_to_every_answer_there_is_no_short_way(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path, MLFLOW_TRACKING_URI="http://127.0.0.1:9", cors_origins="https://friend")
    application = create_app(settings)
    assert isinstance(application, Api)
    assert application.lane is None


def test_answers_are_counted(port: int) -> None:
    def count() -> float:
        text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        labels = '{method="POST",route="/predict",status="200"}'
        found = re.search(rf"(?m)^sigap_api_requests_total{re.escape(labels)} (\S+)$", text)
        return float(found[1]) if found else 0.0

    before = count()
    talk(port, request(PAYLOAD) * 5, 5)
    assert count() == before + 5
