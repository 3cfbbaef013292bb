"""Serving bundles of every task, made by hand: one linear layer each, so that what they answer is plain to see."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from sigap.bundle import (
    MANIFEST,
    MEMBERS,
    MODEL,
    ForecastingManifest,
    InputColumn,
    RowEncoder,
    digest,
    parse_manifest,
)
from sigap.catalog import Declaration
from sigap.catalog.bitcoin_price import BITCOIN_PRICE
from sigap.catalog.car_price import CAR_PRICE
from sigap.catalog.credit_approval import CREDIT_APPROVAL
from sigap.catalog.customer_segments import CUSTOMER_SEGMENTS
from sigap.catalog.loan_approval import LOAN_APPROVAL

FIVE: tuple[Declaration, ...] = (CAR_PRICE, CUSTOMER_SEGMENTS, LOAN_APPROVAL, CREDIT_APPROVAL, BITCOIN_PRICE)
TEXT = {"id": "teks", "en": "text"}
BOUNDS = (10_000.0, 20_000.0)
LAGS = BITCOIN_PRICE.task.lags
CLOSES = tuple(100.0 * 1.01**step for step in range(LAGS + 1))


def linear(weights: np.ndarray, bias: float, output: str) -> bytes:
    """An ONNX model: `X` double [n, width] times `weights`, plus `bias`; a probability goes through the sigmoid."""
    constants = [
        numpy_helper.from_array(weights.astype(np.float64)[:, None], "weights"),
        numpy_helper.from_array(np.array([bias]), "bias"),
        numpy_helper.from_array(np.array([-1]), "flat"),
    ]
    raw = "sum" if output == "probability" else "flattened"
    nodes = [
        helper.make_node("MatMul", ["X", "weights"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["sum"]),
    ]
    if output == "probability":
        nodes.append(helper.make_node("Sigmoid", ["sum"], ["flattened"]))
        raw = "flattened"
    nodes.append(helper.make_node("Reshape", [raw if output == "probability" else "sum", "flat"], [output]))
    return _model(nodes, len(weights), {output: (TensorProto.DOUBLE, [None])}, constants)


def nearest(centers: np.ndarray) -> bytes:
    """An ONNX model that gives distances to `centers`, and the nearest one's number."""
    constants = [
        numpy_helper.from_array(centers[None].astype(np.float64), "centers"),
        numpy_helper.from_array(np.array([1]), "axis_1"),
        numpy_helper.from_array(np.array([2]), "axis_2"),
    ]
    nodes = [
        helper.make_node("Unsqueeze", ["X", "axis_1"], ["wide"]),
        helper.make_node("Sub", ["wide", "centers"], ["apart"]),
        helper.make_node("Mul", ["apart", "apart"], ["squares"]),
        helper.make_node("ReduceSum", ["squares", "axis_2"], ["squared"], keepdims=0),
        helper.make_node("Sqrt", ["squared"], ["distances"]),
        helper.make_node("ArgMin", ["distances"], ["label"], axis=1, keepdims=0),
    ]
    outputs = {"label": (TensorProto.INT64, [None]), "distances": (TensorProto.DOUBLE, [None, len(centers)])}
    return _model(nodes, centers.shape[1], outputs, constants)


def _model(nodes: list[Any], width: int, outputs: Mapping[str, tuple[int, list[Any]]], constants: list[Any]) -> bytes:
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("X", TensorProto.DOUBLE, [None, width])],
        [helper.make_tensor_value_info(name, *kind) for name, kind in outputs.items()],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def inputs(declaration: Declaration, unseen: str = "") -> list[dict[str, Any]]:
    """Every feature as a column: numbers with 7 for a missing one, categories one-hot, without that of `unseen`."""
    return [
        {
            "feature": feature.name,
            "kind": "one_hot" if feature.categories else "number",
            "impute": None if feature.categories else 7.0,
            "categories": [each for each in feature.categories if each != unseen],
        }
        for feature in declaration.features
    ]


def encoded(declaration: Declaration, values: Mapping[str, Any], unseen: str = "") -> np.ndarray:
    """The row that a bundle's model gets."""
    columns = [InputColumn.model_validate(each) for each in inputs(declaration, unseen)]
    return np.array(RowEncoder(columns).encode(values))


