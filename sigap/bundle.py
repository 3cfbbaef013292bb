"""The serving bundle: a model as ONNX with a manifest, as training writes it and the API reads it.

A bundle is a folder: `manifest.json`, `model.onnx` and, of a clustering, `members.json`. The manifest names every other
file with its sha256 and size, so that an altered or half-written bundle is refused. What `model.onnx` takes and gives:

| Task | Input | Outputs |
|---|---|---|
| clustering | `X` [n, columns] | `label` int64 [n], the rank; `distances` [n, k] |
| regression | `X` [n, columns] | `value` [n], in the target's unit |
| classification | `X` [n, columns] | `probability` [n], of yes |
| forecasting | `X` [n, lags], log returns, the newest first | `change` [n], the next step's log return |

`X` is float or double, as the model itself says; its columns are the manifest's `inputs` one after another, or, where
there are none, `features_used`. Empty answers are arrays of length 0, never missing outputs.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from sigap.errors import BundleError

FORMAT = 1
MANIFEST = "manifest.json"
MODEL = "model.onnx"
MEMBERS = "members.json"

# Tags on a registered model version: the registry writes them, the API follows them to the bundle.
TAG_BUNDLE_RUN = "bundle_run_id"
TAG_BUNDLE_PATH = "bundle_path"
TAG_MANIFEST_SHA256 = "manifest_sha256"
TAG_FINGERPRINT = "fingerprint"
TAG_DATA_VERSION = "data_version"
TAG_DATA_MD5 = "data_md5"
TAG_DECISION = "decision"  # JSON: the gate's verdict with its numbers


class Part(BaseModel):
    """Base of the manifest's parts."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Bilingual(Part):
    """A text in Indonesian and in English."""

    id: str
    en: str


class FileEntry(Part):
    """A file of the bundle."""

    sha256: str
    bytes: int


class SampleEntry(Part):
    """Which rows of a large snapshot were trained on."""

    rows: int = Field(description="How many.")
    drawn: str = Field(description="How they were drawn.")


class DataEntry(Part):
    """Which data the model saw."""

    version: str = Field(description="Name of the data version, such as v1 or v_2025_Q1.")
    md5: str = Field(description="DVC's hash of the snapshot.")
    rows: int
    rows_rejected: int
    period: int | str | None = Field(
        description="Newest period with figures: a year, an ISO 8601 moment, or none where rows have no time."
    )
    git_commit: str = Field(description="Commit that holds the snapshot's pointer; empty when committing is off.")
    query: str
    origin: str = Field(
        "", description="Where the rows are from: mock, seed, import, live, own or mixed; empty where it was not noted."
    )
    sample: SampleEntry | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="The rows trained on, where they are not all; left out otherwise.",
    )


class CodeEntry(Part):
    """Which code trained it."""

    git_commit: str
    lock_sha256: str


class LeftOut(Part):
    """A declared feature that the model does not use."""

    name: str
    reason: Bilingual
    published_share: float = Field(ge=0, le=1)


class Level(Part):
    """A cluster, by rank: 0 is the best."""

    cluster: int
    label: Bilingual
    text: str = Field(description="The label as answered: `Tinggi (High Readiness)`.")
    size: int
    center: dict[str, float] = Field(description="Centre per used number, in the feature's unit.")


class CandidateEntry(Part):
    """One number of clusters that the sweep tried."""

    k: int
    run_id: str = Field("", description="Its MLflow run; empty when trained without MLflow.")
    metrics: dict[str, float]
    admissible: bool
    reason: Bilingual | None = Field(None, description="Why it is not admissible.")


class TriedEntry(Part):
    """One candidate of a supervised sweep."""

    name: str
    params: dict[str, Any]
    run_id: str = Field("", description="Its MLflow run; empty when trained without MLflow.")
    metrics: dict[str, float]
    admissible: bool
    reason: Bilingual | None = Field(None, description="Why it is not admissible.")


class Range(Part):
    """Smallest and largest value of a used feature that the model was trained on, in the feature's unit."""

    minimum: float
    maximum: float


class Example(Part):
    """A request and what has to come out of it; the self-test of every load."""

    request: dict[str, Any]
    cluster: int
    distance_to_center: float


class AnswerExample(Part):
    """A request and the numbers that have to come out of it; the self-test of every load."""

    request: dict[str, Any]
    answer: dict[str, float] = Field(
        description="Of a number or a forecast `value`, `low`, `high`; of yes or no `probability`."
    )


