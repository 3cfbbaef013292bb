"""What a stand-in API lets an operator do: in memory, told as the real one tells it."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

KEYS = {
    "operator-key": ("sari", ["admin", "predict"]),
    "second-key": ("budi", ["admin"]),
    "plain": ("toko", ["predict"]),
}
BLOCKS = ("take_snapshot", "clean_snapshot", "preview_features", "plan_sweep", "fit_candidate", "fit_candidate:k_2",
          "fit_candidate:k_3", "register_challenger", "promote_champion")  # fmt: skip
REASON = "The challenger is better by 212 [95, 330] USD; it needs a person's approval."


@dataclass
class Desk:
    """Versions, runs and tokens of one model, `car_price`; every act is counted."""

    aliases: dict[str, str] = field(default_factory=lambda: {"champion": "v3", "previous": "v2", "challenger": "v4"})
    waiting: bool = True
    acts: list[tuple[str, str, Any]] = field(default_factory=list)
    tokens: dict[str, tuple[str, float]] = field(default_factory=dict)
    revoked: list[str] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    minutes: float = 60.0
    slow: float = 0.0
    data: str = "v2"
    looked: int = 0
    shifted: bool = False

    def versions(self) -> list[dict[str, Any]]:
        """As the API lists them."""
        now = datetime(2026, 11, 20, 6, 12, tzinfo=UTC)
        return [
            {
                "model_version": f"v{number}",
                "aliases": [alias for alias, version in self.aliases.items() if version == f"v{number}"],
                "registered_at": (now - timedelta(days=9 - 2 * number)).isoformat(),
                "data_version": f"v{number}",
                "waiting": number == 4 and self.waiting,
                "reason": REASON if number == 4 else None,
                "reason_id": None,
            }
            for number in (4, 3, 2, 1)
        ]

    def move(self, version: str) -> dict[str, Any]:
        """Puts a version into use."""
        self.aliases["previous"], self.aliases["champion"] = self.aliases["champion"], version
        return {"model": "car_price", "model_version": version, "serving": version, "changed": True, "reason": None}

    def start(self, asked_by: str) -> dict[str, Any]:
        """Begins a run whose third step goes on."""
        now = datetime.now(UTC)
        blocks = [
            {"block": name, "status": "completed" if at < 2 else "running" if at == 2 else "initial",
             "started_at": (now - timedelta(seconds=9 - 3 * at)).isoformat() if at < 3 else None,
             "ended_at": (now - timedelta(seconds=6 - 3 * at)).isoformat() if at < 2 else None, "error": None}
            for at, name in enumerate(BLOCKS)
        ]  # fmt: skip
        run = {"run": len(self.runs) + 1, "model": "car_price", "status": "running", "asked_by": asked_by,
               "started_at": now.isoformat(), "ended_at": None, "blocks_done": 2, "blocks_total": 9,
               "blocks": blocks}  # fmt: skip
        self.runs.insert(0, run)
        return run

    def end(self, error: str = "") -> None:
        """Ends the newest run."""
        run = self.runs[0]
        run |= {"status": "failed" if error else "completed", "ended_at": datetime.now(UTC).isoformat()}
        if error:
            run["blocks"][2] |= {"status": "failed", "error": error}
        else:
            run["blocks"] = [{**each, "status": "completed"} for each in run["blocks"]]


def imported(content: bytes, name: str) -> dict[str, Any]:
    """What an import of CSV rows tells: the first is set aside, the others are new."""
    rows = max(content.count(b"\n") - 1, 0)
    aside = {"row": 2, "key": "1", "field": "horsepower", "found": "=1+1", "expected": "a whole number"}
    reason = {"field": "horsepower", "expected": "a whole number", "rows": 1}
    return {"model": "car_price", "table": "cars", "file": name, "kind": "CSV", "rows": rows, "inserted": rows - 1,
            "changed": 0, "unchanged": 0, "doubles": 0, "rejected": 1, "mock_removed": 250,
            "mock_said": content.count(b",mock"),
            "headings": {"price": "Price", "horsepower": "hp"}, "missing": ["enginesize"], "unused": ["colour"],
            "notes": [], "reasons": [reason], "refused": [aside]}  # fmt: skip


def problem(status: int, kind: str, detail: str, value: Any = None) -> JSONResponse:
    """As the API tells a fault."""
    told = {"type": f"urn:sigap:problem:{kind}", "title": kind, "status": status, "detail": detail}
    return JSONResponse({**told, "errors": [] if value is None else [{"field": "run", "value": value}]}, status)


def desk_routes(desk: Desk) -> APIRouter:
    """The routes."""
    router = APIRouter()

    def who(request: Request) -> str | None:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        name, until = desk.tokens.get(token, ("", 0.0))
        return name if until > time.time() else None

    @router.post("/token")
    async def token(request: Request) -> Any:
        known = KEYS.get((await request.json())["api_key"])
        if known is None:
            return problem(401, "unknown-key", "There is no such API key.")
        made = secrets.token_hex(8)
        desk.tokens[made] = (known[0], time.time() + 60 * desk.minutes)
        return {"access_token": made, "expires_in": 60 * desk.minutes, "scopes": known[1]}

    @router.get("/validate-token")
    def validate(request: Request) -> Any:
        return {"name": who(request)} if who(request) else problem(401, "unauthorized", "The token has expired.")

    @router.post("/token/revoke")
    def revoke(request: Request) -> Any:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        desk.revoked.append(desk.tokens.pop(token, ("nobody", 0))[0])
        return {"revoked": "token", "value": ""}

    @router.get("/models/car_price/versions")
    def versions() -> Any:
        return {"model": "car_price", "versions": desk.versions()}

    @router.post("/models/car_price/pipeline")
    @router.post("/models/car_price/update")
    @router.post("/models/car_price/rollback")
    async def act(request: Request) -> Any:
        name, act = who(request), request.url.path.rpartition("/")[2]
        if name is None:
            return problem(401, "unauthorized", "The token was revoked.")
        body = await request.json() if await request.body() else {}
        desk.acts.append((name, act, body))
        await asyncio.sleep(desk.slow)
        if act == "pipeline":
            if desk.runs and desk.runs[0]["status"] == "running":
                return problem(409, "pipeline-running", "Run 1 goes on.", 1)
            return desk.start(f"api: {name}")
        if act == "update":
            desk.waiting = False
            return desk.move(desk.aliases.pop("challenger"))
        return desk.move(body["version"])

    @router.post("/models/car_price/import-file")
    async def import_file(request: Request) -> Any:
        name = who(request)
        if name is None:
            return problem(401, "unauthorized", "The token was revoked.")
        async with request.form() as form:
            file: Any = form["file"]
            content, filename = await file.read(), file.filename
        if b"," not in content:
            return problem(422, "unusable-file", "The file lacks the columns of the table cars. Name them with --map.")
        dry = request.query_params["dry_run"] == "true"
        if dry:
            desk.looked += 1
        else:
            desk.acts.append((name, "import", filename))
            await asyncio.sleep(desk.slow)
        return {**imported(content, filename), "dry_run": dry, "asked_by": f"api: {name}"}

    @router.get("/models/{model}/data/versions")
    def data_versions(model: str, request: Request) -> Any:
        if who(request) is None:
            return problem(401, "unauthorized", "The token was revoked.")
        listed = [{"version": f"v{number}", "md5": "0" * 32, "git_commit": "", "created_at": "2026-11-20T06:12:00Z"}
                  for number in (2, 1)]  # fmt: skip
        return {"model": model, "current": desk.data, "versions": listed}

    @router.post("/models/car_price/data/rollback")
    async def data_rollback(request: Request) -> Any:
        name, body = who(request), await request.json()
        if name is None:
            return problem(401, "unauthorized", "The token was revoked.")
        desk.acts.append((name, "data", body))
        before, desk.data = desk.data, body["version"]
        return {"model": "car_price", "before": before, "version": desk.data, "md5": "0" * 32, "asked_by": name}

    @router.get("/models/{model}/simulate-drift")
    def simulation(model: str, request: Request) -> Any:
        if who(request) is None:
            return problem(401, "unauthorized", "The token was revoked.")
        return {"model": model, "shifted_since": "2026-11-20T06:12:00Z" if desk.shifted else None}

    @router.post("/models/{model}/simulate-drift")
    async def simulate(model: str, request: Request) -> Any:
        name, body = who(request), await request.json()
        if name is None:
            return problem(401, "unauthorized", "The token was revoked.")
        desk.acts.append((name, "simulate", body))
        await asyncio.sleep(desk.slow)
        live, undone = body["into"] == "live", body["undo"]
        if desk.shifted and not live and not undone:
            return problem(409, "simulation", "The table of car_price holds a simulated shift already.")
        desk.shifted = desk.shifted if live else not undone
        moved = [
            {"feature": "horsepower", "asked": body["shift"], "got": 0.9, "clipped": 0.1, "tested": True},
            {"feature": "carlength", "asked": body["shift"], "got": 0.9, "clipped": 0.1, "tested": not live},
        ]
        return {"model": model, "into": body["into"], "undone": undone, "table": None if live else "cars",
                "rows": body["rows"], "answered": body["rows"] - 1 if live else None, "left": 2 if undone else 0,
                "refusal": "422: Too much." if live else "", "moved": [] if undone else moved,
                "asked_by": f"api: {name}"}  # fmt: skip

    @router.get("/models/car_price/pipeline/runs")
    def runs() -> Any:
        return {"model": "car_price", "runs": desk.runs}

    @router.get("/models/car_price/pipeline/runs/{run}")
    def run(run: int) -> Any:
        return next(each for each in desk.runs if each["run"] == run)

    return router
