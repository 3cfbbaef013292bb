import math

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.base import clone

from sigap.bundle import RowEncoder
from sigap.catalog.car_price import CAR_PRICE
from sigap.training.tabular import TRUSTED_TYPES, canonical, encoder

from .supervised import cars


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    table = cars(120)
    table.loc[3, "horsepower"] = None
    table.loc[5, "CompanyName"] = None
    table.loc[6, "CompanyName"] = "Toyota"
    table.loc[7, "fueltype"] = "steam"
    return table


@pytest.mark.parametrize("choice", [{}, {"by_target": ["CompanyName"]}, {"coding": "target"}], ids=str)
def test_a_request_is_encoded_exactly_as_training_rows_are(table, choice):
    fitted = encoder(CAR_PRICE, **choice)
    fitted.fit_transform(table.iloc[:80], np.log(table["price"].iloc[:80]))
    matrix = fitted.transform(table)
    rows = RowEncoder(fitted.inputs)
    for row, expected in zip(table.to_dict("records"), matrix, strict=True):
        values = {
            name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()
        }
        assert rows.encode(values) == expected.tolist()
    assert rows.width == matrix.shape[1] == len(fitted.get_feature_names_out())
    assert not np.isnan(matrix).any()


def test_it_learns_from_the_training_rows_alone(table):
    part = table.iloc[:40]
    fitted = encoder(CAR_PRICE, by_target=["CompanyName"]).fit(part, part["price"])
    weight = next(column for column in fitted.inputs if column.feature == "curbweight")
    assert weight.impute == part["curbweight"].median()
    brand = next(column for column in fitted.inputs if column.feature == "CompanyName")
    present = {str(value).casefold() for value in part["CompanyName"].dropna()}
    assert {value.casefold() for value in brand.categories} == present
    assert brand.impute == pytest.approx(part["price"].mean())


def test_a_category_never_seen_is_all_zeros_and_said(table):
    part = table[table["CompanyName"] != "volvo"]
    rows = RowEncoder(encoder(CAR_PRICE).fit(part).inputs)
    known = {**CAR_PRICE.example, "CompanyName": "HONDA"}
    unseen = {**CAR_PRICE.example, "CompanyName": "volvo"}
    assert rows.unseen(known) == []
    assert rows.unseen(unseen) == ["CompanyName"]
    assert rows.encode(unseen) == rows.encode({**unseen, "CompanyName": None})
    assert sum(rows.encode(known)) == sum(rows.encode(unseen)) + 1


def test_a_rows_own_target_never_enters_its_code(table):
    target = pd.Series(np.zeros(len(table)))
    target.iloc[10] = 1e6
    fitted = encoder(CAR_PRICE, ["CompanyName"], coding="target")
    assert fitted.fit_transform(table, target)[10, 0] < 1e6 / len(table)


def test_counterfactuals_change_one_feature_at_a_time(table):
    rows = RowEncoder(encoder(CAR_PRICE).fit(table).inputs)
    reference = {**CAR_PRICE.example, "horsepower": 200, "fueltype": "diesel"}
    first, *others = rows.counterfactuals(CAR_PRICE.example, reference)
    changed = {column.feature for column, row in zip(rows.inputs, others, strict=True) if row != first}
    assert changed == {"horsepower", "fueltype"}


def test_it_can_be_cloned_and_travels_through_skops(table):
    fitted = clone(encoder(CAR_PRICE)).fit(table)
    again = skops.io.loads(skops.io.dumps(fitted), trusted=list(TRUSTED_TYPES))
    assert np.array_equal(again.transform(table), fitted.transform(table))


def test_categories_take_their_declared_spelling(table):
    spelt = canonical(CAR_PRICE, table)
    assert spelt.loc[6, "CompanyName"] == "toyota"
    assert spelt.loc[7, "fueltype"] == "steam"
    assert table.loc[6, "CompanyName"] == "Toyota"
