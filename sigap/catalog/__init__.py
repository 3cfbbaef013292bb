"""The catalogue: every model that Sigap knows, one file each.

A file `boats.py` in this folder that holds a declaration named `boats` is a model; nothing else has to be told of it. A
file that can't be used bars no other model: it is told wherever models are listed, and by whoever asks for it.
"""

from __future__ import annotations

from sigap.catalog.declaration import Clustering, Column, Declaration, Feature, Kind, Source, Text
from sigap.catalog.loading import load
from sigap.errors import ConfigurationError, UnknownModelError

__all__ = [
    "Clustering",
    "Column",
    "Declaration",
    "Feature",
    "Kind",
    "Source",
    "Text",
    "brought_along",
    "declaration",
    "declarations",
    "named",
    "unusable",
]

# Shown in this order; what somebody adds follows by name.
_ORDER = ("education", "car_price", "customer_segments", "loan_approval", "credit_approval", "bitcoin_price")

_DECLARATIONS, _UNUSABLE = load(__name__, __path__, _ORDER)


def declarations() -> tuple[Declaration, ...]:
    """All declared models that can be used, in the catalogue's order."""
    return tuple(_DECLARATIONS.values())


def unusable() -> dict[str, ConfigurationError]:
    """Why a model's file can't be used, by model; empty where all can."""
    return dict(_UNUSABLE)


def brought_along(model: str) -> bool:
    """Whether Sigap makes this model's table itself, and fills it at first."""
    return model in _ORDER


def named(text: str) -> tuple[Declaration, ...]:
    """The models that a setting names: `all`, `none`, or names with commas.

    Raises:
        ConfigurationError: It names one whose declaration can't be used.
        UnknownModelError: It names one that there is not.
    """
    asked = text.replace(",", " ").split()
    return declarations() if asked == ["all"] else tuple(declaration(name) for name in sorted({*asked} - {"none"}))


def declaration(name: str) -> Declaration:
    """The declaration of the model `name`.

    Raises:
        ConfigurationError: It can't be used; the message names file and field.
        UnknownModelError: There is none; the message lists those there are.
    """
    if name in _UNUSABLE:
        fault = _UNUSABLE[name]
        raise ConfigurationError(fault.message, remedy=fault.remedy)
    try:
        return _DECLARATIONS[name]
    except KeyError:
        known = ", ".join(_DECLARATIONS)
        raise UnknownModelError(f"There is no model {name!r}.", remedy=f"Choose one of: {known}.") from None
