"""Distances from one row to the centres of a small clustering, in plain Python.

ONNX Runtime takes longer to begin than these few sums take. They are used only where they give what ONNX Runtime
gives, bit for bit, so that nobody can tell which of the two has answered.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Iterator, Sequence

import numpy as np

from backend.engine import Engine
from sigap.bundle import Geometry

log = logging.getLogger("sigap.api")

# Beyond, ONNX Runtime adds the squares in yet another order, and is hardly slower.
MOST_COLUMNS = 7
PROBES = 200
_PACKET = 2


class Nearest:
    """Measures rows of the model's columns.

    Args:
        geometry: What the ONNX model computes with.
    """

    def __init__(self, geometry: Geometry) -> None:
        self._columns = tuple(zip(geometry.lower, geometry.upper, geometry.mean, geometry.deviation, strict=True))
        width = len(self._columns)
        self._centers = [
            [[(at, center[at]) for at in group] for group in _groups(width, rank * width % _PACKET)]
            for rank, center in enumerate(geometry.centers)
        ]

    def __call__(self, row: Sequence[float]) -> tuple[int, float]:
        """Rank of the nearest centre, the first one of several, and the distance to it."""
        distances = self.distances(row)
        least = min(distances)
        return distances.index(least), least

    def distances(self, row: Sequence[float]) -> list[float]:
        """To every centre, in standard deviations of the columns."""
        scaled = [
            ((low if value < low else high if value > high else value) - mean) / deviation
            for value, (low, high, mean, deviation) in zip(row, self._columns, strict=True)
        ]
        found = []
        for groups in self._centers:
            total = 0.0
            for group in groups:
                # Not `sum`, which has added more exactly than doubles do since Python 3.12.
                part = 0.0
                for at, center in group:
                    apart = scaled[at] - center
                    part += apart * apart
                total += part
            found.append(math.sqrt(total))
        return found


def proven(geometry: Geometry | None, engine: Engine, shape: tuple[int, int]) -> Nearest | None:
    """What measures as the model does; None where that is not known, or not so on some rows around the training's.

    Args:
        geometry: What the bundle says of its model.
        engine: The model, with the outputs `label` and `distances`.
        shape: Number of its centres and of its columns.
    """
    if geometry is None or shape != (len(geometry.centers), len(geometry.lower)):
        return None
    if shape[1] > MOST_COLUMNS or engine.type is not np.float64:
        return None
    try:
        nearest = Nearest(geometry)
        for row in _probes(geometry):
            (label,), distances = engine.one(row)
            if nearest.distances(row) != distances or nearest(row)[0] != label:
                log.info("The clustering is asked through ONNX Runtime: plain sums differ in a last digit.")
                return None
    except (ValueError, IndexError, ZeroDivisionError):
        return None  # numbers that are not those of the model
    return nearest


def _groups(width: int, start: int) -> list[list[int]]:
    """Which columns' squares are added to each other before they are added to the rest, in which order.

    ONNX Runtime adds two at a time, from the first that lies at an even place of all centres' columns (Eigen's
    vectorised reduction with packets of two doubles); what is left over comes last.
    """
    paired = (width - start) // _PACKET * _PACKET
    if not paired:
        return [[at] for at in range(width)]
    end = start + paired
    left_over = [*range(start), *range(end, width)]
    return [list(range(start, end, _PACKET)), list(range(start + 1, end, _PACKET)), *([at] for at in left_over)]


def _probes(geometry: Geometry) -> Iterator[list[float]]:
    """Rows within and around what the model was trained on, the same ones each time."""
    yield list(geometry.lower)
    yield list(geometry.upper)
    chance = random.Random(0)  # noqa: S311 - no secret
    for digits in (2, 17):
        for _ in range(PROBES // 2):
            yield [
                round(chance.uniform(low - (high - low) / 4, high + (high - low) / 4), digits)
                for low, high in zip(geometry.lower, geometry.upper, strict=True)
            ]
