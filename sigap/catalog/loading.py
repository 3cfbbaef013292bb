"""The catalogue's files, read: a declaration of each, or what is wrong with it."""

from __future__ import annotations

import importlib
import pkgutil
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import ValidationError

from sigap.catalog.declaration import Declaration
from sigap.errors import ConfigurationError

# The folder's own pieces, which are no models.
_PIECES = frozenset({"declaration", "loading", "names", "values"})


def load(
    package: str, folders: Iterable[str], first: Sequence[str] = ()
) -> tuple[dict[str, Declaration], dict[str, ConfigurationError]]:
    """Reads every model's file.

    Args:
        package: Name of the package that they are modules of.
        folders: Where it lies.
        first: Models that stand before the others, in this order; the others follow by name.

    Returns:
        The declarations by model, and for each file that can't be used why.
    """
    files = {module.name for module in pkgutil.iter_modules(folders)} - _PIECES
    added = sorted(name for name in files.difference(first) if not name.startswith("_"))
    found: dict[str, Declaration] = {}
    unusable: dict[str, ConfigurationError] = {}
    for name in (*first, *added):
        try:
            found[name] = in_file(package, name)
        except ConfigurationError as error:
            unusable[name] = error
    return found, unusable


def in_file(package: str, name: str) -> Declaration:
    """The declaration in the file of the model `name`.

    Raises:
        ConfigurationError: The file can't be run, a field of it can't be used, or it holds no such declaration.
    """
    file = f"{package.replace('.', '/')}/{name}.py"
    try:
        held = list(vars(importlib.import_module(f"{package}.{name}")).values())
    except Exception as error:  # somebody's own file: whatever is wrong with it, the other models are not
        raise ConfigurationError(
            f"{file}{_line(error, name)} can't be used: {_told(error)}.",
            remedy="Correct it, or move it out of that folder, and start Sigap again. The other models do without it.",
        ) from error
    for value in held:
        if isinstance(value, Declaration) and value.name == name:
            return value
    raise ConfigurationError(
        f"{file} holds no declaration named {name!r}.",
        remedy="A model's file and its declaration carry the same name; see any other file there.",
    )


def _line(error: Exception, name: str) -> str:
    if isinstance(error, SyntaxError):
        return f", line {error.lineno}," if error.lineno else ""
    steps = traceback.extract_tb(error.__traceback__)
    lines = [step.lineno for step in steps if Path(step.filename).name == f"{name}.py"]
    return f", line {lines[-1]}," if lines else ""


def _told(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return f"{type(error).__name__}: {error}".rstrip(".")
    told = []
    for fault in error.errors(include_url=False, include_context=False):
        given = fault["input"]
        name = str(given.get("name", "")) if isinstance(given, dict) else ""
        place = ".".join(str(part) for part in fault["loc"])
        words = fault["msg"].removeprefix("Value error, ").removeprefix(f"{name}: ").rstrip(".")
        told.append(f"{error.title}{f' {name!r}' if name else ''}{f', {place}' if place else ''}: {words}")
    return "; ".join(told)
