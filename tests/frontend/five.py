"""The five models that are no clustering of provinces, answered for by the real API's own code.

Their bundles are made by hand, so that no training is waited for; what is told of them is told by `backend`, so that a
page that shows the stand-in shows the API.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI

from backend.app import create_app
from backend.registry_client import RegistryStatus, RunEntry, Target, VersionEntry
from backend.requests import Validator
from backend.served import Served, load
from sigap.bundle import (
    MANIFEST,
    MEMBERS,
    MODEL,
    TAG_BUNDLE_PATH,
    TAG_BUNDLE_RUN,
    TAG_MANIFEST_SHA256,
    Manifest,
    digest,
    parse_manifest,
)
from sigap.catalog import Declaration
from sigap.catalog.bitcoin_price import BITCOIN_PRICE
from sigap.catalog.car_price import CAR_PRICE
from sigap.catalog.credit_approval import CREDIT_APPROVAL
from sigap.catalog.customer_segments import CUSTOMER_SEGMENTS
from sigap.catalog.loan_approval import LOAN_APPROVAL
from sigap.settings import Settings
from tests.backend.task_bundles import encoded, inputs, linear, nearest
from tests.frontend import trials

FIVE: tuple[Declaration, ...] = (CAR_PRICE, CUSTOMER_SEGMENTS, LOAN_APPROVAL, CREDIT_APPROVAL, BITCOIN_PRICE)
MOMENT = datetime(2026, 11, 20, 6, 12, tzinfo=UTC)
# Credit applications are refused unless a test says otherwise: a label of noise yields no champion.
REFUSED = "credit_approval"
WHY = "None of 4 candidates is surely better than guessing (always “Approved”): accuracy +0.004 [-0.031, +0.039]."
WHY_ID = "Tidak satu pun dari 4 kandidat cukup baik untuk dipakai: accuracy +0,004 [-0,031; +0,039]."
# What moves an answer, in the answer's own unit, a unit or a category each; everything else counts for nothing.
SLOPES: dict[str, dict[str, float]] = {
    "car_price": {
        "curbweight": 4.2, "horsepower": 55.0, "enginesize": 38.0, "CompanyName=bmw": 6500.0,
        "CompanyName=porsche": 9000.0, "CompanyName=toyota": -600.0, "aspiration=turbo": 700.0,
    },
    "loan_approval": {
        "Credit_History": 3.1, "LoanAmount": -4e-6, "ApplicantIncome": 3e-5, "Married=Yes": 0.3,
        "Property_Area=Semiurban": 0.5, "Property_Area=Rural": -0.4,
    },
    "credit_approval": {
        "Credit_Score": 0.011, "Had_Past_Default": -1.6, "Annual_Income": 9e-6, "Number_of_Open_Accounts": -0.05,
    },
}  # fmt: skip
BIAS = {"car_price": -7800.0, "loan_approval": -1.7, "credit_approval": -7.5}
REFERENCE: dict[str, Any] = {
    "Gender": "Male", "Married": "Yes", "Dependents": "0", "Education": "Graduate", "Self_Employed": "No",
    "ApplicantIncome": 3812.5, "CoapplicantIncome": 1188.5, "LoanAmount": 128000.0, "Loan_Amount_Term": 360.0,
    "Credit_History": 1.0, "Property_Area": "Semiurban", "Age": 43.0, "Annual_Income": 61000.0, "Credit_Score": 575.0,
    "Loan_Amount": 27000.0, "Loan_Duration_Years": 15.0, "Number_of_Open_Accounts": 5.0, "Had_Past_Default": 0.0,
}  # fmt: skip


@dataclass
class Registry:
    """What the API would ask MLflow for: versions, runs and their decisions."""

    refused: set[str] = field(default_factory=lambda: {REFUSED})
    away: bool = False
    manifests: dict[str, Manifest] = field(default_factory=dict)
    # Models of which a training goes on, and whether one ended before it.
    training: dict[str, bool] = field(default_factory=dict)

    async def versions(self, model: str) -> list[VersionEntry]:
        record = {"run_id": f"run-{model}", "promote": True, "rule": "first", "mode": "auto", "asked_by": "pipeline",
                  "reason": "There is no champion, and the challenger meets every floor."}  # fmt: skip
        tags = {"decision": json.dumps(record), "data_version": "v1", "data_md5": "0" * 32}
        tags |= {TAG_BUNDLE_RUN: f"run-{model}", TAG_BUNDLE_PATH: "bundle", TAG_MANIFEST_SHA256: "a" * 64}
        return [] if model in self.refused else [VersionEntry("3", f"run-{model}", MOMENT, tags)]

    async def version(self, model: str, _number: str) -> VersionEntry:
        return (await self.versions(model))[0]

    async def aliases(self, model: str) -> dict[str, list[str]]:
        return {} if model in self.refused else {"3": ["champion"]}

    async def run(self, run_id: str) -> RunEntry:
        model = run_id.partition("-")[2]
        found = [each for each in await self.runs(model, 2) if each.run_id == run_id]
        if not found:
            raise trials.unknown(run_id)
        return found[0]

    async def manifest(self, target: Target) -> Manifest:
        model = target.run_id.partition("-")[2]
        if model not in self.manifests:
            raise trials.unknown(target.run_id)
        return self.manifests[model]

    async def experiment(self, model: str) -> str:
        return model

    async def candidates(self, run: RunEntry) -> list[RunEntry]:
        return trials.candidates(run)

    async def run_file(self, run: RunEntry, path: str, _limit: int) -> bytes:
        return trials.stored(run, path)

    async def runs(self, model: str, limit: int) -> list[RunEntry]:
        tags = {"model_version": "v3", "champion": "v3", "data_version": "v1", "promoted": "True"}
        if model in self.refused:
            tags = {
                "rule": "inadmissible",
                "reason": WHY,
                "reason_id": WHY_ID,
                "data_version": "v1",
                "promoted": "False",
            }
        newest = trials.run(model, f"run-{model}", tags)
        if model in self.training:
            going_on = replace(trials.run(model, f"now-{model}", {}), status="RUNNING", ended_at=None)
            return [going_on, *([newest] if self.training[model] else [])]
        if model != "car_price":
            return [newest]
        before = {"data_version": "v0", "promoted": "False", "rule": "worse", "reason": "It is worse."}
        return [newest, trials.run(model, trials.earlier(model), before)][:limit]

    @property
    def address(self) -> str:
        return "http://127.0.0.1:5000"

    @property
    def status(self) -> RegistryStatus:
        return RegistryStatus(not self.away, 0.004, time.monotonic(), "gone" if self.away else None)


class Five:
    """The five models behind the real API's routes, without a registry to follow."""

    def __init__(self) -> None:
        # Nothing is written: what is loaded stays in memory, and no follower runs.
        with tempfile.TemporaryDirectory(prefix="sigap-five-") as folder:
            self.app: FastAPI = create_app(Settings(state_dir=Path(folder) / "state"), FIVE)
            self.service = self.app.state.service
            self.registry = self.service.registry = Registry()
            self.served = {each.name: _served(Path(folder), each) for each in FIVE}
            self.registry.manifests = {name: served.manifest for name, served in self.served.items()}
        self.refuse(REFUSED)

    def refuse(self, *names: str) -> None:
        """Leaves these models without a champion, and gives all others theirs."""
        self.registry.refused = set(names)
        for name, follower in self.service.followers.items():
            follower.served = None if name in names else self.served[name]
            why = f"No version of {name} has the alias 'champion'. The last run on the data v1 promoted nothing: {WHY}"
            follower.fault = why if name in names else None


