"""The dashboard's words and numbers in Indonesian and English."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import yaml

LANGUAGES = {"id": "Bahasa Indonesia", "en": "English"}
FOLDER = Path(__file__).parent / "texts"
MISSING = "–"
# Thousands in groups of three; 0,250 is a quarter in any language.
GROUPED = re.compile(r"-?[1-9]\d{0,2}(,\d{3})+")


def spoken(locale: str | None) -> str:
    """The language of a browser's locale: `en` of `en-US`; empty where it tells none."""
    return re.split("[-_]", locale or "")[0].lower()


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

    def counted(self, key: str, count: int) -> str:
        """The text `key` with its count, or `key_one` for one."""
        return self(f"{key}_one" if count == 1 else key, count=self.number(count, 0))

    def get(self, key: str, default: str) -> str:
        """The text `key`, or `default` where there is none: for names that somebody else may add to."""
        return self._texts.get(key, default)

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
            # Rounded first: what is shown as zero has no sign.
            text = format(round(value, 2) + 0.0, f"{form}.2f")
            text = text[:-1] if text.endswith("0") else text
        else:
            text = format(round(value, digits) + 0.0, f"{form}.{digits}f")
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

    def moment(self, moment: str) -> str:
        """The day of an ISO 8601 moment, and its time (UTC) unless that is midnight."""
        then = datetime.fromisoformat(moment)
        clock = "" if (then.hour, then.minute) == (0, 0) else f" {then:%H:%M} UTC"
        return self.date(moment) + clock

    def period(self, period: int | str | None) -> str:
        """A period of data: a year as it is, a moment as a day."""
        if not isinstance(period, str):
            return MISSING if period is None else str(period)
        try:
            return self.moment(period)
        except ValueError:
            return period

    def figure(self, value: float) -> str:
        """A number with the digits it has, up to six behind the separator: how a form shows it."""
        text = f"{round(value, 6) + 0.0:,.6f}".rstrip("0").rstrip(".").replace("-", "−")
        return text.translate(str.maketrans(",.", ".,")) if self.language == "id" else text

    def ago(self, moment: str, now: datetime | None = None) -> str:
        """How long ago an ISO 8601 moment was, in the greatest whole unit; empty for an empty moment."""
        if not moment:
            return ""
        then = datetime.fromisoformat(moment)
        seconds = ((now or datetime.now(UTC)) - (then if then.tzinfo else then.replace(tzinfo=UTC))).total_seconds()
        for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
            if seconds >= 2 * length:
                return self(f"ago.{unit}", count=int(seconds // length))
        return self("ago.now")

    def parse(self, text: str) -> float | None:
        """The number somebody typed; None for an empty field.

        Both languages' separators are understood: 9,25 and 9.25 are the same number in either. Only where one of them
        parts exactly three digits, as in 85.000, the language decides.

        Raises:
            ValueError: It is not a finite number.
        """
        plain = text.strip().replace("−", "-").replace(" ", "").replace("\N{NO-BREAK SPACE}", "")
        if not plain:
            return None
        value = float(self._pointed(plain))
        if value != value or value in (float("inf"), float("-inf")):
            raise ValueError(text)
        return value

    def _pointed(self, plain: str) -> str:
        """The digits with a point before the decimals and nothing between the thousands."""
        decimal, thousands = self.separators[0], self.separators[1]
        if decimal in plain and thousands in plain and plain.rfind(thousands) > plain.rfind(decimal):
            decimal, thousands = thousands, decimal
        whole, _, rest = plain.partition(decimal)
        if thousands in whole:
            if GROUPED.fullmatch(whole.replace(thousands, ",")):
                return f"{whole.replace(thousands, '')}.{rest}"
            if decimal not in plain and plain.count(thousands) == 1:
                return plain.replace(thousands, ".")
            raise ValueError(plain)
        if plain.count(decimal) > 1:
            if GROUPED.fullmatch(plain.replace(decimal, ",")):
                return plain.replace(decimal, "")
            raise ValueError(plain)
        return f"{whole}.{rest}" if rest else whole
