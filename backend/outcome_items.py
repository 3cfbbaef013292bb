"""What a list of outcomes holds: read, checked against the model's target, and told apart from what is not right."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from backend.outcome_rows import Sent, Value
from backend.problems import FieldProblem, RequestError, shown
from backend.requests import expected_value, refused, whole
from sigap.catalog import Declaration, Kind
from sigap.catalog.declaration import Classification, Target

# A client's clock may be ahead by this.
AHEAD = timedelta(minutes=5)
Reader = Callable[[Any], Value]


def _text(value: Any) -> Any:
    """A moment's text; a number, which pydantic takes for seconds since 1970, is none."""
    return value if isinstance(value, str) else ""


class Outcome(BaseModel):
    """What became of one prediction."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    request_id: str = Field(
        min_length=1, max_length=64, description="As the prediction's answer told it in `x-request-id`."
    )
    row: Annotated[int, BeforeValidator(whole)] | None = Field(
        None, ge=0, lt=2**31, description="Which row of a batch, counted from 1; may be left out where there was one."
    )
    outcome: Any = Field(description="The target as it turned out.")
    observed_at: Annotated[datetime, Field(strict=False), BeforeValidator(_text)] | None = Field(
        None, description="When that was observed, ISO 8601; by default now."
    )
    correct: bool = Field(False, description="Whether it takes the place of another outcome of the same prediction.")


def reader(declaration: Declaration) -> tuple[Reader, str]:
    """What reads an outcome of the model, and what it expects, in words.

    A number has to lie in the target's range; yes or no may be true or false, or as the source or the answer spells it.
    What it reads with raises ValueError for anything else.

    Raises:
        TypeError: The model has no target.
    """
    task, target = declaration.task, declaration.target
    if target is None:
        raise TypeError(f"{declaration.name} has no target")
    if isinstance(task, Classification):
        spellings = _spellings(task, target)
        words = ", ".join([*spelled(target), task.yes, task.no])
        return lambda value: _yes_or_no(value, spellings), f"true, false, or one of: {words}"
    return lambda value: _number(value, target), expected_value(target)


def spelled(target: Target) -> list[str]:
    """The values of a yes-or-no target as the source spells them."""
    if target.categories:
        return list(target.categories)
    return [str(value) for value in range(int(target.minimum or 0), int(target.maximum or 0) + 1)]


def _spellings(task: Classification, target: Target) -> dict[str, bool]:
    known = {value.casefold(): value == task.positive for value in spelled(target)}
    return known | {task.yes.casefold(): True, task.no.casefold(): False}


def _yes_or_no(value: Any, spellings: Mapping[str, bool]) -> bool:
    if isinstance(value, bool):
        return value
    # JSON knows one kind of number: 1.0 is 1.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    found = spellings.get(str(value).strip().casefold()) if isinstance(value, str | int) else None
    if found is None:
        raise ValueError(value)
    return found


def _number(value: Any, target: Target) -> float:
    number = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        with suppress(OverflowError):
            number = float(value)
    inside = (target.minimum is None or number >= target.minimum) and (
        target.maximum is None or number <= target.maximum
    )
    whole = target.kind is not Kind.INTEGER or number.is_integer()
    if not (math.isfinite(number) and inside and whole):
        raise ValueError(value)
    return number


def items_of(fields: Mapping[str, Any], most: int) -> list[Any]:
    """The list in a decoded body.

    Raises:
        RequestError: 413, it is too long; 422, it is none.
    """
    items = fields.get("outcomes")
    if not isinstance(items, list) or not items or len(fields) > 1:
        other = next((name for name in fields if name != "outcomes"), None)
        expected = 'one list: {"outcomes": [{"request_id": …, "outcome": …}]}'
        field = "outcomes" if other is None else str(shown(other))
        value = shown(fields.get("outcomes") if other is None else fields[other])
        remedy = "Send at least one outcome." if other is None else "Leave it out."
        raise refused([FieldProblem(field=field, value=value, expected=expected, remedy=remedy)])
    if len(items) > most:
        raise RequestError(
            413,
            "too-many-rows",
            "There are too many rows",
            f"The list has {len(items)} outcomes.",
            remedy=f"Send at most {most} at once.",
        )
    return items


def checked(
    items: Sequence[Any], read: Reader, expected: str, now: datetime
) -> tuple[dict[int, Sent], dict[int, list[FieldProblem]]]:
    """The outcomes that are right in themselves, and what is wrong with the others, by position."""
    sent, faults = {}, {}
    for at, item in enumerate(items):
        try:
            sent[at] = _sent(item, read, expected, now)
        except RequestError as error:
            faults[at] = list(error.errors)
    return sent, faults


def _sent(item: Any, read: Reader, expected: str, now: datetime) -> Sent:
    try:
        given = Outcome.model_validate(item)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
        raise refused([_problem(entry) for entry in found]) from None
    faults = []
    value: Value = False
    try:
        value = read(given.outcome)
    except ValueError:
        remedy = "Correct the value; an outcome that is not known yet is sent later."
        faults.append(FieldProblem(field="outcome", value=shown(given.outcome), expected=expected, remedy=remedy))
    moment = given.observed_at
    if moment is not None:
        # Without a zone it is UTC, as everywhere here.
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        if moment > now + AHEAD:
            wanted = f"a moment that is past at {now.isoformat(timespec='seconds')}"
            remedy = "Check the clock and the time zone, or leave it out."
            faults.append(FieldProblem(field="observed_at", value=moment.isoformat(), expected=wanted, remedy=remedy))
    if "\0" in given.request_id:  # PostgreSQL has no such text
        faults.append(
            FieldProblem(
                field="request_id",
                value=shown(given.request_id),
                expected="the id of a prediction",
                remedy="Correct it.",
            )
        )
    if faults:
        raise refused(faults)
    return Sent(given.request_id, given.row, value, moment, given.correct)


_EXPECTED = {
    "request_id": "the id of a prediction, a text of 1 to 64 characters",
    "row": "a whole number, 1 for the first row of a batch, or none",
    "outcome": "the target as it turned out",
    "observed_at": "a moment in ISO 8601, such as 2026-01-31T09:30:00Z",
    "correct": "true or false",
}


def _problem(entry: Any) -> FieldProblem:
    name = str(entry["loc"][0]) if entry["loc"] else ""
    if entry["type"] == "extra_forbidden":
        expected, remedy = f"one of: {', '.join(_EXPECTED)}", "Leave it out."
    else:
        missing = entry["type"] == "missing"
        expected = _EXPECTED.get(name, 'an object: {"request_id": …, "outcome": …}')
        remedy = "Add the field." if missing else "Correct the value."
    value = None if entry["type"] == "missing" else shown(entry["input"])
    return FieldProblem(field=str(shown(name)), value=value, expected=expected, remedy=remedy)