class InputColumn(Part):
    """How a feature becomes columns of the ONNX input; `RowEncoder` does what it says."""

    feature: str
    kind: Literal["number", "one_hot", "ordinal"]
    impute: float | None = Field(
        None, description="Stands for a missing value, and for an unseen category of an ordinal column."
    )
    categories: tuple[str, ...] = Field(
        (), description="Those seen in training. One-hot: a column each, in this order; any other value: all zeros."
    )
    values: tuple[float, ...] = Field((), description="Ordinal: the number that stands for each category.")
    missing_share: float = Field(0.0, ge=0, le=1, description="Share of the training rows that lack it.")

    @property
    def width(self) -> int:
        """Number of columns it fills."""
        return len(self.categories) if self.kind == "one_hot" else 1


class Paired(Part):
    """A difference measured on the same rows and folds, positive where the first named is better."""

    metric: str
    difference: float
    low: float = Field(description="Lower end of the difference's confidence interval.")
    high: float
    confidence: float
    rows: int


class BaselineEntry(Part):
    """What has to be beaten: the median, the majority, the best rule on one column, or the naive forecast."""

    name: str
    text: Bilingual
    metrics: dict[str, float]
    gain: Paired = Field(description="The model against it.")
    verdict: Literal["better", "ties"]

    @property
    def caveat(self) -> Bilingual | None:
        """What has to be said wherever the model is served that ties with it; None of a model that is better."""
        if self.verdict == "better":
            return None
        return Bilingual(
            id=f"Model ini tidak terbukti lebih baik daripada aturan sederhana ({self.text.id}).",
            en=f"The model is not shown to be better than a simple rule ({self.text.en}).",
        )


