"""From a request's body to a JSON object: the first step of a prediction."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from backend.problems import FieldProblem, RequestError, shown

EXPECTED = "one JSON object in UTF-8"
EXPECTED_ROWS = "a JSON array of objects in UTF-8"


def decode(body: bytes) -> dict[str, Any]:
    """The JSON object that `body` holds.

    `NaN` and `Infinity`, which Python reads although JSON has no such values, get through to the validation, which
    names the field that has one.

    Raises:
        RequestError: 400 when the body is empty or not JSON in UTF-8; 422 when it is JSON but no object, or a field
            stands in it twice.
    """
    value = _parse(body, _DECODER, EXPECTED)
    if not isinstance(value, dict):
        raise RequestError(
            422,
            "invalid-request",
            "The request is not valid",
            "The body is JSON, but not an object.",
            errors=(FieldProblem(field="", value=shown(value), expected=EXPECTED, remedy='Send {"field": value, …}.'),),
        )
    return value


class Doubled(dict[str, Any]):
    """An object in which a field stands twice: what the client meant is not known."""

    field = ""


def decode_rows(body: bytes) -> list[Any]:
    """The JSON array that `body` holds; objects with a field twice come as `Doubled`, for only their row is at fault.

    Raises:
        RequestError: 400 when the body is empty or not JSON in UTF-8; 422 when it is JSON but no array.
    """
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        value = None
    if not isinstance(value, list) or not _each_once(body, value):
        value = _parse(body, _ROWS_DECODER, EXPECTED_ROWS)
    if not isinstance(value, list):
        raise RequestError(
            422,
            "invalid-request",
            "The request is not valid",
            "The body is JSON, but not an array.",
            errors=(FieldProblem(field="", value=shown(value), expected=EXPECTED_ROWS, remedy='Send [{"field": …}].'),),
        )
    return value


def _each_once(body: bytes, rows: list[Any]) -> bool:
    """Whether no object in `body` can hold a field twice: the quotes of what was decoded are all that there are."""
    if b"\\" in body or not all(type(row) is dict for row in rows):
        return False
    quoted = sum(len(row) + sum(type(value) is str for value in row.values()) for row in rows)
    return body.count(b'"') == 2 * quoted


def _parse(body: bytes, decoder: json.JSONDecoder, expected: str) -> Any:
    if not body.strip():
        raise _not_json("The body is empty.", expected)
    try:
        return decoder.decode(body.decode())
    except UnicodeDecodeError as error:
        raise _not_json(f"The body is not UTF-8: byte {error.start} can't be read.", expected) from error
    except json.JSONDecodeError as error:
        raise _not_json(
            f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.", expected
        ) from error
    except RecursionError as error:
        raise _not_json("The body is nested too deeply.", expected) from error
    except ValueError as error:
        # Python refuses to read integers of more than 4300 digits.
        raise _not_json("The body holds a number with too many digits.", expected) from error


def _not_json(message: str, expected: str) -> RequestError:
    return RequestError(400, "not-json", "The body is not JSON", message, remedy=f"Send {expected}.")


def _row_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    inside = next((value for value in fields.values() if isinstance(value, list) and _doubled(value)), None)
    if len(fields) == len(pairs) and inside is None:
        return fields
    doubled = Doubled(fields)
    names = [name for name, _ in pairs]
    doubled.field = _name(next((name for name in names if names.count(name) > 1), "")) if inside is None else ""
    return doubled


def _doubled(values: list[Any]) -> bool:
    return any(isinstance(value, Doubled) for value in values)


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
_ROWS_DECODER = json.JSONDecoder(object_pairs_hook=_row_object)
