"""What the OpenAPI document says about tokens and limits."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from backend.problems import MEDIA_TYPE
from backend.security.access import ANY, Access

SCHEME = "bearer"


def _answer(description: str, *headers: tuple[str, str]) -> dict[str, Any]:
    return {
        "description": description,
        "headers": {name: {"description": text, "schema": {"type": "string"}} for name, text in headers},
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


_RETRY = ("Retry-After", "Seconds to wait.")
PROBLEMS: dict[int, dict[str, Any]] = {
    400: _answer("The body is empty or not JSON."),
    401: _answer("No valid token.", ("WWW-Authenticate", "What is needed (RFC 6750).")),
    403: _answer("The token or the key lacks the scope.", ("WWW-Authenticate", "The scope (RFC 6750).")),
    408: _answer("The body did not come in time."),
    413: _answer("The body is too large."),
    422: _answer("The request is not valid; `errors` says what is expected of each field."),
    429: _answer("Too many requests from this caller.", _RETRY),
    503: _answer("Too many requests in all.", _RETRY),
}


def describe_access(app: FastAPI, access: Access) -> None:
    """Adds the bearer scheme, and to each operation whether it needs a token, to the document of `app`."""
    plain = app.openapi

    def document() -> dict[str, Any]:
        marked = app.openapi_schema is not None
        schema = plain()
        if not marked:
            _mark(schema, access)
        return schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's documented way to extend it


def _mark(schema: dict[str, Any], access: Access) -> None:
    schema["components"].setdefault("securitySchemes", {})[SCHEME] = {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A token of `POST /token`; `POST /alerts` and `GET /metrics` also take a key itself.",
    }
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            rule = access.rule({"type": "http", "method": method.upper(), "path": path})
            answers = operation["responses"]
            if rule.needs is not None:
                operation["security"] = [{SCHEME: []}]
                answers.setdefault("401", PROBLEMS[401])
                if rule.needs != ANY:
                    answers.setdefault(
                        "403", {**PROBLEMS[403], "description": f"The token lacks the scope `{rule.needs}`."}
                    )
            if not rule.probe:
                answers.setdefault("429", PROBLEMS[429])
                answers.setdefault("503", PROBLEMS[503])
            if "requestBody" in operation:
                for status in (408, 413):
                    answers.setdefault(str(status), PROBLEMS[status])