def _served(folder: Path, declared: Declaration) -> Served:
    place = folder / "bundles" / declared.name
    place.mkdir(parents=True)
    model, manifest, members = {
        "regression": _regression,
        "classification": _classification,
        "clustering": _clustering,
        "forecasting": _forecasting,
    }[declared.task.kind](declared)
    (place / MODEL).write_bytes(model)
    names = [MODEL]
    if members is not None:
        (place / MEMBERS).write_text(json.dumps(members))
        names.append(MEMBERS)
    manifest["files"] = {name: digest(place / name).model_dump() for name in names}
    text = parse_manifest(json.dumps({**_common(declared), **manifest}).encode()).model_dump_json()
    (place / MANIFEST).write_text(text)
    return load(place, declared, Validator(declared), version="3", manifest_sha256="a" * 64, origin="registry")


def _common(declared: Declaration) -> dict[str, Any]:
    numbers = [feature for feature in declared.features if not feature.categories]
    return {
        "model": declared.name,
        "task": declared.task.kind,
        "trained_at": MOMENT.isoformat(),
        "run_id": f"run-{declared.name}",
        "data": {
            "version": "v1",
            "md5": "5f1c0e0c8d1f4b6f9a6a3f2b7b1c9d10",
            "rows": 600,
            "rows_rejected": 3 if declared.name == "loan_approval" else 0,
            "period": None,
            "git_commit": "48e668f" + "0" * 33,
            "query": f"SELECT … FROM {declared.source.relation}",
            "origin": "import" if declared.name == "customer_segments" else "mock",
        },
        "code": {"git_commit": "48e668f" + "0" * 33, "lock_sha256": "e" * 64},
        "features_used": list(declared.feature_names),
        "features_left_out": [],
        "training_range": {
            # The example lies within, so that only what a test enters lies outside.
            each.name: _span(declared.example.get(each.name), each.minimum, each.maximum)
            for each in numbers
        },
        "fingerprint": "f" * 64,
    }


