"""What a model has to beat: answers that need no model, fitted inside the same folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sigap.bundle import Bilingual
from sigap.catalog import Declaration
from sigap.catalog.declaration import Classification
from sigap.training.evaluation import Floats, Fold
from sigap.training.wording import in_indonesian


class Baseline(Protocol):
    """An answer that needs no model."""

    name: str

    def fit(self, features: pd.DataFrame, target: Floats) -> None:
        """Learns from training rows."""

    def predict(self, features: pd.DataFrame) -> Floats:
        """The answers: the target, or the share of yes. Shape (n,)."""

    def describe(self, declaration: Declaration) -> Bilingual:
        """What it answers, for people."""


class Median:
    """The median of the training target."""

    name = "median"

    def fit(self, features: pd.DataFrame, target: Floats) -> None:  # noqa: ARG002 - a Baseline's signature
        """See `Baseline.fit`."""
        self.value = float(np.median(target))

    def predict(self, features: pd.DataFrame) -> Floats:
        """See `Baseline.predict`."""
        return np.full(len(features), self.value)

    def describe(self, declaration: Declaration) -> Bilingual:
        """See `Baseline.describe`."""
        unit = declaration.target.unit if declaration.target else None
        return Bilingual(
            id=f"median {in_indonesian(f'{self.value:,.0f}')} {unit.id if unit else ''}".rstrip(),
            en=f"the median, {self.value:,.0f} {unit.en if unit else ''}".rstrip(),
        )


class Majority:
    """The class that most training rows have, with its share as probability."""

    name = "majority"

    def fit(self, features: pd.DataFrame, target: Floats) -> None:  # noqa: ARG002
        """See `Baseline.fit`."""
        self.share = float(target.mean())

    def predict(self, features: pd.DataFrame) -> Floats:
        """See `Baseline.predict`."""
        return np.full(len(features), self.share)

    def describe(self, declaration: Declaration) -> Bilingual:
        """See `Baseline.describe`."""
        answer = _answer(declaration, self.share)
        return Bilingual(id=f"selalu “{answer}”", en=f"always “{answer}”")


@dataclass(frozen=True)
class _Rule:
    """One column's rule: a number above or below a threshold, or the class of each category."""

    feature: str
    right: float
    other: float
    threshold: float = np.nan
    above: float = np.nan
    below: float = np.nan
    shares: tuple[tuple[str, float], ...] = ()

    def predict(self, column: pd.Series[Any]) -> Floats:
        missing = column.isna().to_numpy()
        if column.dtype.kind == "f":
            values = np.where(column.to_numpy() > self.threshold, self.above, self.below)
        else:
            values = column.map(dict(self.shares)).fillna(self.other).to_numpy(dtype=np.float64)
        answers: Floats = np.where(missing, self.other, values)
        return answers


class OneColumnRule:
    """The best rule on a single column (Holte 1993, doi:10.1023/A:1022631118932).

    A number is cut once, where most training rows come out right; each category answers as most of its rows do. The
    column is chosen on the training rows as well.
    """

    name = "one_column_rule"

    def fit(self, features: pd.DataFrame, target: Floats) -> None:
        """See `Baseline.fit`."""
        rules = [_rule(features[name], target) for name in features]
        self.rule = max(rules, key=lambda rule: rule.right)

    def predict(self, features: pd.DataFrame) -> Floats:
        """See `Baseline.predict`."""
        return self.rule.predict(features[self.rule.feature])

    def describe(self, declaration: Declaration) -> Bilingual:
        """See `Baseline.describe`."""
        rule = self.rule
        title = declaration.feature(rule.feature).title
        if rule.shares:
            yes = ", ".join(name for name, share in rule.shares if share >= 0.5) or "–"
            answer = _answer(declaration, 1.0)
            return Bilingual(id=f"{title.id}: {yes} → “{answer}”", en=f"{title.en}: {yes} → “{answer}”")
        up, down = _answer(declaration, rule.above), _answer(declaration, rule.below)
        cut = f"{rule.threshold:g}"
        return Bilingual(
            id=f"{title.id} di atas {in_indonesian(cut)} → “{up}”, selain itu “{down}”",
            en=f"{title.en} above {cut} → “{up}”, otherwise “{down}”",
        )


def baselines(declaration: Declaration) -> tuple[Baseline, ...]:
    """The baselines of the declaration's task; all of them have to be stood up to."""
    if isinstance(declaration.task, Classification):
        return (Majority(), OneColumnRule())
    return (Median(),)


def held_out_baseline(baseline: Baseline, features: pd.DataFrame, target: Floats, split: Sequence[Fold]) -> Floats:
    """Each row's answer by the baseline fitted without the row's fold, shape (n,)."""
    predicted = np.full(len(target), np.nan)
    for training, testing in split:
        baseline.fit(features.iloc[training], target[training])
        predicted[testing] = baseline.predict(features.iloc[testing])
    return predicted


def _answer(declaration: Declaration, share: float) -> str:
    task = declaration.task_as(Classification)
    return task.yes if share >= 0.5 else task.no


def _rule(column: pd.Series[Any], target: Floats) -> _Rule:
    other = float(target.mean())
    missing = column.isna().to_numpy()
    right = _right(target[missing], other)
    known, classes = column[~missing], target[~missing]
    if not len(known):
        return _Rule(str(column.name), right, other, 0.0, other, other)
    if column.dtype.kind == "f":
        return _cut(str(column.name), known.to_numpy(), classes, right, other)
    shares = pd.Series(classes, index=known.index).groupby(known).mean()
    answered = (known.map(shares).to_numpy(dtype=np.float64) >= 0.5) == (classes == 1)
    return _Rule(
        str(column.name),
        right + float(answered.sum()),
        other,
        shares=tuple((str(name), float(share)) for name, share in shares.items()),
    )


def _cut(name: str, values: NDArray[np.float64], classes: Floats, right: float, other: float) -> _Rule:
    order = np.argsort(values, kind="stable")
    values, classes = values[order], classes[order]
    below = np.cumsum(classes)
    count = np.arange(1, len(values) + 1)
    total = below[-1]
    # Right answers when both sides answer as most of their rows do, for a cut after each position.
    here = np.maximum(below, count - below)
    there = np.maximum(total - below, (len(values) - count) - (total - below))
    possible = np.append(values[1:] > values[:-1], False)
    if not possible.any():
        return _Rule(name, right + float(max(total, len(values) - total)), other, values[0], other, other)
    at = int(np.argmax(np.where(possible, here + there, -1)))
    return _Rule(
        name,
        right + float(here[at] + there[at]),
        other,
        threshold=float((values[at] + values[at + 1]) / 2),
        above=float((total - below[at]) / (len(values) - count[at])),
        below=float(below[at] / count[at]),
    )


def _right(classes: Floats, share: float) -> float:
    return float(((classes == 1) == (share >= 0.5)).sum())
