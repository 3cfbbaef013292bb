"""Challenger and champion on inputs that were really asked about: how many answers change, and by how much."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from sigap.bundle import (
    MODEL,
    Bilingual,
    ClassificationManifest,
    ClusteringManifest,
    ForecastingManifest,
    Manifest,
    RegressionManifest,
    RowEncoder,
    read_manifest,
)
from sigap.catalog import Declaration
from sigap.data.stored_inputs import StoredInputs, stored_inputs
from sigap.settings import Settings
from sigap.training import bundling
from sigap.training.wording import in_indonesian

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]
# Numbers that differ by less are the same: ONNX adds trees up in float32.
SAME = 1e-6


@dataclass(frozen=True)
class Side:
    """How one of the two answered.

    Attributes:
        answered: Inputs with an answer.
        unanswered: Inputs without one.
        labels: Number of answers by label, such as a level, a segment, a decision or a direction.
    """

    answered: int = 0
    unanswered: int = 0
    labels: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Replay:
    """What a promotion would have changed.

    Attributes:
        rows: Inputs that both were asked about.
        passed_over: Stored inputs that nobody can answer again.
        changed: Inputs that both answered, and otherwise.
        compared: Inputs that both answered.
        median: Median difference of the two numbers, in the number's unit; None where nothing was compared.
        largest: Largest difference.
        challenger: How the challenger answered.
        champion: How the champion answered.
        text: The same as a sentence.
    """

    rows: int
    passed_over: int
    changed: int
    compared: int
    median: float | None
    largest: float | None
    challenger: Side
    champion: Side
    text: Bilingual

    @property
    def share(self) -> float:
        """Share of changed answers; 0 where nothing was compared."""
        return self.changed / self.compared if self.compared else 0.0

    @property
    def fails_more(self) -> bool:
        """Whether the challenger leaves more inputs without an answer."""
        return self.challenger.unanswered > self.champion.unanswered

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of either, the most frequent of the champion's first."""
        counts = Counter(self.champion.labels)
        return tuple(sorted({*counts, *self.challenger.labels}, key=lambda label: (-counts[label], label)))

    @property
    def metrics(self) -> dict[str, float]:
        """The numbers for a run."""
        found = {"replay_rows": float(self.rows)}
        if self.rows:
            found["replay_changed"] = self.share
            found["replay_unanswered"] = float(self.challenger.unanswered)
            found["replay_unanswered_before"] = float(self.champion.unanswered)
        if self.median is not None and self.largest is not None:
            found |= {"replay_median_difference": self.median, "replay_largest_difference": self.largest}
        return found

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**asdict(self), "text": self.text.model_dump(), "share": self.share}


def none(reason: str, passed_over: int = 0) -> Replay:
    """A replay of nothing, and why."""
    return Replay(0, passed_over, 0, 0, None, None, Side(), Side(), Bilingual(id=_INDONESIAN, en=reason))


_INDONESIAN = "Tidak ada masukan tersimpan yang dapat dijawab ulang."


class _Answers:
    """Answers of one bundle: a label and a number each; NaN where there is none. Shapes (n,)."""

    def __init__(self, labels: Sequence[str], numbers: Floats) -> None:
        self.labels = np.array(labels, dtype=object)
        self.numbers = numbers

    @property
    def known(self) -> NDArray[np.bool_]:
        return np.isfinite(self.numbers)

    def side(self) -> Side:
        known = self.known
        counts = Counter(str(label) for label in self.labels[known] if label)
        return Side(int(known.sum()), int((~known).sum()), dict(counts.most_common()))


def replay(settings: Settings, declaration: Declaration, challenger: Path, champion: Path) -> Replay:
    """Both bundles on the inputs that the API kept of the last days; see `replayed`.

    Raises:
        BundleError: A bundle can't be read.
    """
    manifests = [read_manifest(folder) for folder in (challenger, champion)]
    used = {name for manifest in manifests for name in manifest.features_used}
    steps = max((each.lags + 1 for each in manifests if isinstance(each, ForecastingManifest)), default=0)
    return replayed(declaration, challenger, champion, stored_inputs(settings, declaration, used, steps))


def replayed(declaration: Declaration, challenger: Path, champion: Path, inputs: StoredInputs) -> Replay:
    """Both bundles on the stored inputs.

    Args:
        declaration: The model.
        challenger: Folder of its bundle.
        champion: Folder of the champion's.
        inputs: What was asked.

    Raises:
        BundleError: A bundle can't be read.
    """
    asked: Sequence[Any] = inputs.series or inputs.rows
    if not asked:
        return none(inputs.reason or "No stored inputs.", inputs.passed_over)
    ours, theirs = (_answers(declaration, folder, asked) for folder in (challenger, champion))
    both = ours.known & theirs.known
    compared = int(both.sum())
    apart = np.abs(ours.numbers[both] - theirs.numbers[both])
    if any(ours.labels) or any(theirs.labels):
        changed = int((ours.labels[both] != theirs.labels[both]).sum())
    else:
        changed = int((apart > SAME * np.maximum(1.0, np.abs(theirs.numbers[both]))).sum())
    median, largest = (float(np.median(apart)), float(apart.max())) if compared else (None, None)
    sides = ours.side(), theirs.side()
    numbers = (len(asked), changed, compared, median, largest, sides[0].unanswered, sides[1].unanswered)
    return Replay(
        rows=len(asked),
        passed_over=inputs.passed_over,
        changed=changed,
        compared=compared,
        median=median,
        largest=largest,
        challenger=sides[0],
        champion=sides[1],
        text=_told(*numbers),
    )


