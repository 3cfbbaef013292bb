"""Clusterings: the level of a row and what lacks to the next, or its segment and what distinguishes it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from backend.columns import Columns
from backend.engine import Engine
from backend.nearest import proven
from backend.tasks.predictor import ROW_EXAMPLE, Flat, Row, RowAnswer, Words, about_example, indonesian
from sigap.bundle import Bilingual, ClusteringManifest, Profile, Trait
from sigap.catalog import Declaration
from sigap.catalog.declaration import Clustering, shortfall
from sigap.errors import BundleError

TRAITS = 5


class Answer(BaseModel):
    """Where a request belongs, and why."""

    cluster: int = Field(description="The level's number: 0 is the highest readiness.", ge=0)
    cluster_label: str = Field(description="The level in words, Indonesian and English.")
    distance_to_center: float = Field(
        description="Euclidean distance to the level's centre, in standard deviations of the features used.", ge=0
    )
    model_version: str = Field(description="Version in the registry.")
    model: str
    data_version: str = Field(description="Version of the data that the model was trained on.")
    features_used: list[str]
    features_left_out: list[str] = Field(description="Declared features that this model does not use.")
    gap_to_next_level: dict[str, float] | None = Field(
        description="What each used feature lacks, in its unit and signed, to the centre of the next better level; "
        "0 where it is there already, null at the best level."
    )
    out_of_training_range: list[str] = Field(
        description="Used features whose value lies outside of what the model was trained on: judge with care."
    )


class TraitAnswer(Trait):
    """How a segment differs from all rows, in words too."""

    text: Bilingual


class SegmentAnswer(RowAnswer):
    """The segment of a request, what it looks like, and what distinguishes it."""

    segment: str = Field(description="The segment's name.")
    segment_label: Bilingual
    cluster: int = Field(
        description="The segment's number, from 0. The first model numbers by size, the largest first; a later one "
        "keeps the number of a segment that is much the same, whichever is the larger now.",
        ge=0,
    )
    size: int = Field(description="Training rows in the segment.")
    share: float = Field(description="Share of the training rows that lie in it.", ge=0, le=1)
    distance_to_center: float = Field(
        description="Euclidean distance to the segment's centre, in standard deviations of the model's columns.", ge=0
    )
    profile: dict[str, float | str] = Field(
        description="What is typical of the segment, by feature: a number in its unit, or a category."
    )
    distinguishing: list[TraitAnswer] = Field(description="What sets it apart from all rows, the most telling first.")


def answer_model(declaration: Declaration) -> type[BaseModel]:
    """`Answer` where clusters are levels, `SegmentAnswer` where they are only named by size."""
    return Answer if _levels(declaration) else SegmentAnswer


def answer_example(declaration: Declaration) -> dict[str, Any]:
    """An answer as the documentation shows it; its numbers illustrate."""
    label = declaration.task_as(Clustering).labels(3)[1]
    names = list(declaration.feature_names)
    if _levels(declaration):
        return {
            "cluster": 1,
            "cluster_label": f"{label.id} ({label.en})",
            "distance_to_center": 0.45,
            "model_version": "v3",
            "model": declaration.name,
            "data_version": "v_2025_Q1",
            "features_used": names[:-1],
            "features_left_out": names[-1:],
            "gap_to_next_level": dict.fromkeys(names[:-1], 0.5),
            "out_of_training_range": [],
        }
    feature = declaration.features[0]
    category = feature.categories[0] if feature.categories else None
    trait = Trait(feature=feature.name, category=category, here=0.8, overall=0.5, effect=0.6)
    return {
        "segment": label.en,
        "segment_label": {"id": label.id, "en": label.en},
        "cluster": 1,
        "size": 2300,
        "share": 0.29,
        "distance_to_center": 1.7,
        "profile": dict(declaration.example),
        "distinguishing": [_told(declaration, trait)],
        **about_example(declaration),
        **ROW_EXAMPLE,
    }


def predictor(
    declaration: Declaration, manifest: ClusteringManifest, model: bytes, version: str
) -> LevelPredictor | SegmentPredictor:
    """The predictor for the declaration's way of ordering clusters.

    Raises:
        BundleError: Manifest, declaration and ONNX model do not fit together.
    """
    kind = LevelPredictor if _levels(declaration) else SegmentPredictor
    return kind(declaration, manifest, model, version)


class ClusterPredictor(ABC):
    """The nearest cluster of a row."""

    outcome = "cluster"
    constant_before = ""

    def __init__(self, declaration: Declaration, manifest: ClusteringManifest, model: bytes, version: str) -> None:
        self._manifest = manifest
        self.row = Row(declaration, manifest, version)
        self._declaration = declaration
        for rank, level in enumerate(manifest.levels):
            if level.cluster != rank or not self._has_center(level.center):
                raise BundleError(f"The bundle's level {rank} is out of order or lacks its centre.")
        self.engine = Engine(model, self.row.width, ("label", "distances"))
        self._quick = proven(manifest.geometry, self.engine, (len(manifest.levels), self.row.width))

    @property
    def needed(self) -> tuple[str, ...]:
        """See `Predictor.needed`."""
        return self.row.needed

    def _has_center(self, center: Mapping[str, float]) -> bool:
        return set(center) >= set(self._manifest.features_used)

    def _nearest(self, values: Mapping[str, Any]) -> tuple[int, float]:
        """Number of the nearest cluster, and the distance to its centre."""
        row = self.row.encode(values)
        if self._quick is not None:
            return self._quick(row)
        levels = len(self._manifest.levels)
        labels, distances = self.engine.one(row)
        cluster = int(labels[0])
        if len(distances) != levels or not 0 <= cluster < levels:
            raise BundleError(f"The bundle's model answers with level {cluster}; there are {levels}.")
        distance = float(distances[cluster])
        if not math.isfinite(distance):
            raise BundleError("The bundle's model answers with a distance that is not finite.")
        return cluster, distance

    @property
    def constant(self) -> dict[str, Any]:
        """See `Predictor.constant`."""
        return self.row.model

    def answer(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """See `Predictor.answer`."""
        return self.whole(self.part(values))

    def whole(self, part: Mapping[str, Any]) -> dict[str, Any]:
        """See `RowPredictor.whole`."""
        return {**part, **self.constant}

    @abstractmethod
    def part(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """See `RowPredictor.part`."""

    def answers(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """See `Predictor.answers`."""
        return [self.whole(part) for part in self.parts(Columns.of(self._declaration, rows))]

    @abstractmethod
    def parts(self, columns: Columns) -> list[dict[str, Any]]:
        """See `RowPredictor.parts`."""

    def _all_nearest(self, columns: Columns) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """What `_nearest` says of each row: cluster and distance, both [n]."""
        levels = len(self._manifest.levels)
        labels, distances = self.engine.many(self.row.matrix(columns, self.engine.type))
        clusters = labels.reshape(-1).astype(np.intp)
        if distances.shape != (columns.size, levels) or ((clusters < 0) | (clusters >= levels)).any():
            raise BundleError(f"The bundle's model does not answer with one of its {levels} levels for every row.")
        nearest = distances[np.arange(columns.size), clusters].astype(np.float64)
        if not np.isfinite(nearest).all():
            raise BundleError("The bundle's model answers with a distance that is not finite.")
        return clusters, nearest

    def check(self, answer: Mapping[str, Any]) -> None:
        """See `Predictor.check`."""
        example = self._manifest.example
        same = math.isclose(answer["distance_to_center"], example.distance_to_center, rel_tol=1e-5, abs_tol=1e-6)
        if answer["cluster"] != example.cluster or not same:
            raise BundleError(
                f"The bundle answers its own example with level {answer['cluster']} at "
                f"{answer['distance_to_center']:.6g}; its manifest says {example.cluster} at "
                f"{example.distance_to_center:.6g}."
            )


class LevelPredictor(ClusterPredictor):
    """Levels from the best to the worst; answers as `Answer` describes them."""

    constant_before = "gap_to_next_level"

    def whole(self, part: Mapping[str, Any]) -> dict[str, Any]:
        """See `RowPredictor.whole`; in the order in which the system that Sigap takes up here answers."""
        lead = {name: part[name] for name in ("cluster", "cluster_label", "distance_to_center")}
        return {**lead, **self.constant, **part}

    def part(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """See `RowPredictor.part`."""
        cluster, distance = self._nearest(values)
        return {
            "cluster": cluster,
            "cluster_label": self._manifest.levels[cluster].text,
            "distance_to_center": distance,
            "gap_to_next_level": self._gap(cluster, values),
            "out_of_training_range": self.row.outside(values),
        }

    def parts(self, columns: Columns) -> list[dict[str, Any]]:
        """See `RowPredictor.parts`."""
        clusters, distances = self._all_nearest(columns)
        outside = self.row.remark_lists(columns)["out_of_training_range"]
        return [
            {
                "cluster": cluster,
                "cluster_label": self._manifest.levels[cluster].text,
                "distance_to_center": distance,
                "gap_to_next_level": self._gap(cluster, columns.values(position)),
                "out_of_training_range": outside[position],
            }
            for position, (cluster, distance) in enumerate(zip(clusters.tolist(), distances.tolist(), strict=True))
        ]

    def flat(self, columns: Columns) -> dict[str, Flat]:
        """See `RowPredictor.flat`; what lacks to the next level stands in a column a feature."""
        clusters, distances = self._all_nearest(columns)
        found: dict[str, Flat] = {
            "cluster": clusters,
            "cluster_label": Words(clusters, [level.text for level in self._manifest.levels]),
            "distance_to_center": distances,
        }
        for name in self._manifest.features_used:
            goals = np.array([level.center[name] for level in self._manifest.levels])
            change = goals[np.maximum(clusters - 1, 0)] - columns.numbers[name]
            better = self._declaration.feature(name).higher_is_better
            if better is not None:
                change = np.where(change < 0 if better else change > 0, 0.0, change)
            # At the best level nothing lacks: an empty cell, as the answer's null.
            found[f"gap_{name}"] = np.where(clusters == 0, np.nan, np.round(change, 9))
        found["out_of_training_range"] = self.row.remark_words(columns)["out_of_training_range"]
        return found

    def _gap(self, cluster: int, values: Mapping[str, Any]) -> dict[str, float] | None:
        if cluster == 0:
            return None
        return {
            name: shortfall(values[name], goal, higher_is_better=better)
            for name, goal, better in self._goals[cluster - 1]
        }

    @cached_property
    def _goals(self) -> list[list[tuple[str, float, bool | None]]]:
        """By level: of each used feature the level's centre, and whether more is better."""
        features = [self._declaration.feature(name) for name in self._manifest.features_used]
        return [
            [(feature.name, level.center[feature.name], feature.higher_is_better) for feature in features]
            for level in self._manifest.levels
        ]


