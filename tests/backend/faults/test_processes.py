"""Workers that die and an API that is told to end: what was being answered is answered."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable

import psutil
import psycopg
import pytest

from tests.backend.bundles import BODY
from tests.backend.conftest import MlflowServer, wait_for
from tests.backend.faults.conftest import Load, Workers, aliased, right

pytestmark = pytest.mark.load


def test_a_worker_killed_under_load_costs_no_answer(
    registry: MlflowServer, start_workers: Callable[..., Workers]
) -> None:
    aliased(registry, "killed")
    api = start_workers(registry.uri, "killed")
    wait_for(lambda: len(api.workers) == 2, "Two workers")
    with Load(api.url, retries=1) as load:
        wait_for(lambda: load.answered > 50, "The load")
        for _ in range(3):
            (victim, *_) = workers = api.workers
            before = {each.pid for each in workers}
            victim.kill()
            wait_for(lambda before=before: len({each.pid for each in api.workers} - before) == 1, "Its successor")
            wait_for(lambda: len(api.workers) == 2, "Two workers")
            answered = load.answered
            wait_for(lambda answered=answered: load.answered > answered + 50, "Answers")
    print(f"{load.answered} answers, {load.retried} sent again")
    assert load.failed == {}
    assert load.mixed == []
    assert load.retried > 0


def test_the_end_waits_for_what_is_being_answered_and_for_what_is_to_be_kept(
    registry: MlflowServer, start_workers: Callable[..., Workers], seeded_database: str
) -> None:
    aliased(registry, "ended")
    api = start_workers(registry.uri, "ended", DATABASE_URL=seeded_database)
    body = json.dumps(BODY).encode()
    place = ("127.0.0.1", int(api.url.rsplit(":", 1)[1]))
    head = f"POST /predict HTTP/1.1\r\nhost: api\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    asking = [socket.create_connection(place, timeout=20) for _ in range(20)]
    for connection in asking:
        connection.sendall(head + body[:10])
    kept = [api.predict(BODY) for _ in range(30)]
    assert {answer.status_code for answer in kept} == {200}
    os.kill(api.pid, signal.SIGTERM)
    # The parent holds the port until its workers have ended, so only their log tells that they take no more.
    wait_for(lambda: api.log.read_text().count("Shutting down") == 2, "The end of new requests")
    answers = []
    for connection in asking:
        connection.sendall(body[10:])
        answers.append(b"".join(iter(lambda connection=connection: connection.recv(65536), b"")))
        connection.close()
    statuses = [answer.split(b" ", 2)[1] for answer in answers]
    assert statuses == [b"200"] * 20
    assert all(right(json.loads(answer.split(b"\r\n\r\n", 1)[1])) for answer in answers)
    wait_for(lambda: psutil.Process(api.pid).status() == psutil.STATUS_ZOMBIE, "The end")
    with psycopg.connect(seeded_database) as connection:
        assert connection.execute("SELECT count(*) FROM predictions").fetchone() == (50,)
