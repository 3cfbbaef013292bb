"""`POST /token` and what goes with it."""

from __future__ import annotations

import time
from typing import Any, TypeVar

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from backend.decode import decode
from backend.problems import FieldProblem, RequestError, shown
from backend.security.dashboard import PAGE, POLICY
from backend.security.guard import Security, forbidden
from backend.security.limits import address
from backend.security.openapi import PROBLEMS, SCHEME
from backend.security.tokens import PRINCIPAL, Principal
from sigap.keys import SCOPES


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


_Asked = TypeVar("_Asked", bound=_Request)


class TokenRequest(_Request):
    """A key, and what the token shall allow."""

    api_key: str = Field(min_length=1, max_length=200, description="As `./run key create` printed it.")
    scopes: list[str] | None = Field(
        None, min_length=1, max_length=len(SCOPES), description="Of the key's scopes; all of them if left out."
    )


class Token(BaseModel):
    """A bearer token (RFC 6750)."""

    access_token: str = Field(description="Send it as `Authorization: Bearer …`.")
    token_type: str = Field("bearer", description="Always `bearer`.")
    expires_in: int = Field(description="Seconds until it ends.")
    scopes: list[str]


class TokenState(BaseModel):
    """Whose token it is, and until when."""

    valid: bool = True
    name: str = Field(description="Of the key that got it.")
    scopes: list[str]
    token_id: str = Field(description="For its revocation; the claim `jti`.")
    expires_at: int = Field(description="Seconds since 1970.")
    expires_in: int = Field(description="Seconds until it ends.")


class RevokeRequest(_Request):
    """What to revoke; the token itself that the request carries if nothing is named."""

    token_id: str | None = Field(None, min_length=1, max_length=64, description="One token; needs the scope `admin`.")
    name: str | None = Field(
        None, min_length=1, max_length=40, description="All tokens of the key of this name; needs the scope `admin`."
    )


class Revoked(BaseModel):
    """What was revoked."""

    revoked: str = Field(description="`token` or `name`.")
    value: str


def token_routes(security: Security) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["token"])

    @router.post(
        "/token",
        summary="A token for an API key",
        response_model=Token,
        responses=_responses(400, 401, 403, 408, 413, 422, 429),
        openapi_extra=_body(TokenRequest, {"api_key": "sigap_…"}),
    )
    async def token(request: Request) -> Response:
        asked = _parsed(TokenRequest, await request.body())
        return JSONResponse(_issue(security, asked, address(request.scope.get("client"))).model_dump())

    @router.get("/validate-token", summary="Whose token it is, and until when", responses=_responses(401, 429))
    async def validate_token(request: Request) -> TokenState:
        principal: Principal = request.scope[PRINCIPAL]
        return TokenState(
            name=principal.name,
            scopes=sorted(principal.scopes),
            token_id=principal.jti,
            expires_at=int(principal.expires),
            expires_in=_left(principal),
        )

    @router.post(
        "/token/revoke",
        summary="Revokes this token; an admin's also others",
        response_model=Revoked,
        responses=_responses(400, 401, 403, 408, 413, 422, 429),
        openapi_extra=_body(RevokeRequest, {}, required=False),
    )
    async def revoke(request: Request) -> Response:
        body = await request.body()
        asked = _parsed(RevokeRequest, body) if body.strip() else RevokeRequest()
        # Another process may hold the file's lock.
        done = await run_in_threadpool(_revoke, security, asked, request.scope[PRINCIPAL])
        return JSONResponse(done.model_dump())

    @router.get("/token-dashboard", include_in_schema=False)
    async def dashboard() -> Response:
        return HTMLResponse(PAGE, headers={"content-security-policy": POLICY})

    return router


def _issue(security: Security, asked: TokenRequest, caller: str) -> Token:
    security.limits.check_failures(caller)
    security.tokens.refresh()
    key = security.tokens.keys.identify(asked.api_key)
    if key is None:
        security.limits.failed(caller)
        raise RequestError(
            401,
            "unknown-key",
            "The API key is not known",
            "There is no such API key.",
            remedy="`./run key create NAME` makes one.",
            headers={"www-authenticate": 'Bearer realm="sigap"'},
        )
    wanted = asked.scopes if asked.scopes is not None else list(key.scopes)
    for scope in wanted:
        if scope not in SCOPES:
            expected = f"`{'`, `'.join(SCOPES)}`"
            raise _invalid((FieldProblem(field="scopes", value=shown(scope), expected=expected, remedy="Correct it."),))
        if scope not in key.scopes:
            raise forbidden(scope)
    token, principal = security.tokens.issue(key, wanted)
    return Token(
        access_token=token,
        token_type=SCHEME,
        expires_in=_left(principal),
        scopes=sorted(principal.scopes),
    )


def _revoke(security: Security, asked: RevokeRequest, principal: Principal) -> Revoked:
    if asked.token_id is not None and asked.name is not None:
        raise _invalid((FieldProblem(field="name", value=asked.name, expected="one of the two", remedy="Send one."),))
    own = asked.token_id == principal.jti or (asked.token_id is None and asked.name is None)
    if not own and "admin" not in principal.scopes:
        raise forbidden("admin")
    if asked.name is not None:
        security.tokens.revoke_name(asked.name)
        return Revoked(revoked="name", value=asked.name)
    jti = asked.token_id or principal.jti
    security.tokens.revoke_token(jti, principal.expires if own else None)
    return Revoked(revoked="token", value=jti)


def _left(principal: Principal) -> int:
    return max(0, round(principal.expires - time.time()))


def _parsed(model: type[_Asked], body: bytes) -> _Asked:
    fields = decode(body)
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise _invalid(tuple(_problem(model, entry) for entry in error.errors())) from None


def _problem(model: type[BaseModel], entry: Any) -> FieldProblem:
    # A field's name that is no valid Unicode has no place that could be told.
    name = str(entry["loc"][0]) if entry["loc"] else ""
    unknown = name not in model.model_fields
    # A key that was sent in another form than expected is still a key: no value is ever quoted back.
    return FieldProblem(
        field=str(shown(name)),
        value=None,
        expected=f"one of {', '.join(model.model_fields)}" if unknown else str(entry["msg"]),
        remedy="Leave it out." if unknown else "Send it." if entry["type"] == "missing" else "Correct it.",
    )


def _invalid(errors: tuple[FieldProblem, ...]) -> RequestError:
    fields = ", ".join(error.field or "the body" for error in errors)
    return RequestError(422, "invalid-request", "The request is not valid", f"Not valid: {fields}.", errors=errors)


def _responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: PROBLEMS[status] for status in statuses}


def _body(model: type[BaseModel], example: dict[str, Any], *, required: bool = True) -> dict[str, Any]:
    schema = model.model_json_schema()
    return {
        "requestBody": {"required": required, "content": {"application/json": {"schema": schema, "example": example}}}
    }
