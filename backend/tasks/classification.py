"""Yes or no: the decision, its probability, and what spoke for and against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, create_model

from backend.columns import Columns
from backend.engine import Engine
from backend.requests import type_name
from backend.tasks.predictor import (
    BASELINE_EXAMPLE,
    ROW_EXAMPLE,
    BaselineAnswer,
    Flat,
    Row,
    RowAnswer,
    Words,
    about_example,
    baseline_answer,
    check_numbers,
    indonesian,
)
from sigap.bundle import Bilingual, ClassificationManifest
from sigap.catalog import Declaration, Feature
from sigap.catalog.declaration import Classification, Policy
from sigap.catalog.values import NO, YES
from sigap.errors import BundleError

REASONS = 5
# A feature that moves the probability by less is no reason.
LEAST_EFFECT = 0.005


class Reason(BaseModel):
    """What spoke for or against."""

    kind: Literal["policy", "feature", "typical"] = Field(
        description="A rule of the lender's that rejects whatever the model says, a feature's effect on the model, or "
        "that nothing stands out."
    )
    feature: str | None
    value: float | str | None = Field(description="What was sent of it; null when it is unknown.")
    typical: float | str | None = Field(description="What the effect is measured against.")
    effect: float | None = Field(
        description="What the feature did to the probability: the probability as it is, minus that with the typical "
        "value in its place. Positive speaks for yes."
    )
    text: Bilingual


def answer_model(declaration: Declaration) -> type[BaseModel]:
    """The type of the model's answers; prediction and flag are those that the declaration names."""
    task = declaration.task_as(Classification)
    approved = task.flag == "is_approved"
    fields: dict[str, Any] = {
        "prediction": (Literal[task.yes, task.no], Field(description="The decision in words.")),
        task.flag: (
            bool if approved else Literal[0, 1],
            Field(description=f"`{task.yes}` as a {'boolean' if approved else 'code: 1, or 0 if not'}."),
        ),
        "probability": (float, Field(description=f"Of `{task.yes}`, by the model.", ge=0, le=1)),
        "threshold": (float, Field(description="From this probability on, the model says yes.")),
        "calibrated": (bool, Field(description="Whether of those given a probability, so many were approved.")),
        "calibration": (Bilingual, Field(description="What the probability is worth.")),
        "decided_by": (Literal["model", "policy"], Field(description="Who had the last word.")),
        "reasons": (list[Reason], Field(description="Policies first, then the greatest effect, either way.")),
        "baseline": (BaselineAnswer, Field(description="The rule that has to be beaten, beside the model.")),
    }
    return create_model(
        type_name(declaration, "Answer"), __base__=RowAnswer, __doc__=declaration.question.en, __config__=None, **fields
    )


def answer_example(declaration: Declaration) -> dict[str, Any]:
    """An answer as the documentation shows it; its numbers illustrate."""
    task = declaration.task_as(Classification)
    feature = declaration.features[0]
    value = declaration.example.get(feature.name)
    return {
        **_decision(task, yes=True),
        "probability": 0.82,
        "threshold": 0.5,
        "calibrated": True,
        "calibration": {"id": "terkalibrasi", "en": "calibrated"},
        "decided_by": "model",
        "reasons": [_effect(feature, value, None, 0.12)],
        "baseline": BASELINE_EXAMPLE,
        **about_example(declaration),
        **ROW_EXAMPLE,
    }