class SegmentPredictor(ClusterPredictor):
    """Segments by number; answers as `SegmentAnswer` describes them."""

    def __init__(self, declaration: Declaration, manifest: ClusteringManifest, model: bytes, version: str) -> None:
        super().__init__(declaration, manifest, model, version)
        levels, profiles = manifest.levels, manifest.profiles
        if [profile.cluster for profile in profiles] != list(range(len(levels))):
            raise BundleError("The bundle does not say what each of its segments looks like.")
        rows = sum(level.size for level in levels) or 1
        self._segments = [
            {
                "segment": level.label.en,
                "segment_label": level.label.model_dump(),
                "cluster": level.cluster,
                "size": level.size,
                "share": level.size / rows,
            }
            for level in levels
        ]
        self._profiles = [_looks(declaration, profile) for profile in profiles]

    def _has_center(self, center: Mapping[str, float]) -> bool:  # noqa: ARG002 - profiles say it instead
        return True

    def part(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """See `RowPredictor.part`."""
        cluster, distance = self._nearest(values)
        return {
            **self._segments[cluster],
            "distance_to_center": distance,
            **self._profiles[cluster],
            **self.row.about(values),
        }

    def parts(self, columns: Columns) -> list[dict[str, Any]]:
        """See `RowPredictor.parts`."""
        clusters, distances = self._all_nearest(columns)
        remarks = self.row.remark_lists(columns)
        return [
            {
                **self._segments[cluster],
                "distance_to_center": distance,
                **self._profiles[cluster],
                **{name: lists[position] for name, lists in remarks.items()},
            }
            for position, (cluster, distance) in enumerate(zip(clusters.tolist(), distances.tolist(), strict=True))
        ]

    def flat(self, columns: Columns) -> dict[str, Flat]:
        """See `RowPredictor.flat`."""
        clusters, distances = self._all_nearest(columns)
        return {
            "segment": Words(clusters, [level.label.en for level in self._manifest.levels]),
            "cluster": clusters,
            "distance_to_center": distances,
            **self.row.remark_words(columns),
        }


def _levels(declaration: Declaration) -> bool:
    return declaration.task_as(Clustering).order == "readiness"


def _looks(declaration: Declaration, profile: Profile) -> dict[str, Any]:
    return {
        "profile": dict(profile.typical),
        "distinguishing": [_told(declaration, trait) for trait in profile.traits[:TRAITS]],
    }


def _told(declaration: Declaration, trait: Trait) -> dict[str, Any]:
    feature = declaration.feature(trait.feature)
    if trait.category is not None:
        here, overall = f"{trait.here:.0%}", f"{trait.overall:.0%}"
        text = {
            "id": f"{feature.title.id} “{trait.category}”: {here}, dari semuanya {overall}",
            "en": f"{feature.title.en} “{trait.category}”: {here}, of all {overall}",
        }
    else:
        here, overall = f"{trait.here:.3g}", f"{trait.overall:.3g}"
        text = {
            "id": f"{feature.title.id}: rata-rata {indonesian(here)} {feature.unit.id}, semuanya {indonesian(overall)}",
            "en": f"{feature.title.en}: {here} {feature.unit.en} on average, all {overall}",
        }
    return {**trait.model_dump(), "text": text}
