"""Levels can be told apart by everybody, in every theme."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from frontend.palette import DARK, LIGHT, contrast, glyphs, ink_on, level_colors

# Machado, Oliveira and Fernandes 2009, full severity, on linear RGB.
SIGHT = {
    "usual": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    "grey": [[0.2126, 0.7152, 0.0722]] * 3,
}


def _lab(color: str, sight: str) -> np.ndarray:
    rgb = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(SIGHT[sight]) @ linear, 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = (to_xyz @ seen) / np.array([0.9505, 1.0, 1.089])
    f = [v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in (x, y, z)]
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("sight", SIGHT)
def test_three_levels_look_different_to_everybody(sight: str) -> None:
    for one, other in itertools.combinations(level_colors(3), 2):
        # A difference of 2 is just noticeable; side by side 10 is plain.
        assert np.linalg.norm(_lab(one, sight) - _lab(other, sight)) > 10, (one, other)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6])
def test_scales_of_any_length_have_as_many_colours_and_shapes(count: int) -> None:
    assert len(set(level_colors(count))) == len(set(glyphs(count))) == count
    assert level_colors(count)[0] == level_colors(3)[0]
    assert level_colors(count)[-1] == level_colors(3)[-1]


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6])
def test_text_on_a_level_can_be_read(count: int) -> None:
    assert all(contrast(color, ink_on(color)) >= 4.5 for color in level_colors(count))


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_text_on_the_page_can_be_read(theme) -> None:  # type: ignore[no-untyped-def]
    for ground in (theme.paper, theme.card):
        assert contrast(theme.ink, ground) >= 7
        assert contrast(theme.muted, ground) >= 4.5
        assert contrast(theme.accent, ground) >= 4.5


def test_one_level_is_no_scale() -> None:
    with pytest.raises(ValueError, match="two levels"):
        level_colors(1)
