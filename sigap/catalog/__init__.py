"""The catalogue: every model that Sigap knows, one file each."""

from __future__ import annotations

from sigap.catalog.declaration import Clustering, Column, Declaration, Feature, Kind, Source, Text
from sigap.catalog.education import EDUCATION
from sigap.errors import UnknownModelError

__all__ = ["Clustering", "Column", "Declaration", "Feature", "Kind", "Source", "Text", "declaration", "declarations"]

_DECLARATIONS = {model.name: model for model in (EDUCATION,)}


def declarations() -> tuple[Declaration, ...]:
    """All declared models, in the catalogue's order."""
    return tuple(_DECLARATIONS.values())


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
