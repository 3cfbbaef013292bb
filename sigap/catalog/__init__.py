"""The catalogue: every model that Sigap knows, one file each.

A file `boats.py` in this folder that holds a declaration named `boats` is a model; nothing else has to be told of it.
"""

from __future__ import annotations

import importlib
import pkgutil

from sigap.catalog.declaration import Clustering, Column, Declaration, Feature, Kind, Source, Text
from sigap.errors import ConfigurationError, UnknownModelError

__all__ = [
    "Clustering",
    "Column",
    "Declaration",
    "Feature",
    "Kind",
    "Source",
    "Text",
    "declaration",
    "declarations",
    "named",
]

# Shown in this order; what somebody adds follows by name.
_ORDER = ("education", "car_price", "customer_segments", "loan_approval", "credit_approval", "bitcoin_price")


def _found() -> dict[str, Declaration]:
    files = {module.name for module in pkgutil.iter_modules(__path__)} - {"declaration", "values"}
    added = sorted(name for name in files.difference(_ORDER) if not name.startswith("_"))
    return {name: _in_file(name) for name in (*_ORDER, *added)}


def _in_file(name: str) -> Declaration:
    held = vars(importlib.import_module(f"{__name__}.{name}")).values()
    for value in held:
        if isinstance(value, Declaration) and value.name == name:
            return value
    raise ConfigurationError(
        f"sigap/catalog/{name}.py holds no declaration named {name!r}.",
        remedy="A model's file and its declaration carry the same name; see any other file there.",
    )


_DECLARATIONS = _found()


def declarations() -> tuple[Declaration, ...]:
    """All declared models, in the catalogue's order."""
    return tuple(_DECLARATIONS.values())


def named(text: str) -> tuple[Declaration, ...]:
    """The models that a setting names: `all`, `none`, or names with commas.

    Raises:
        UnknownModelError: It names one that there is not.
    """
    asked = text.replace(",", " ").split()
    return declarations() if asked == ["all"] else tuple(declaration(name) for name in sorted({*asked} - {"none"}))


def declaration(name: str) -> Declaration:
    """The declaration of the model `name`.

    Raises:
        UnknownModelError: There is none; the message lists those there are.
    """
    try:
        return _DECLARATIONS[name]
    except KeyError:
        known = ", ".join(_DECLARATIONS)
        raise UnknownModelError(f"There is no model {name!r}.", remedy=f"Choose one of: {known}.") from None
