"""What the stand-in tells of drift: models that drift, are steady, whose check fails, and that were never checked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from fastapi import APIRouter

from backend.drift import Drift, DriftStates, _short, _subject
from sigap.catalog import declaration, declarations
from sigap.monitoring.decision import judge
from sigap.monitoring.rules import Rules
from sigap.monitoring.statistics import Difference, compare_categories, compare_numbers

RULES = Rules()
NOW = datetime.now(UTC)


def check(number: int, status: str = "computed", *, share: float = 0.0, alarm: bool = False) -> tuple[Any, ...]:
    """A row of `drift_checks` as the API reads it."""
    reason = "The check failed, which counts as drift: the snapshot is <gone>." if status == "failed" else "Told."
    drifted = status == "failed" or share >= RULES.share
    told = share if status == "computed" else None
    at = NOW - timedelta(minutes=10 * (30 - number))
    details = {"rules": dict(RULES.public()), "scope": "inputs"}
    rows = 12 if status == "too_few" else 240
    report = "drift/live/1" if number == 29 else None
    return number, at, "v3", rows, 300, status, told, drifted, alarm, reason, report, details


def features(shift: float) -> list[tuple[Any, ...]]:
    """Rows of `drift_features`: the car's numbers moved by `shift` standard deviations, and some categories."""
    random = np.random.default_rng(5)
    measured: list[Difference] = []
    for at, each in enumerate(declaration("car_price").features):
        if each.categories:
            names = each.categories[:6]
            weights = 1 / np.arange(1, len(names) + 1)
            then, now = (random.multinomial(rows, weights / weights.sum()) for rows in (300, 240))
            counts = [{name: int(n) for name, n in zip(names, side, strict=True)} for side in (then, now)]
            if each.name == "carbody" and shift:
                counts[1]["tricycle"] = 40
            measured.append(compare_categories(each.name, counts[0], counts[1], (0, 0), RULES.effect, 1))
        else:
            now = random.normal(100, 20, size=240) + 20 * shift * (at % 3)
            now[: 30 * (at == 2)] = np.nan
            measured.append(compare_numbers(each.name, random.normal(100, 20, size=300), now, RULES.effect))
    found = judge(measured, RULES).features
    rows = [
        (each.tested.feature, each.tested.test, each.tested.statistic, each.tested.p, each.p_adjusted,
         each.tested.effect, each.tested.effect_name, each.drifted, each.tested.bins)
        for each in found
    ]  # fmt: skip
    return sorted(rows, key=lambda row: (not row[7], -row[5]))


Checks = dict[str, tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]]
STEADY: Checks = {"car_price": ([check(29)], [check(28)])}
DRIFTING: Checks = {
    "car_price": (
        [
            *(check(number, share=0.4, alarm=number > 27) for number in (29, 28, 27)),
            *(check(number) for number in range(26, 8, -1)),
            check(8, "too_few"),
        ],
        [check(29)],
    ),
    "education": ([check(29, "too_few")], [check(28)]),
    "loan_approval": ([], [check(29, "failed", alarm=True)]),
}


class DriftDesk:
    """What is told; a test may put other checks in their place."""

    def __init__(self) -> None:
        self.checks = STEADY
        self.overdue: frozenset[str] = frozenset()

    def routes(self) -> APIRouter:
        """The routes."""
        router = APIRouter()

        @router.get("/drift")
        def states() -> DriftStates:
            told = [_short(each.name, self._of(each.name)) for each in declarations()]
            return DriftStates(
                models=[each.model_copy(update={"overdue": each.model in self.overdue}) for each in told]
            )

        @router.get("/models/{model}/drift")
        def drift(model: str) -> Drift:
            car = model == "car_price"
            told = [
                _subject(declaration(model), rows, rows[0][0] if rows and car else None, features(shift) if car else [])
                for rows, shift in zip(self._of(model), (1.0, 0.0), strict=True)
            ]
            return Drift(model=model, live=told[0], table=told[1])

        return router

    def _of(self, model: str) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        return self.checks.get(model, ([], []))
