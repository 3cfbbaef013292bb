"""What a segment looks like, and what sets it apart from all: of whole segments, never of one person."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import silhouette_samples
from threadpoolctl import threadpool_limits

from sigap.bundle import Bilingual, Profile, Trait
from sigap.training.sweep import Trained

# Cohen (1988) calls a difference of 0.2 standard deviations small; what is smaller distinguishes nothing.
LEAST_EFFECT = 0.2
MOST_TRAITS = 6
SILHOUETTE_ROWS = 10_000
# Kaufman and Rousseeuw (1990), doi:10.1002/9780470316801, table 2.4: up to 0.25 no substantial structure, up to 0.5 a
# weak one, up to 0.7 a reasonable one.
_STRUCTURE = (
    (
        0.25,
        "Batas antarsegmen tidak tajam: segmen membagi peralihan yang halus, bukan kelompok yang terpisah",
        "The borders are not sharp: the segments divide a smooth transition and are no islands",
    ),
    (0.5, "Segmen terpisah lemah dan bertumpang tindih", "The segments are weakly separated and overlap"),
    (0.7, "Segmen terpisah cukup baik", "The segments are reasonably separated"),
    (math.inf, "Segmen terpisah jelas", "The segments are clearly separated"),
)


def profiles(trained: Trained) -> tuple[Profile, ...]:
    """Each segment's typical values and what distinguishes it, by number."""
    return tuple(
        Profile(cluster=level.cluster, typical=_typical(trained, level.cluster), traits=traits(trained, level.cluster))
        for level in trained.levels
    )


def traits(trained: Trained, cluster: int) -> tuple[Trait, ...]:
    """What distinguishes a segment from all rows: the greatest effect of each feature, the greatest first.

    Differences below 0.2 standard deviations are left out, unless there is no greater one.
    """
    by_feature: dict[str, list[Trait]] = {}
    for each in all_traits(trained, cluster):
        by_feature.setdefault(each.feature, []).append(each)
    found = sorted((max(each, key=_strength) for each in by_feature.values()), key=_strength, reverse=True)
    telling = [each for each in found if abs(each.effect) >= LEAST_EFFECT] or found[:1]
    return tuple(telling[:MOST_TRAITS])


def all_traits(trained: Trained, cluster: int) -> tuple[Trait, ...]:
    """A segment beside all rows: one trait a number and one a category that occurs, in the declaration's order."""
    members, everyone = _members(trained, cluster), trained.prepared.matrix
    return tuple(
        trait
        for name in trained.prepared.used
        for trait in _feature_traits(members[name], everyone[name], number=name in trained.numbers)
    )


def tables(trained: Trained) -> list[dict[str, Any]]:
    """Each segment's whole profile beside that of all rows, plain JSON.

    Numbers have mean, standard deviation, quartiles, and the share of members that lack them; categories the share of
    members that have each. All are of the values known; nothing imputed counts.
    """
    separation, everyone = _separation(trained), trained.prepared.matrix
    entries = []
    for level in trained.levels:
        members = _members(trained, level.cluster)
        categories = [name for name in trained.prepared.used if name not in trained.numbers]
        entries.append(
            {
                "cluster": level.cluster,
                "label": level.label.model_dump(),
                "size": level.size,
                "share": _digits(level.size / len(everyone)),
                "silhouette": separation[level.cluster],
                "numbers": {name: _number(members[name], everyone[name]) for name in trained.numbers},
                "categories": {name: _category(members[name], everyone[name]) for name in categories},
            }
        )
    return entries


def structure(trained: Trained) -> dict[str, Any]:
    """How far the segments are apart, in words for people, with the silhouettes it rests on."""
    metrics = trained.winner.metrics
    verdict = next(Bilingual(id=id_, en=en) for limit, id_, en in _STRUCTURE if metrics["silhouette"] <= limit)
    entry = {"silhouette": metrics["silhouette"], "text": verdict.model_dump()}
    if "silhouette_shuffled" in metrics:
        entry["silhouette_shuffled"] = metrics["silhouette_shuffled"]
    return entry


def _members(trained: Trained, cluster: int) -> pd.DataFrame:
    members: pd.DataFrame = trained.prepared.matrix[trained.ranks.to_numpy() == cluster]
    return members


def _typical(trained: Trained, cluster: int) -> dict[str, float | str]:
    typical: dict[str, float | str] = {}
    members = _members(trained, cluster)
    for name in trained.prepared.used:
        known = members[name].dropna()
        if known.empty:
            continue
        # Of equally frequent categories the first by name, so that the order of rows changes nothing.
        typical[name] = float(known.median()) if name in trained.numbers else str(known.mode().iloc[0])
    return typical


def _feature_traits(here: pd.Series[Any], everyone: pd.Series[Any], *, number: bool) -> list[Trait]:
    name = str(everyone.name)
    here, everyone = here.dropna(), everyone.dropna()
    if number:
        return [_trait(name, None, _mean(here), float(everyone.mean()), float(everyone.std(ddof=0)))]
    overall, shares = everyone.value_counts(normalize=True), here.value_counts(normalize=True)
    return [
        _trait(name, str(category), float(shares.get(category, 0.0)), share, math.sqrt(share * (1 - share)))
        for category, share in sorted((str(key), float(value)) for key, value in overall.items())
    ]


def _trait(feature: str, category: str | None, here: float, overall: float, deviation: float) -> Trait:
    effect = (here - overall) / deviation if deviation > 0 else 0.0
    return Trait(
        feature=feature, category=category, here=_digits(here), overall=_digits(overall), effect=_digits(effect)
    )


def _strength(trait: Trait) -> tuple[float, float]:
    # Yes and no are equally far off: what a segment has more of says it better than what it has less of.
    return abs(trait.effect), trait.effect


def _number(here: pd.Series[Any], everyone: pd.Series[Any]) -> dict[str, float]:
    trait = _feature_traits(here, everyone, number=True)[0]
    known = here.dropna()
    low, middle, high = np.quantile(known, [0.25, 0.5, 0.75]) if len(known) else (trait.overall,) * 3
    return {
        "mean": trait.here,
        "deviation": _digits(float(known.std(ddof=0)) if len(known) else 0.0),
        "lower_quartile": _digits(low),
        "median": _digits(middle),
        "upper_quartile": _digits(high),
        "overall": trait.overall,
        "effect": trait.effect,
        "missing_share": _digits(float(here.isna().mean())),
    }


def _category(here: pd.Series[Any], everyone: pd.Series[Any]) -> dict[str, Any]:
    shares = {
        str(each.category): {"share": each.here, "overall": each.overall, "effect": each.effect}
        for each in _feature_traits(here, everyone, number=False)
    }
    return {"shares": shares, "missing_share": _digits(float(here.isna().mean()))}


def _separation(trained: Trained) -> list[float]:
    """Mean silhouette of each segment, by number, on a seeded sample of the rows."""
    ranks, k = trained.ranks.to_numpy(), trained.winner.k
    chosen = np.sort(np.random.default_rng(trained.params.random_state).permutation(len(ranks))[:SILHOUETTE_ROWS])
    with threadpool_limits(limits=1):
        values = silhouette_samples(trained.model[:-1].transform(trained.prepared.matrix.iloc[chosen]), ranks[chosen])
    return [_digits(float(values[ranks[chosen] == cluster].mean())) for cluster in range(k)]


def _mean(known: pd.Series[Any]) -> float:
    return float(known.mean()) if len(known) else 0.0


def _digits(value: float) -> float:
    # Far below any figure's precision and above floating-point noise.
    return round(float(value), 9)
