"""Who stands where, over the years and against the previous champion, always under one fixed model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from sigap.bundle import Bilingual
from sigap.training.features import Break
from sigap.training.sweep import Trained

Kind = Literal["up", "down", "same", "new", "gone", "break"]

_NOT_COMPARABLE = Bilingual(
    id="Angka lama tidak memuat semua fitur model ini", en="The earlier figures lack a feature that this model uses"
)


@dataclass(frozen=True)
class Previous:
    """The champion that a new model is compared with.

    Attributes:
        model_version: Its version in the registry.
        data_version: Version of the data it saw.
        members: What its bundle's members.json holds.
    """

    model_version: str
    data_version: str
    members: Mapping[str, Any]


def history(trained: Trained) -> list[dict[str, Any]]:
    """Each entity's cluster at each period with rows, under this model; None where a used figure was not published."""
    rows = []
    for known in trained.prepared.history:
        ranks = trained.predict(known.values)
        rows += [
            {
                "entity": str(entity),
                "period": known.period,
                "cluster": ranks.get(str(entity)),
                "features": _plain(known.values.loc[entity].to_dict(), trained.prepared.used),
            }
            for entity in known.values.index
        ]
    return rows


def movement(trained: Trained, previous: Previous) -> dict[str, Any]:
    """Moves between levels since the previous champion's data, both ends judged by the new model.

    Kinds: `up`, `down`, `same`; `new` and `gone` for an entity assessed at one end only; `break` where a change of
    border or definition lies between the two periods, which is neither progress nor decline.
    """
    old = {str(member["entity"]): member for member in previous.members["members"]}
    before = _ranks(trained, old)
    now = {str(entity): int(rank) for entity, rank in trained.ranks.items()}
    since, until = int(previous.members["period"]), trained.prepared.period
    breaks = {each.entity: each for each in trained.prepared.breaks if until and since < each.period <= until}
    moves = [
        _move(trained, entity, old.get(entity), (before.get(entity), now.get(entity)), breaks.get(entity))
        for entity in sorted({*old, *now})
    ]
    return {
        "against": {
            "model_version": previous.model_version,
            "data_version": previous.data_version,
            "period": since,
            "levels": 1 + max(int(member["cluster"]) for member in old.values()),
        },
        "moves": moves,
    }


def _ranks(trained: Trained, old: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    used = trained.prepared.used
    figures = {entity: {name: member["features"].get(name) for name in used} for entity, member in old.items()}
    known = pd.DataFrame.from_dict(figures, orient="index", columns=list(used))
    known = known.astype(dict.fromkeys(trained.numbers, "float64"))
    return trained.predict(known)


def _move(
    trained: Trained,
    entity: str,
    old: Mapping[str, Any] | None,
    ranks: tuple[int | None, int | None],
    change: Break | None,
) -> dict[str, Any]:
    before, now = ranks
    kind = _kind(before, now, change)
    note = None
    if kind == "break" and change is not None:
        note = change.note
    elif kind == "new" and old is not None:
        note = _NOT_COMPARABLE
    levels = trained.levels
    return {
        "entity": entity,
        "name": trained.prepared.names.get(entity) or str(old["name"] if old else entity),
        "kind": kind,
        "from": before,
        "to": now,
        "from_text": None if before is None else levels[before].text,
        "to_text": None if now is None else levels[now].text,
        "note": note.model_dump() if note else None,
        # What they were then: which figure's change moved an entity can be told only beside them.
        "from_features": None if old is None else _plain(old["features"], trained.prepared.used),
    }


def _plain(figures: Mapping[Any, Any], used: Sequence[str]) -> dict[str, float | str | None]:
    known = {name: figures.get(name) for name in used}
    return {
        name: None if value is None or pd.isna(value) else value if isinstance(value, str) else float(value)
        for name, value in known.items()
    }


def _kind(before: int | None, now: int | None, change: Break | None) -> Kind:
    if now is None:
        return "gone"
    if before is None:
        return "new"
    if change is not None:
        return "break"
    if now == before:
        return "same"
    return "up" if now < before else "down"
