"""Serving bundles made by hand: three levels around given centres, without any training."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from sigap.bundle import MANIFEST, MEMBERS, MODEL, digest, parse_manifest
from sigap.catalog import declaration

EDUCATION = declaration("education")
USED = ("rata_lama_sekolah", "harapan_lama_sekolah", "rasio_guru_murid")
LEFT_OUT = ("angka_melek_huruf", "anggaran_pendidikan_persen")
BODY = dict(EDUCATION.example)
MEAN = np.array([8.5, 13.0, 15.0])
SCALE = np.array([1.2, 0.9, 3.0])
CENTERS = np.array([[10.5, 14.0, 13.0], [9.2, 13.1, 15.5], [7.0, 12.0, 18.0]])
TEXTS = ("Tinggi (High Readiness)", "Menengah (Middle Readiness)", "Rendah (Low Readiness)")


def onnx_model(centers: np.ndarray) -> bytes:
    """Distances to `centers` in standardised space, and the nearest one's number."""
    scaled = (centers - MEAN) / SCALE
    constants = {
        "mean": MEAN,
        "scale": SCALE,
        "centers": scaled[None, :, :],
    }
    initializers = [numpy_helper.from_array(value.astype(np.float64), name) for name, value in constants.items()]
    initializers += [
        numpy_helper.from_array(np.array([1]), "axis_1"),
        numpy_helper.from_array(np.array([2]), "axis_2"),
    ]
    nodes = [
        helper.make_node("Sub", ["X", "mean"], ["centered"]),
        helper.make_node("Div", ["centered", "scale"], ["scaled"]),
        helper.make_node("Unsqueeze", ["scaled", "axis_1"], ["wide"]),
        helper.make_node("Sub", ["wide", "centers"], ["difference"]),
        helper.make_node("Mul", ["difference", "difference"], ["squared"]),
        helper.make_node("ReduceSum", ["squared", "axis_2"], ["summed"], keepdims=0),
        helper.make_node("Sqrt", ["summed"], ["distances"]),
        helper.make_node("ArgMin", ["distances"], ["label"], axis=1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "kmeans",
        [helper.make_tensor_value_info("X", TensorProto.DOUBLE, [None, 3])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
            helper.make_tensor_value_info("distances", TensorProto.DOUBLE, [None, 3]),
        ],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def expected(body: dict[str, object], centers: np.ndarray = CENTERS) -> tuple[int, float]:
    """The level and the distance that a bundle around `centers` has to answer."""
    row = (np.array([body[name] for name in USED], dtype=float) - MEAN) / SCALE
    distances = np.linalg.norm((centers - MEAN) / SCALE - row, axis=1)
    return int(distances.argmin()), float(distances.min())


def members(centers: np.ndarray) -> dict[str, object]:
    """One member at each centre, and one that can't be assessed."""
    place = {"ibukota": "Surabaya", "lat": -7.25, "lon": 112.75}

    def features(row: np.ndarray) -> dict[str, float | None]:
        return {**dict(zip(USED, map(float, row), strict=True)), **dict.fromkeys(LEFT_OUT)}

    return {
        "period": 2024,
        "members": [
            {
                "entity": f"P{31 + rank}",
                "name": f"Provinsi {rank}",
                "period": 2024,
                "place": place,
                "features": features(row),
                "figure_period": dict.fromkeys(USED, 2024) | dict.fromkeys(LEFT_OUT),
                "cluster": rank,
                "distance": 0.0,
                "gap": None if rank == 0 else dict.fromkeys(USED, 0.5),
            }
            for rank, row in enumerate(centers)
        ],
        "not_assessed": [
            {
                "entity": "P95",
                "name": "Papua Tengah",
                "place": {"ibukota": None, "lat": None, "lon": None},
                "features": dict.fromkeys(EDUCATION.feature_names),
                "missing": list(USED),
                "reason": {"id": "Tanpa angka", "en": "No figures"},
            }
        ],
        "history": [{"entity": "P31", "period": 2023, "cluster": None}],
        "breaks": [{"entity": "P95", "period": 2024, "note": {"id": "Pemekaran", "en": "Division"}}],
        "movement": {
            "against": {"model_version": "v1", "data_version": "v1", "period": 2023, "levels": 3},
            "moves": [
                {
                    "entity": "P31",
                    "name": "Provinsi 0",
                    "kind": "up",
                    "from": 1,
                    "to": 0,
                    "from_text": TEXTS[1],
                    "to_text": TEXTS[0],
                    "note": None,
                }
            ],
        },
    }


def write_bundle(folder: Path, centers: np.ndarray = CENTERS, *, data_version: str = "v1", **changes: object) -> str:
    """Writes a bundle and returns its manifest's sha256; `changes` replace entries of the manifest."""
    folder.mkdir(parents=True)
    (folder / MODEL).write_bytes(onnx_model(centers))
    (folder / MEMBERS).write_text(json.dumps(members(centers)))
    cluster, distance = expected(BODY, centers)
    labels = EDUCATION.task.labels(3)
    manifest = {
        "model": "education",
        "task": "clustering",
        "trained_at": "2026-01-02T03:04:05+00:00",
        "run_id": "",
        "data": {
            "version": data_version,
            "md5": "0" * 32,
            "rows": 3,
            "rows_rejected": 0,
            "period": 2024,
            "git_commit": "",
            "query": "SELECT 1",
        },
        "code": {"git_commit": "", "lock_sha256": ""},
        "features_used": USED,
        "features_left_out": [
            {"name": name, "reason": {"id": "Jarang terbit", "en": "Seldom published"}, "published_share": 0.5}
            for name in LEFT_OUT
        ],
        "training_range": {
            name: {"minimum": float(column.min()), "maximum": float(column.max())}
            for name, column in zip(USED, centers.T, strict=True)
        },
        "levels": [
            {
                "cluster": rank,
                "label": {"id": labels[rank].id, "en": labels[rank].en},
                "text": f"{labels[rank].id} ({labels[rank].en})",
                "size": 1,
                "center": dict(zip(USED, map(float, row), strict=True)),
            }
            for rank, row in enumerate(centers)
        ],
        "geometry": {
            "lower": [-1e3] * 3,
            "upper": [1e3] * 3,
            "mean": MEAN.tolist(),
            "deviation": SCALE.tolist(),
            "centers": ((centers - MEAN) / SCALE).tolist(),
        },
        "metrics": {"silhouette": 0.37},
        "sweep": [{"k": 3, "run_id": "", "metrics": {"silhouette": 0.37}, "admissible": True, "reason": None}],
        "fingerprint": hashlib.sha256(centers.tobytes()).hexdigest(),
        "example": {"request": BODY, "cluster": cluster, "distance_to_center": distance},
        "files": {name: digest(folder / name).model_dump() for name in (MODEL, MEMBERS)},
    }
    text = parse_manifest(json.dumps({**manifest, **changes}).encode()).model_dump_json()
    (folder / MANIFEST).write_text(text)
    return hashlib.sha256(text.encode()).hexdigest()
