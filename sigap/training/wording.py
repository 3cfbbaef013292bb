"""Figures in sentences for people, as each language writes them."""

from __future__ import annotations

_SEPARATORS = str.maketrans(",.", ".,")
# Those that Indonesian has a word of its own for; the others are called alike.
_METRICS = {"accuracy": "akurasi"}


def in_indonesian(figures: str) -> str:
    """Formatted figures with Indonesian separators: `1.234,5` for `1,234.5`, `[0,1; 0,2]` for `[0.1, 0.2]`.

    Nothing but figures, signs, units and brackets may stand in the text.
    """
    return figures.replace(", ", "; ").translate(_SEPARATORS)


def metric_in_indonesian(metric: str) -> str:
    """What a metric is called in an Indonesian sentence."""
    return _METRICS.get(metric, metric)
