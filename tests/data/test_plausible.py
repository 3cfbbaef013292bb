"""What a column's figures are like, from however many parts, and when they are in another unit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sigap.catalog import Feature, declaration
from sigap.data.plausible import Reference, Sample, check_unit, implausible, known_figures
from sigap.errors import FileError


def sample(*parts: list[float]) -> Sample:
    seen = Sample()
    for part in parts:
        seen.see(pd.Series(part, dtype=float))
    return seen


@pytest.mark.parametrize("silent", [[], [0.0], [0.0, 0.0]])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_part_without_numbers_changes_no_extreme(silent: list[float], place: int) -> None:
    parts = [[float(each) for each in range(1, 21)], [500.0]]
    parts.insert(place, silent)
    figures = sample(*parts).figures
    assert figures is not None
    assert (figures.count, figures.minimum, figures.maximum) == (21, 1.0, 500.0)


def test_too_few_figures_are_like_nothing_and_the_tables_count_first() -> None:
    few, many = sample([0.0] * 50 + [1.0] * 19), sample([float(each) for each in range(20)] + [50.0])
    assert few.figures is None
    assert many.figures is not None
    table = Reference(20, 1, 2, 3, 4, 5)
    assert known_figures(few, table) is table
    assert known_figures(few, None) is None
    assert known_figures(many, Reference(19, 1, 2, 3, 4, 5)) == many.figures


def test_of_very_many_figures_evenly_spaced_ones_are_kept_and_the_extremes_exact() -> None:
    values = np.arange(1, 300_001, dtype=float)
    figures = sample(*(list(part) for part in np.array_split(values, 7))).figures
    assert figures is not None
    assert figures.count <= 100_000
    assert (figures.minimum, figures.maximum) == (1.0, 300_000.0)
    assert figures.median == pytest.approx(150_000, rel=0.01)


def test_fences_reach_below_zero_only_where_figures_do() -> None:
    positive, signed = Reference(100, 1, 2, 3, 4, 8), Reference(100, -5, -1, 0, 1, 5)
    assert implausible(pd.Series([0.1, 0.9, 9.0, 20.0]), positive).tolist() == [True, False, False, True]
    assert implausible(pd.Series([-8.0, -6.0, 6.0, 8.0]), signed).tolist() == [True, False, False, True]


def price() -> Feature:
    return declaration("education").feature("rata_lama_sekolah").model_copy(update={"minimum": 1.0, "maximum": 20.0})


def test_a_column_in_another_unit_is_refused_with_its_factor() -> None:
    years = pd.Series(np.linspace(5, 12, 30))
    check_unit(price(), years, None)
    check_unit(price(), years[:4] * 1000, None)
    with pytest.raises(FileError, match="rata_lama_sekolah"):
        check_unit(price(), years * 1000, None)
    # What no round factor mends is for the contract, row by row.
    check_unit(price(), -years, None)
    free = price().model_copy(update={"maximum": None})
    table = Reference(30, 5, 7, 8, 10, 12)
    check_unit(free, years * 100, table)
    check_unit(free, years * 1000, Reference(19, 5, 7, 8, 10, 12))
    with pytest.raises(FileError, match="the table's median is 8"):
        check_unit(free, years * 1000, table)
