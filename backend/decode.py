"""From a request's body to a JSON object: the first step of a prediction."""

from __future__ import annotations

import json
from typing import Any

from backend.problems import FieldProblem, RequestError, shown

EXPECTED = "one JSON object in UTF-8"


def decode(body: bytes) -> dict[str, Any]:
    """The JSON object that `body` holds.

    `NaN` and `Infinity`, which Python reads although JSON has no such values, get through to the validation, which
    names the field that has one.

    Raises:
        RequestError: 400 when the body is empty or not JSON in UTF-8; 422 when it is JSON but no object, or a field
            stands in it twice.
    """
    if not body.strip():
        raise _not_json("The body is empty.")
    try:
        value = _DECODER.decode(body.decode())
    except UnicodeDecodeError as error:
        raise _not_json(f"The body is not UTF-8: byte {error.start} can't be read.") from error
    except json.JSONDecodeError as error:
        raise _not_json(f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.") from error
    except RecursionError as error:
        raise _not_json("The body is nested too deeply.") from error
    except ValueError as error:
        # Python refuses to read integers of more than 4300 digits.
        raise _not_json("The body holds a number with too many digits.") from error
    if not isinstance(value, dict):
        raise RequestError(
            422,
            "invalid-request",
            "The request is not valid",
            "The body is JSON, but not an object.",
            errors=(FieldProblem(field="", value=shown(value), expected=EXPECTED, remedy='Send {"field": value, …}.'),),
        )
    return value


def _not_json(message: str) -> RequestError:
    return RequestError(400, "not-json", "The body is not JSON", message, remedy=f"Send {EXPECTED}.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        # JSON parsers differ in which one they take: neither is what the client surely meant.
        raise RequestError(
            422,
            "invalid-request",
            "The request is not valid",
            "A field stands in the body more than once.",
            errors=(FieldProblem(field=_name(twice), value=None, expected="every field once", remedy="Send it once."),),
        )
    return fields


def _name(name: str) -> str:
    return str(shown(name))


_DECODER = json.JSONDecoder(object_pairs_hook=_object)