class Interval(Part):
    """A conformal interval: what is added to a prediction, on its scale, for the lower and the upper end."""

    confidence: float
    scale: Literal["linear", "log", "volatility"] = Field(
        description="`volatility`: multiples of the root of recent volatility, on the scale of logarithms."
    )
    low: float
    high: float
    coverage: float = Field(description="Share of held-out true values that such intervals held, measured.")
    method: str

    def around(self, value: float, spread: float = 1.0) -> tuple[float, float]:
        """The interval's ends around a prediction, in the target's unit; `spread` is that of a `volatility` scale."""
        if self.scale != "linear":
            return value * math.exp(self.low * spread), value * math.exp(self.high * spread)
        return value + self.low, value + self.high

    def around_all(self, values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The ends that `around` gives of each of many values, float64 [n] both."""
        if self.scale != "linear":
            return values * math.exp(self.low), values * math.exp(self.high)
        return values + self.low, values + self.high


class SegmentEntry(Part):
    """A class of the target; it holds `minimum` and not `maximum`."""

    label: Bilingual
    minimum: float | None = Field(description="None of the lowest.")
    maximum: float | None = Field(description="None of the highest.")
    rows: int


class FairnessEntry(Part):
    """How a group fares, by held-out predictions."""

    feature: str
    value: str
    rows: int
    approval_rate: float = Field(description="Share that the model approves.")
    actual_rate: float = Field(description="Share that was approved in the data.")
    disparate_impact: float = Field(description="Approval rate over the best-faring group's; below 0.8 is adverse.")


class ManifestBase(Part):
    """What the manifests of all tasks hold."""

    format: Literal[1] = 1
    model: str
    trained_at: str = Field(description="ISO 8601, UTC.")
    run_id: str = Field("", description="The MLflow run that registered it.")
    data: DataEntry
    code: CodeEntry
    features_used: tuple[str, ...] = Field(description="The features that an answer rests on, in order.")
    features_left_out: tuple[LeftOut, ...]
    training_range: dict[str, Range] = Field(description="Per used number; outside it, an answer extrapolates.")
    inputs: tuple[InputColumn, ...] = Field(
        (), description="The ONNX input's columns, in order; where there are none, they are the used features."
    )
    metrics: dict[str, float]
    fingerprint: str = Field(description="sha256 over what decides an answer: equal fingerprints answer equally.")
    files: dict[str, FileEntry]


class Trait(Part):
    """How the members of a cluster differ from all rows in one feature, or in how many of them have a category."""

    feature: str
    category: str | None = Field(None, description="None of a number.")
    here: float = Field(description="Mean of the members, in the feature's unit; of a category, the share that has it.")
    overall: float = Field(description="The same of all rows.")
    effect: float = Field(description="`here` minus `overall`, in standard deviations of all rows.")


class Profile(Part):
    """What a cluster of mixed columns looks like, where a centre per feature would not say it."""

    cluster: int
    typical: dict[str, float | str] = Field(
        description="Per used feature: the median of the members in its unit, or their most frequent category."
    )
    traits: tuple[Trait, ...] = Field(description="What distinguishes it, the greatest effect, either way, first.")


class Geometry(Part):
    """The numbers that the ONNX model computes with: a row is clipped, scaled and measured against the centres."""

    lower: tuple[float, ...] = Field(description="By column of the ONNX input: what is below counts as this.")
    upper: tuple[float, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    centers: tuple[tuple[float, ...], ...] = Field(description="By rank, scaled: minus `mean`, by `deviation`.")


class ClusteringManifest(ManifestBase):
    """A clustering's bundle."""

    task: Literal["clustering"]
    levels: tuple[Level, ...]
    sweep: tuple[CandidateEntry, ...]
    example: Example
    profiles: tuple[Profile, ...] = Field(
        (), description="By rank, where clusters are ordered by size; none where the levels' centres say it all."
    )
    geometry: Geometry | None = Field(None, description="Digit for digit as in the ONNX model; none in older bundles.")


class SupervisedManifest(ManifestBase):
    """What the bundles of tasks with a target hold."""

    target: str
    winner: str = Field(description="Name of the chosen candidate.")
    sweep: tuple[TriedEntry, ...]
    baseline: BaselineEntry
    example: AnswerExample

    @property
    def caveat(self) -> Bilingual | None:
        """What has to be said wherever it is served, such as that it is no better than its baseline."""
        return self.baseline.caveat


class RegressionManifest(SupervisedManifest):
    """A regression's bundle."""

    task: Literal["regression"]
    interval: Interval
    segments: tuple[SegmentEntry, ...] = Field((), description="From the lowest; empty where none are declared.")
    reference: dict[str, float | str | None] = Field(
        {}, description="A typical value per used feature, which an explanation starts from; empty in older bundles."
    )

    def segment(self, value: float) -> SegmentEntry | None:
        """The segment that a value lies in; None where none are declared."""
        for entry in self.segments:
            if entry.maximum is None or value < entry.maximum:
                return entry
        return None


class ClassificationManifest(SupervisedManifest):
    """A yes-or-no model's bundle."""

    task: Literal["classification"]
    threshold: float = Field(description="From this probability on, the answer is yes.")
    calibrated: bool
    calibration: Bilingual = Field(description="What the probability is worth, for people.")
    reference: dict[str, float | str | None] = Field(
        description="A typical value per used feature. What a feature did to an answer: the probability as it is, "
        "minus that with this feature's typical value in its place; see `RowEncoder.counterfactuals`."
    )
    fairness: tuple[FairnessEntry, ...] = ()


class Forecast(NamedTuple):
    """The next step as it is answered, with the naive forecast beside it: the last value stays."""

    value: float
    low: float
    high: float
    naive: float
    direction: Literal["up", "down", "unchanged"]


class ForecastingManifest(SupervisedManifest):
    """A forecast's bundle. `baseline.verdict` says whether it beats the naive forecast, and `note` says it plainly.

    A request that brings no values of its own is answered from `closes`, as of `last_time`.
    """

    task: Literal["forecasting"]
    step: Literal["1d", "1h", "1m"]
    lags: int = Field(description="Past log returns that the model takes, the newest first.")
    interval: Interval
    volatility_floor: float = Field(description="Least volatility that the interval is stretched by.")
    last_time: str = Field(description="ISO 8601, UTC: when the newest step that it was trained on began.")
    last_value: float
    closes: tuple[float, ...] = Field(description="The newest `lags` + 1 values, the oldest first.")
    note: Bilingual = Field(description="What the forecast is worth beside the naive one, for people.")

    @property
    def caveat(self) -> Bilingual | None:
        """The note, where the naive forecast itself is served."""
        return None if self.baseline.verdict == "better" else self.note

    def returns(self, closes: Sequence[float]) -> list[float]:
        """The ONNX input's row: log returns of the newest `lags` + 1 values (oldest first), the newest first.

        Raises:
            ValueError: There are fewer, or one is not above zero.
        """
        newest = closes[-self.lags - 1 :]
        if len(newest) <= self.lags or not all(0 < value < math.inf for value in newest):
            raise ValueError(f"expected at least {self.lags + 1} values above zero")
        logs = [math.log(value) for value in newest]
        return [logs[at] - logs[at - 1] for at in range(self.lags, 0, -1)]

    def forecast(self, closes: Sequence[float], change: float) -> Forecast:
        """The answer to what the ONNX model says of `returns(closes)`: the next step's log return."""
        returns = self.returns(closes)
        volatility = max(math.sqrt(sum(value * value for value in returns) / self.lags), self.volatility_floor)
        naive = float(closes[-1])
        value = naive * math.exp(change)
        low, high = self.interval.around(value, math.sqrt(volatility))
        return Forecast(value, low, high, naive, "up" if change > 0 else "down" if change < 0 else "unchanged")


Manifest = Annotated[
    ClusteringManifest | RegressionManifest | ClassificationManifest | ForecastingManifest, Field(discriminator="task")
]
_MANIFEST: TypeAdapter[Manifest] = TypeAdapter(Manifest)


def parse_manifest(content: bytes) -> Manifest:
    """The manifest in a file's content.

    Raises:
        ValidationError: It is none.
    """
    return _MANIFEST.validate_json(content)


class RowEncoder:
    """Turns a request's values into the ONNX input's row by look-ups, exactly as training did.

    Args:
        inputs: The manifest's `inputs`.
    """

    def __init__(self, inputs: Sequence[InputColumn]) -> None:
        self.inputs = tuple(inputs)
        self.width = sum(column.width for column in inputs)
        self._slots: list[tuple[str, int, float, dict[Any, float] | None, bool]] = []
        self._words: list[tuple[str, dict[Any, float]]] = []
        start = 0
        for column in self.inputs:
            one_hot = column.kind == "one_hot"
            known: dict[Any, float] | None = None
            if one_hot:
                known = {name.casefold(): start + at for at, name in enumerate(column.categories)}
            elif column.kind == "ordinal":
                known = {name.casefold(): value for name, value in zip(column.categories, column.values, strict=True)}
            impute = math.nan if column.impute is None else column.impute
            self._slots.append((column.feature, start, impute, known, one_hot))
            if known is not None:
                # In training's own spelling too: most values come in it, and folding costs more than looking up.
                known |= {name: known[name.casefold()] for name in column.categories}
                self._words.append((column.feature, known))
            start += column.width

    def encode(self, values: Mapping[str, Any]) -> list[float]:
        """The row, of `width` numbers, of values by feature; None or an absent feature is missing."""
        row = [0.0] * self.width
        for feature, start, impute, known, one_hot in self._slots:
            value = values.get(feature)
            if known is None:
                row[start] = impute if value is None else float(value)
                continue
            at = known.get(value)
            if at is None and value is not None:
                at = known.get(str(value).casefold())
            if not one_hot:
                row[start] = impute if at is None else at
            elif at is not None:
                row[int(at)] = 1.0
        return row

    def unseen(self, values: Mapping[str, Any]) -> list[str]:
        """Features whose category training never saw: the answer knows nothing of it."""
        return [
            feature
            for feature, known in self._words
            if (value := values.get(feature)) not in known and value is not None and str(value).casefold() not in known
        ]

    def counterfactuals(self, values: Mapping[str, Any], reference: Mapping[str, Any]) -> list[list[float]]:
        """The row as it is, then one row an input with that feature's reference value in its place."""
        return [
            self.encode(values),
            *(self.encode({**values, column.feature: reference[column.feature]}) for column in self.inputs),
        ]


def digest(path: Path) -> FileEntry:
    """The file's sha256 (hex) and size in bytes."""
    data = path.read_bytes()
    return FileEntry(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))


def read_manifest(folder: Path) -> Manifest:
    """The bundle's manifest, after every file it names was found unaltered.

    Raises:
        BundleError: A file is missing, altered or unreadable, or a name points outside the folder.
    """
    path = folder / MANIFEST
    try:
        manifest = parse_manifest(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise BundleError(f"The bundle's manifest {path} can't be read: {error}.") from error
    for name, expected in manifest.files.items():
        if Path(name).name != name:
            raise BundleError(f"The bundle's manifest names {name!r}, which is not a plain file name.")
        file = folder / name
        if not file.is_file():
            raise BundleError(f"The bundle lacks {name}.")
        if digest(file) != expected:
            raise BundleError(f"The bundle's {name} is not the file its manifest was written for.")
    needed = {MODEL, MEMBERS} if manifest.task == "clustering" else {MODEL}
    if missing := needed - set(manifest.files):
        raise BundleError(f"The bundle's manifest does not name {', '.join(sorted(missing))}.")
    return manifest


def read_members(folder: Path) -> dict[str, Any]:
    """The members, history and movement that the bundle carries, as written."""
    members: dict[str, Any] = json.loads((folder / MEMBERS).read_bytes())
    return members
