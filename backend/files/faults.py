"""What is wrong with a file as a whole."""

from __future__ import annotations

from typing import Any

from backend.problems import FieldProblem, RequestError

TITLE = "The file can't be used"


def unusable(message: str, remedy: str, *, errors: tuple[FieldProblem, ...] = ()) -> RequestError:
    """422: the file is not what it should be."""
    return RequestError(422, "unusable-file", TITLE, message, remedy=remedy, errors=errors)


def too_large(message: str, remedy: str) -> RequestError:
    """413: the file, or what it unpacks to, is too large."""
    return RequestError(
        413, "file-too-large", "The file is too large", message, remedy=remedy, headers={"connection": "close"}
    )


def as_told(told: dict[str, Any]) -> RequestError:
    """The fault that the reading process tells of."""
    make = too_large if told["large"] else unusable
    return make(told["message"], told["remedy"])
