"""Writing the serving bundle: the chosen model as ONNX, its manifest, and its members."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.pipeline import Pipeline

from sigap import bundle
from sigap.bundle import CandidateEntry, ClusteringManifest, CodeEntry, DataEntry, Example, RowEncoder
from sigap.errors import BundleError
from sigap.training import bundling, profiles
from sigap.training.clusters import CHUNK, distances, encoded, inputs
from sigap.training.features import complete, figures
from sigap.training.movement import Previous, history, movement
from sigap.training.sweep import Trained

__all__ = ["Previous", "fingerprint", "geometry", "members", "to_onnx", "write_bundle"]

# ReduceSum and Unsqueeze take their axes as inputs since 13; Max and Min take doubles since 12.
OPSET = 13
IR_VERSION = 8
# Both sides compute in doubles; what differs is the order in which a handful of squares is added.
TOLERANCE = 1e-5
# A request is encoded one by one in plain Python; beyond so many rows of a snapshot more would prove nothing.
ENCODED_ROWS = 20_000


def write_bundle(
    folder: Path,
    trained: Trained,
    *,
    data: DataEntry,
    code: CodeEntry,
    run_id: str = "",
    candidate_runs: Mapping[int, str] | None = None,
    previous: Previous | None = None,
    trained_at: datetime | None = None,
) -> ClusteringManifest:
    """Writes manifest.json, model.onnx and members.json into `folder`, made if need be.

    The manifest is written last and names the others by hash, so that a bundle cut short is refused by whoever
    reads it.

    Args:
        folder: Where to; earlier files of these names are replaced.
        trained: The finished sweep.
        data: Which data the model saw.
        code: Which code trained it.
        run_id: The MLflow run that registers it.
        candidate_runs: MLflow run by k.
        previous: The champion to show movement against.
        trained_at: Time of training, by default now. It stands in the manifest, not in the fingerprint.

    Raises:
        BundleError: The ONNX model answers otherwise than scikit-learn on a row of the snapshot.
    """
    model = to_onnx(trained.model)
    session = bundling.session(model)
    _check_parity(session, trained)
    bundling.begin(folder, model)
    (folder / bundle.MEMBERS).write_text(_json(members(trained, previous)), encoding="utf-8")
    manifest = ClusteringManifest(
        model=trained.declaration.name,
        task="clustering",
        trained_at=(trained_at or datetime.now(UTC)).isoformat(timespec="seconds"),
        run_id=run_id,
        data=data,
        code=code,
        features_used=trained.prepared.used,
        features_left_out=trained.prepared.left_out,
        training_range=_training_range(trained),
        inputs=inputs(trained.model),
        levels=trained.levels,
        metrics=trained.winner.metrics,
        sweep=_sweep(trained, candidate_runs or {}),
        fingerprint=fingerprint(trained),
        example=_example(session, trained),
        profiles=profiles.profiles(trained) if trained.task.order == "size" else (),
        geometry=geometry(trained.model),
        files={name: bundle.digest(folder / name) for name in (bundle.MODEL, bundle.MEMBERS)},
    )
    bundling.finish(folder, manifest)
    return manifest


def to_onnx(model: Pipeline) -> bytes:
    """The pipeline as ONNX: input `X` double [n, d], outputs `label` int64 [n] and `distances` double [n, k].

    Written out rather than converted: six operators say it all, in doubles, and give every distance at once.
    """
    winsorize, scale, kmeans = (model[step] for step in ("winsorize", "scale", "kmeans"))
    k, width = kmeans.cluster_centers_.shape
    constants = {
        "lower": winsorize.lower_,
        "upper": winsorize.upper_,
        "mean": scale.mean_,
        "deviation": scale.scale_,
        "centers": kmeans.cluster_centers_[None],
        "middle_axis": np.array([1], dtype=np.int64),
        "last_axis": np.array([2], dtype=np.int64),
    }
    nodes = [
        helper.make_node("Max", ["X", "lower"], ["floored"]),
        helper.make_node("Min", ["floored", "upper"], ["winsorized"]),
        helper.make_node("Sub", ["winsorized", "mean"], ["centered"]),
        helper.make_node("Div", ["centered", "deviation"], ["scaled"]),
        helper.make_node("Unsqueeze", ["scaled", "middle_axis"], ["rows"]),
        helper.make_node("Sub", ["rows", "centers"], ["apart"]),
        helper.make_node("Mul", ["apart", "apart"], ["squares"]),
        helper.make_node("ReduceSum", ["squares", "last_axis"], ["squared"], keepdims=0),
        helper.make_node("Sqrt", ["squared"], ["distances"]),
        helper.make_node("ArgMin", ["distances"], ["label"], axis=1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "sigap",
        [helper.make_tensor_value_info("X", TensorProto.DOUBLE, ["n", width])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["n"]),
            helper.make_tensor_value_info("distances", TensorProto.DOUBLE, ["n", k]),
        ],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()],
    )
    written = helper.make_model(
        graph, producer_name="sigap", ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)]
    )
    onnx.checker.check_model(written, full_check=True)
    serialized: bytes = written.SerializeToString(deterministic=True)
    return serialized


def geometry(model: Pipeline) -> bundle.Geometry:
    """The numbers that `to_onnx` writes into the model."""
    winsorize, scale, kmeans = (model[step] for step in ("winsorize", "scale", "kmeans"))
    return bundle.Geometry(
        lower=winsorize.lower_.tolist(),
        upper=winsorize.upper_.tolist(),
        mean=scale.mean_.tolist(),
        deviation=scale.scale_.tolist(),
        centers=kmeans.cluster_centers_.tolist(),
    )


def fingerprint(trained: Trained) -> str:
    """sha256 (hex) over what decides an answer: features, labels, every learnt number digit for digit, and members.

    Members count because they are answered too: a figure corrected in a left-out feature has to reach the dashboard.
    Movement does not, since it says something about the champion before.
    """
    model, prepared = trained.model, trained.prepared
    numbers = [
        model["winsorize"].lower_,
        model["winsorize"].upper_,
        model["scale"].mean_,
        model["scale"].scale_,
        model["kmeans"].cluster_centers_,
    ]
    decides: dict[str, Any] = {
        "model": trained.declaration.name,
        "used": prepared.used,
        "left_out": [entry.name for entry in prepared.left_out],
        "labels": [level.text for level in trained.levels],
        "range": {name: each.model_dump() for name, each in _training_range(trained).items()},
        "members": members(trained),
        "numbers": [[float(value).hex() for value in np.ravel(each)] for each in numbers],
    }
    if columns := inputs(model):
        decides["inputs"] = [column.model_dump() for column in columns]
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def members(trained: Trained, previous: Previous | None = None) -> dict[str, Any]:
    """What members.json holds: members, those not assessed, history, breaks and movement.

    Entities that have no name for people, or of which something personal is known, are counted and not listed: it
    holds the segments' profiles instead, and which former segment each one is.
    """
    if not _lists_members(trained):
        return _segments(trained, previous)
    prepared = trained.prepared
    return {
        "period": prepared.period,
        "members": [_member(trained, row, str(entity)) for row, entity in enumerate(trained.ranks.index)],
        "not_assessed": [
            {
                "entity": each.entity,
                "name": prepared.name(each.entity),
                "place": prepared.places.get(each.entity, {}),
                "features": _features(prepared.now.values, each.entity),
                "missing": list(each.missing),
                "reason": each.reason.model_dump(),
            }
            for each in prepared.not_assessed
        ],
        "history": history(trained),
        "breaks": [
            {"entity": each.entity, "period": each.period, "note": each.note.model_dump()} for each in prepared.breaks
        ],
        "movement": movement(trained, previous) if previous and prepared.period is not None else None,
    }


def _lists_members(trained: Trained) -> bool:
    declaration = trained.declaration
    return bool(declaration.source.entity_name) and not any(feature.personal for feature in declaration.features)


def _segments(trained: Trained, previous: Previous | None) -> dict[str, Any]:
    prepared = trained.prepared
    matched = None
    if previous and trained.matches:
        matched = {
            "against": {"model_version": previous.model_version, "data_version": previous.data_version},
            "segments": [asdict(each) for each in trained.matches],
        }
    return {
        "period": prepared.period,
        "members": [],
        "not_assessed": [],
        "history": [],
        "breaks": [],
        "movement": None,
        "assessed_count": len(prepared.matrix),
        "not_assessed_count": len(prepared.not_assessed),
        "profiles": profiles.tables(trained),
        "structure": profiles.structure(trained),
        "matched": matched,
    }


def _member(trained: Trained, row: int, entity: str) -> dict[str, Any]:
    prepared = trained.prepared
    cluster = int(trained.ranks.iloc[row])
    features = _features(prepared.now.values, entity)
    years = _features(prepared.now.figure_period, entity)
    better = trained.levels[cluster - 1].center if cluster else {}
    return {
        "entity": entity,
        "name": prepared.name(entity),
        "period": prepared.period,
        "place": prepared.places.get(entity, {}),
        "features": features,
        "figure_period": {name: None if year is None else int(year) for name, year in years.items()},
        "cluster": cluster,
        "distance": float(trained.distances[row, cluster]),
        # Nine decimals, as in the API's answers: far below any figure's precision and above floating-point noise.
        "gap": {
            name: trained.declaration.feature(name).shortfall(float(features[name] or 0.0), center)
            for name, center in better.items()
        }
        or None,
    }


def _features(values: pd.DataFrame, entity: str) -> dict[str, float | str | None]:
    return {str(name): _plain(value) for name, value in values.loc[entity].items()}


def _plain(value: Any) -> float | str | None:
    if pd.isna(value):
        return None
    return value if isinstance(value, str) else float(value)


def _training_range(trained: Trained) -> dict[str, bundle.Range]:
    matrix = trained.prepared.matrix
    return {
        name: bundle.Range(minimum=float(matrix[name].min()), maximum=float(matrix[name].max()))
        for name in trained.numbers
    }


def _sweep(trained: Trained, runs: Mapping[int, str]) -> tuple[CandidateEntry, ...]:
    return tuple(
        CandidateEntry(
            k=each.k,
            run_id=runs.get(each.k, ""),
            metrics=each.metrics,
            admissible=each.admissible,
            reason=each.reason,
        )
        for each in trained.candidates
    )


def _answers(
    session: onnxruntime.InferenceSession, rows: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    # In parts, since the graph holds every row's difference to every centre at once.
    parts = [
        session.run(["label", "distances"], {"X": rows[start : start + CHUNK]})
        for start in range(0, max(len(rows), 1), CHUNK)
    ]
    label, far = (np.concatenate(each) for each in zip(*parts, strict=True))
    return label, far


def _check_parity(session: onnxruntime.InferenceSession, trained: Trained) -> None:
    """Every row that the model can judge, of every period, has to get scikit-learn's answer."""
    prepared = trained.prepared
    known = pd.concat([each.values for each in prepared.history]) if prepared.history else prepared.matrix
    known = complete(known, prepared.used, imputes=prepared.imputes)
    rows = encoded(trained.model, known)
    _check_encoding(trained, known, rows)
    _compare(session, trained, known, rows)


