"""Every call of the API, out of its OpenAPI document."""

from __future__ import annotations

import tempfile
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from schema_words import Schema, kind, resolved, table

from backend.app import create_app
from sigap.settings import Settings

Json = Mapping[str, Any]


def markdown() -> str:
    """A section for each of the document's tags, and in it one for each call."""
    with tempfile.TemporaryDirectory() as folder:
        document = create_app(Settings(_env_file=None, state_dir=Path(folder))).openapi()
    schemas: Mapping[str, Schema] = document["components"]["schemas"]
    parts = []
    for tag in document["tags"]:
        parts.append(f"## {tag['name'].capitalize()}\n\n{tag['description']}\n")
        for path, method, operation in _operations(document):
            if operation["tags"][0] == tag["name"]:
                parts += _call(path, method, operation, schemas)
    return "\n".join(parts)


def _operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield path, method.upper(), operation


def _call(path: str, method: str, operation: Json, schemas: Mapping[str, Schema]) -> Iterator[str]:
    yield f"### `{method} {path}`\n"
    yield f"**{operation['summary']}.** {operation.get('description', '')}\n"
    if operation.get("security"):
        yield "Always needs a token.\n"
    yield table(
        ("Parameter", "In", "Value", "Meaning"),
        [
            (f"`{each['name']}`", each["in"], kind(each["schema"], schemas), each.get("description", ""))
            for each in operation.get("parameters", ())
        ],
    )
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"Body, `{media}`:\n"
        yield _fields(content["schema"], schemas)
    yield table(
        ("Status", "When"), [(code, told["description"]) for code, told in sorted(operation["responses"].items())]
    )
    for media, content in operation["responses"].get("200", {}).get("content", {}).items():
        if fields := _fields(content.get("schema", {}), schemas):
            yield f'??? note "Answer, `{media}`"\n\n{textwrap.indent(fields, "    ")}'


def _fields(schema: Schema, schemas: Mapping[str, Schema]) -> str:
    schema = resolved(schema, schemas)
    required = set(schema.get("required", ()))
    rows = [
        (f"`{name}`" + (" (required)" if name in required else ""), kind(each, schemas), _meaning(each, schemas))
        for name, each in schema.get("properties", {}).items()
    ]
    if rows:
        return table(("Field", "Value", "Meaning"), rows)
    return f"{kind(schema, schemas)}\n".capitalize() if schema else ""


def _meaning(schema: Schema, schemas: Mapping[str, Schema]) -> str:
    return str(schema.get("description") or resolved(schema, schemas).get("description", ""))
