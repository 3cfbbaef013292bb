"""Shapley values: what each feature contributes to a number, against a reference row.

The reference is one row ("baseline Shapley": Sundararajan and Najmi, *The many Shapley values for model explanation*,
ICML 2020, https://arxiv.org/abs/1908.08474). Up to `EXACT` features every coalition is asked. Beyond, random orders
are drawn in pairs, one the other backwards (Castro, Gómez and Tejada, *Polynomial calculation of the Shapley value
based on sampling*, 2009; Mitchell et al., *Sampling permutations for Shapley value estimation*, JMLR 2022). Either way
the contributions add up to the number minus that of the reference, because along each order the steps do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

EXACT = 11
PAIRS = 64

Floats = NDArray[np.float64]
# Takes coalitions as bool [n, features], true where the feature has the request's value; gives the numbers, [n].
Game = Callable[[NDArray[np.bool_]], Floats]


class Contributions(NamedTuple):
    """What came of it.

    Attributes:
        values: A feature's contribution, float64 [features].
        errors: Their standard errors; None where they are exact.
        value: The number with all features of the request.
        baseline: The number of the reference.
        evaluations: How many rows the model was asked.
    """

    values: Floats
    errors: Floats | None
    value: float
    baseline: float
    evaluations: int


def contributions(game: Game, features: int) -> Contributions:
    """The Shapley values of `features` players; the same for the same game."""
    if features == 0:
        (alone,) = game(np.zeros((1, 0), bool))
        return Contributions(np.zeros(0), None, float(alone), float(alone), 1)
    return _exact(game, features) if features <= EXACT else _sampled(game, features)


def _exact(game: Game, features: int) -> Contributions:
    coalitions = np.arange(2**features)
    present = (coalitions[:, None] >> np.arange(features)) & 1 == 1
    numbers = game(present)
    sizes = present.sum(axis=1)
    weights = np.array([1 / (features * math.comb(features - 1, size)) for size in range(features)])
    values = np.empty(features)
    for feature in range(features):
        without = coalitions[~present[:, feature]]
        values[feature] = weights[sizes[without]] @ (numbers[without | (1 << feature)] - numbers[without])
    return Contributions(values, None, float(numbers[-1]), float(numbers[0]), len(numbers))


def _sampled(game: Game, features: int) -> Contributions:
    random = np.random.default_rng(0)
    forth = np.array([random.permutation(features) for _ in range(PAIRS)])
    orders = np.concatenate([forth, forth[:, ::-1]])
    # ranks[order, feature] is when the feature joins; after `step` joins, those of lower rank are there.
    ranks = np.argsort(orders, axis=1)
    steps = np.arange(features + 1)
    present = ranks[:, None, :] < steps[None, :, None]
    numbers = game(present.reshape(-1, features)).reshape(len(orders), features + 1)
    gains = np.take_along_axis(np.diff(numbers, axis=1), ranks, axis=1)
    paired = (gains[:PAIRS] + gains[PAIRS:]) / 2
    errors = paired.std(axis=0, ddof=1) / math.sqrt(PAIRS)
    value, baseline = float(numbers[0, -1]), float(numbers[0, 0])
    return Contributions(paired.mean(axis=0), errors, value, baseline, numbers.size)
