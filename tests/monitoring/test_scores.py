"""Live scores by hand: their values, their intervals, and when a version is worse beyond doubt."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sigap.monitoring.scores import MINIMUM, Pairs, Promise, Score, calibration, judged, scored, wilson
from sigap.training.evaluation import classification_scores, regression_scores

LOSSES = {"mae", "rmse", "rmse_percent", "naive_rmse_percent", "brier", "log_loss"}


def pairs(predicted: np.ndarray, actual: np.ndarray, half: float = math.nan, naive: float = math.nan) -> Pairs:
    n = len(actual)
    return Pairs(predicted, actual, predicted - half, predicted + half, np.full(n, naive))


def numbers(n: int, spread: float, seed: int = 1) -> Pairs:
    """Predictions off by a normal error of this standard deviation, with intervals that hold 90 %."""
    chance = np.random.default_rng(seed)
    actual = chance.uniform(5_000, 40_000, n)
    return pairs(actual + chance.normal(0, spread, n), actual, 1.645 * 1_000)


def by_name(found: list[Score]) -> dict[str, Score]:
    return {score.metric: score for score in found}


def test_values_are_those_of_training() -> None:
    numeric = numbers(200, 900)
    found = by_name(scored("regression", numeric))
    expected = regression_scores(numeric.actual, numeric.predicted)
    assert found["mae"].value == pytest.approx(expected["mae"])
    assert found["rmse"].value == pytest.approx(expected["rmse"])
    inside = np.abs(numeric.predicted - numeric.actual) <= 1_645
    assert found["coverage"].value == pytest.approx(inside.mean())

    chance = np.random.default_rng(2)
    probability = chance.uniform(0, 1, 300)
    yes = (chance.uniform(0, 1, 300) < probability).astype(float)
    found = by_name(scored("classification", pairs(probability, yes)))
    expected = classification_scores(yes, probability)
    for name in ("brier", "log_loss", "accuracy"):
        assert found[name].value == pytest.approx(expected[name])

    steps = pairs(np.array([101.0, 99.0, 102.0]), np.array([100.0, 100.0, 100.0]), naive=98.0)
    found = by_name(scored("forecasting", steps))
    assert found["rmse_percent"].value == pytest.approx(
        100 * math.sqrt(np.mean(np.log(np.array([101, 99, 102]) / 100) ** 2))
    )
    assert found["naive_rmse_percent"].value == pytest.approx(100 * abs(math.log(98 / 100)))
    assert "coverage" not in found


def test_intervals_hold_what_they_promise() -> None:
    held = []
    for seed in range(200):
        score = by_name(scored("regression", numbers(100, 1_000, seed)))["mae"]
        assert score.low is not None and score.high is not None and score.bound is not None  # noqa: PT018
        assert score.bound <= score.low <= (score.value or 0) <= score.high
        held.append(score.low <= 1_000 * math.sqrt(2 / math.pi) <= score.high)
    # 95 % of 200 are 190; fewer than 178 would come by chance once in a million.
    assert sum(held) >= 178


def test_a_share_has_wilsons_interval() -> None:
    # Table in Newcombe 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(29, 29) == pytest.approx((0.8830, 1.0), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


def test_calibration_by_bins() -> None:
    probability = np.repeat([0.1, 0.6], 100)
    yes = np.concatenate([np.repeat([1.0, 0.0], [10, 90]), np.repeat([1.0, 0.0], [90, 10])])
    score = calibration(pairs(probability, yes))
    assert score.value == pytest.approx(0.15)
    assert [(each["n"], each["share"]) for each in score.detail["bins"]] == [(100, 0.1), (100, 0.9)]
    assert abs(score.detail["z"]) > 1.96
    same = calibration(pairs(np.full(40, 0.5), np.repeat([1.0, 0.0], 20)))
    assert (same.value, len(same.detail["bins"]), same.detail["z"]) == (0.0, 1, None)
    sure = calibration(pairs(np.ones(12), np.ones(12)))
    assert (sure.value, sure.detail["z"]) == (0.0, None)


PROMISED = Promise({"mae": 1_000 * math.sqrt(2 / math.pi), "mae_sd": 60.0}, confidence=0.9, coverage=0.91)


def worse(n: int, spread: float, seed: int) -> bool:
    return by_name(judged("regression", scored("regression", numbers(n, spread, seed)), PROMISED))["mae"].worse


def test_what_is_as_promised_is_hardly_ever_called_worse_and_what_is_worse_soon_is() -> None:
    assert sum(worse(60, 1_000, seed) for seed in range(300)) <= 3
    assert sum(worse(60, 2_000, seed) for seed in range(50)) >= 48
    assert not any(worse(MINIMUM - 1, 5_000, seed) for seed in range(5))


def test_too_few_are_told_and_not_judged() -> None:
    found = by_name(judged("regression", scored("regression", numbers(12, 9_000)), PROMISED))
    assert found["mae"].decisive
    assert "Too few outcomes to judge: 12 of 30 needed" in found["mae"].reason
    assert scored("regression", numbers(0, 1)) == []
    assert found["coverage"].reason == ""
    many = by_name(judged("regression", scored("regression", numbers(100, 3_000)), PROMISED))
    assert many["coverage"].detail == {"confidence": 0.9, "below": True}
    assert "fewer outcomes than the 90%" in many["coverage"].reason


def test_what_nobody_promised_decides_nothing() -> None:
    found = judged("regression", scored("regression", numbers(100, 9_000)), Promise())
    assert not any(score.decisive or score.worse for score in found)


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(st.floats(1, 1e8), st.floats(1, 1e8), st.floats(0, 1e7), st.floats(0, 1e7), st.floats(1, 1e8)),
        min_size=1,
        max_size=40,
    )
)
def test_any_finite_pairs_have_finite_scores(rows: list[tuple[float, ...]]) -> None:
    predicted, actual, below, above, naive = np.array(rows).T
    found = scored("forecasting", Pairs(predicted, actual, predicted - below, predicted + above, naive))
    for score in found:
        assert score.value is not None and math.isfinite(score.value)  # noqa: PT018
        assert score.low is not None and score.high is not None and score.low <= score.high  # noqa: PT018
        assert score.metric not in LOSSES or score.value >= 0