def _span(value: float | None, low: float, high: float) -> dict[str, float]:
    if value is None:
        return {"minimum": low, "maximum": high}
    return {"minimum": max(low, 0.4 * value), "maximum": min(high, max(2.5 * value, low + 1.0))}


def _compared(metric: str, model: float, spread: float, baseline: float, **told: Any) -> dict[str, Any]:
    """A winner beside another candidate and the baseline, as every manifest of a task with a target has it."""
    better = (baseline - model) if metric != "accuracy" else (model - baseline)
    verdict = told["verdict"]
    low = 0.6 * better if verdict == "better" else better - 0.05 * (abs(baseline) + 1e-9)
    return {
        "target": told["target"],
        "winner": "random_forest",
        "metrics": {metric: model, f"{metric}_sd": spread, f"baseline_{metric}": baseline, **told["more"]},
        "sweep": [
            {"name": name, "params": {}, "metrics": {metric: score, f"{metric}_sd": spread}, "admissible": ok,
             "reason": None if ok else {"id": "tidak lebih baik daripada tebakan", "en": "no better than guessing"}}
            for name, score, ok in (
                ("logistic_regression-1", model - 0.4 * better, True),
                ("random_forest", model, True),
                ("hist_gradient_boosting", baseline, False),
            )
        ],
        "baseline": {
            "name": "rule",
            "text": told["text"],
            "metrics": {metric: baseline},
            "gain": {"metric": metric, "difference": better, "low": low, "high": 1.4 * better + 1e-6,
                     "confidence": 0.95, "rows": 600},
            "verdict": verdict,
        },
    }  # fmt: skip


def _weights(declared: Declaration) -> np.ndarray:
    """A weight a column of the ONNX input, out of `SLOPES`."""
    slopes, weights = SLOPES[declared.name], []
    for column in inputs(declared):
        if column["kind"] == "one_hot":
            weights += [slopes.get(f"{column['feature']}={each}", 0.0) for each in column["categories"]]
        else:
            weights.append(slopes.get(column["feature"], 0.0))
    return np.array(weights)


def _sum(declared: Declaration, values: Mapping[str, Any]) -> float:
    return float(encoded(declared, values) @ _weights(declared)) + BIAS[declared.name]


def _regression(declared: Declaration) -> tuple[bytes, dict[str, Any], None]:
    value = _sum(declared, declared.example)
    labels = [{"id": each.id, "en": each.en} for each in declared.task.segments.labels]
    edges = [None, 12_500.0, 23_900.0, None]
    manifest = {
        **_compared("rmse", 1454.0, 72.0, 8119.0, verdict="better", target="price",
                    text={"id": "median 11.200 dolar AS", "en": "the median, 11,200 US dollars"},
                    more={"r2": 0.964, "r2_sd": 0.005, "mae": 924.0, "mae_sd": 39.0, "baseline_mae": 5074.0,
                          "nested_rmse": 1537.0, "nested_mae": 947.0, "segment_accuracy": 0.907}),
        "inputs": inputs(declared),
        "interval": {"confidence": 0.9, "scale": "log", "low": -0.17, "high": 0.16, "coverage": 0.917, "method": "CV+"},
        "segments": [
            {"label": label, "minimum": low, "maximum": high, "rows": 200}
            for label, low, high in zip(labels, edges, edges[1:], strict=False)
        ],
        "example": {
            "request": declared.example,
            "answer": {"value": value, "low": value * math.exp(-0.17), "high": value * math.exp(0.16)},
        },
    }  # fmt: skip
    return linear(_weights(declared), BIAS[declared.name], "value"), manifest, None


def _classification(declared: Declaration) -> tuple[bytes, dict[str, Any], None]:
    fair = [("Gender", "Male", 480, 0.85, 0.69, 1.0), ("Gender", "Female", 112, 0.79, 0.67, 0.93),
            ("Property_Area", "Semiurban", 233, 0.9, 0.77, 1.0), ("Property_Area", "Urban", 202, 0.84, 0.66, 0.93),
            ("Property_Area", "Rural", 179, 0.68, 0.61, 0.76)]  # fmt: skip
    names = ("feature", "value", "rows", "approval_rate", "actual_rate", "disparate_impact")
    ties = declared.name == "loan_approval"
    text = {"id": "Riwayat kredit di atas 0.5 → “Loan Approved”", "en": "Credit history above 0.5 → “Loan Approved”"}
    manifest = {
        **_compared("accuracy", 0.811, 0.028, 0.809 if ties else 0.72, verdict="ties" if ties else "better",
                    target=declared.target.name, text=text,
                    more={"roc_auc": 0.77, "roc_auc_sd": 0.04, "brier": 0.151, "nested_accuracy": 0.806}),
        "inputs": inputs(declared),
        "threshold": 0.5,
        "calibrated": ties,
        "calibration": {"id": "terkalibrasi pada data tertahan", "en": "calibrated on held-out rows"},
        "reference": {name: REFERENCE[name] for name in declared.feature_names},
        "fairness": [dict(zip(names, row, strict=True)) for row in fair] if ties else [],
        "example": {
            "request": declared.example,
            "answer": {"probability": 1 / (1 + math.exp(-_sum(declared, declared.example)))},
        },
    }  # fmt: skip
    return linear(_weights(declared), BIAS[declared.name], "probability"), manifest, None


