"""Every route against every credential that is none."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from prometheus_client import CollectorRegistry

from backend.app import create_app
from backend.security.access import Access
from backend.security.guard import Guard, Security
from sigap.keys import Keys
from tests.backend.security.conftest import keys_of, settings

MODES = ("admin", "predict", "all")
OPEN = {"/token", "/token-dashboard", "/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready", "/ready"}
OWN = {"/validate-token", "/token/revoke"}
ADMIN = re.compile(
    r"/(load|update|rollback|pipeline|import-file|data/versions|simulate-drift)$|/predictions/\{request_id\}$"
)
NEEDED = {
    "admin": {"own", "admin", "alerts"},
    "predict": {"own", "admin", "alerts", "predict"},
    "all": {"own", "admin", "alerts", "predict", "read"},
}
SCOPED = ("predict", "admin", "alerts")


def kind(method: str, path: str) -> str:
    """What the issue says a route is, told apart here without asking the code."""
    if path in OPEN:
        return "open"
    if path in OWN:
        return "own"
    if path == "/alerts":
        return "alerts"
    if ADMIN.search(path):
        return "admin"
    return "read" if method in ("GET", "HEAD") else "predict"


def routes(app: FastAPI) -> list[tuple[str, str]]:
    found = set()
    for context in iter_route_contexts(app.routes):
        if context.path:
            found |= {(method, context.path) for method in context.methods or {"GET"}}
    return sorted(found)


def address(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "1", path.replace("{model}", "education"))


@dataclass
class Protected:
    """An application under one mode, and what forged, old and foreign tokens there are for it."""

    mode: str
    app: FastAPI
    guard: Guard
    reached: list[str]
    good: dict[str, str]
    bad: dict[str, str | None]


@pytest.fixture(scope="module", params=MODES)
def protected(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Protected:
    folder: Path = tmp_path_factory.mktemp(request.param)
    found = settings(folder, protect=request.param)
    keys = keys_of(found)
    app = create_app(found)
    security = Security(found, Access(app, request.param), CollectorRegistry())
    reached: list[str] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["path"])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    tokens = security.tokens
    good = {}
    for name, key in keys.items():
        made = tokens.keys.identify(key)
        assert made is not None
        good[name] = tokens.issue(made, made.scopes)[0]
    return Protected(request.param, app, Guard(inner, security), reached, good, forged(found, security, good))


def forged(found: Any, security: Security, good: dict[str, str]) -> dict[str, str | None]:
    secret = found.key_for("tokens")
    claims = jwt.decode(good["both"], options={"verify_signature": False})
    head, payload, signature = good["both"].split(".")
    more = base64.urlsafe_b64encode(json.dumps({**claims, "sub": "admin"}).encode()).rstrip(b"=").decode()
    none = jwt.encode(claims, None, "none")
    gone = Keys(found).create("gone", ["predict", "admin"])
    tokens = security.tokens
    tokens.refresh()
    key = tokens.keys.identify(gone)
    assert key is not None
    of_gone = tokens.issue(key, key.scopes)[0]
    Keys(found).revoke("gone")
    tokens.refresh()
    revoked, principal = tokens.issue(next(k for k in tokens.keys.all if k.name == "both"), ["predict", "admin"])
    tokens.revoke_token(principal.jti, principal.expires)
    return {
        "no token": None,
        "empty": "",
        "garbage": "Bearer x.y.z",
        "another scheme": f"Basic {good['both']}",
        "expired": "Bearer " + jwt.encode({**claims, "exp": int(time.time()) - 1}, secret, "HS256"),
        "without an end": "Bearer " + jwt.encode({k: v for k, v in claims.items() if k != "exp"}, secret, "HS256"),
        "of tomorrow": "Bearer " + jwt.encode({**claims, "iat": time.time() + 86400}, secret, "HS256"),
        "another issuer": "Bearer " + jwt.encode({**claims, "iss": "x"}, secret, "HS256"),
        "revoked": f"Bearer {revoked}",
        "of a revoked key": f"Bearer {of_gone}",
        "of an earlier key": "Bearer " + jwt.encode({**claims, "key": "0" * 16}, secret, "HS256"),
        "alg none": f"Bearer {none}",
        "alg none, signed": f"Bearer {none.rstrip('.')}.{signature}",
        "another secret": "Bearer " + jwt.encode(claims, b"x" * 32, "HS256"),
        "another algorithm": "Bearer " + jwt.encode(claims, secret * 2, "HS512"),
        "tampered": f"Bearer {head}.{more}.{signature}",
        "without signature": f"Bearer {head}.{payload}.",
    }


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def test_every_route_refuses_every_credential_that_is_none(protected: Protected, runner: asyncio.Runner) -> None:
    """Through the whole application, as a client does it."""
    needed = [(m, p) for m, p in routes(protected.app) if kind(m, p) in NEEDED[protected.mode]]
    assert len(needed) > {"admin": 8, "predict": 20, "all": 40}[protected.mode]

    async def attack() -> list[str]:
        through = []
        async with httpx.AsyncClient(transport=httpx.ASGITransport(protected.app), base_url="http://api") as client:
            for method, path in needed:
                for name, header in protected.bad.items():
                    headers = {} if header is None else {"authorization": header}
                    answer = await client.request(method, address(path), headers=headers)
                    told = answer.headers.get("www-authenticate", "")
                    if answer.status_code != 401 or not told.startswith('Bearer realm="sigap"'):
                        through.append(f"{method} {path}: {name}: {answer.status_code}")
                    assert answer.headers["content-type"] == "application/problem+json"
                for scope in set(SCOPED) - {kind(method, path)}:
                    if kind(method, path) in SCOPED:
                        header = f"Bearer {protected.good[scope]}"
                        answer = await client.request(method, address(path), headers={"authorization": header})
                        if answer.status_code != 403:
                            through.append(f"{method} {path}: only {scope}: {answer.status_code}")
        return through

    assert runner.run(attack()) == []


def ask(protected: Protected, runner: asyncio.Runner, method: str, path: str, **scope: Any) -> tuple[int, bool]:
    """Status, and whether the application behind the guard was reached."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    protected.reached.clear()
    base = {"type": "http", "method": method, "path": path, "headers": [], "client": ("10.0.0.1", 1), "root_path": ""}
    runner.run(protected.guard({**base, **scope}, receive, send))
    return sent[0].get("status", 0), bool(protected.reached)


