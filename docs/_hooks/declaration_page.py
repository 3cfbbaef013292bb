"""Every field of a model's declaration, out of `sigap.catalog.declaration`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import get_args

from pydantic_core import PydanticUndefined
from schema_words import kind, table

from sigap.catalog.declaration import (
    Classification,
    Clustering,
    Column,
    Declaration,
    Feature,
    Forecasting,
    Policy,
    Regression,
    Segments,
    Source,
    Target,
    Text,
    Word,
)

_ORDER = (
    Declaration,
    Source,
    Column,
    Feature,
    Target,
    Text,
    Regression,
    Segments,
    Classification,
    Policy,
    Clustering,
    Forecasting,
)


def markdown() -> str:
    """A section for each word: what it is, and a table of its fields."""
    return "\n".join(line for word in _ORDER for line in _section(word))


def _section(word: type[Word]) -> Iterator[str]:
    schema = word.model_json_schema()
    yield f"## {word.__name__}\n\n{inspect.getdoc(word)}\n"
    rows = [
        (
            f"`{name}`",
            kind(schema["properties"][name], schema.get("$defs", {}))
            .removesuffix(" or null")
            .replace("object", " or ".join(_words(field.annotation)) or "values by field"),
            "needed" if field.is_required() else _default(field.get_default(call_default_factory=True)),
            str(field.description or ""),
        )
        for name, field in word.model_fields.items()
    ]
    yield table(("Field", "Value", "Default", "Meaning"), rows)


def _words(annotation: object) -> Iterator[str]:
    """The words of a declaration that a type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, Word):
        yield annotation.__name__
    for part in get_args(annotation):
        yield from _words(part)


def _default(value: object) -> str:
    if value in (None, "", (), PydanticUndefined):
        return "none"
    return f"`{value}`"
