"""The columns of a file's answers for people: their titles, and their cells in the reader's numbers and words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from frontend import scores
from frontend.catalogue import Detail
from frontend.words import MISSING, Words

# What a column repeats that another one tells already, or that only programs read.
_HIDDEN = frozenset({"cluster", "is_approved", "prediction_code"})
_LISTS = frozenset({"out_of_training_range", "filled_in", "unseen_categories"})
_FEATURES = frozenset({"strongest_for", "strongest_against"})
# A heading that the file has already gets this before it.
_PREFIX = "predicted_"
_SEPARATOR = " "


class Told(NamedTuple):
    """A column as a table shows it.

    Attributes:
        title: Its heading; empty for a column that is not shown.
        read: Turns a cell into what is read.
    """

    title: str
    read: Callable[[str], str]


def columns(model: Detail, names: Sequence[str], words: Words) -> list[Told]:
    """The answer's columns, in the order in which they stand in the file."""
    return [_told(model, name, words) for name in names]


def _told(model: Detail, heading: str, words: Words) -> Told:
    plain = heading.removeprefix(_PREFIX)
    language, target = words.language, model.target
    if plain in _HIDDEN:
        return Told("", str)
    if target is not None and plain == target.name:
        unit = target.unit(language) if target.unit else ""
        return Told(_with(target.title(language), unit), lambda cell: _number(cell, words))
    if plain.startswith("gap_"):
        feature = model.feature(plain.removeprefix("gap_"))
        title = feature.title(language) if feature else plain
        unit = feature.unit(language) if feature else ""
        return Told(_with(words("column.gap", title=title), unit), lambda cell: _number(cell, words, sign=True))
    title = words.get(f"column.{plain}", plain.replace("_", " "))
    if plain in ("interval_low", "interval_high"):
        return Told(title, lambda cell: _number(cell, words))
    if plain == "probability":
        return Told(title, lambda cell: _share(cell, words))
    if plain == "distance_to_center":
        return Told(title, lambda cell: _number(cell, words, digits=2))
    if plain == "prediction":
        return Told(title, lambda cell: words.get(f"outcome.{cell.lower().replace(' ', '_')}", cell))
    if plain == "decided_by":
        return Told(title, lambda cell: words.get(f"column.by_{cell}", cell))
    if plain in ("segment", "cluster_label"):
        return Told(title, lambda cell: _label(model, cell, language))
    if plain in _LISTS | _FEATURES:
        return Told(title, lambda cell: _titles(model, cell, language))
    return Told(title, str)


def _with(title: str, unit: str) -> str:
    return f"{title} ({unit})" if unit else title


def _value(cell: str) -> float | None:
    try:
        return float(cell.replace(",", "."))
    except ValueError:
        return None


def _number(cell: str, words: Words, *, sign: bool = False, digits: int | None = None) -> str:
    value = _value(cell)
    if value is None:
        return cell or MISSING
    if digits is None and abs(value) >= 100:
        digits = 0
    return words.number(value, digits, sign=sign)


def _share(cell: str, words: Words) -> str:
    value = _value(cell)
    return cell if value is None else scores.share(value, words)


def _label(model: Detail, cell: str, language: str) -> str:
    """A level's or a class' name in one language; files tell it in English, or in both."""
    for label in (*(level.label for level in model.levels), *(bound.label for bound in model.segments)):
        if cell in (label.en, label.id, f"{label.id} ({label.en})", f"{label.en} ({label.id})"):
            return label(language)
    return cell


def _titles(model: Detail, cell: str, language: str) -> str:
    return ", ".join(model.titled(name.strip(), language) for name in cell.split(_SEPARATOR) if name.strip())
