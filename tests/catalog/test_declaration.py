from __future__ import annotations

import pytest
from pydantic import ValidationError

from sigap.catalog import Declaration, Feature, Kind, declaration, declarations
from sigap.catalog.declaration import Forecasting, Text
from sigap.catalog.loading import in_file
from sigap.catalog.values import plain
from sigap.errors import ConfigurationError, UnknownModelError


def test_a_shortfall_points_to_the_better_side_only():
    education = declaration("education")
    years, pupils = education.feature("rata_lama_sekolah"), education.feature("rasio_guru_murid")
    assert years.shortfall(8.2, 9.7) == pytest.approx(1.5)
    assert years.shortfall(11.2, 9.7) == 0
    assert pupils.shortfall(20.5, 13.4) == pytest.approx(-7.1)
    assert pupils.shortfall(11.0, 13.4) == 0


@pytest.mark.parametrize("k", range(2, 8))
def test_every_number_of_levels_has_its_labels(k: int):
    labels = [label.id for label in declaration("education").task.labels(k)]
    assert len(set(labels)) == k
    assert (labels[0], labels[-1]) == ("Tinggi", "Rendah")


def test_an_unknown_model_is_named_with_those_there_are():
    with pytest.raises(UnknownModelError, match=r"'educatoin'.*education"):
        declaration("educatoin")


@pytest.mark.parametrize("model", declarations(), ids=lambda model: model.name)
def test_a_declaration_that_contradicts_itself_is_refused(model: Declaration):
    content = model.model_dump()
    for broken in (
        content | {"features": (*content["features"], content["features"][0])},
        content | {"source": content["source"] | {"time": "no_such_column"}},
        content | {"example": {"no_such_field": 1}},
        content | {"target": None if content["target"] else {**content["features"][0], "name": "wanted"}},
    ):
        with pytest.raises(ValidationError):
            Declaration.model_validate(broken)


def test_a_feature_that_contradicts_itself_is_refused_by_name() -> None:
    years = declaration("education").feature("rata_lama_sekolah").model_dump()
    with pytest.raises(ValidationError, match=r"rata_lama_sekolah: minimum 9.0 is not below maximum 9.0"):
        Feature.model_validate(years | {"minimum": 9, "maximum": 9})
    category = next(each for each in declaration("car_price").features if each.kind is Kind.CATEGORY).model_dump()
    label = Text(id="Satu", en="One").model_dump()
    with pytest.raises(ValidationError, match="3 categories have 1 labels"):
        Feature.model_validate(category | {"categories": ("a", "b", "c"), "category_labels": (label,)})


def test_what_a_declaration_has_not_is_named() -> None:
    education = declaration("education")
    with pytest.raises(KeyError, match="horsepower"):
        education.feature("horsepower")
    with pytest.raises(KeyError, match="horsepower"):
        education.column("horsepower")
    with pytest.raises(TypeError, match="education is a clustering, not a forecasting"):
        education.task_as(Forecasting)
    with pytest.raises(ValueError, match="k is 1; labels need at least two"):
        education.task.labels(1)
    with pytest.raises(ConfigurationError, match=r"catalog/values.py holds no declaration named 'values'"):
        in_file("sigap.catalog", "values")


def test_both_ends_of_a_range_are_written_in_one_style() -> None:
    ranges = [(1000, 1e8), (2000, 2100), (1e-8, 1e8), (-20_000, 1234.5), (0.5, 10)]
    told = [(plain(low, high), plain(high, low)) for low, high in ranges]
    assert told == [
        ("1,000", "100,000,000"),
        ("2000", "2100"),
        ("0.00000001", "100,000,000"),
        ("-20,000", "1,234.5"),
        ("0.5", "10"),
    ]
