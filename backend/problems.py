"""Errors as clients see them: RFC 9457 problem details, one shape for every fault."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, Field
from starlette.responses import Response

from sigap.errors import SigapError

MEDIA_TYPE = "application/problem+json"
SHOWN_VALUE = 80


class FieldProblem(BaseModel):
    """What is wrong with one field of a request."""

    field: str = Field(description="The field's name; empty for the body as a whole.")
    value: Any = Field(description="What was sent, shortened; null when nothing was.")
    expected: str
    remedy: str


class Problem(BaseModel):
    """An error by RFC 9457 (`application/problem+json`)."""

    type: str = Field(description="A URI that names the kind of problem.")
    title: str
    status: int
    detail: str = Field(description="What was found and what to do about it.")
    errors: list[FieldProblem] = Field(default_factory=list, description="One entry a field that is wrong.")
    error: str | None = Field(None, description="Below `/v2` the detail again, where that protocol's clients read it.")
    request_id: str = Field(description="Also in the header `x-request-id`; quote it when asking for help.")


class RequestError(SigapError):
    """A request that is answered with a problem.

    Args:
        status: The HTTP status, 400 to 599.
        kind: The problem's kind in lower case with dashes; it becomes part of the problem's `type`.
        title: The kind in words, the same for every problem of that kind.
        message: What was found.
        remedy: What the client can do.
        errors: One entry a field that is wrong.
        headers: Further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        title: str,
        message: str,
        *,
        remedy: str = "",
        errors: tuple[FieldProblem, ...] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.status = status
        self.kind = kind
        self.title = title
        self.errors = errors
        self.headers = headers or {}


UNFORESEEN = RequestError(
    500,
    "unforeseen",
    "Something failed that should not",
    "The API could not answer.",
    remedy="Its log has the cause under this request_id.",
)


def problem_response(error: RequestError, request_id: str, path: str = "") -> Response:
    """The answer that carries `error`; below `/v2` with the member `error` that clients of that protocol read.

    The JSON is pure ASCII, so that whatever a client sent, lone surrogates too, can be quoted back.
    """
    problem = {
        "type": f"urn:sigap:problem:{error.kind}",
        "title": error.title,
        "status": error.status,
        "detail": str(error),
        "errors": [entry.model_dump() for entry in error.errors],
        "request_id": request_id,
    }
    if path.startswith("/v2"):
        problem["error"] = str(error)
    return Response(json.dumps(problem, allow_nan=False), error.status, headers=error.headers, media_type=MEDIA_TYPE)


def shown(value: Any) -> Any:
    """`value` as it may stand in a problem: valid JSON, and short."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    if isinstance(value, (int, float)) and abs(value) < 1e15:
        return value
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= SHOWN_VALUE else f"{text[:SHOWN_VALUE]}…"