class ClassificationPredictor:
    """Answers yes or no."""

    outcome = "prediction"
    constant_before = ""

    def __init__(self, declaration: Declaration, manifest: ClassificationManifest, model: bytes, version: str) -> None:
        self._task = declaration.task_as(Classification)
        self._declaration = declaration
        self._manifest = manifest
        self.row = Row(declaration, manifest, version)
        if self.row.encoder is None:
            raise BundleError("The bundle does not say how a row becomes its model's columns.")
        self._encoder = self.row.encoder
        if missing := {column.feature for column in manifest.inputs} - set(manifest.reference):
            raise BundleError(f"The bundle names no typical value of {', '.join(sorted(missing))}.")
        self.engine = Engine(model, self.row.width, ("probability",))
        self._baseline = baseline_answer(manifest)

    @property
    def needed(self) -> tuple[str, ...]:
        """See `Predictor.needed`."""
        return self.row.needed

    @cached_property
    def constant(self) -> dict[str, Any]:
        """See `Predictor.constant`."""
        manifest = self._manifest
        return {
            "threshold": manifest.threshold,
            "calibrated": manifest.calibrated,
            "calibration": manifest.calibration.model_dump(),
            "baseline": self._baseline,
            **self.row.model,
        }

    def answer(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """See `Predictor.answer`."""
        return self.whole(self.part(values))

    def whole(self, part: Mapping[str, Any]) -> dict[str, Any]:
        """See `RowPredictor.whole`."""
        return {**part, **self.constant}

    def part(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """See `RowPredictor.part`."""
        rows = self._encoder.counterfactuals(values, self._manifest.reference)
        probability, *otherwise = self.engine.numbers(rows)
        _check(probability)
        return {**self._part(values, probability, otherwise), **self.row.about(values)}

    def answers(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """See `Predictor.answers`."""
        return [self.whole(part) for part in self.parts(Columns.of(self._declaration, rows))]

    def parts(self, columns: Columns) -> list[dict[str, Any]]:
        """See `RowPredictor.parts`."""
        probabilities, otherwise = self._probabilities(columns)
        told = [
            self._part(columns.values(position), probability, others)
            for position, (probability, others) in enumerate(
                zip(probabilities.tolist(), otherwise.tolist(), strict=True)
            )
        ]
        for name, lists in self.row.remark_lists(columns).items():
            for part, marked in zip(told, lists, strict=True):
                part[name] = marked
        return told

    def flat(self, columns: Columns) -> dict[str, Flat]:
        """See `RowPredictor.flat`; of the reasons, the strongest either way."""
        task = self._task
        probabilities, otherwise = self._probabilities(columns)
        broken = np.zeros((columns.size, len(task.policies)), bool)
        for at, policy in enumerate(task.policies):
            broken[:, at] = _rejecting(policy, columns.numbers[policy.feature])
        rejected = broken.any(axis=1)
        approved = (probabilities >= self._manifest.threshold) & ~rejected
        effects = probabilities[:, None] - otherwise
        names = [column.feature for column in self._manifest.inputs]
        policies = ["", *(policy.reason.en for policy in task.policies)]
        return {
            "prediction": Words(approved.astype(np.intp), (task.no, task.yes)),
            task.flag: approved if task.flag == "is_approved" else approved.astype(np.int64),
            "probability": np.clip(probabilities, 0.0, 1.0),
            "decided_by": Words(rejected.astype(np.intp), ("model", "policy")),
            "policy": Words(np.where(rejected, broken.argmax(axis=1) + 1 if task.policies else 0, 0), policies),
            "strongest_for": _strongest(effects, names),
            "strongest_against": _strongest(-effects, names),
            **self.row.remark_words(columns),
        }

    def _probabilities(self, columns: Columns) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Of yes [n], and with each input's reference value in its place [n, inputs]."""
        rows = self.row.matrix(columns, self.engine.type)
        probabilities = self.engine.many_numbers(rows)
        if len(rows):
            _check(float(probabilities.min()))
            _check(float(probabilities.max()))
        reference = np.array(self._encoder.encode(self._manifest.reference), rows.dtype)
        otherwise = np.empty((len(rows), len(self._manifest.inputs)))
        start = 0
        for at, column in enumerate(self._manifest.inputs):
            block = slice(start, start + column.width)
            changed = rows.copy()
            changed[:, block] = reference[block]
            otherwise[:, at] = self.engine.many_numbers(changed)
            start += column.width
        return probabilities, otherwise

    def _part(self, values: Mapping[str, Any], probability: float, otherwise: list[float]) -> dict[str, Any]:
        """What the answer says of one row, but for the remarks."""
        policies = [_policy(policy, values) for policy in self._task.policies if _rejects(policy, values)]
        return {
            **_decision(self._task, yes=probability >= self._manifest.threshold and not policies),
            "probability": min(max(probability, 0.0), 1.0),
            "decided_by": "policy" if policies else "model",
            "reasons": policies + self._reasons(values, probability, otherwise),
        }

    def check(self, answer: Mapping[str, Any]) -> None:
        """See `Predictor.check`."""
        check_numbers({"probability": answer["probability"]}, self._manifest.example.answer)

    def _reasons(self, values: Mapping[str, Any], probability: float, otherwise: list[float]) -> list[dict[str, Any]]:
        names = [column.feature for column in self._manifest.inputs]
        effects = {name: probability - other for name, other in zip(names, otherwise, strict=True)}
        telling = sorted((name for name in names if abs(effects[name]) >= LEAST_EFFECT), key=lambda n: -abs(effects[n]))
        found = [
            _effect(self._declaration.feature(name), values[name], self._manifest.reference[name], effects[name])
            for name in telling[:REASONS]
        ]
        return found or [_nothing_stands_out(probability)]


def _decision(task: Classification, *, yes: bool) -> dict[str, Any]:
    return {"prediction": task.yes if yes else task.no, task.flag: yes if task.flag == "is_approved" else int(yes)}


def _check(probability: float) -> None:
    if not -1e-6 <= probability <= 1 + 1e-6:
        raise BundleError(f"The bundle's model answers with the probability {probability:g}.")


def _strongest(effects: NDArray[np.float64], names: list[str]) -> Words:
    """The feature with the greatest effect of each row; none where it is too small to tell."""
    if not names:
        return Words(np.zeros(len(effects), np.intp), ("",))
    telling = effects.max(axis=1, initial=0.0) >= LEAST_EFFECT
    return Words(np.where(telling, effects.argmax(axis=1) + 1, 0), ("", *names))


def _rejecting(policy: Policy, numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where a policy rejects, as `_rejects` says of one row; a null, which is NaN, is rejected by none."""
    low = np.zeros(len(numbers), bool) if policy.below is None else numbers < policy.below
    return low if policy.above is None else low | (numbers > policy.above)


def _rejects(policy: Policy, values: Mapping[str, Any]) -> bool:
    value = values.get(policy.feature)
    if value is None:
        return False
    low = policy.below is not None and value < policy.below
    return low or (policy.above is not None and value > policy.above)


def _policy(policy: Policy, values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "kind": "policy",
        "feature": policy.feature,
        "value": values[policy.feature],
        "typical": None,
        "effect": None,
        "text": {"id": policy.reason.id, "en": policy.reason.en},
    }


def _effect(feature: Feature, value: Any, typical: float | str | None, effect: float) -> dict[str, Any]:
    points = f"{abs(effect) * 100:.1f}"
    sent_id, sent_en = ("tidak diketahui", "unknown") if value is None else _shown(feature, value)
    usual_id, usual_en = ("", "") if typical is None else _shown(feature, typical)
    against_id = f", biasanya {usual_id}" if typical is not None else ""
    against_en = f", typically {usual_en}" if typical is not None else ""
    verb_id, verb_en = ("mendukung", "speaks for it") if effect > 0 else ("memberatkan", "speaks against it")
    return {
        "kind": "feature",
        "feature": feature.name,
        "value": value,
        "typical": typical,
        "effect": effect,
        "text": {
            "id": f"{feature.title.id} ({sent_id}{against_id}) {verb_id}: {indonesian(points)} poin persentase",
            "en": f"{feature.title.en} ({sent_en}{against_en}) {verb_en}: {points} percentage points",
        },
    }


def _nothing_stands_out(probability: float) -> dict[str, Any]:
    return {
        "kind": "typical",
        "feature": None,
        "value": None,
        "typical": None,
        "effect": None,
        "text": {
            "id": f"Tidak ada isian yang menonjol; untuk permohonan seperti ini peluangnya {probability:.0%}",
            "en": f"Nothing in it stands out; for an application like this the probability is {probability:.0%}",
        },
    }


def _shown(feature: Feature, value: Any) -> tuple[str, str]:
    """A value as Indonesian and as English readers write it, yes and no and categories by their labels."""
    if isinstance(value, str):
        labels = dict(zip(feature.categories, feature.category_labels, strict=False))
        label = labels.get(value)
        return (label.id, label.en) if label else (value, value)
    if feature.flag and value in (0, 1):
        answer = YES if value else NO
        return answer.id, answer.en
    figure = f"{value:,.10g}"
    return indonesian(figure), figure
