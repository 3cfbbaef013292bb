"""Writing a forecast's serving bundle, and what `dvc repro` tracks of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
from onnx import TensorProto, helper, numpy_helper
from sklearn.dummy import DummyRegressor

from sigap import bundle
from sigap.bundle import AnswerExample, ForecastingManifest
from sigap.catalog.declaration import Forecasting
from sigap.errors import BundleError
from sigap.training import bundling
from sigap.training.forecasting import USED, ForecastTrained, left_out
from sigap.training.series import Floats, stretches
from sigap.training.trainer import BundleFacts

# On the scale of log returns: a hundredth of a hundredth of a percent. ONNX adds trees up in float32.
TOLERANCE = 1e-6
PREDICTIONS = "predictions.csv"
METRICS = "metrics.json"


def write_bundle(folder: Path, trained: ForecastTrained, facts: BundleFacts) -> ForecastingManifest:
    """Writes manifest.json and model.onnx into `folder`; see `sigap.training.trainer.Trainer.write_bundle`.

    Raises:
        BundleError: The ONNX model answers otherwise than scikit-learn on a step of the snapshot.
    """
    model = to_onnx(trained)
    session = bundling.session(model)
    _check_parity(session, trained)
    bundling.begin(folder, model)
    series = trained.prepared
    manifest = ForecastingManifest(
        model=trained.declaration.name,
        task="forecasting",
        **bundling.origin(facts),
        features_used=USED,
        features_left_out=left_out(trained.declaration),
        training_range={},
        metrics=trained.metrics,
        fingerprint=_fingerprint(trained, model),
        files={bundle.MODEL: bundle.digest(folder / bundle.MODEL)},
        target=trained.declaration.target.name if trained.declaration.target else "",
        winner=trained.chosen.name,
        sweep=bundling.tried(trained.tried, facts),
        baseline=trained.baseline,
        example=AnswerExample(request=trained.declaration.example, answer={}),
        step=trained.declaration.task_as(Forecasting).step,
        lags=series.lags,
        interval=trained.interval,
        volatility_floor=series.volatility_floor,
        last_time=series.last_time.isoformat(),
        last_value=float(series.closes[-1]),
        closes=_newest(trained),
        note=trained.note,
    )
    manifest = manifest.model_copy(update={"example": _example(session, trained, manifest)})
    bundling.finish(folder, manifest)
    return manifest


def to_onnx(trained: ForecastTrained) -> bytes:
    """The model as ONNX: input `X` double [n, lags], output `change` double [n]; the same model, the same bytes."""
    lags = trained.prepared.lags
    if isinstance(trained.model, DummyRegressor):
        written = _constant(lags, float(trained.model.constant_.item()))
    else:
        written = bundling.converted(trained.model, "X", lags)
        _finish(written.graph)
    return bundling.serialized(written)


def fingerprint(trained: ForecastTrained) -> str:
    """sha256 (hex) over what decides an answer: the model, the interval, and the values that stand for no request."""
    return _fingerprint(trained, to_onnx(trained))


def predict(session: onnxruntime.InferenceSession, looks: Floats) -> Floats:
    """The changes that the model forecasts, shape (n,)."""
    changes: Floats = np.asarray(session.run(["change"], {"X": looks})[0], dtype=np.float64)
    return changes


def write_report(folder: Path, trained: ForecastTrained) -> Path:
    """Writes predictions.csv (held-out) and metrics.json into `folder`; the same training gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    predictions(trained).to_csv(folder / PREDICTIONS, index=False, lineterminator="\n", float_format="%.10g")
    metrics = {
        "winner": trained.chosen.name,
        "better_than_naive": trained.baseline.verdict == "better",
        "note": trained.note.en,
        "period": trained.prepared.last_time.isoformat(),
        "rows": trained.prepared.rows,
        "steps": len(trained.prepared.at),
        "missing": trained.prepared.missing,
        **trained.metrics,
        "sweep": {each.name: {**each.metrics, "admissible": each.admissible} for each in trained.tried},
    }
    (folder / METRICS).write_text(json.dumps(metrics, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return folder


def predictions(trained: ForecastTrained) -> pd.DataFrame:
    """One row a held-out step: when it began, its true value, the forecast with its interval, and the naive one.

    The interval is the one that could be made at the time; empty where too little was known before.
    """
    series, held = trained.prepared, trained.held
    now = series.now[held]
    half = trained.calibrated.halves * series.spreads[held]
    return pd.DataFrame(
        {
            trained.declaration.source.time: pd.DatetimeIndex(series.times[series.at[held] + 1], tz=UTC),
            "true": series.next[held],
            "forecast": now * np.exp(trained.predicted),
            "low": now * np.exp(trained.predicted - half),
            "high": now * np.exp(trained.predicted + half),
            "naive": now,
        }
    )


def _constant(lags: int, value: float) -> onnx.ModelProto:
    """The same change whatever is looked at, one for each row."""
    nodes = [
        helper.make_node("Shape", ["X"], ["rows"], start=0, end=1),
        helper.make_node(
            "ConstantOfShape", ["rows"], ["change"], value=numpy_helper.from_array(np.array([value]), "value")
        ),
    ]
    graph = helper.make_graph(
        nodes,
        "sigap",
        [helper.make_tensor_value_info("X", TensorProto.DOUBLE, ["n", lags])],
        [helper.make_tensor_value_info("change", TensorProto.DOUBLE, ["n"])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", bundling.OPSETS[""])])


def _finish(graph: onnx.GraphProto) -> None:
    """Makes one double [n] of the converter's output, under the name that the bundle's format gives it."""
    graph.name = "sigap"
    raw = graph.output[-1].name
    graph.initializer.append(helper.make_tensor("flat", TensorProto.INT64, [1], [-1]))
    graph.node.extend(
        [
            helper.make_node("Cast", [raw], ["as_double"], to=TensorProto.DOUBLE),
            helper.make_node("Reshape", ["as_double", "flat"], ["change"]),
        ]
    )
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("change", TensorProto.DOUBLE, ["n"]))


def _fingerprint(trained: ForecastTrained, model: bytes) -> str:
    decides: dict[str, Any] = {
        "model": trained.declaration.name,
        "onnx": hashlib.sha256(model).hexdigest(),
        "interval": trained.interval.model_dump(),
        "volatility_floor": trained.prepared.volatility_floor,
        "closes": _newest(trained),
        "last_time": trained.prepared.last_time.isoformat(),
        "note": trained.note.model_dump(),
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def _newest(trained: ForecastTrained) -> tuple[float, ...]:
    """The newest values, as many as a forecast looks at.

    Raises:
        BundleError: A step is missing among them.
    """
    series = trained.prepared
    newest = series.times[-series.lags - 1 :]
    if len(np.unique(np.diff(newest))) != 1 or series.at[-1] != len(series.times) - 2:
        raise BundleError(
            f"{trained.declaration.name}: among the newest {series.lags + 1} steps one is missing, so that the next "
            "can't be forecast from the table.",
            remedy="Nothing was promoted. `./run ingest` fills the gap.",
        )
    return tuple(float(value) for value in series.closes[-series.lags - 1 :])


def _check_parity(session: onnxruntime.InferenceSession, trained: ForecastTrained) -> None:
    """Every step has to get scikit-learn's answer."""
    _compare(session, trained, trained.prepared.frame)


def check_tables(folder: Path, trained: ForecastTrained, tables: Iterable[pd.DataFrame]) -> int:
    """See `sigap.training.trainer.Trainer.check_rows`."""
    session = bundling.session((folder / bundle.MODEL).read_bytes())
    steps = 0
    for stretch in stretches(trained.declaration, tables):
        _compare(session, trained, stretch.frame)
        steps += len(stretch.at)
    return steps


def _compare(session: onnxruntime.InferenceSession, trained: ForecastTrained, frame: pd.DataFrame) -> None:
    found = predict(session, frame.to_numpy())
    expected = np.asarray(trained.model.predict(frame), dtype=np.float64)
    wrong = ~(np.abs(found - expected) <= TOLERANCE)
    bundling.check_parity(trained.declaration.name, "steps", wrong, list(frame.index), found, expected)


def _example(
    session: onnxruntime.InferenceSession, trained: ForecastTrained, manifest: ForecastingManifest
) -> AnswerExample:
    row = np.array([manifest.returns(manifest.closes)])
    answer = manifest.forecast(manifest.closes, float(predict(session, row)[0]))
    if not 0 < answer.low <= answer.value <= answer.high < float("inf"):
        raise BundleError(f"{trained.declaration.name}: the newest values get no finite forecast.")
    return AnswerExample(
        request=trained.declaration.example,
        answer={"value": answer.value, "low": answer.low, "high": answer.high, "naive": answer.naive},
    )