def _clustering(declared: Declaration) -> tuple[bytes, dict[str, Any], dict[str, Any]]:
    first = encoded(declared, declared.example)
    off = np.zeros_like(first)
    age = list(declared.feature_names).index("Age")
    off[sum(len(each["categories"]) or 1 for each in inputs(declared)[:age])] = 12.0
    levels = [
        {"cluster": rank, "label": {"id": f"Segmen {rank + 1}", "en": f"Segment {rank + 1}"}, "text": "x",
         "size": size, "center": {"Age": years}}
        for rank, (size, years) in enumerate(((290, 38.0), (190, 50.0), (120, 26.0)))
    ]  # fmt: skip
    told = (
        (("Spending_Score", "Average", 0.62, 0.25, 0.8), ("Ever_Married", "Yes", 0.95, 0.59, 0.7)),
        (("Age", None, 51.2, 43.5, 0.6), ("Profession", "Executive", 0.31, 0.07, 0.9)),
        (("Age", None, 27.4, 43.5, -1.0), ("Graduated", "Yes", 0.21, 0.62, -0.8), ("Family_Size", None, 4.1, 2.9, 0.8)),
    )
    names = ("feature", "category", "here", "overall", "effect")
    typical = {**declared.example, "Work_Experience": 1.0}
    manifest = {
        "inputs": inputs(declared),
        "levels": levels,
        "metrics": {"silhouette": 0.228, "stability": 0.96, "stability_sd": 0.02, "silhouette_shuffled": 0.12},
        "sweep": [
            {"k": k, "run_id": "", "metrics": {"silhouette": score, "stability": 0.9}, "admissible": k != 2,
             "reason": None if k != 2 else {"id": "terlalu goyah", "en": "too unstable"}}
            for k, score in ((2, 0.236), (3, 0.228), (4, 0.19), (5, 0.17))
        ],
        "profiles": [
            {"cluster": rank, "typical": {**typical, "Age": levels[rank]["center"]["Age"]},
             "traits": [dict(zip(names, trait, strict=True)) for trait in traits]}
            for rank, traits in enumerate(told)
        ],
        "example": {"request": declared.example, "cluster": 0, "distance_to_center": 0.0},
    }  # fmt: skip
    members = {"period": None, "members": [], "not_assessed": [], "history": [], "breaks": [], "movement": None}
    return nearest(np.array([first, first + off, first - off])), manifest, members


def _forecasting(declared: Declaration) -> tuple[bytes, dict[str, Any], None]:
    lags = declared.task.lags
    closes = [96_000.0 * math.exp(0.004 * math.sin(step)) for step in range(lags + 1)]
    # The naive forecast itself: whatever happened, nothing changes.
    model = linear(np.zeros(lags), 0.0, "change")
    manifest = {
        **_compared("rmse_percent", 3.59, 0.87, 3.59, verdict="ties", target="close",
                    text={"id": "ramalan naif: harga terakhir tetap", "en": "naive forecast: the last price stays"},
                    more={"direction": 0.5, "coverage": 0.898, "naive_rmse_percent": 3.59}),
        "features_used": ["close"],
        "training_range": {},
        "step": declared.task.step,
        "lags": lags,
        "interval": {"confidence": 0.9, "scale": "volatility", "low": -0.6, "high": 0.6, "coverage": 0.898,
                     "method": "split"},
        "volatility_floor": 0.01,
        "last_time": "2026-11-19T00:00:00+00:00",
        "last_value": closes[-1],
        "closes": closes,
        "note": {"id": "Tidak satu pun dari 4 model terbukti lebih baik daripada ramalan naif",
                 "en": "None of 4 models is shown to be better than the naive forecast"},
    }  # fmt: skip
    # What is served is the baseline itself: there is no difference to measure.
    manifest["baseline"]["gain"] |= {"difference": 0.0, "low": 0.0, "high": 0.0}
    naive = closes[-1]
    manifest["example"] = {
        "request": {},
        "answer": {"value": naive, "low": naive * math.exp(-0.06), "high": naive * math.exp(0.06), "naive": naive},
    }
    manifest["data"] = {**_common(declared)["data"], "period": "2026-11-19T00:00:00+00:00"}
    return model, manifest, None