def weights(declaration: Declaration, unseen: str = "") -> np.ndarray:
    """One weight a column, none the same."""
    width = len(encoded(declaration, {}, unseen))
    return (np.arange(width) + 1.0) / width


def paired(metric: str) -> dict[str, Any]:
    return {"metric": metric, "difference": 0.1, "low": 0.05, "high": 0.15, "confidence": 0.95, "rows": 500}


def common(declaration: Declaration) -> dict[str, Any]:
    """What the manifests of all tasks share."""
    numbers = [feature.name for feature in declaration.features if not feature.categories]
    return {
        "model": declaration.name,
        "task": declaration.task.kind,
        "trained_at": "2026-01-02T03:04:05+00:00",
        "run_id": "",
        "data": {
            "version": "v1",
            "md5": "0" * 32,
            "rows": 500,
            "rows_rejected": 2,
            "period": None,
            "git_commit": "c" * 40,
            "query": "SELECT 1",
        },
        "code": {"git_commit": "d" * 40, "lock_sha256": "e" * 64},
        "features_used": list(declaration.feature_names),
        "features_left_out": [],
        "training_range": {
            name: {"minimum": declaration.feature(name).minimum, "maximum": declaration.feature(name).maximum}
            for name in numbers
        },
        "fingerprint": "f",
    }


def supervised(declaration: Declaration, metric: str) -> dict[str, Any]:
    """What the manifests of tasks with a target share."""
    return {
        **common(declaration),
        "metrics": {metric: 0.9, f"{metric}_sd": 0.02},
        "target": declaration.target.name,
        "winner": "linear",
        "sweep": [{"name": "linear", "params": {}, "metrics": {metric: 0.9}, "admissible": True, "reason": None}],
        "baseline": {
            "name": "one_column_rule",
            "text": TEXT,
            "metrics": {metric: 0.809},
            "gain": paired(metric),
            "verdict": "better",
        },
    }


def interval(scale: str = "log") -> dict[str, Any]:
    return {"confidence": 0.9, "scale": scale, "low": -0.2, "high": 0.1, "coverage": 0.91, "method": "split"}


def write_task_bundle(folder: Path, declaration: Declaration, *, unseen: str = "", **changes: Any) -> str:
    """Writes a bundle for any of the five models and returns its manifest's sha256."""
    folder.mkdir(parents=True)
    builders = {
        "regression": _regression,
        "classification": _classification,
        "clustering": _clustering,
        "forecasting": _forecasting,
    }
    model, manifest, members = builders[declaration.task.kind](declaration, unseen)
    (folder / MODEL).write_bytes(model)
    names = [MODEL]
    if members is not None:
        (folder / MEMBERS).write_text(json.dumps(members))
        names.append(MEMBERS)
    manifest["files"] = {name: digest(folder / name).model_dump() for name in names}
    text = parse_manifest(json.dumps({**manifest, **changes}).encode()).model_dump_json()
    (folder / MANIFEST).write_text(text)
    return hashlib.sha256(text.encode()).hexdigest()


def value(declaration: Declaration, values: Mapping[str, Any], unseen: str = "") -> float:
    """What the regression bundle answers."""
    return float(encoded(declaration, values, unseen) @ weights(declaration, unseen)) + 5.0


def probability(declaration: Declaration, values: Mapping[str, Any], unseen: str = "") -> float:
    """What the classification bundle answers: each column counts as far as it is off the declared example."""
    off = encoded(declaration, values, unseen) - encoded(declaration, declaration.example, unseen)
    return 1 / (1 + math.exp(-(0.4 + float(off @ _slopes(declaration, unseen)))))


def _slopes(declaration: Declaration, unseen: str = "") -> np.ndarray:
    # Large numbers get small slopes, so that each feature can make a difference and none drowns the others.
    example = np.abs(encoded(declaration, declaration.example, unseen))
    return weights(declaration, unseen) / np.maximum(example, 1.0)


