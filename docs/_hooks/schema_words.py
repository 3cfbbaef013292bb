"""JSON Schema in words and as Markdown tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Schema = Mapping[str, Any]

_KINDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "object",
    "array": "list",
    "null": "null",
}
_FORMATS = {"date-time": "time", "binary": "file", "path": "path", "password": "secret"}


def resolved(schema: Schema, schemas: Mapping[str, Schema]) -> Schema:
    """The schema that a `$ref` names; any other as it is."""
    while "$ref" in schema:
        schema = schemas[str(schema["$ref"]).rpartition("/")[2]]
    return schema


def kind(schema: Schema, schemas: Mapping[str, Schema]) -> str:
    """What a value of this schema is, with its bounds: `number, 0 to 100`."""
    schema = resolved(schema, schemas)
    if several := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(kind(each, schemas) for each in several))
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema["enum"])
    if schema.get("contentMediaType"):
        return "file"
    types = schema.get("type", "any")
    if not isinstance(types, str):
        return " or ".join(_KINDS[each] for each in types)
    name = _FORMATS.get(str(schema.get("format")), _KINDS.get(types, types))
    if types == "array" and "items" in schema:
        name = f"list of: {kind(schema['items'], schemas)}"
    return name + _bounds(schema)


def _bounds(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    told = [f"{low:,.10g} to {high:,.10g}"] if low is not None and high is not None else _one_sided(schema)
    if "maxLength" in schema:
        told.append(f"at most {schema['maxLength']:,} characters")
    return "".join(f", {each}" for each in told)


def _one_sided(schema: Schema) -> list[str]:
    words = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    return [f"{word} {schema[key]:,.10g}" for key, word in words.items() if key in schema]


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; empty without rows."""
    if not rows:
        return ""
    lines = [heads, ["---"] * len(heads), *([_cell(each) for each in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