def test_who_may_is_let_through(protected: Protected, runner: asyncio.Runner) -> None:
    for method, path in routes(protected.app):
        what = kind(method, path)
        key = what if what in SCOPED else "predict"
        good = [(b"authorization", f"Bearer {protected.good[key]}".encode())]
        assert ask(protected, runner, method, address(path), headers=good) == (204, True), (method, path)
        if what not in NEEDED[protected.mode]:
            assert ask(protected, runner, method, address(path)) == (204, True), (method, path)
            # A token that is none is no reason to refuse what needs none.
            bad = [(b"authorization", b"Bearer x.y.z")]
            assert ask(protected, runner, method, address(path), headers=bad) == (204, True), (method, path)


def test_no_spelling_of_a_path_gets_around(protected: Protected, runner: asyncio.Runner) -> None:
    for path, scope in [
        ("/models/education/rollback", {}),
        ("/models/education/rollback\n", {}),  # a regex's `$` lets it through, so the router does
        ("/api/models/education/rollback", {"root_path": "/api"}),
        ("/models/education/rollback", {"root_path": "/api"}),
        ("/models/nothing/rollback", {}),
    ]:
        assert ask(protected, runner, "POST", path, **scope) == (401, False), path


def test_two_tokens_are_none(protected: Protected, runner: asyncio.Runner) -> None:
    good = (b"authorization", f"Bearer {protected.good['both']}".encode())
    assert ask(protected, runner, "POST", "/model/rollback", headers=[good, good]) == (401, False)


def test_a_websocket_is_refused_too(protected: Protected, runner: asyncio.Runner) -> None:
    for path in ("/predict", "/metrics", "/nothing", "/"):
        for header in protected.bad.values():
            headers = [] if header is None else [(b"authorization", header.encode())]
            extensions = {"websocket.http.response": {}}
            status = ask(protected, runner, "GET", path, type="websocket", headers=headers, extensions=extensions)
            assert status == (401, False), (path, header)
            # Without that extension, it is closed before it is accepted.
            assert ask(protected, runner, "GET", path, type="websocket", headers=headers) == (0, False)


def test_what_nobody_classified_needs_admin() -> None:
    app = FastAPI()

    @app.post("/new")
    def new() -> None: ...

    access = Access(app, "admin")
    assert access.needs("POST", "/new") == "admin"
    assert access.needs("GET", "/new") is None


def test_the_openapi_document_says_what_needs_a_token(protected: Protected) -> None:
    document = protected.app.openapi()
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            needed = kind(method.upper(), path) in NEEDED[protected.mode]
            assert operation.get("security") == ([{"bearer": []}] if needed else None), (method, path)
            assert ("401" in operation["responses"]) == (needed or path == "/token"), (method, path)
