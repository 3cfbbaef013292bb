"""Plain sums in the place of ONNX Runtime: bit for bit the same, or not used."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.pipeline import Pipeline

from backend.engine import Engine
from backend.nearest import MOST_COLUMNS, Nearest, proven
from sigap.bundle import Geometry
from sigap.training.export import geometry, to_onnx


class Fitted:
    """A fitted step, as far as the export looks at it."""

    def __init__(self, **learnt: Any) -> None:
        vars(self).update(learnt)

    fit = transform = None


def pipeline(width: int, clusters: int, seed: int) -> Pipeline:
    """Learnt numbers of a clustering of so many columns."""
    chance = np.random.default_rng(seed)
    lower = chance.normal(10, 5, width)
    steps = {
        "winsorize": Fitted(lower_=lower, upper_=lower + chance.uniform(0.5, 9, width)),
        "scale": Fitted(mean_=lower + chance.uniform(0, 5, width), scale_=chance.uniform(0.1, 4, width)),
        "kmeans": Fitted(cluster_centers_=chance.normal(0, 1, (clusters, width))),
    }
    return Pipeline(list(steps.items()))


def both(width: int, clusters: int, seed: int) -> tuple[Geometry, Engine]:
    """What a bundle says of its model, and the model."""
    model = pipeline(width, clusters, seed)
    return geometry(model), Engine(to_onnx(model), width, ("label", "distances"))


@pytest.mark.parametrize("width", range(1, MOST_COLUMNS + 1))
@pytest.mark.parametrize("clusters", [2, 3, 6])
def test_the_sums_are_those_of_the_model(width: int, clusters: int) -> None:
    told, engine = both(width, clusters, 7 * width + clusters)
    nearest = proven(told, engine, (clusters, width))
    assert nearest is not None

    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.floats(-1e6, 1e6), min_size=width, max_size=width))
    def same(row: list[float]) -> None:
        (label,), distances = engine.one(row)
        assert nearest.distances(row) == distances
        assert nearest(row) == (label, distances[label])

    same()


def test_of_two_equal_distances_the_first_counts() -> None:
    told, engine = both(2, 2, 1)
    twin = told.model_copy(update={"centers": (told.centers[0],) * 2})
    assert Nearest(twin)(list(told.mean))[0] == 0
    assert engine.one(list(told.mean))[0][0] in (0, 1)


def test_numbers_of_another_model_are_not_used() -> None:
    told, engine = both(3, 3, 2)
    first, *rest = told.centers
    other = told.model_copy(update={"centers": ((first[0] + 1e-12, *first[1:]), *rest)})
    assert proven(other, engine, (3, 3)) is None
    assert proven(told.model_copy(update={"deviation": (0.0, 1.0, 1.0)}), engine, (3, 3)) is None
    assert proven(told.model_copy(update={"mean": (0.0,)}), engine, (3, 3)) is None
    assert proven(told, engine, (3, 4)) is None
    assert proven(None, engine, (3, 3)) is None


def test_many_columns_are_left_to_onnx_runtime() -> None:
    told, engine = both(MOST_COLUMNS + 1, 2, 3)
    assert proven(told, engine, (2, MOST_COLUMNS + 1)) is None