def check_tables(folder: Path, trained: Trained, tables: Iterable[pd.DataFrame]) -> int:
    """See `sigap.training.trainer.Trainer.check_rows`; of each row the figures that stand in it, none carried on."""
    session = bundling.session((folder / bundle.MODEL).read_bytes())
    answered = 0
    for table in tables:
        values = figures(trained.declaration, table)
        known = complete(values, trained.prepared.used, imputes=trained.prepared.imputes)
        _compare(session, trained, known, encoded(trained.model, known))
        answered += len(known)
    return answered


def _compare(
    session: onnxruntime.InferenceSession, trained: Trained, known: pd.DataFrame, rows: NDArray[np.float64]
) -> None:
    if known.empty:
        return
    label, far = _answers(session, rows)
    expected = distances(trained.model, known)
    wrong = (label != trained.model.predict(known)) | ~np.isclose(far, expected, rtol=TOLERANCE, atol=1e-9).all(axis=1)
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise BundleError(
            f"{trained.declaration.name}: the ONNX model answers {int(wrong.sum())} of {len(known)} rows otherwise "
            f"than scikit-learn, first {known.index[first]} (cluster {label[first]}).",
            remedy=bundling.CHECK_VERSIONS,
        )


def _check_encoding(trained: Trained, known: pd.DataFrame, rows: NDArray[np.float64]) -> None:
    """The look-ups that encode a request have to give the columns that training saw."""
    columns = inputs(trained.model)
    if not columns:
        return
    encode = RowEncoder(columns).encode
    few = known.iloc[:ENCODED_ROWS]
    plain = {str(name): [None if pd.isna(value) else value for value in few[name]] for name in few}
    looked_up = [encode(dict(zip(plain, row, strict=True))) for row in zip(*plain.values(), strict=True)]
    if not np.array_equal(np.array(looked_up), rows[: len(few)]):
        raise BundleError(
            f"{trained.declaration.name}: a request would be encoded otherwise than training encoded the same row.",
            remedy="Nothing was promoted; sigap.bundle.RowEncoder and sigap.training.tabular have to agree.",
        )


def _example(session: onnxruntime.InferenceSession, trained: Trained) -> Example:
    request = trained.declaration.example
    columns = inputs(trained.model)
    values = (
        RowEncoder(columns).encode(request) if columns else [float(request[name]) for name in trained.prepared.used]
    )
    row = np.array([values])
    label, far = _answers(session, row)
    cluster = int(label[0])
    return Example(request=request, cluster=cluster, distance_to_center=float(far[0, cluster]))


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