def _regression(declaration: Declaration, unseen: str) -> tuple[bytes, dict[str, Any], None]:
    low, high = BOUNDS
    labels = [{"id": label.id, "en": label.en} for label in declaration.task.segments.labels]
    edges = [(None, low), (low, high), (high, None)]
    answer = value(declaration, declaration.example, unseen)
    manifest = {
        **supervised(declaration, "rmse"),
        "inputs": inputs(declaration, unseen),
        "interval": interval(),
        "segments": [
            {"label": label, "minimum": start, "maximum": end, "rows": 10}
            for label, (start, end) in zip(labels, edges, strict=True)
        ],
        "example": {
            "request": declaration.example,
            "answer": {"value": answer, "low": answer * math.exp(-0.2), "high": answer * math.exp(0.1)},
        },
    }
    return linear(weights(declaration, unseen), 5.0, "value"), manifest, None


def _classification(declaration: Declaration, unseen: str) -> tuple[bytes, dict[str, Any], None]:
    slopes = _slopes(declaration, unseen)
    bias = 0.4 - float(encoded(declaration, declaration.example, unseen) @ slopes)
    manifest = {
        **supervised(declaration, "accuracy"),
        "inputs": inputs(declaration, unseen),
        "threshold": 0.5,
        "calibrated": True,
        "calibration": TEXT,
        "reference": dict(declaration.example),
        "fairness": [],
        "example": {
            "request": declaration.example,
            "answer": {"probability": probability(declaration, declaration.example, unseen)},
        },
    }
    return linear(slopes, bias, "probability"), manifest, None


def _clustering(declaration: Declaration, unseen: str) -> tuple[bytes, dict[str, Any], dict[str, Any]]:
    first = encoded(declaration, declaration.example, unseen)
    centers = np.array([first, first + 3.0])
    levels = [
        {"cluster": rank, "label": {"id": f"Segmen {rank + 1}", "en": f"Segment {rank + 1}"}, "text": "x",
         "size": size, "center": {}}
        for rank, size in enumerate((300, 200))
    ]  # fmt: skip
    name = next(feature.name for feature in declaration.features if feature.categories)
    category = declaration.feature(name).categories[0]
    traits = [
        {"feature": name, "category": category, "here": 0.8, "overall": 0.5, "effect": 0.6},
        {"feature": "Age", "category": None, "here": 31.0, "overall": 43.5, "effect": -0.5},
    ]
    manifest = {
        **common(declaration),
        "inputs": inputs(declaration, unseen),
        "levels": levels,
        "metrics": {"silhouette": 0.2},
        "sweep": [{"k": 2, "run_id": "", "metrics": {"silhouette": 0.2}, "admissible": True, "reason": None}],
        "profiles": [
            {"cluster": rank, "typical": {"Age": 31.0, name: category}, "traits": traits if rank == 0 else []}
            for rank in range(2)
        ],
        "example": {"request": declaration.example, "cluster": 0, "distance_to_center": 0.0},
    }
    members = {
        "period": None, "members": [], "not_assessed": [], "history": [], "breaks": [], "movement": None,
        "assessed_count": 500, "not_assessed_count": 0, "profiles": [], "structure": None, "matched": None,
    }  # fmt: skip
    return nearest(centers), manifest, members


def _forecasting(declaration: Declaration, _unseen: str) -> tuple[bytes, dict[str, Any], None]:
    # Half of the newest return comes again.
    half = np.zeros(LAGS)
    half[0] = 0.5
    manifest: dict[str, Any] = {
        **supervised(declaration, "rmse"),
        "features_used": ["close"],
        "training_range": {},
        "step": declaration.task.step,
        "lags": LAGS,
        "interval": interval("volatility"),
        "volatility_floor": 0.001,
        "last_time": "2025-01-31T00:00:00+00:00",
        "last_value": CLOSES[-1],
        "closes": CLOSES,
        "note": TEXT,
    }
    files = {MODEL: {"sha256": "", "bytes": 0}}
    draft = {**manifest, "files": files, "example": {"request": {}, "answer": {}}}
    parsed = parse_manifest(json.dumps(draft).encode())
    assert isinstance(parsed, ForecastingManifest)
    told = parsed.forecast(CLOSES, math.log(1.01) / 2)
    answer = {"value": told.value, "low": told.low, "high": told.high, "naive": told.naive}
    return linear(half, 0.0, "change"), {**manifest, "example": {"request": {}, "answer": answer}}, None
