"""Writing the serving bundle of a regression or a classification: the chosen model as ONNX, and its manifest."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
from onnx import TensorProto, helper, numpy_helper
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble._forest import BaseForest
from sklearn.ensemble._gb import BaseGradientBoosting
from sklearn.pipeline import Pipeline

from sigap import bundle
from sigap.bundle import (
    AnswerExample,
    ClassificationManifest,
    InputColumn,
    RegressionManifest,
    RowEncoder,
)
from sigap.catalog import Kind
from sigap.catalog.declaration import Classification
from sigap.errors import BundleError
from sigap.training import bundling, evaluation
from sigap.training.evaluation import Floats
from sigap.training.recipes import pipeline
from sigap.training.rows import typed
from sigap.training.supervised import SupervisedTrained
from sigap.training.trainer import BundleFacts

# ONNX adds a forest's trees up in float32, scikit-learn in float64.
TOLERANCE = 1e-5
# The rows that are also encoded one by one, as the API does; beyond, they are drawn.
ENCODED_ROWS = 20_000
THRESHOLD = 0.5


def write_bundle(
    folder: Path, trained: SupervisedTrained, facts: BundleFacts
) -> RegressionManifest | ClassificationManifest:
    """Writes manifest.json and model.onnx into `folder`; see `sigap.training.trainer.Trainer.write_bundle`.

    Raises:
        BundleError: The ONNX model answers otherwise than scikit-learn on a row of the snapshot.
    """
    model = to_onnx(trained)
    session = bundling.session(model)
    _check_parity(session, trained)
    bundling.begin(folder, model)
    common: dict[str, Any] = {
        "model": trained.declaration.name,
        **bundling.origin(facts),
        "features_used": trained.prepared.used,
        "features_left_out": trained.prepared.left_out,
        "training_range": trained.prepared.ranges(trained.declaration),
        "inputs": inputs(trained),
        "metrics": trained.metrics,
        "fingerprint": _fingerprint(trained, model),
        "files": {bundle.MODEL: bundle.digest(folder / bundle.MODEL)},
        "target": trained.declaration.target.name if trained.declaration.target else "",
        "winner": trained.chosen.name,
        "sweep": bundling.tried(trained.tried, facts),
        "baseline": trained.baseline,
        "example": _example(session, trained),
        "reference": reference(trained),
    }
    manifest: RegressionManifest | ClassificationManifest
    if isinstance(trained.declaration.task, Classification):
        manifest = ClassificationManifest(
            **common,
            task="classification",
            threshold=THRESHOLD,
            calibrated=trained.calibrated,
            calibration=trained.calibration,
            fairness=trained.fairness,
        )
    else:
        manifest = RegressionManifest(**common, task="regression", interval=trained.interval, segments=trained.segments)
    bundling.finish(folder, manifest)
    return manifest


def to_onnx(trained: SupervisedTrained) -> bytes:
    """What follows the encoder, as ONNX: input `X` double [n, width], output `value` or `probability` double [n].

    Scaling and trees are computed in doubles. Where scikit-learn's trees compare float32 values, so does the graph:
    one bit more, and values on a tree's edge would fall to its other side. The same model gives the same bytes.
    """
    fitted = pipeline(trained.model)
    classifies = isinstance(trained.declaration.task, Classification)
    width = sum(column.width for column in inputs(trained))
    written = bundling.converted(fitted["estimate"], "rows", width, {"zipmap": False} if classifies else None)
    _begin(written.graph, fitted, width)
    _finish(written.graph, trained.model, fitted["estimate"], classifies=classifies)
    return bundling.serialized(written)


def inputs(trained: SupervisedTrained) -> tuple[InputColumn, ...]:
    """How the model's features become its columns."""
    found: tuple[InputColumn, ...] = pipeline(trained.model)["encode"].inputs
    return found


def fingerprint(trained: SupervisedTrained) -> str:
    """sha256 (hex) over what decides an answer: the model, how a row reaches it, and what is said beside its number."""
    return _fingerprint(trained, to_onnx(trained))


