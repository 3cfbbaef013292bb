"""A stand-in for Mage: its REST interface over HTTP, with runs that go on until a test says otherwise."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sigap.settings import Settings

BLOCKS = ("take_snapshot", "clean_snapshot", "plan_sweep", "register_challenger", "promote_champion")
TOKEN = "trigger-token"


class FakeMage:
    """What the stand-in knows."""

    def __init__(self, settings: Settings) -> None:
        self.password = settings.secret("mage_password")
        self.runs: list[dict[str, Any]] = []
        self.sessions = 0
        self.expired = False
        self.broken = False

    def start(self, pipeline: str, variables: dict[str, Any], age: float = 0) -> dict[str, Any]:
        now = str(datetime.now(UTC) - timedelta(seconds=age))
        blocks = [
            {"id": at, "block_uuid": name, "status": "initial", "created_at": now, "started_at": None,
             "completed_at": None, "metrics": {}}
            for at, name in enumerate(BLOCKS)
        ]  # fmt: skip
        blocks[0] |= {"status": "running", "started_at": now}
        run = {"id": len(self.runs) + 1, "pipeline_uuid": pipeline, "status": "running", "variables": variables,
               "created_at": now, "started_at": now, "completed_at": None, "block_runs": blocks}  # fmt: skip
        self.runs.append(run)
        return run

    def step(self, run: int, *, fail: str = "") -> None:
        """Ends the running step of a run, and begins the next."""
        record, now = self.runs[run - 1], str(datetime.now(UTC))
        at = next(at for at, each in enumerate(record["block_runs"]) if each["status"] == "running")
        done = {"status": "failed", "metrics": {"error": {"error": fail}}} if fail else {"status": "completed"}
        record["block_runs"][at] |= {**done, "completed_at": now}
        if fail or at + 1 == len(BLOCKS):
            record |= {"status": "failed" if fail else "completed", "completed_at": now}
        else:
            record["block_runs"][at + 1] |= {"status": "running", "started_at": now}

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: dict[str, Any]) -> Any:
        if path == "sessions":
            if body["session"]["password"] != self.password:
                return {"error": {"code": 404, "message": "Invalid credentials."}}
            self.sessions += 1
            self.expired = False
            return {"session": {"token": "session"}}
        if self.expired:
            return {"error": {"code": 401, "message": "Unauthorized."}}
        if path.endswith("/pipeline_schedules"):
            return {"pipeline_schedules": [{"id": 7, "token": TOKEN, "schedule_type": "api",
                                            "pipeline_uuid": path.split("/")[1]}]}  # fmt: skip
        if method == "POST" and path == f"pipeline_schedules/7/pipeline_runs/{TOKEN}":
            return {"pipeline_run": self.start(self.asked, body["pipeline_run"]["variables"])}
        if path == "pipeline_runs":
            wanted, skipped = query.get("pipeline_uuid"), int(query.get("_offset", ["0"])[0])
            found = [run for run in self.runs if wanted is None or run["pipeline_uuid"] == wanted[0]]
            return {"pipeline_runs": found[::-1][skipped : skipped + int(query["_limit"][0])]}
        number = int(path.rpartition("/")[2])
        if not 0 < number <= len(self.runs):
            return {"error": {"code": 404, "message": "not found"}}
        if method == "PUT":
            self.runs[number - 1] |= {"status": body["pipeline_run"]["status"]}
        return {"pipeline_run": self.runs[number - 1]}

    asked = ""


@contextmanager
def mage_standin(settings: Settings) -> Iterator[FakeMage]:
    """Serves it where the settings say that Mage is."""
    fake = FakeMage(settings)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            url = urlsplit(self.path)
            content = self.rfile.read(int(self.headers.get("content-length") or 0))
            path = url.path.removeprefix("/api/")
            if schedule := re.fullmatch("pipelines/([^/]+)/pipeline_schedules", path):
                fake.asked = schedule[1]
            told = fake.answer(self.command, path, parse_qs(url.query), json.loads(content or b"{}"))
            sent = b"<html>" if fake.broken else json.dumps(told).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_POST = do_PUT = _answer  # noqa: N815 - the names that http.server asks for

        def log_message(self, *_: Any) -> None:
            """Nothing is written."""

    server = ThreadingHTTPServer((settings.host, settings.mage_port), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
