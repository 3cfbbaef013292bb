"""How groups of people fare with a model's answers."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from sigap.bundle import FairnessEntry
from sigap.training.evaluation import Floats

UNKNOWN = "–"


def fairness_table(
    features: Sequence[str], groups: pd.DataFrame, target: Floats, probability: Floats
) -> tuple[FairnessEntry, ...]:
    """Approval rates by group, and each beside that of the best-faring group.

    The ratio is the disparate impact of the four-fifths rule (29 CFR 1607.4 D): below 0.8 a group is adversely
    affected. Actual rates stand beside it: they tell a model that copies its data from one that adds to it.

    Args:
        features: Features by whose values rows are grouped; missing values are a group of their own.
        groups: Rows with these columns.
        target: 1 where approved in the data, shape (n,).
        probability: Held-out probability of approval, shape (n,).
    """
    entries = []
    for feature in features:
        table = pd.DataFrame(
            {
                "value": groups[feature].fillna(UNKNOWN).astype(str).to_numpy(),
                "approved": probability >= 0.5,
                "actual": target,
            }
        )
        rates = table.groupby("value").agg(
            rows=("approved", "size"), approved=("approved", "mean"), actual=("actual", "mean")
        )
        # The best of the groups that were named: those who kept silent are compared, not compared with.
        named = rates.drop(index=UNKNOWN, errors="ignore")
        best = float(named["approved"].max()) if len(named) else 0.0
        entries += [
            FairnessEntry(
                feature=feature,
                value=str(value),
                rows=int(row["rows"]),
                approval_rate=float(row["approved"]),
                actual_rate=float(row["actual"]),
                disparate_impact=float(row["approved"]) / best if best else 1.0,
            )
            for value, row in rates.iterrows()
        ]
    return tuple(entries)