def reference(trained: SupervisedTrained) -> dict[str, float | str | None]:
    """A typical value of each used feature: the median of a number, the most frequent category."""
    typical: dict[str, float | str | None] = {}
    for name in trained.prepared.used:
        column = trained.prepared.table[name]
        if trained.declaration.feature(name).kind is Kind.CATEGORY:
            typical[name] = str(column.mode().iloc[0])
        else:
            typical[name] = float(column.median())
    return typical


def predict(session: onnxruntime.InferenceSession, rows: Floats) -> Floats:
    """The single output of a supervised model on encoded rows, shape (n,)."""
    values: Floats = np.asarray(session.run(None, {"X": rows})[0], dtype=np.float64)
    return values


def _begin(graph: onnx.GraphProto, fitted: Pipeline, width: int) -> None:
    """Puts scaling, and narrowing where the estimator does it, between `X` and the estimator's `rows`."""
    nodes, last = [], "X"
    if "scale" in fitted.named_steps:
        scale = fitted["scale"]
        graph.initializer.append(numpy_helper.from_array(np.asarray(scale.mean_, dtype=np.float64), "mean"))
        graph.initializer.append(numpy_helper.from_array(np.asarray(scale.scale_, dtype=np.float64), "deviation"))
        nodes.append(helper.make_node("Sub", [last, "mean"], ["centered"]))
        nodes.append(helper.make_node("Div", ["centered", "deviation"], ["scaled"]))
        last = "scaled"
    if isinstance(fitted["estimate"], BaseForest | BaseGradientBoosting):
        nodes.append(helper.make_node("Cast", [last], ["narrow"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Cast", ["narrow"], ["rows"], to=TensorProto.DOUBLE))
    else:
        nodes.append(helper.make_node("Identity", [last], ["rows"]))
    for node in reversed(nodes):
        graph.node.insert(0, node)
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info("X", TensorProto.DOUBLE, ["n", width]))


def _finish(graph: onnx.GraphProto, model: Any, estimate: Any, *, classifies: bool) -> None:
    """Makes one double [n] of the converter's outputs, under the name that the bundle's format gives it."""
    graph.name = "sigap"
    name = "probability" if classifies else "value"
    raw = graph.output[-1].name
    nodes = [helper.make_node("Cast", [raw], ["as_double"], to=TensorProto.DOUBLE)]
    last = "as_double"
    if classifies:
        nodes.append(helper.make_node("Gather", [last, "yes"], ["of_yes"], axis=1))
        graph.initializer.append(helper.make_tensor("yes", TensorProto.INT64, [], [1]))
        last = "of_yes"
    if isinstance(model, CalibratedClassifierCV):
        last = _calibrated(graph, nodes, last, model, logit=hasattr(estimate, "decision_function"))
    if isinstance(model, TransformedTargetRegressor):
        nodes.append(helper.make_node("Exp", [last], ["exponential"]))
        last = "exponential"
    graph.initializer.append(helper.make_tensor("flat", TensorProto.INT64, [1], [-1]))
    nodes.append(helper.make_node("Reshape", [last, "flat"], [name]))
    graph.node.extend(nodes)
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(name, TensorProto.DOUBLE, ["n"]))


def _calibrated(
    graph: onnx.GraphProto, nodes: list[onnx.NodeProto], last: str, model: CalibratedClassifierCV, *, logit: bool
) -> str:
    """Appends 1 / (1 + exp(slope · f + offset)); f is the probability, or its log odds where that is the score."""
    sigmoid = model.calibrated_classifiers_[0].calibrators[0]
    constants = {"slope": -sigmoid.a_, "offset": -sigmoid.b_, **({"one": 1.0} if logit else {})}
    for name, value in constants.items():
        graph.initializer.append(numpy_helper.from_array(np.array(value, dtype=np.float64), name))
    if logit:
        nodes.append(helper.make_node("Sub", ["one", last], ["of_no"]))
        nodes.append(helper.make_node("Div", [last, "of_no"], ["odds"]))
        nodes.append(helper.make_node("Log", ["odds"], ["score"]))
        last = "score"
    nodes.append(helper.make_node("Mul", [last, "slope"], ["sloped"]))
    nodes.append(helper.make_node("Add", ["sloped", "offset"], ["shifted"]))
    nodes.append(helper.make_node("Sigmoid", ["shifted"], ["calibrated"]))
    return "calibrated"


def _fingerprint(trained: SupervisedTrained, model: bytes) -> str:
    decides = {
        "model": trained.declaration.name,
        "onnx": hashlib.sha256(model).hexdigest(),
        "inputs": [column.model_dump(exclude={"missing_share"}) for column in inputs(trained)],
        "left_out": [entry.name for entry in trained.prepared.left_out],
        "range": {name: each.model_dump() for name, each in trained.prepared.ranges(trained.declaration).items()},
        "interval": trained.interval.model_dump() if trained.interval else None,
        "segments": [each.model_dump() for each in trained.segments],
        "calibrated": trained.calibrated,
        "baseline": trained.baseline.text.model_dump(),
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def _check_parity(session: onnxruntime.InferenceSession, trained: SupervisedTrained) -> None:
    """Every row has to get scikit-learn's answer, and each row encoded by itself the matrix' row."""
    features = trained.prepared.features
    matrix = pipeline(trained.model)["encode"].transform(features)
    _check_rows(trained, features, matrix)
    _compare(session, trained, features, matrix, trained.prepared.keys)


def check_tables(folder: Path, trained: SupervisedTrained, tables: Iterable[pd.DataFrame]) -> int:
    """See `sigap.training.trainer.Trainer.check_rows`."""
    session = bundling.session((folder / bundle.MODEL).read_bytes())
    key, encode, rows = list(trained.declaration.source.key), pipeline(trained.model)["encode"], 0
    for table in tables:
        features = typed(trained.declaration, table)[list(trained.prepared.used)]
        keys = list(zip(*(table[name] for name in key), strict=True))
        _compare(session, trained, features, encode.transform(features), keys)
        rows += len(table)
    return rows


def _compare(
    session: onnxruntime.InferenceSession,
    trained: SupervisedTrained,
    features: pd.DataFrame,
    matrix: Floats,
    keys: Sequence[Any],
) -> None:
    found, expected = predict(session, matrix), evaluation.answers(trained.model, features)
    wrong = ~np.isclose(found, expected, rtol=TOLERANCE, atol=1e-6)
    if isinstance(trained.declaration.task, Classification):
        # An answer on the edge of yes and no must not depend on who computes it, either.
        sure = np.abs(expected - THRESHOLD) > TOLERANCE
        wrong |= sure & ((found >= THRESHOLD) != (expected >= THRESHOLD))
    bundling.check_parity(trained.declaration.name, "rows", wrong, keys, found, expected)


def _check_rows(trained: SupervisedTrained, features: pd.DataFrame, matrix: Floats) -> None:
    encoder = RowEncoder(inputs(trained))
    positions = evaluation.sampled(len(features), ENCODED_ROWS, trained.params.random_state)
    for position in positions:
        if encoder.encode(_values(features.iloc[position])) != matrix[position].tolist():
            raise BundleError(
                f"{trained.declaration.name}: the row {trained.prepared.keys[position]} is encoded otherwise by the "
                "API than in training.",
                remedy="Nothing was promoted. This is an error in Sigap; please report it.",
            )


def _values(row: pd.Series[Any]) -> dict[str, Any]:
    return {str(name): None if pd.isna(value) else value for name, value in row.items()}


def _example(session: onnxruntime.InferenceSession, trained: SupervisedTrained) -> AnswerExample:
    request = trained.declaration.example
    row = np.array([RowEncoder(inputs(trained)).encode(request)])
    value = float(predict(session, row)[0])
    if trained.interval is None:
        return AnswerExample(request=request, answer={"probability": value})
    low, high = trained.interval.around(value)
    if not all(math.isfinite(each) for each in (value, low, high)):
        raise BundleError(f"{trained.declaration.name}: the declared example gets no finite answer.")
    return AnswerExample(request=request, answer={"value": value, "low": low, "high": high})
