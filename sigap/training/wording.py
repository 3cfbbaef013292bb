"""Figures in sentences for people, as each language writes them."""

from __future__ import annotations

_SEPARATORS = str.maketrans(",.", ".,")


def in_indonesian(figures: str) -> str:
    """Formatted figures with Indonesian separators: `1.234,5` for `1,234.5`, `[0,1; 0,2]` for `[0.1, 0.2]`.

    Nothing but figures, signs, units and brackets may stand in the text.
    """
    return figures.replace(", ", "; ").translate(_SEPARATORS)
