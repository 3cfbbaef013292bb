"""What the serving bundles of all tasks share: models as ONNX, and the entries that every manifest has."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from sigap import bundle
from sigap.bundle import Manifest, TriedEntry
from sigap.errors import BundleError
from sigap.training.trainer import BundleFacts, Candidate

OPSETS = {"": 17, "ai.onnx.ml": 3}
IR_VERSION = 8
CHECK_VERSIONS = "Nothing was promoted. Check the versions of onnx, onnxruntime and scikit-learn against the lock."


def converted(model: Any, name: str, width: int, options: Mapping[str, Any] | None = None) -> onnx.ModelProto:
    """The fitted estimator as ONNX, with the input `name`, double [n, width]."""
    # Here: a clustering writes its few operators itself, and the converter takes a second to import.
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import DoubleTensorType

    with warnings.catch_warnings():
        # The converter hands numpy's small integers and arrays of one number to protobuf: taken, but deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        written: onnx.ModelProto = to_onnx(
            model,
            initial_types=[(name, DoubleTensorType([None, width]))],
            target_opset=OPSETS,
            options=dict(options) if options else None,
        )
    return written


def serialized(model: onnx.ModelProto) -> bytes:
    """The checked model as bytes; the same model gives the same bytes."""
    model.ir_version = IR_VERSION
    model.producer_name = "sigap"
    onnx.checker.check_model(model, full_check=True)
    written: bytes = model.SerializeToString(deterministic=True)
    return written


def session(model: bytes) -> onnxruntime.InferenceSession:
    """What answers as the API does: one thread on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def check_parity(
    model: str, what: str, wrong: NDArray[np.bool_], names: Sequence[Any], found: Any, expected: Any
) -> None:
    """Refuses a model whose ONNX answers are not scikit-learn's.

    Args:
        model: Its name.
        what: What is answered, such as `rows`.
        wrong: Where the answers differ, shape (n,).
        names: What each of them is called.
        found: The answers of ONNX, shape (n,).
        expected: Those of scikit-learn, shape (n,).

    Raises:
        BundleError: One differs.
    """
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise BundleError(
            f"{model}: the ONNX model answers {int(wrong.sum())} of {len(wrong)} {what} otherwise than scikit-learn, "
            f"first {names[first]} ({found[first]:g}, expected {expected[first]:g}).",
            remedy=CHECK_VERSIONS,
        )


def begin(folder: Path, model: bytes) -> None:
    """Writes model.onnx into `folder`, made if need be; until `finish` the bundle has no manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / bundle.MANIFEST).unlink(missing_ok=True)
    (folder / bundle.MODEL).write_bytes(model)


def finish(folder: Path, manifest: Manifest) -> None:
    """Writes the manifest, last: a bundle cut short has none."""
    (folder / bundle.MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")


def origin(facts: BundleFacts) -> dict[str, Any]:
    """The manifest's entries on where a model comes from."""
    moment = facts.get("trained_at") or datetime.now(UTC)
    return {
        "trained_at": moment.isoformat(timespec="seconds"),
        "run_id": facts.get("run_id", ""),
        "data": facts["data"],
        "code": facts["code"],
    }


def tried(candidates: Sequence[Candidate], facts: BundleFacts) -> tuple[TriedEntry, ...]:
    """The manifest's entries on the candidates of the sweep."""
    runs = facts.get("candidate_runs") or {}
    return tuple(
        TriedEntry(
            name=each.name,
            params=each.params,
            run_id=runs.get(each.name, ""),
            metrics=each.metrics,
            admissible=each.admissible,
            reason=each.reason,
        )
        for each in candidates
    )
