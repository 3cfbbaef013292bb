"""Champion and challenger on the same rows, each as it would be served."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
from numpy.typing import NDArray

from sigap.bundle import MODEL, read_manifest
from sigap.errors import BundleError
from sigap.registry.models import ModelVersion, Registry
from sigap.training.features import Prepared
from sigap.training.gate import Comparison, compare
from sigap.training.preprocess import TRUSTED_TYPES

log = logging.getLogger(__name__)


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
