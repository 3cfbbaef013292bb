"""Names: what a declared field may be called, and how PostgreSQL's columns are written in SQL."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

from pydantic import BaseModel

_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")
_UNQUOTED = re.compile(r"[a-z_][a-z0-9_]*")
_COLUMN = re.compile(r't\.(?:(?P<plain>\w+)|"(?P<quoted>(?:[^"]|"")+)")(?:::text)?')

ANSWER_FIELDS = frozenset(
    (
        *("interval", "baseline", "segment", "segment_label", "segment_bounds"),
        *("model", "model_version", "data_version", "features_used", "features_left_out"),
        *("out_of_training_range", "filled_in", "unseen_categories"),
    )
)
"""What an answer carries beside the target: a target of such a name would take its place."""


def field_fault(name: str) -> str:
    """Why no declared field can be called so, in a sentence; empty where it can.

    A field's name is one in requests and answers, which are types made of the declaration.
    """
    if not _FIELD.fullmatch(name):
        return "A field's name is a letter and at most 62 letters (A to Z), digits or _ after it."
    if hasattr(BaseModel, name):
        return "The types of requests and answers have something of that name already."
    return ""


def field_name(column: str, taken: Collection[str]) -> str:
    """A field's name for a column: the column's own where it can be one, else what is like it.

    Args:
        column: As PostgreSQL has it.
        taken: Names of other fields; no two differ by capitals alone, for headings of files are read without them.
    """
    plain = unicodedata.normalize("NFKD", column).encode("ascii", "ignore").decode()
    name = column if _FIELD.fullmatch(column) else re.sub(r"[^A-Za-z0-9]+", "_", plain).strip("_")[:58]
    if not name[:1].isalpha():
        name = f"column_{name}".rstrip("_")[:58]
    others = {each.casefold() for each in taken}
    found, number = name, 1
    while found.casefold() in others or field_fault(found):
        number += 1
        found = f"{name[:58]}_{number}"
    return found


def expression(name: str, sql: str) -> str:
    """What selects a declared field: its own expression, or the column of its name."""
    return sql or f"t.{quoted(name)}"


def quoted(name: str) -> str:
    """A column's name as SQL has it behind `t.` or `AS`: in quotes where it has capitals, spaces or signs."""
    return name if _UNQUOTED.fullmatch(name) else '"' + name.replace('"', '""') + '"'


def selected_column(sql: str) -> str | None:
    """The column of the model's own table that an expression is; None where it is another expression.

    Without quotes PostgreSQL reads a name in small letters.
    """
    found = _COLUMN.fullmatch(sql)
    if found is None:
        return None
    return found["plain"].lower() if found["plain"] else found["quoted"].replace('""', '"')
