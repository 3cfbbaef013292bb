"""Every setting, out of `sigap.settings`."""

from __future__ import annotations

from typing import Any

from schema_words import kind, table

from sigap.settings import ROOT, Settings


def markdown() -> str:
    """A table of all settings: variable, what it may be, default, meaning."""
    schema = Settings.model_json_schema(by_alias=False)
    rows = [
        (
            f"`{Settings.variable(name)}`",
            kind(schema["properties"][name], schema.get("$defs", {})).removesuffix(" or null"),
            _default(field.default),
            str(field.description),
        )
        for name, field in Settings.model_fields.items()
    ]
    return table(("Variable", "Value", "Default", "Meaning"), rows)


def _default(value: Any) -> str:
    if value is None or value == "":
        return "none"
    if value == ROOT:
        return "the folder of `./run`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
