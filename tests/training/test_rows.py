import numpy as np
import pandas as pd
import pytest

from sigap.catalog.car_price import CAR_PRICE
from sigap.catalog.credit_approval import CREDIT_APPROVAL
from sigap.catalog.education import EDUCATION
from sigap.catalog.loan_approval import LOAN_APPROVAL
from sigap.errors import TrainingError
from sigap.training.rows import LEAK_ROWS, prepare_rows

from .supervised import LOANS, cars, credit_cases, public


def test_rows_without_target_are_set_aside_and_counted():
    table = cars()
    table.loc[:9, "price"] = None
    prepared = prepare_rows(CAR_PRICE, table.sample(frac=1, random_state=0))
    assert (prepared.rows, prepared.without_target, len(prepared.keys)) == (120, 10, 110)
    assert prepared.keys[0] == "11"
    assert prepared.used == CAR_PRICE.feature_names


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table.assign(Approved=None), "Approved is missing in all 400 rows"),
        (lambda table: table.assign(Approved=1), "every row has Approved = 1"),
        (lambda table: table.assign(Approved=7), "has the values 7, expected 0, 1"),
        (lambda table: table.drop(columns="Approved"), "lacks the columns Approved"),
        (lambda table: table.head(50), "50 rows have a target, at least 100 are needed"),
        (lambda table: table.assign(Approved=[1] * 3 + [0] * 397), "the rarer class has 3 of 400 rows"),
        (lambda table: pd.concat([table, table.head(1)]), "whose key stands twice, first (1)"),
        (lambda table: table.assign(Age=np.inf), "Age is infinite in 400 rows"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused_by_name(change, said):
    with pytest.raises(TrainingError) as refused:
        prepare_rows(CREDIT_APPROVAL, change(credit_cases()))
    assert said in str(refused.value)
    assert refused.value.remedy


def test_an_infinite_price_is_refused_and_so_is_a_table_without_one_usable_feature():
    table = cars()
    table.loc[:2, "price"] = np.inf
    with pytest.raises(TrainingError, match="the target price is infinite in 3 rows"):
        prepare_rows(CAR_PRICE, table)
    empty = dict.fromkeys(CAR_PRICE.feature_names)
    with pytest.raises(TrainingError, match=r"no feature can be used \(.*horsepower: .*") as refused:
        prepare_rows(CAR_PRICE, cars().assign(**empty))
    assert "Fill at least one in cars" in refused.value.remedy
    with pytest.raises(TypeError, match="education has no target"):
        prepare_rows(EDUCATION, cars())


def test_a_handful_of_equal_values_gives_nothing_away():
    table = cars()
    table["horsepower"] = table["price"].where(table.index < LEAK_ROWS - 1).rank()
    assert len(prepare_rows(CAR_PRICE, table).keys) == len(table)


def test_a_target_that_never_changes_is_refused():
    with pytest.raises(TrainingError, match="the target is 5000 in every row"):
        prepare_rows(CAR_PRICE, cars().assign(price=5000.0))


@pytest.mark.parametrize(
    ("declared", "table", "feature", "copy"),
    [
        (CREDIT_APPROVAL, credit_cases, "Had_Past_Default", lambda table: 1 - table["Approved"]),
        (CAR_PRICE, cars, "enginesize", lambda table: table["price"]),
        (CAR_PRICE, cars, "horsepower", lambda table: np.log(table["price"]) / 15_500),
    ],
    ids=["opposite class", "equal", "another scale"],
)
def test_a_feature_that_gives_the_target_away_is_refused_by_name(declared, table, feature, copy):
    data = table()
    data[feature] = copy(data)
    with pytest.raises(TrainingError, match=f"the feature {feature} gives the target"):
        prepare_rows(declared, data)


def test_a_category_that_gives_the_target_away_is_refused_by_name():
    table = pd.read_csv(public(LOANS)).rename(columns={"Loan_ID": "loan_id"})
    table["Married"] = table["Loan_Status"].map({"Y": "Yes", "N": "No"})
    with pytest.raises(TrainingError, match="the feature Married gives the target Loan_Status away"):
        prepare_rows(LOAN_APPROVAL, table)


def test_useless_features_are_left_out_with_their_reason():
    table = cars()
    table["doornumber"] = "two"
    table["citympg"] = table["highwaympg"] * 2
    table.loc[:80, "boreratio"] = None
    prepared = prepare_rows(CAR_PRICE, table)
    reasons = {entry.name: entry.reason.en for entry in prepared.left_out}
    assert reasons == {
        "boreratio": "filled in only 32% of the rows, 50% needed",
        "highwaympg": "it says the same as City mileage",
        "doornumber": "it is the same everywhere",
    }
    assert not set(reasons) & set(prepared.used)
