from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import silhouette_score

from sigap.training.gate import Comparison, Decision, compare, decide

CENTERS = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])


def blobs(seed: int, rows: int = 60) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Three round groups and the true labels."""
    labels = np.arange(rows) % 3
    return CENTERS[labels] + np.random.default_rng(seed).normal(size=(rows, 2)), labels


def mistaken(labels: NDArray[np.int64], share: float, seed: int) -> NDArray[np.int64]:
    """The labels with a share of them drawn anew."""
    generator = np.random.default_rng(seed)
    wrong = generator.random(len(labels)) < share
    return np.where(wrong, generator.integers(0, 3, len(labels)), labels)


def judged(comparison: Comparison | None, *, same_data: bool) -> Decision:
    return decide(admissible=True, champion="v1", same_data=same_data, comparison=comparison)


def test_an_equal_challenger_is_hardly_ever_promoted_on_the_same_data() -> None:
    promoted = 0
    for trial in range(200):
        rows, labels = blobs(trial)
        ours, theirs = (mistaken(labels, 0.1, 10_000 + 2 * trial + each) for each in range(2))
        promoted += judged(compare(rows, ours, theirs, resamples=200), same_data=True).promote
    assert promoted <= 0.05 * 200


@pytest.mark.parametrize("same_data", [True, False])
def test_noise_never_replaces_a_champion_that_separates(same_data: bool) -> None:
    for trial in range(20):
        rows, labels = blobs(trial)
        noise = np.random.default_rng(trial).integers(0, 3, len(labels))
        verdict = judged(compare(rows, noise, labels, resamples=300), same_data=same_data)
        assert (verdict.promote, verdict.rule) == (False, "worse")


def test_a_clearly_better_challenger_is_promoted_on_the_same_data() -> None:
    rows, labels = blobs(1)
    verdict = judged(compare(rows, labels, mistaken(labels, 0.4, 1)), same_data=True)
    assert (verdict.promote, verdict.rule) == (True, "better")
    assert verdict.comparison is not None
    assert 0 < verdict.comparison.low < verdict.comparison.difference < verdict.comparison.high
    assert "against" in verdict.reason


def test_a_sure_but_small_gain_changes_nothing_on_the_same_data() -> None:
    small = Comparison(rows=500, challenger=0.41, champion=0.40, difference=0.01, low=0.005, high=0.015)
    assert judged(small, same_data=True).rule == "not_better"
    assert judged(small, same_data=False).rule == "new_data"


def test_new_data_is_promoted_when_not_worse() -> None:
    rows, labels = blobs(1)
    assert judged(compare(rows, labels, labels), same_data=False).rule == "new_data"
    assert judged(compare(rows, labels, labels), same_data=True).rule == "not_better"


@pytest.mark.parametrize("useless", [np.zeros(60, dtype=np.int64), np.arange(60)])
def test_a_champion_without_a_silhouette_can_not_be_compared(useless: NDArray[np.int64]) -> None:
    rows, labels = blobs(1)
    assert compare(rows, labels, useless) is None
    assert judged(None, same_data=False).rule == "not_comparable"


def test_the_silhouettes_are_scikit_learns() -> None:
    rows, labels = blobs(1)
    theirs = mistaken(labels, 0.2, 5)
    theirs[0] = 7
    found = compare(rows, labels, theirs, resamples=10)
    assert found is not None
    assert found.challenger == pytest.approx(silhouette_score(rows, labels))
    assert found.champion == pytest.approx(silhouette_score(rows, theirs))
    assert found.low <= found.high


def test_the_comparison_repeats_to_the_last_digit_and_samples_large_data() -> None:
    rows, labels = blobs(1, rows=3000)
    theirs = mistaken(labels, 0.2, 5)
    found = compare(rows, labels, theirs, resamples=50)
    assert found == compare(rows, labels, theirs, resamples=50)
    assert found is not None
    assert found.rows == 1000
    assert found.low > 0


@pytest.mark.parametrize(
    ("facts", "promote", "rule"),
    [
        ({"admissible": False, "champion": None}, False, "inadmissible"),
        ({"admissible": False, "champion": "v1", "equal": True}, False, "inadmissible"),
        ({"admissible": True, "champion": None}, True, "first"),
        ({"admissible": True, "champion": None, "withdrawn": True}, True, "first"),
        ({"admissible": True, "champion": "v1", "equal": True}, False, "equal"),
        ({"admissible": True, "champion": "v1", "superseded": True}, False, "superseded"),
        ({"admissible": True, "champion": "v1", "withdrawn": True}, False, "withdrawn"),
    ],
)
def test_what_needs_no_measuring(facts: dict[str, object], promote: bool, rule: str) -> None:
    verdict = decide(**facts)  # type: ignore[arg-type]
    assert (verdict.promote, verdict.rule) == (promote, rule)
    assert Decision.from_dict({**verdict.as_dict(), "run_id": "x"}) == verdict


def test_the_same_recipe_on_new_rows_is_told_as_such() -> None:
    same = Comparison(300, 1440.2, 1440.2, 0.0, 0.0, 0.0, metric="rmse", minimum_effect=14.4)
    verdict = decide(admissible=True, champion="v1", same_data=False, comparison=same)
    assert (verdict.promote, verdict.rule) == (True, "new_data")
    assert "both computed anew on the same 300 rows, come out the same (rmse 1,440)" in verdict.reason
    assert "takes the place of v1" in verdict.reason
    assert "dihitung ulang pada 300 baris yang sama, hasilnya sama (rmse 1.440)" in verdict.reason_id
    assert "menggantikan v1" in verdict.reason_id
    assert "0.000" not in verdict.reason + verdict.reason_id


def test_a_gain_that_is_shown_as_nothing_has_no_sign() -> None:
    tiny = Comparison(300, 0.5, 0.4999, 0.0001, -0.0001, 0.0003)
    verdict = decide(admissible=True, champion="v1", same_data=False, comparison=tiny)
    assert "gain 0.000 [0.000, 0.000]" in verdict.reason


def test_what_was_measured_is_told_in_both_languages() -> None:
    measured = Comparison(38, 1843.2, 2012.0, 168.8, 12.25, 301.0, metric="rmse", minimum_effect=20.0)
    verdict = decide(admissible=True, champion="v1", same_data=True, comparison=measured)
    assert "rmse 1,843 against 2,012 of v1, gain +169 [+12, +301] on 38 rows" in verdict.reason
    assert "rmse 1.843 dibanding 2.012 milik v1, keunggulan +169 [+12; +301] pada 38 baris" in verdict.reason_id
    # A decision that an earlier version wrote down has no Indonesian sentence.
    former = {name: value for name, value in verdict.as_dict().items() if name != "reason_id"}
    assert Decision.from_dict(former).reason == verdict.reason
    for facts in ({"equal": True}, {"superseded": True}, {"withdrawn": True}, {}, {"same_data": True}):
        told = decide(admissible=True, champion="v1", comparison=measured, **facts)  # type: ignore[arg-type]
        assert told.reason_id
        assert told.reason_id != told.reason
