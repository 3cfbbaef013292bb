"""The tests of one feature, and the decision over all of them, on samples whose truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sigap.monitoring.decision import alarms, compare, judge
from sigap.monitoring.rules import Rules, read_rules
from sigap.monitoring.samples import FrameSample
from sigap.monitoring.statistics import EXACT_PAIRS, Difference, compare_categories, compare_numbers

FLOOR = 0.08
RULES = Rules()


def numbers(reference, now):
    return compare_numbers("x", np.asarray(reference, dtype=float), np.asarray(now, dtype=float), FLOOR)


def categories(reference, now, missing=(0, 0)):
    return compare_categories("x", reference, now, missing, FLOOR, 42)


@pytest.mark.parametrize(("rows", "test"), [(30, "ks_exact"), (3000, "ks")])
def test_numbers_are_tested_as_scipy_does_it_ties_included(rows, test):
    random = np.random.default_rng(rows)
    reference, now = random.integers(0, 12, size=rows) / 2, random.integers(1, 13, size=rows - 7) / 2
    assert (rows * (rows - 7) <= EXACT_PAIRS) == (test == "ks_exact")
    found, known = numbers(reference, now), stats.ks_2samp(reference, now, method="exact" if rows == 30 else "asymp")
    assert found.test == test
    assert found.effect == pytest.approx(known.statistic)
    assert found.p == pytest.approx(known.pvalue, rel=0.02)


def test_a_large_sample_needs_an_effect_and_a_small_one_a_small_p():
    random = np.random.default_rng(1)
    tiny = numbers(random.normal(size=100_000), random.normal(size=100_000) + 0.05)
    assert tiny.p < 1e-9
    assert not judge([tiny], RULES).drifted
    few = numbers(random.normal(size=2000), random.normal(size=12))
    assert few.effect > FLOOR
    assert not judge([few], RULES).drifted
    assert judge([numbers(random.normal(size=2000), random.normal(size=200) + 1)], RULES).drifted


@pytest.mark.parametrize(
    ("reference", "now", "test", "drifted"),
    [
        ([3.0] * 50, [3.0] * 40, "constant", False),
        ([3.0] * 50, [4.0] * 40, "ks_exact", True),
        (np.arange(300.0), [150.0] * 300, "ks", True),
        (np.arange(60.0), [np.nan] * 60, "missing_chi_square", True),
        ([np.nan] * 60, [np.nan] * 60, "missing_constant", False),
        (np.arange(60.0), [*np.arange(30.0), *[np.inf] * 30], "missing_chi_square", True),
        ([], [], "nothing", False),
    ],
)
def test_constant_and_missing_values_of_a_number(reference, now, test, drifted):
    found = numbers(reference, now)
    assert found.test == test
    assert judge([found], RULES).features[0].drifted is drifted


def test_categories_by_size_new_ones_and_missing_ones():
    big = {"a": 500, "b": 300, "c": 200}
    assert categories(big, {"a": 50, "b": 30, "c": 20}).test == "chi_square"
    assert categories({"a": 50, "b": 4}, {"a": 9, "b": 1}).test == "fisher"
    rare = categories({"a": 50, "b": 4, "c": 3}, {"a": 9, "b": 1})
    assert rare.test == "permutation"
    assert rare.p > 0.2
    new = categories(big, {"a": 40, "b": 30, "z": 30})
    assert new.bins["new"] == ["z"]
    assert judge([new], RULES).drifted
    assert categories(big, {"a": 50, "b": 30, "c": 20}, (0, 100)).test.startswith("missing_")
    assert categories(big, {}, (0, 100)).effect == 1.0
    assert categories({"a": 5}, {"a": 7}).test == "constant"
    tail = {f"t{at}": 1 for at in range(400)}
    long = categories({**big, **tail}, {"a": 50, "b": 30, "c": 20, "unheard": 1})
    assert sum(long.bins["now"]) == 101
    assert len(long.bins["labels"]) <= 13


def test_the_permutation_test_keeps_its_level():
    random = np.random.default_rng(7)
    weights = np.array([0.5, 0.2, 0.1, 0.1, 0.06, 0.04])
    below = 0
    for _ in range(60):
        one, other = random.multinomial(120, weights), random.multinomial(20, weights)
        found = categories(*({name: int(n) for name, n in zip("abcdef", each, strict=True)} for each in (one, other)))
        below += found.p < 0.1
    assert below <= 14, "of 60 about 6 are expected"


def test_the_decision_corrects_for_many_features_and_goes_by_their_share():
    def tested(p, effect=0.5):
        return Difference("x", "ks", effect, p, effect, "ks_distance")

    many = [Difference(f"f{at}", "ks", 0.5, p, 0.5, "ks_distance") for at, p in enumerate([0.005] + [0.5] * 19)]
    assert not judge(many, RULES).features[0].drifted, "one of twenty is luck"
    assert judge(many[:1], RULES).drifted
    half = [Difference(f"f{at}", "ks", 0.5, 1e-6 if at < 3 else 0.9, 0.5, "ks_distance") for at in range(10)]
    assert judge(half, RULES).drifted
    assert not judge(half[1:] + half[:1] + [Difference("g", "ks", 0.5, 0.9, 0.5, "ks_distance")], RULES).drifted
    assert not judge([], RULES).drifted
    assert judge([tested(1e-6)], RULES).share == 1.0


def test_windows_alarm_when_enough_of_the_last_ones_drifted():
    assert not alarms([True], RULES)
    assert alarms([True, True], RULES)
    assert alarms([True, False, True], RULES)
    assert not alarms([True, True, False, False], RULES)


def test_without_a_shift_no_window_drifts_and_with_one_it_does():
    random = np.random.default_rng(3)

    def sample(rows, shift=0.0):
        frame = pd.DataFrame({f"n{at}": random.normal(size=rows) + shift for at in range(6)})
        frame["c"] = pd.Series(random.choice(["a", "b", "c"], size=rows, p=[0.7, 0.2, 0.1]), dtype=object)
        return FrameSample(frame)

    names = [*(f"n{at}" for at in range(6)), "c"]
    reference = sample(500)
    assert not any(compare(reference, sample(60), names, RULES).drifted for _ in range(40))
    assert all(compare(reference, sample(60, 1.0), names, RULES).drifted for _ in range(10))


def test_rules_stand_in_params_and_a_wrong_one_is_named(tmp_path):
    (tmp_path / "params.yaml").write_text("drift: {share: 0.5, windows: 4}\n")
    assert read_rules(tmp_path).share == 0.5
    assert read_rules(tmp_path).alpha == RULES.alpha
    (tmp_path / "params.yaml").write_text("drift: {windows: 2, drifted_windows: 3}\n")
    with pytest.raises(Exception, match="drifted_windows 3 is above windows 2"):
        read_rules(tmp_path)
