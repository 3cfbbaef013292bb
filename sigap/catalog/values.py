"""Values as people write them: yes and no, genders, and limits."""

from __future__ import annotations

from collections.abc import Mapping

from sigap.catalog.declaration import Text

# What stands in a table, by what files write in small letters.
YES_NO: Mapping[str, str] = dict.fromkeys(("yes", "y", "true", "approved", "ya", "1"), "1") | dict.fromkeys(
    ("no", "n", "false", "rejected", "not approved", "tidak", "0"), "0"
)
FLAG_WORDS = "0 or 1, yes or no"
YES, NO = Text(id="Ya", en="Yes"), Text(id="Tidak", en="No")
GENDERS = (Text(id="Laki-laki", en="Male"), Text(id="Perempuan", en="Female"))


def plain(limit: float, beside: float = 0.0) -> str:
    """A declared limit as people write it: 1,000,000,000, 2100 and 0.5, never 1e+09.

    Args:
        limit: It.
        beside: A range's other end; both are written in one style, "1,000 to 100,000,000" as well as "2000 to 2100".
    """
    groups = "," if max(abs(limit), abs(beside)) >= 10_000 else ""
    return f"{limit:{groups}.10f}".rstrip("0").rstrip(".")
