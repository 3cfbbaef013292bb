"""A challenger before the gate: measured beside the champion, judged, recorded, and promoted if it passes."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
from numpy.typing import NDArray

from sigap.bundle import MODEL, TAG_DATA_MD5, TAG_DECISION, TAG_FINGERPRINT, read_manifest
from sigap.errors import AliasMovedError, BundleError
from sigap.registry.models import ModelVersion, Registry
from sigap.training.features import Prepared
from sigap.training.gate import Comparison, Decision, compare, decide
from sigap.training.preprocess import TRUSTED_TYPES

log = logging.getLogger(__name__)


# How often a decision is taken when somebody moves the alias between decision and promotion.
ATTEMPTS = 3


@dataclass(frozen=True)
class Challenge:
    """A registered version that a pipeline run puts before the gate.

    Attributes:
        model: The model's name.
        number: The version.
        run_id: The pipeline run's parent run.
        started_at: When it began, before it read its data; seconds since 1970.
        restored: Whether a person asked for this very data version.
    """

    model: str
    number: int
    run_id: str
    started_at: float
    restored: bool


def settle(
    registry: Registry, challenge: Challenge, prepared: Callable[[], Prepared]
) -> tuple[Decision, ModelVersion | None]:
    """Decides on a challenger, records the decision on its version, and promotes it if it passes.

    Settled again after a crash, a run gets its own decision back and nothing moves twice.

    Args:
        registry: Holds the challenger.
        challenge: The challenger and the run that made it.
        prepared: Gives the challenger's data; called only if there is something to measure.

    Returns:
        The decision and the version served afterwards.

    Raises:
        AliasMovedError: Somebody moved the alias during each of several attempts.
        RegistryError: MLflow can't be reached or refuses.
    """
    for attempt in range(1, ATTEMPTS + 1):
        champion = registry.repair(challenge.model)
        challenger = registry.version(challenge.model, challenge.number)
        if earlier := _promoted_by_this_run(challenge, challenger, champion):
            return earlier, champion
        decision = _judge(registry, challenge, challenger, champion, prepared)
        if decision.rule != "equal":
            # Before the promotion, so that a run cut off after it knows its own decision again.
            record = {**decision.as_dict(), "run_id": challenge.run_id, "started_at": challenge.started_at}
            registry.annotate(challenger, TAG_DECISION, json.dumps(record, allow_nan=False))
        if not decision.promote:
            break
        try:
            expected = champion.number if champion else None
            champion = registry.promote(challenge.model, challenge.number, expected, by_gate=True)
            break
        except AliasMovedError:
            if attempt == ATTEMPTS:
                raise
    return decision, champion


def _judge(
    registry: Registry,
    challenge: Challenge,
    challenger: ModelVersion,
    champion: ModelVersion | None,
    prepared: Callable[[], Prepared],
) -> Decision:
    if champion is None:
        # Only admissible candidates are ever registered.
        return decide(admissible=True, champion=None)

    def both(tag: str) -> bool:
        return bool(challenger.tags.get(tag)) and challenger.tags.get(tag) == champion.tags.get(tag)

    same_data = both(TAG_DATA_MD5)
    equal = challenger.number == champion.number or (same_data and both(TAG_FINGERPRINT))
    # Of two runs at once, the one that read the table later has the say, whichever ends first.
    served = _record(champion)
    later = bool(served.get("promote")) and served.get("started_at", 0.0) > challenge.started_at
    superseded = later and not same_data
    withdrawn = challenger.withdrawn and not challenge.restored
    comparison = None
    if not (equal or superseded or withdrawn):
        comparison = compare_on_snapshot(registry, challenger, champion, prepared())
    return decide(
        admissible=True,
        champion=champion.name,
        equal=equal,
        superseded=superseded,
        withdrawn=withdrawn,
        same_data=same_data,
        comparison=comparison,
    )


def _promoted_by_this_run(
    challenge: Challenge, challenger: ModelVersion, champion: ModelVersion | None
) -> Decision | None:
    record = _record(challenger)
    served = champion is not None and champion.number == challenger.number
    if not served or not record.get("promote") or record.get("run_id") != challenge.run_id:
        return None
    return Decision.from_dict(record)


def _record(version: ModelVersion) -> dict[str, Any]:
    """The decision on a version, as it stands in its tag; empty if there is none that can be read."""
    try:
        record = json.loads(version.tags.get(TAG_DECISION, "{}"))
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def compare_on_snapshot(
    registry: Registry, challenger: ModelVersion, champion: ModelVersion, prepared: Prepared
) -> Comparison | None:
    """Compares two versions on the challenger's rows, in the challenger's scaling.

    Args:
        registry: Holds both.
        challenger: Was trained on `prepared`.
        champion: May use other features; rows without a figure for one of them are left out.
        prepared: The challenger's data.

    Returns:
        The comparison; None where the champion can't be applied: it has no intact bundle, or its features or levels
        are not to be found in these rows.

    Raises:
        RegistryError: MLflow can't be reached.
    """
    try:
        bundle = registry.bundle(champion) if champion.servable else None
    except BundleError as error:
        log.warning("The champion's bundle can't be used: %s", error)
        bundle = None
    if bundle is None:
        return None
    features = list(read_manifest(bundle).features_used)
    if not set(features) <= set(prepared.now.values.columns):
        return None
    ours = prepared.matrix
    theirs = prepared.now.values.loc[ours.index, features].dropna()
    rows = ours.loc[theirs.index]
    if rows.empty:
        return None
    model = registry.load(challenger, TRUSTED_TYPES)
    return compare(model[:-1].transform(rows), model.predict(rows), _labels(bundle, theirs))


def _labels(bundle: Path, rows: pd.DataFrame) -> NDArray[np.int64]:
    """The served model's labels of `rows`, shape (n,)."""
    session = onnxruntime.InferenceSession(str(bundle / MODEL), providers=["CPUExecutionProvider"])
    wanted = {"tensor(float)": np.float32, "tensor(double)": np.float64}[session.get_inputs()[0].type]
    labels: NDArray[np.int64] = session.run(["label"], {"X": rows.to_numpy(dtype=wanted)})[0]
    return labels
