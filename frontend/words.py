"""The dashboard's words and numbers in Indonesian and English."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from pathlib import Path

import yaml

LANGUAGES = {"id": "Bahasa Indonesia", "en": "English"}
FOLDER = Path(__file__).parent / "texts"
MISSING = "–"


@lru_cache
def vocabulary(language: str) -> dict[str, str]:
    """All texts of a language, by key."""
    texts: dict[str, str] = yaml.safe_load((FOLDER / f"{language}.yaml").read_text(encoding="utf-8"))
    return texts


class Words:
    """Texts and numbers in one language.

    Args:
        language: `id` or `en`.
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self._texts = vocabulary(language)

    def __call__(self, key: str, **values: object) -> str:
        """The text `key` with its places filled in."""
        return self._texts[key].format(**values)

    @property
    def separators(self) -> str:
        """Decimal and thousands separator, as Plotly wants them."""
        return ",." if self.language == "id" else ".,"

    def number(self, value: float | None, digits: int | None = None, *, sign: bool = False) -> str:
        """A number as the language writes it: 9,2 in Indonesian and 9.2 in English.

        Args:
            value: The number; None gives a dash.
            digits: Digits behind the separator; by default one or two, without trailing zeros after the first.
            sign: Whether a plus is written too.
        """
        if value is None:
            return MISSING
        form = "+," if sign else ","
        if digits is None:
            text = format(value, f"{form}.2f")
            text = text[:-1] if text.endswith("0") else text
        else:
            text = format(value, f"{form}.{digits}f")
        text = text.replace("-", "−")
        if self.language == "id":
            text = text.translate(str.maketrans(",.", ".,"))
        return text

    @staticmethod
    def sentence(text: str) -> str:
        """A phrase with a capital and a full stop, as it stands on its own."""
        return text[:1].upper() + text[1:].rstrip(".") + "."

    def date(self, moment: str) -> str:
        """The day of an ISO 8601 moment, as the language writes it; empty for an empty moment."""
        if not moment:
            return ""
        day = datetime.fromisoformat(moment)
        return self("date.form", day=day.day, month=self("date.months").split()[day.month - 1], year=day.year)

    def parse(self, text: str) -> float | None:
        """The number somebody typed, with a comma or a point as decimal separator; None for an empty field.

        Raises:
            ValueError: It is not a finite number.
        """
        plain = text.strip().replace("−", "-").replace(" ", "").replace(",", ".")
        if not plain:
            return None
        value = float(plain)
        if value != value or value in (float("inf"), float("-inf")):
            raise ValueError(text)
        return value
