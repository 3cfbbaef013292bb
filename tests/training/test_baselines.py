"""Answers that need no model, also where a column says nothing, and scores of answers that are all alike."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from sigap.catalog import Kind
from sigap.catalog.bitcoin_price import BITCOIN_PRICE
from sigap.catalog.car_price import CAR_PRICE
from sigap.catalog.education import EDUCATION
from sigap.catalog.loan_approval import LOAN_APPROVAL
from sigap.errors import ConfigurationError, TrainingError
from sigap.training import evaluation, supervised, uncertainty
from sigap.training.baselines import Majority, Median, OneColumnRule, baselines, held_out_baseline
from sigap.training.fairness import fairness_table
from sigap.training.recipes import MAXIMUM_CANDIDATES, Recipe, SupervisedParams, build
from sigap.training.rows import prepare_rows
from tests.training.supervised import cars

NUMBER = next(each.name for each in LOAN_APPROVAL.features if each.kind is Kind.NUMBER)
CATEGORY = next(each for each in LOAN_APPROVAL.features if each.categories)


def rule(column: list[object], target: list[float], name: str = NUMBER) -> OneColumnRule:
    made = OneColumnRule()
    made.fit(pd.DataFrame({name: column}), np.array(target))
    return made


def test_a_number_is_cut_where_most_rows_come_out_right() -> None:
    made = rule([3.0, 1.0, 2.0, 10.0, 12.0, np.nan], [0, 0, 0, 1, 1, 1])
    assert made.rule.threshold == 6.5
    assert made.predict(pd.DataFrame({NUMBER: [0.0, 6.5, 7.0, np.nan]})).tolist() == [0, 0, 1, 0.5]
    told = made.describe(LOAN_APPROVAL)
    yes, no = LOAN_APPROVAL.task.yes, LOAN_APPROVAL.task.no
    assert f"above 6.5 → “{yes}”, otherwise “{no}”" in told.en
    assert "di atas 6,5" in told.id


@pytest.mark.parametrize("column", [[5.0] * 4, [np.nan] * 4, [5.0, np.nan, np.nan, 5.0]])
def test_a_column_that_says_nothing_answers_as_most_rows_do(column: list[object]) -> None:
    made = rule(column, [1, 1, 0, 1])
    assert made.rule.right == 3
    assert made.predict(pd.DataFrame({NUMBER: [1.0, 9.0, np.nan]})).tolist() == [0.75] * 3


def test_each_category_answers_as_most_of_its_rows_do_and_an_unknown_one_as_all() -> None:
    first, second, *_ = CATEGORY.categories
    made = rule([first, first, second, second, None], [1, 1, 0, 0, 1], CATEGORY.name)
    assert made.predict(pd.DataFrame({CATEGORY.name: [first, second, "new", None]})).tolist() == [1, 0, 0.6, 0.6]
    assert f": {first} → “{LOAN_APPROVAL.task.yes}”" in made.describe(LOAN_APPROVAL).en
    never = rule([first, second], [0, 0], CATEGORY.name)
    assert ": – → " in never.describe(LOAN_APPROVAL).en


def test_the_column_is_the_one_that_is_right_most_often() -> None:
    made = OneColumnRule()
    frame = pd.DataFrame({NUMBER: [1.0, 2.0, 1.0, 2.0], CATEGORY.name: list(CATEGORY.categories[:2]) * 2})
    made.fit(frame.assign(**{CATEGORY.name: [CATEGORY.categories[0]] * 4}), np.array([0.0, 1.0, 0.0, 1.0]))
    assert made.rule.feature == NUMBER


def test_baselines_say_what_they_answer() -> None:
    assert [type(each) for each in baselines(CAR_PRICE)] == [Median]
    assert [type(each) for each in baselines(LOAN_APPROVAL)] == [Majority, OneColumnRule]
    median = Median()
    median.fit(pd.DataFrame(index=range(3)), np.array([1000.0, 9.0, 12000.0]))
    assert median.describe(CAR_PRICE).en.startswith("the median, 1,000")
    assert median.describe(LOAN_APPROVAL.model_copy(update={"target": None})).id == "median 1.000"
    majority = Majority()
    for target, answer in (([1.0, 1.0, 0.0], LOAN_APPROVAL.task.yes), ([0.0, 0.0, 1.0], LOAN_APPROVAL.task.no)):
        majority.fit(pd.DataFrame(index=range(3)), np.array(target))
        assert majority.describe(LOAN_APPROVAL).en == f"always “{answer}”"


def test_a_baseline_never_sees_the_row_that_it_answers() -> None:
    target = np.array([1.0, 2.0, 3.0, 100.0])
    split = [(np.array([1, 2, 3]), np.array([0])), (np.array([0, 1, 2]), np.array([3]))]
    found = held_out_baseline(Median(), pd.DataFrame(index=range(4)), target, split)
    assert found[[0, 3]].tolist() == [3.0, 2.0]
    assert np.isnan(found[[1, 2]]).all()


@pytest.mark.parametrize(("share", "calibrated"), [(0.9, False), (0.5, True)])
def test_one_probability_for_all_is_only_calibrated_where_it_is_right(share: float, calibrated: bool) -> None:
    true = np.repeat([1.0, 0.0], 200)
    metrics, found, text = uncertainty.calibration(true, np.full(400, share))
    assert (found, "not calibrated" in text.en) == (calibrated, not calibrated)
    assert metrics["calibration_error"] == pytest.approx(share - 0.5)


def test_bins_hold_every_row_once() -> None:
    for values in ([4.0], [4.0, 4.0, 4.0], [1.0, 1.0, 1.0, 2.0], list(range(101))):
        found = list(evaluation.bins(np.array(values, dtype=float), 10))
        assert np.sum([inside for *_, inside in found], axis=0).tolist() == [1] * len(values)
        assert all(low <= min(np.array(values)[inside]) for low, _, inside in found)


def test_a_metric_that_a_fold_can_not_have_is_left_out() -> None:
    true, predicted = np.array([1.0, 0.0, 1.0, 1.0]), np.array([0.9, 0.2, 0.8, 0.7])
    whole = evaluation.classification_scores(true, predicted)
    assert {"roc_auc", "balanced_accuracy", "average_precision"} <= whole.keys()
    split = [(np.array([2, 3]), np.array([0, 1])), (np.array([0, 1]), np.array([2, 3]))]
    scores = evaluation.fold_scores(evaluation.classification_scores, true, predicted, split)
    assert scores.keys() == {"accuracy", "f1", "brier", "log_loss"}
    assert evaluation.joined([scores, {"accuracy": [0.5]}]) == {"accuracy": [1.0, 1.0, 0.5]}
    constant = evaluation.regression_scores(np.array([0.0, 0.0]), np.array([0.0, 1.0]))
    assert (constant["r2"], "mape" in constant) == (0.0, False)
    assert evaluation.summary({"mae": [3.0]}) == {"mae": 3.0, "mae_sd": 0.0}
    alone = evaluation.paired("mae", [1.0], [3.0], rows=9, folds=2)
    assert (alone.low, alone.difference, alone.high) == (2.0, 2.0, 2.0)


def test_what_an_estimator_does_not_take_is_told_and_other_faults_stay_theirs() -> None:
    rows, target = pd.DataFrame({"a": [1.0, 2.0, 3.0]}), np.array([1.0, 2.0, 3.0])
    with pytest.raises(ConfigurationError, match=r"params.yaml: an estimator can't be fitted: .*alpha"):
        evaluation.fit_model(Ridge(alpha=-1), rows, target)
    with pytest.raises(ValueError, match="NaN"):
        evaluation.fit_model(Ridge(), rows.assign(a=np.nan), target)


def test_groups_are_compared_with_the_best_that_was_named() -> None:
    groups = pd.DataFrame({"sex": ["a", "a", "b", "b", None, None]})
    target = np.array([1.0, 0.0, 1.0, 0.0, 1.0, 1.0])
    entries = {each.value: each for each in fairness_table(["sex"], groups, target, np.array([1, 1, 1, 0, 1, 0.2]))}
    assert {name: each.disparate_impact for name, each in entries.items()} == {"a": 1.0, "b": 0.5, "–": 0.5}
    for silent in (groups.assign(sex=None), groups):
        found = fairness_table(["sex"], silent, target, np.zeros(6))
        assert {each.disparate_impact for each in found} == {1.0}, "nobody is approved: nobody fares better"


def test_grids_that_can_not_be_tried_are_refused() -> None:
    many = {"alpha": [float(each) for each in range(1, MAXIMUM_CANDIDATES + 2)]}
    with pytest.raises(ValueError, match=f"{MAXIMUM_CANDIDATES + 1} candidates are more than {MAXIMUM_CANDIDATES}"):
        SupervisedParams.model_validate({"candidates": {"ridge": {"estimator": "ridge", "grid": many}}})
    none = Recipe(estimator="ridge", preprocessor="median_imputer", options={"colour": "red"})
    with pytest.raises(ConfigurationError, match=r"car_price: ridge can't be made: .*colour"):
        build(none, CAR_PRICE, ("curbweight",), 0)
    seeded = Recipe(estimator="ridge", preprocessor="median_imputer", options={"solver": "sag"})
    assert build(seeded, CAR_PRICE, ("curbweight",), 7).named_steps["estimate"].random_state == 7


def test_the_least_gain_is_a_share_of_an_error_and_points_of_a_share() -> None:
    ours, theirs = [0.8, 0.82], [0.7, 0.72]
    for declared, metric, effect in (
        (CAR_PRICE, "rmse", CAR_PRICE.task.minimum_effect * 0.71),
        (LOAN_APPROVAL, "accuracy", LOAN_APPROVAL.task.minimum_effect),
        (BITCOIN_PRICE, "rmse", 0.0),
    ):
        found = supervised.comparison(declared, metric, ours, theirs, rows=9, folds=2)
        assert found.minimum_effect == pytest.approx(effect)
        assert found.difference == pytest.approx(0.1 if metric == "accuracy" else -0.1)
    for declared in (BITCOIN_PRICE, EDUCATION):
        with pytest.raises(TypeError, match=f"{declared.name} is a "):
            supervised.declaration_metric(declared)


def test_a_candidate_that_was_not_planned_is_named() -> None:
    params = SupervisedParams.model_validate({"candidates": {"ridge": {"estimator": "ridge"}}})
    with pytest.raises(TrainingError, match="car_price has no candidate 'forest'"):
        supervised.fit(prepare_rows(CAR_PRICE, cars()), CAR_PRICE, params, "forest")
