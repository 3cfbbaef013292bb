"""Why somebody's level changed: which figure's change did it, as the model itself answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from frontend import api
from frontend.api import Feature, Model, Move, Prediction, Row
from frontend.words import Words


@dataclass(frozen=True)
class Cause:
    """A figure that changed.

    Attributes:
        feature: Which.
        before: In the feature's unit.
        after: In the feature's unit.
        alone: Whether this change by itself leads as far as all of them together.
        needed: Whether all others without it lead less far.
    """

    feature: Feature
    before: float
    after: float
    alone: bool
    needed: bool

    @property
    def decisive(self) -> bool:
        """Whether the level depends on this change."""
        return self.alone or self.needed


def row(model: Model, entity: str, figures: Mapping[str, float | None]) -> Row:
    """The fields of a request about `entity` with these figures; what the model does not use stays empty."""
    known = {feature.name: figures.get(feature.name) for feature in model.features if feature in model.used}
    unused = dict.fromkeys(feature.name for feature in model.features if feature not in model.used)
    return tuple({**{column.name: entity for column in model.request_columns}, **unused, **known}.items())


def why(model: Model, moves: Sequence[Move]) -> dict[str, tuple[Cause, ...]]:
    """The changed figures of each move up or down, the decisive first, by entity; nothing where figures are not told.

    The model is asked about every figure's change by itself, and about all changes but that one.

    Raises:
        ApiDownError: The API can't be asked.
    """
    asked = [(move, _changed(model, move)) for move in moves if move.kind in ("up", "down")]
    rows = tuple(
        each
        for move, changed in asked
        for feature in changed
        for each in (
            row(model, move.entity, {**move.from_features, feature.name: move.to_features[feature.name]}),
            row(model, move.entity, {**move.to_features, feature.name: move.from_features[feature.name]}),
        )
    )
    answers = iter(api.levels(model.name, model.model_version or "", rows) if rows else ())
    found = {}
    for move, changed in asked:
        causes = [_cause(move, feature, next(answers), next(answers)) for feature in changed]
        if causes:
            found[move.entity] = tuple(sorted(causes, key=lambda c: (not c.alone, not c.needed)))
    return found


def _changed(model: Model, move: Move) -> list[Feature]:
    pairs = {f.name: (move.from_features.get(f.name), move.to_features.get(f.name)) for f in model.used}
    if any(None in pair for pair in pairs.values()):
        return []
    return [f for f in model.used if pairs[f.name][0] != pairs[f.name][1]]


def _cause(move: Move, feature: Feature, only: Prediction | None, without: Prediction | None) -> Cause:
    goal = move.after or 0

    def reaches(answer: Prediction | None) -> bool:
        if answer is None:
            return False
        return answer.cluster <= goal if move.kind == "up" else answer.cluster >= goal

    before, after = move.from_features[feature.name], move.to_features[feature.name]
    return Cause(feature, before or 0.0, after or 0.0, alone=reaches(only), needed=not reaches(without))


def change(cause: Cause, words: Words) -> str:
    """The change in words: `Mean years of schooling 9.1 → 9.9 years`."""
    title, unit = cause.feature.title(words.language), cause.feature.unit(words.language)
    return words(
        "edu.why.change", title=title, unit=unit, before=words.number(cause.before), after=words.number(cause.after)
    )


def verdict(cause: Cause, words: Words) -> str:
    """What the change did, in a short phrase."""
    kind = "alone" if cause.alone else "needed" if cause.needed else "aside"
    return words(f"edu.why.{kind}")
