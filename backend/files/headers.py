"""From a file's headings to the fields of a request."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from backend.files.faults import unusable
from backend.problems import FieldProblem, shown
from backend.requests import expected_value
from sigap.catalog import Declaration

SHOWN_HEADINGS = 30


@dataclass(frozen=True)
class Plan:
    """Which column of a file is which field.

    Attributes:
        names: The file's headings; those that are blank are named by their position.
        fields: By field of a request: the column's position.
    """

    names: tuple[str, ...]
    fields: dict[str, int]


def headings(declaration: Declaration) -> dict[str, tuple[str, ...]]:
    """By field of a request: the headings under which files bring it, its name first."""
    columns = {name: declaration.column(name).aliases for name in declaration.request_columns}
    features = {feature.name: feature.aliases for feature in declaration.features}
    return {name: (name, *aliases) for name, aliases in (columns | features).items()}


def known_headings(declaration: Declaration) -> tuple[str, ...]:
    """All headings that mean something."""
    return tuple(heading for each in headings(declaration).values() for heading in each)


def matches(cells: Iterable[str], expected: Iterable[str]) -> int:
    """How many cells are expected headings."""
    return len({_folded(cell) for cell in cells} & {_folded(name) for name in expected})


def titles(names: Sequence[str]) -> tuple[str, ...]:
    """The headings as the answer has them: those that are blank are named by their position."""
    return tuple(name.strip() or f"column_{at}" for at, name in enumerate(names, 1))


def plan(declaration: Declaration, names: Sequence[str], columns: Mapping[str, str] | None = None) -> Plan:
    """Finds the fields of the model among a file's headings.

    Args:
        declaration: Of the model.
        names: The file's headings.
        columns: By field: the heading that brings it, whatever the field's own headings are.

    Raises:
        RequestError: 422, a field has no column, or two of them.
    """
    shown_names = titles(names)
    folded = [_folded(name) for name in shown_names]
    fields: dict[str, int] = {}
    faults: list[FieldProblem] = []
    chosen = columns or {}
    for field, known in headings(declaration).items():
        candidates = (chosen[field],) if field in chosen else known
        heading = next((each for each in map(_folded, candidates) if each in folded), None)
        if heading is None:
            faults.append(_not_there(field, chosen[field]) if field in chosen else _missing(declaration, field, names))
        elif Counter(folded)[heading] > 1:
            remedy = "Keep the one that is meant."
            faults.append(FieldProblem(field=field, value=None, expected="one column of this name", remedy=remedy))
        else:
            fields[field] = folded.index(heading)
    if faults:
        found = ", ".join(str(shown(name)) for name in names[:SHOWN_HEADINGS])
        raise unusable(
            f"Columns are missing or stand twice: {', '.join(fault.field for fault in faults)}. Found: {found}.",
            "The first row has to hold the fields' names; `errors` says what is expected of each.",
            errors=tuple(faults),
        )
    return Plan(shown_names, fields)


@dataclass(frozen=True)
class Match:
    """Which column brings a field.

    Attributes:
        field: Of the request.
        heading: The heading that is taken for it; None where no heading is its name.
        near: A heading that looks like its name; None where none does, or where one is taken.
    """

    field: str
    heading: str | None
    near: str | None


def match(declaration: Declaration, names: Sequence[str]) -> tuple[Match, ...]:
    """What `plan` would take for each field, and what might be meant where it would find nothing."""
    by_folded = {_folded(name): name for name in reversed(titles(names))}
    known = headings(declaration)
    sure = {
        field: next((by_folded[h] for h in map(_folded, own) if h in by_folded), None) for field, own in known.items()
    }
    free = {_plain(name): name for name in titles(names) if name not in sure.values()}
    found = []
    for field, heading in sure.items():
        near = None
        if heading is None:
            for name in known[field]:
                close = difflib.get_close_matches(_plain(name), free, n=1)
                if close:
                    near = free.pop(close[0])
                    break
        found.append(Match(field, heading, near))
    return tuple(found)


def _plain(name: str) -> str:
    """A heading without what people write between words."""
    return "".join(sign for sign in _folded(name) if sign.isalnum())


def _not_there(field: str, heading: str) -> FieldProblem:
    return FieldProblem(
        field=field,
        value=shown(heading),
        expected="a heading of the file",
        remedy="Name one of those that were found, or leave the parameter out.",
    )


def _missing(declaration: Declaration, field: str, names: Sequence[str]) -> FieldProblem:
    by_folded = {_folded(name): name for name in names if name.strip()}
    near = difflib.get_close_matches(_folded(field), by_folded, n=1)
    is_feature = field in declaration.feature_names
    expected = expected_value(declaration.feature(field)) if is_feature else declaration.column(field).meaning.en
    if near:
        name = shown(by_folded[near[0]])
        return FieldProblem(
            field=field, value=name, expected=f"a column {field}: {expected}", remedy=f"Is it {name}? Call it {field}."
        )
    return FieldProblem(field=field, value=None, expected=f"a column {field}: {expected}", remedy="Add the column.")


def _folded(name: str) -> str:
    return name.strip().casefold()
