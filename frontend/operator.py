"""Who operates: signed in by an API key, for one session of one browser tab.

The token lives in the session alone: not in an address, not on disk, and in no cache that sessions share.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

import httpx
import streamlit as st

from frontend import api
from frontend.api import ApiDownError
from sigap.errors import SigapError
from sigap.settings import get_settings

SESSION = "operator"
SCOPE = "admin"
# The API tests a version before it serves it.
TIMEOUT = httpx.Timeout(60.0, connect=1.5)


class DeniedError(SigapError):
    """The API refuses an act.

    Args:
        kind: The last part of the problem's type.
        detail: What the API said, in English.
        value: What the first entry of `errors` is about.
    """

    def __init__(self, kind: str, detail: str, value: Any = None) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.value = value


class SignedOutError(SigapError):
    """The token has ended, or was revoked."""


@dataclass(frozen=True)
class Operator:
    """Who is signed in.

    Attributes:
        name: Of the key.
        token: For the header.
        expires: When it ends, in seconds since 1970.
    """

    name: str
    token: str
    expires: float

    def __repr__(self) -> str:
        """Without the token: what is shown of a session may end in a log."""
        return f"Operator({self.name!r})"


def current() -> Operator | None:
    """Who is signed in, in this session; None if nobody is, or the token has ended."""
    found: Operator | None = st.session_state.get(SESSION)
    if found is not None and found.expires <= time.time():
        st.session_state[SESSION] = None
        st.session_state["operator_ended"] = True
        return None
    return found


def sign_in(key: str) -> Operator:
    """Gets a token for the key.

    Raises:
        DeniedError: The key is not known, or may not operate.
        ApiDownError: The API can't be reached.
    """
    told = _answered(_send("POST", "/token", None, {"api_key": key}))
    token = str(told["access_token"])
    found = _answered(_send("GET", "/validate-token", token))
    operator = Operator(str(found["name"]), token, time.time() + float(told["expires_in"]))
    if SCOPE not in told["scopes"]:
        sign_out(operator)
        raise DeniedError("forbidden", "")
    return operator


def sign_out(operator: Operator) -> None:
    """Revokes the token, so that nobody can use it any more."""
    try:
        _answered(_send("POST", "/token/revoke", operator.token))
    except (DeniedError, SignedOutError, ApiDownError):
        # It ends by itself before long.
        return


def ask(
    operator: Operator,
    method: str,
    path: str,
    body: Mapping[str, Any] | None = None,
    *,
    patience: httpx.Timeout = TIMEOUT,
) -> Any:
    """What the API answers to the operator.

    Raises:
        SignedOutError: The token has ended, or was revoked.
        DeniedError: The API refuses.
        ApiDownError: It can't be reached, or fails.
    """
    return _answered(_send(method, path, operator.token, body, patience))


def send_file(operator: Operator, path: str, params: Mapping[str, str], name: str, file: IO[bytes]) -> Any:
    """What the API answers to a file that the operator sends; raises as `ask` does."""
    # Longer than the API itself lets it take.
    patience = httpx.Timeout(get_settings().data_act_seconds + 30.0, connect=1.5)
    headers = {"authorization": f"Bearer {operator.token}"}
    try:
        # Without the dashboard's own key, as below.
        sent = api.connection().request(
            "POST",
            path,
            params=dict(params),
            files={"file": (name, file)},
            headers=headers,
            auth=None,
            timeout=patience,
        )
    except httpx.HTTPError as error:
        raise ApiDownError(f"The API can't be reached: {type(error).__name__}.") from error
    return _answered(sent)


def _send(
    method: str,
    path: str,
    token: str | None,
    body: Mapping[str, Any] | None = None,
    patience: httpx.Timeout = TIMEOUT,
) -> httpx.Response:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    try:
        # Without the dashboard's own key: what an operator does is done in the operator's name.
        return api.connection().request(method, path, json=body, headers=headers, auth=None, timeout=patience)
    except httpx.HTTPError as error:
        raise ApiDownError(f"The API can't be reached: {type(error).__name__}.") from error


def _answered(response: httpx.Response) -> Any:
    if response.is_success:
        return response.json()
    try:
        told = response.json()
    except ValueError:
        told = {}
    kind = str(told.get("type", "")).rpartition(":")[2]
    if response.status_code == httpx.codes.UNAUTHORIZED and kind != "unknown-key":
        raise SignedOutError("The token has ended.")
    if response.status_code >= 500 and not kind:
        raise ApiDownError(f"The API answers with {response.status_code}.")
    errors = told.get("errors") or [{}]
    raise DeniedError(kind, str(told.get("detail") or response.status_code), errors[0].get("value"))
