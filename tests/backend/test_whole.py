"""Answers in one piece, from a server of its own: what a client gets is what the ordinary way sends."""

from __future__ import annotations

import json
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.backend.bundles import BODY
from tests.backend.conftest import free_port, process, wait_for
from tests.backend.test_memory import keep

PAYLOAD = json.dumps(BODY)
FRIEND = "https://friend.example"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Where `python -m backend` answers."""
    folder = tmp_path_factory.mktemp("whole")
    keep(folder, "education")
    port = free_port()
    env = {"SIGAP_STATE_DIR": str(folder), "MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "SIGAP_CORS_ORIGINS": FRIEND}
    with process([sys.executable, "-m", "backend", "--port", str(port)], Path(folder) / "api.log", **env):
        wait_for(lambda: httpx.get(f"http://127.0.0.1:{port}/health/ready").status_code == 200, "The API", 120)
        yield port


def request(body: str, *headers: str, version: str = "1.1") -> bytes:
    lines = [f"POST /predict HTTP/{version}", "Host: here", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", body]).encode()


def talk(port: int, sent: bytes, answers: int = 1) -> list[tuple[list[str], bytes]]:
    """Status line with headers, and body, of each answer on one connection."""
    found = []
    with socket.create_connection(("127.0.0.1", port), 10) as connection, connection.makefile("rb") as stream:
        connection.sendall(sent)
        for _ in range(answers):
            head = []
            while line := stream.readline().decode().strip():
                head.append(line)
            length = next(int(line.split(":")[1]) for line in head if line.startswith("content-length"))
            found.append((head, stream.read(length)))
    return found


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


def test_a_given_identity_comes_back(port: int) -> None:
    ((head, _),) = talk(port, request(PAYLOAD, "X-Request-Id: order-66"))
    assert "x-request-id: order-66" in head


def test_requests_in_one_packet_are_answered_in_turn(port: int) -> None:
    sent = b"".join(request(PAYLOAD, f"X-Request-Id: r{number}") for number in range(20))
    answers = talk(port, sent, 20)
    assert [f"x-request-id: r{number}" in head for number, (head, _) in enumerate(answers)] == [True] * 20
    assert len({body for _, body in answers}) == 1


@pytest.mark.parametrize(("header", "version"), [("Connection: close", "1.1"), ("X-Odd: none", "1.0")])
def test_who_wants_the_connection_closed_gets_it(port: int, header: str, version: str) -> None:
    with socket.create_connection(("127.0.0.1", port), 10) as connection, connection.makefile("rb") as stream:
        connection.sendall(request(PAYLOAD, header, version=version))
        everything = stream.read()  # to the connection's end
    assert everything.startswith(b"HTTP/1.1 200 OK")
    assert b"\r\nconnection: close\r\n" in everything


def test_who_comes_from_another_page_is_told_that_it_may(port: int) -> None:
    ((head, _),) = talk(port, request(PAYLOAD, f"Origin: {FRIEND}"))
    assert f"access-control-allow-origin: {FRIEND}" in head


def test_whole_answers_are_counted(port: int) -> None:
    def count() -> float:
        text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        labels = '{method="POST",route="/predict",status="200"}'
        found = re.search(rf"(?m)^sigap_api_requests_total{re.escape(labels)} (\S+)$", text)
        return float(found[1]) if found else 0.0

    before = count()
    talk(port, request(PAYLOAD) * 5, 5)
    assert count() == before + 5
