"""Whether two samples of one feature differ: a test by the feature's kind and by the samples' size, and how far apart.

Every test gives a p-value and an effect between 0 and 1. The effect is what decides on large samples, where every p is
small; the p-value is what decides on small ones, where every distance is large.

| Feature | Large samples | Small samples | Effect |
|---|---|---|---|
| number | Kolmogorov-Smirnov, asymptotic | the same, exact | KS distance D |
| category | chi-square | Fisher (two categories), else a permutation test | total variation distance |
| missing or not | chi-square | Fisher | difference of the missing shares |

All three effects are total variation distances, the first over half-lines, so that one floor is good for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Counts = Mapping[str, int]

# Up to so many pairs the exact distribution of D takes milliseconds.
EXACT_PAIRS = 10_000
# Below this expected count in a cell chi-square is no longer trusted (Cochran).
EXPECTED = 5.0
PERMUTATIONS = 9_999
# Rarer categories are put together: single rows of a long tail say nothing and cost time.
CATEGORIES = 50
BINS = 20
SHOWN_CATEGORIES = 12
# What stands for several categories.
OTHERS, UNSEEN = "…", "… +"


@dataclass(frozen=True)
class Difference:
    """One feature, tested.

    Attributes:
        feature: Its name.
        test: The test that decided: `ks`, `ks_exact`, `chi_square`, `fisher`, `permutation`, or with `missing_` before
            it where the missing share decided; `constant` where neither sample varies, `nothing` without any value.
        statistic: Of that test.
        p: Of that test, times the number of tests made on this feature (Bonferroni); None where nothing was tested.
        effect: Between 0, the same, and 1.
        effect_name: `ks_distance`, `total_variation` or `missing_share`.
        bins: Both distributions as counts, to be drawn; plain JSON.
    """

    feature: str
    test: str
    statistic: float
    p: float | None
    effect: float
    effect_name: str
    bins: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class _Result:
    test: str
    statistic: float
    p: float
    effect: float
    effect_name: str


def compare_numbers(feature: str, reference: Floats, now: Floats, floor: float) -> Difference:
    """Tests a feature of numbers.

    A constant sample is a sample like any other: against one that varies, D says how far they are apart. What is not
    finite counts as missing.

    Args:
        feature: Its name.
        reference: Values that the champion was trained on, shape (n,), NaN where missing.
        now: Values to be tested, shape (m,), NaN where missing.
        floor: Least effect that counts; among several tests of a feature, one that reaches it comes first.
    """
    known, new = np.sort(reference[np.isfinite(reference)]), np.sort(now[np.isfinite(now)])
    missing = (len(reference) - len(known), len(now) - len(new))
    results = _missing(missing, (len(known), len(new)))
    if len(known) and len(new):
        results.append(_kolmogorov_smirnov(known, new))
    return _decisive(feature, results, floor, _number_bins(known, new, missing))


def compare_categories(
    feature: str, reference: Counts, now: Counts, missing: tuple[int, int], floor: float, seed: int
) -> Difference:
    """Tests a feature of categories; one that the reference never saw is a category like the others.

    Args:
        feature: Its name.
        reference: How often each category was trained on.
        now: How often each category was seen since.
        missing: Rows without a value, of both.
        floor: See `compare_numbers`.
        seed: Of the permutations.
    """
    names, table = _table(reference, now)
    known = (int(table[0].sum()), int(table[1].sum()))
    results = _missing(missing, known)
    if all(known):
        results.append(_contingency(table, seed))
    return _decisive(feature, results, floor, _category_bins(names, table, missing, _new(reference, now)))


def _decisive(feature: str, results: list[_Result], floor: float, bins: dict[str, Any]) -> Difference:
    if not results:
        return Difference(feature, "nothing", 0.0, None, 0.0, "missing_share", bins)
    # Bonferroni over the tests of one feature holds whichever of them is then told.
    best = min(results, key=lambda each: (each.effect < floor, each.p, -each.effect))
    p = min(1.0, best.p * len(results))
    return Difference(feature, best.test, best.statistic, p, best.effect, best.effect_name, bins)


def _kolmogorov_smirnov(known: Floats, new: Floats) -> _Result:
    """Both sorted. Ties make the p-value too large, never too small."""
    if known[0] == known[-1] == new[0] == new[-1]:
        return _Result("constant", 0.0, 1.0, 0.0, "ks_distance")
    n, m = len(known), len(new)
    if n * m <= EXACT_PAIRS:
        found = stats.ks_2samp(known, new, method="exact")
        return _Result("ks_exact", float(found.statistic), float(found.pvalue), float(found.statistic), "ks_distance")
    distance = _distance(*sorted((known, new), key=len))
    # As scipy does it, but sorted once; see Hodges (1958) on the effective number of rows.
    p = float(stats.kstwo.sf(distance, round(n * m / (n + m))))
    return _Result("ks", distance, p, distance, "ks_distance")


def _distance(few: Floats, many: Floats) -> float:
    """Kolmogorov-Smirnov distance of two sorted samples.

    The distribution functions are farthest apart at a value of either one, or just below it. Among equal values the
    last counts for the first and the first for the other, and those between give less.
    """
    ranks = np.arange(len(few)) / len(few)
    above = ranks + 1 / len(few) - np.searchsorted(many, few, side="right") / len(many)
    below = np.searchsorted(many, few, side="left") / len(many) - ranks
    return float(max(above.max(), below.max()))


def _missing(missing: tuple[int, int], known: tuple[int, int]) -> list[_Result]:
    """The test of the missing shares; none where nothing is missing."""
    if not any(missing) or not all(lacking + there for lacking, there in zip(missing, known, strict=True)):
        return []
    table = np.array([[missing[0], known[0]], [missing[1], known[1]]])
    shares = table[:, 0] / table.sum(axis=1)
    found = _two_by_two(table) if table.sum(axis=0).all() else _Result("constant", 0.0, 1.0, 0.0, "")
    effect = float(abs(shares[1] - shares[0]))
    return [_Result(f"missing_{found.test}", found.statistic, found.p, effect, "missing_share")]


def _contingency(table: NDArray[np.int64], seed: int) -> _Result:
    shares = table / table.sum(axis=1, keepdims=True)
    effect = float(np.abs(shares[0] - shares[1]).sum() / 2)
    if table.shape[1] == 1:
        found = _Result("constant", 0.0, 1.0, 0.0, "")
    elif table.shape[1] == 2:
        found = _two_by_two(table)
    elif _expected(table).min() >= EXPECTED:
        found = _chi_square(table)
    else:
        found = _permutation(table, seed)
    return _Result(found.test, found.statistic, found.p, effect, "total_variation")


def _two_by_two(table: NDArray[np.int64]) -> _Result:
    if _expected(table).min() >= EXPECTED:
        return _chi_square(table)
    found = stats.fisher_exact(table)
    statistic = float(found.statistic)
    # An empty cell makes the odds ratio infinite, which no table of numbers holds.
    return _Result("fisher", statistic if np.isfinite(statistic) else 0.0, float(found.pvalue), 0.0, "")


def _chi_square(table: NDArray[np.int64]) -> _Result:
    found = stats.chi2_contingency(table, correction=False)
    return _Result("chi_square", float(found.statistic), float(found.pvalue), 0.0, "")


def _permutation(table: NDArray[np.int64], seed: int) -> _Result:
    """Chi-square against its own distribution when rows are dealt to the two samples by chance."""
    expected = _expected(table)
    totals, rows = table.sum(axis=0), int(table[1].sum())
    dealt = np.random.default_rng(seed).multivariate_hypergeometric(totals, rows, size=PERMUTATIONS, method="marginals")
    # Both rows of the table differ from their expectation by the same, so one of them tells the statistic.
    weight = 1 / expected[0] + 1 / expected[1]
    statistic = float(((table[1] - expected[1]) ** 2 * weight).sum())
    as_far = int((((dealt - expected[1]) ** 2 * weight).sum(axis=1) >= statistic * (1 - 1e-12)).sum())
    return _Result("permutation", statistic, (as_far + 1) / (PERMUTATIONS + 1), 0.0, "")


def _expected(table: NDArray[np.int64]) -> Floats:
    expected: Floats = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    return expected


def _table(reference: Counts, now: Counts) -> tuple[list[str], NDArray[np.int64]]:
    """Counts of both, shape (2, k), the most frequent category first; the rarest together."""
    both = sorted(set(reference) | set(now), key=lambda name: (-reference.get(name, 0) - now.get(name, 0), name))
    both = [name for name in both if reference.get(name, 0) + now.get(name, 0)]
    kept, rest = both[:CATEGORIES], both[CATEGORIES:]
    # What was never trained on is looked at as one, even where each of it is rare.
    unseen = [name for name in rest if not reference.get(name)]
    rare = [name for name in rest if reference.get(name)]
    columns = [[counts.get(name, 0) for counts in (reference, now)] for name in kept]
    for label, names in ((OTHERS, rare), (UNSEEN, unseen)):
        if names:
            kept = [*kept, label]
            columns.append([sum(counts.get(name, 0) for name in names) for counts in (reference, now)])
    return kept, np.array(columns, dtype=np.int64).reshape(-1, 2).T


def _number_bins(known: Floats, new: Floats, missing: tuple[int, int]) -> dict[str, Any]:
    """Counts in equal steps over the bulk of both samples; what lies outside is counted in the first or last one."""
    found: dict[str, Any] = {"kind": "number", "missing": list(missing)}
    samples = [each for each in (known, new) if len(each)]
    if not samples:
        return found
    low = min(float(each[int(0.005 * (len(each) - 1))]) for each in samples)
    high = max(float(each[int(np.ceil(0.995 * (len(each) - 1)))]) for each in samples)
    edges = np.linspace(low, high, BINS + 1) if high > low else np.array([low - 0.5, low + 0.5])
    counts = [np.diff(np.searchsorted(each, edges[1:-1]), prepend=0, append=len(each)) for each in (known, new)]
    before, after = (float(each.mean()) if len(each) else None for each in (known, new))
    spread = float(known.std()) if len(known) else 0.0
    # How far the mean moved, in standard deviations of the reference: for people, not for the decision.
    moved = (after - before) / spread if before is not None and after is not None and spread > 0 else None
    return {
        **found,
        "edges": [float(edge) for edge in edges],
        "reference": counts[0].tolist(),
        "now": counts[1].tolist(),
        "means": [before, after],
        "moved_sd": moved,
    }


def _new(reference: Counts, now: Counts) -> list[str]:
    """Categories that the reference never saw, the most frequent first."""
    unseen = [name for name, count in now.items() if count and not reference.get(name)]
    return sorted(unseen, key=lambda name: (-now[name], name))


def _category_bins(
    names: list[str], table: NDArray[np.int64], missing: tuple[int, int], new: list[str]
) -> dict[str, Any]:
    shown, counts = names[:SHOWN_CATEGORIES], table[:, :SHOWN_CATEGORIES]
    if len(names) > SHOWN_CATEGORIES:
        shown = [*shown, OTHERS]
        counts = np.column_stack([counts, table[:, SHOWN_CATEGORIES:].sum(axis=1)])
    return {
        "kind": "category",
        "missing": list(missing),
        "labels": shown,
        "reference": counts[0].tolist(),
        "now": counts[1].tolist(),
        "new": new[:SHOWN_CATEGORIES],
    }
