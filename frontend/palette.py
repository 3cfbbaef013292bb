"""Colours: one ordered scale for levels, the same everywhere, and the surfaces of the light and dark theme."""

from __future__ import annotations

from dataclasses import dataclass

# Best, middle, worst. Apart in hue and in lightness, so that people who can't tell red from green, and a grey
# print-out, still can tell the levels; shapes repeat what the colours say.
ANCHORS = ("#1FA187", "#F2C14E", "#C4412A")
# Groups that have no order (Okabe and Ito 2008, "Color Universal Design"): none says good or bad.
GROUPS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C8C8C")
DARK_INK, LIGHT_INK = "#14202B", "#FFFFFF"
BETWEEN_SYMBOLS = ("circle", "diamond", "square", "pentagon")
GLYPHS = {"triangle-up": "▲", "triangle-down": "▼", "circle": "●", "diamond": "◆", "square": "■", "pentagon": "⬟"}


@dataclass(frozen=True)
class Surface:
    """Colours of everything that is not a level, for one theme."""

    ink: str
    muted: str
    line: str
    card: str
    paper: str
    sea: str
    land: str
    coast: str
    neighbour: str
    accent: str
    rim: str


LIGHT = Surface(
    ink="#1D2530",
    muted="#5B6472",
    line="#DDD8CC",
    card="#FFFFFF",
    paper="#FCFBF8",
    sea="#E6EEF2",
    land="#FBF8F1",
    coast="#A9B4B8",
    neighbour="#EFEDE6",
    accent="#1F4E79",
    rim="#33414D",
)
DARK = Surface(
    ink="#E6EAF0",
    muted="#9AA7B5",
    line="#2C3947",
    card="#161E27",
    paper="#10161D",
    sea="#0B1117",
    land="#27333F",
    coast="#4A5A69",
    neighbour="#161F28",
    accent="#8FBCE6",
    rim="#0B1117",
)


def _channels(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def level_colors(count: int) -> tuple[str, ...]:
    """Colours of `count` levels from the best to the worst, as `#RRGGBB`.

    Raises:
        ValueError: `count` is below 2.
    """
    if count < 2:
        raise ValueError(f"a scale needs at least two levels, not {count}")
    colors = []
    for rank in range(count):
        position = rank / (count - 1) * (len(ANCHORS) - 1)
        left = min(int(position), len(ANCHORS) - 2)
        share = position - left
        pair = zip(_channels(ANCHORS[left]), _channels(ANCHORS[left + 1]), strict=True)
        colors.append("#" + "".join(f"{round(a + (b - a) * share):02X}" for a, b in pair))
    return tuple(colors)


def group_color(number: int) -> str:
    """Colour of a group that has a number and no rank, as `#RRGGBB`."""
    return GROUPS[number % len(GROUPS)]


def outcome_color(*, yes: bool) -> str:
    """Colour of yes or of no, as `#RRGGBB`: the ends of the levels' scale."""
    return ANCHORS[0] if yes else ANCHORS[-1]


def level_symbols(count: int) -> tuple[str, ...]:
    """Plotly marker symbols of `count` levels: up for the best, down for the worst, others between."""
    between = tuple(BETWEEN_SYMBOLS[i % len(BETWEEN_SYMBOLS)] for i in range(count - 2))
    return ("triangle-up", *between, "triangle-down")


def glyphs(count: int) -> tuple[str, ...]:
    """The level's shapes as characters, for texts."""
    return tuple(GLYPHS[symbol] for symbol in level_symbols(count))


def luminance(color: str) -> float:
    """Relative luminance, 0 black to 1 white (WCAG 2.2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in _channels(color))]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Contrast ratio, 1 to 21 (WCAG 2.2); small text needs 4.5."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def translucent(color: str, share: float) -> str:
    """A colour through which `share` of 1 of it is seen, as CSS and Plotly take it."""
    return f"rgba({','.join(map(str, _channels(color)))},{share})"


def ink_on(color: str) -> str:
    """The text colour that is easier to read on `color`."""
    return max((DARK_INK, LIGHT_INK), key=lambda ink: contrast(ink, color))
