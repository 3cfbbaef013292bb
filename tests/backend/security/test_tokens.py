"""Tokens: issued for a key, valid until they end or are revoked."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest

from backend.problems import RequestError
from backend.security.tokens import Tokens
from sigap.keys import Keys
from tests.backend.conftest import wait_for
from tests.backend.security.conftest import Api, problem


def test_a_key_gets_a_token_that_says_whose_it_is(start: Any) -> None:
    api: Api = start()
    answer = api.client.post("/token", json={"api_key": api.keys["both"]})
    told = answer.json()
    assert (told["token_type"], told["scopes"]) == ("bearer", ["admin", "predict"])
    assert 3590 < told["expires_in"] <= 3600
    assert answer.headers["cache-control"] == "no-store"
    state = api.client.get("/validate-token", headers={"authorization": f"bearer {told['access_token']}"}).json()
    assert (state["valid"], state["name"], state["scopes"]) == (True, "both", ["admin", "predict"])
    assert 3590 < state["expires_in"] <= 3600
    assert abs(state["expires_at"] - time.time() - 3600) < 60
    assert api.keys["both"] not in told["access_token"]


def test_a_token_may_be_asked_for_with_less(start: Any) -> None:
    api: Api = start()
    less = {"authorization": f"Bearer {api.token(scopes=['predict'])}"}
    assert api.client.get("/validate-token", headers=less).json()["scopes"] == ["predict"]
    answer = api.client.post("/token", json={"api_key": api.keys["predict"], "scopes": ["admin"]})
    assert "scope `admin`" in problem(answer, 403)["detail"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "api_key"),
        ({"api_key": ""}, "api_key"),
        ({"api_key": 7}, "api_key"),
        ({"api_key": "x" * 201}, "api_key"),
        ({"api_key": "hidden", "scopes": "predict"}, "scopes"),
        ({"api_key": "hidden", "scopes": []}, "scopes"),
        ({"api_key": "hidden", "more": 1}, "more"),
    ],
)
def test_a_request_that_is_none_is_told_why_and_not_quoted(start: Any, body: Any, field: str) -> None:
    answer = start().client.post("/token", json=body)
    (error,) = problem(answer, 422)["errors"]
    assert error["field"] == field
    assert error["expected"]
    assert "hidden" not in answer.text


def test_unknown_scopes_are_told(start: Any) -> None:
    api: Api = start()
    told = problem(api.client.post("/token", json={"api_key": api.keys["both"], "scopes": ["root"]}), 422)
    assert told["errors"][0]["expected"] == "`predict`, `admin`, `alerts`"


def test_not_json_is_told(start: Any) -> None:
    problem(start().client.post("/token", content=b"api_key=x"), 400)


def test_a_wrong_key_gets_nothing_and_too_many_a_rest(start: Any) -> None:
    api: Api = start(token_failures=3)
    for _ in range(3):
        answer = api.client.post("/token", json={"api_key": "sigap_wrong"})
        assert "sigap_wrong" not in answer.text
        assert problem(answer, 401)["type"] == "urn:sigap:problem:unknown-key"
        assert answer.headers["www-authenticate"].startswith("Bearer")
    answer = api.client.post("/token", json={"api_key": api.keys["both"]})
    problem(answer, 429)
    assert 1 <= int(answer.headers["retry-after"]) <= 6


def test_right_keys_are_not_counted_as_tries(start: Any) -> None:
    api: Api = start(token_failures=1)
    for _ in range(5):
        api.token()


def test_a_token_revokes_itself_and_no_other(start: Any) -> None:
    api: Api = start()
    one, other = api.bearer("predict"), api.bearer("predict")
    assert api.client.post("/token/revoke", headers=one).json()["revoked"] == "token"
    assert "revoked" in problem(api.client.get("/validate-token", headers=one), 401)["detail"]
    assert api.client.get("/validate-token", headers=other).status_code == 200
    told = api.client.get("/validate-token", headers=other).json()
    assert api.client.post("/token/revoke", headers=other, json={"token_id": told["token_id"]}).status_code == 200
    problem(api.client.get("/validate-token", headers=other), 401)


def test_only_an_admin_revokes_others(start: Any) -> None:
    api: Api = start()
    victim, plain, admin = api.bearer("predict"), api.bearer("predict"), api.bearer("admin")
    jti = api.client.get("/validate-token", headers=victim).json()["token_id"]
    for body in ({"token_id": jti}, {"name": "predict"}):
        problem(api.client.post("/token/revoke", headers=plain, json=body), 403)
    assert api.client.post("/token/revoke", headers=admin, json={"token_id": jti}).json()["value"] == jti
    problem(api.client.get("/validate-token", headers=victim), 401)
    assert api.client.get("/validate-token", headers=plain).status_code == 200
    assert api.client.post("/token/revoke", headers=admin, json={"name": "predict"}).json()["revoked"] == "name"
    problem(api.client.get("/validate-token", headers=plain), 401)
    # What the key gets from now on is valid.
    time.sleep(0.01)
    assert api.client.get("/validate-token", headers=api.bearer("predict")).status_code == 200
    problem(api.client.post("/token/revoke", headers=admin, json={"token_id": "a", "name": "b"}), 422)


def test_an_expired_token_is_not_answered_from_memory(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    api: Api = start()
    tokens = Tokens(api.settings)
    header = b"Bearer " + api.token().encode()
    assert tokens.principal(header).name == "both"
    now = time.time()
    monkeypatch.setattr("backend.security.tokens.time.time", lambda: now + 3601)
    monkeypatch.setattr(jwt.api_jwt, "datetime", _at(now + 3601))
    with pytest.raises(RequestError, match="expired"):
        tokens.principal(header)


def _at(now: float) -> Any:
    from datetime import datetime

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.fromtimestamp(now, tz)

    return Later


def test_a_token_that_was_seen_is_not_checked_again(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    api: Api = start()
    tokens = Tokens(api.settings)
    header = b"Bearer " + api.token().encode()
    first = tokens.principal(header)

    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("the signature is checked once")

    monkeypatch.setattr(jwt, "decode", forbidden)
    assert tokens.principal(header) is first


def test_memory_of_tokens_is_bounded(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    api: Api = start()
    monkeypatch.setattr("backend.security.tokens._REMEMBERED", 10)
    tokens = Tokens(api.settings)
    key = tokens.keys.identify(api.keys["both"])
    assert key is not None
    headers = [b"Bearer " + tokens.issue(key, key.scopes)[0].encode() for _ in range(25)]
    for header in headers * 2:
        assert tokens.principal(header).name == "both"
    assert len(tokens._known) == 10


def test_workers_notice_what_another_one_revoked(start: Any) -> None:
    api: Api = start()
    here, there = Tokens(api.settings), Tokens(api.settings)
    header = b"Bearer " + api.token().encode()
    principal = there.principal(header)
    here.revoke_token(principal.jti)

    def refused() -> bool:
        try:
            there.principal(header)
        except RequestError:
            return True
        return False

    wait_for(refused, "The revocation", 600)


def test_a_key_that_is_gone_takes_its_tokens_along_and_its_successor_does_not_bring_them_back(start: Any) -> None:
    api: Api = start()
    tokens = Tokens(api.settings)
    header = b"Bearer " + api.token().encode()
    tokens.principal(header)
    keys = Keys(api.settings)
    keys.revoke("both")
    keys.create("both", ["predict", "admin"])
    tokens.refresh()
    with pytest.raises(RequestError, match="revoked"):
        tokens.principal(header)


def test_tokens_of_one_secret_are_none_under_another(start: Any, tmp_path: Any) -> None:
    api: Api = start(SECRET_KEY="a" * 32)
    header = api.bearer()
    other: Api = start(SECRET_KEY="b" * 32)
    problem(other.client.get("/validate-token", headers=header), 401)
    # The same one again: tokens outlive a restart.
    again: Api = start(SECRET_KEY="a" * 32)
    assert again.client.get("/validate-token", headers=header).status_code == 200


def test_an_unreadable_file_keeps_what_was_known(start: Any, caplog: pytest.LogCaptureFixture) -> None:
    api: Api = start()
    tokens = Tokens(api.settings)
    header = b"Bearer " + api.token().encode()
    (api.settings.state / "revocations.json").write_text("{")
    tokens.refresh()
    assert tokens.principal(header).name == "both"
    assert "revocations.json" in caplog.text
