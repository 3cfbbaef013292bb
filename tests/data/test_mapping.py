"""Which heading is taken for which column."""

from __future__ import annotations

import pytest

from sigap.catalog.car_price import CAR_PRICE
from sigap.data.mapping import map_headings
from sigap.errors import FileError


def test_what_the_owner_names_has_to_be_there() -> None:
    with pytest.raises(FileError, match="cars has no column 'colour' to map") as caught:
        map_headings(CAR_PRICE, ["a"], {"colour": "a"})
    assert "horsepower" in caught.value.remedy
    with pytest.raises(FileError, match="no heading 'PS'") as caught:
        map_headings(CAR_PRICE, ["hp", "price"], {"horsepower": "PS"})
    assert caught.value.remedy == "It has: hp, price."
    assert map_headings(CAR_PRICE, ["PS"], {"horsepower": "PS"}).found == {"horsepower": "PS"}


def test_each_heading_is_near_one_column_at_most_and_the_likest_pair_wins() -> None:
    headings = ["Horse Powers", "horsepwr", "citympgs"]
    told = map_headings(CAR_PRICE, headings, {})
    assert told.found == {}
    assert told.near["horsepower"] == "Horse Powers"
    assert len(set(told.near.values())) == len(told.near)
    taken = map_headings(CAR_PRICE, headings, {}, accept_near=True)
    assert taken.found["horsepower"] == "Horse Powers"
    assert taken.near == {}
    assert "horsepower" not in taken.missing
    assert "horsepwr" in taken.unused