def _told(
    rows: int, changed: int, compared: int, median: float | None, largest: float | None, ours: int, theirs: int
) -> Bilingual:
    share = f"{changed / compared:.1%}" if compared else "0.0%"
    en = f"Of {rows:,} stored inputs {share} get another answer"
    id_ = f"Dari {in_indonesian(f'{rows:,}')} masukan tersimpan, {in_indonesian(share)} mendapat jawaban lain"
    if median is not None and largest is not None:
        en += f"; the number differs by {median:.3g} in the median and {largest:.3g} at most"
        id_ += f"; angkanya berbeda {in_indonesian(f'{median:.3g}')} pada median dan paling banyak "
        id_ += in_indonesian(f"{largest:.3g}")
    en += f"; without an answer are {ours:,}, of the champion {theirs:,}."
    id_ += f"; tanpa jawaban {in_indonesian(f'{ours:,}')}, pada model yang dipakai {in_indonesian(f'{theirs:,}')}."
    return Bilingual(id=id_, en=en)


def _answers(declaration: Declaration, folder: Path, asked: Sequence[Any]) -> _Answers:
    manifest = read_manifest(folder)
    session = bundling.session((folder / MODEL).read_bytes())
    try:
        if isinstance(manifest, ForecastingManifest):
            return _forecasts(manifest, session, asked)
        return _of_rows(manifest, session, asked)
    except Exception:  # ONNX Runtime has no base class of its errors: a model that fails answers nothing
        log.exception("The bundle %s of %s can't answer stored inputs.", folder.name, declaration.name)
        return _Answers([""] * len(asked), np.full(len(asked), np.nan))


def _of_rows(manifest: Manifest, session: onnxruntime.InferenceSession, rows: Sequence[Mapping[str, Any]]) -> _Answers:
    encoder = RowEncoder(manifest.inputs) if manifest.inputs else None
    needed = (
        tuple(each.feature for each in manifest.inputs if each.kind == "number" and each.impute is None)
        if encoder
        else manifest.features_used
    )
    able = [at for at, row in enumerate(rows) if all(row.get(name) is not None for name in needed)]
    labels, numbers = [""] * len(rows), np.full(len(rows), np.nan)
    if able:
        chosen = [rows[at] for at in able]
        matrix = [
            encoder.encode(row) if encoder else [float(row[name]) for name in manifest.features_used] for row in chosen
        ]
        found, values = _told_by(manifest, session, np.array(matrix, np.float64))
        numbers[able] = values
        for at, label in zip(able, found, strict=True):
            labels[at] = label
    return _Answers(labels, numbers)


def _told_by(manifest: Manifest, session: onnxruntime.InferenceSession, matrix: Floats) -> tuple[Sequence[str], Floats]:
    if isinstance(manifest, ClusteringManifest):
        labels, distances = _run(session, ["label", "distances"], matrix)
        ranks = labels.astype(np.int64)
        names = [manifest.levels[rank].label.en for rank in ranks]
        return names, distances[np.arange(len(ranks)), ranks].astype(np.float64)
    if isinstance(manifest, RegressionManifest):
        values = _run(session, ["value"], matrix)[0].astype(np.float64)
        segments = [manifest.segment(value) for value in values.tolist()]
        return [entry.label.en if entry else "" for entry in segments], values
    if isinstance(manifest, ClassificationManifest):
        probabilities = _run(session, ["probability"], matrix)[0].astype(np.float64)
        return ["yes" if each >= manifest.threshold else "no" for each in probabilities], probabilities
    raise TypeError(f"{manifest.task} answers no rows")


def _forecasts(
    manifest: ForecastingManifest, session: onnxruntime.InferenceSession, series: Sequence[Sequence[float]]
) -> _Answers:
    labels, numbers = [""] * len(series), np.full(len(series), np.nan)
    for at, closes in enumerate(series):
        try:
            returns = manifest.returns(closes)
        except ValueError:
            continue
        (changes,) = _run(session, ["change"], np.array([returns], np.float64))
        found = manifest.forecast(closes, float(changes[0]))
        if math.isfinite(found.value):
            labels[at], numbers[at] = found.direction, found.value
    return _Answers(labels, numbers)


def _run(session: onnxruntime.InferenceSession, names: list[str], matrix: Floats) -> list[NDArray[Any]]:
    kind = {"tensor(float)": np.float32, "tensor(double)": np.float64}[session.get_inputs()[0].type]
    answers: list[NDArray[Any]] = session.run(names, {"X": matrix.astype(kind)})
    return answers
