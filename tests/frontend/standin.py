"""A small API that answers as the contract says, on the real figures, so that the dashboard can be tested alone.

`python -m tests.frontend.standin PORT [LEVELS|empty]` serves it; the tests use `answers()` without a server.
"""

from __future__ import annotations

import copy
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from sklearn.cluster import KMeans
from sklearn.metrics import davies_bouldin_score, silhouette_score
from sklearn.preprocessing import StandardScaler

from backend.describe import summary
from backend.history import Decisions, decisions
from backend.performance import Performance
from backend.retrains import Retrains
from backend.runs import Pages, RunList, RunSummary
from backend.runs import detail as run_detail
from backend.runs import summary as run_summary
from backend.schemas import ModelSummary
from sigap.bundle import Bilingual
from sigap.catalog import declaration
from tests.frontend.desk import Desk, desk_routes
from tests.frontend.drifting import DriftDesk
from tests.frontend.five import Five

SEED = Path(__file__).resolve().parents[2] / "data" / "seed" / "education"
EDUCATION = declaration("education")
USED = ("rata_lama_sekolah", "harapan_lama_sekolah", "rasio_guru_murid")
PAGES = Pages(mlflow=None, mage=None)
SIGN = np.array([1, 1, -1])
RISEN = "P14"
NONE_YET = {
    "type": "about:blank",
    "title": "No champion yet",
    "status": 503,
    "detail": "The model 'education' has no champion to serve. Train one: ./run pipeline education",
}


def _bilingual(text: Any) -> dict[str, str]:
    return {"id": text.id, "en": text.en}


class Clustering:
    """K-Means on the as-of table of one year, clusters numbered by readiness."""

    def __init__(self, table: pd.DataFrame, k: int) -> None:
        values = table[list(USED)].to_numpy(float)
        self.low, self.high = np.quantile(values, 0.05, axis=0), np.quantile(values, 0.95, axis=0)
        self.scaler = StandardScaler().fit(values.clip(self.low, self.high))
        scaled = self.transform(values)
        self.means = KMeans(k, n_init=20, random_state=42).fit(scaled)
        order = np.argsort(-(self.means.cluster_centers_ * SIGN).mean(axis=1))
        self.centers = self.means.cluster_centers_[order]
        self.real_centers = self.scaler.inverse_transform(self.centers)
        labels = self.assign(values)[0]
        self.metrics = {
            "silhouette": float(silhouette_score(scaled, labels)),
            "inertia": float(self.means.inertia_),
            "davies_bouldin": float(davies_bouldin_score(scaled, labels)),
            "smallest_cluster": int(np.bincount(labels).min()),
        }

    def transform(self, values: np.ndarray) -> np.ndarray:
        return self.scaler.transform(values.clip(self.low, self.high))

    def assign(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        distance = np.linalg.norm(self.transform(values)[:, None, :] - self.centers[None], axis=2)
        return distance.argmin(axis=1), distance.min(axis=1)


def _as_of(figures: pd.DataFrame, year: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Latest figures of each entity of `year`, at most two years old, and the year of each."""
    recent = figures[(figures.tahun <= year) & (figures.tahun >= year - 2)].sort_values("tahun").copy()
    present = figures[figures.tahun == year].provinsi_id
    recent = recent[recent.provinsi_id.isin(present)]
    if year >= 2024:  # figures of the old territories say nothing about the new ones
        broken = pd.read_csv(SEED / "breaks.csv").provinsi_id
        old = recent.provinsi_id.isin(broken) & (recent.tahun < 2024)
        recent.loc[old, ["angka_melek_huruf", "rata_lama_sekolah", "harapan_lama_sekolah"]] = np.nan
    names = list(EDUCATION.feature_names)
    values = recent.groupby("provinsi_id")[names].last().dropna(subset=list(USED))
    years = recent[names].notna().mul(recent.tahun, axis=0).replace(0, np.nan).groupby(recent.provinsi_id).max()
    return values, years


@lru_cache
def answers(k: int = 3) -> dict[str, Any]:
    """The answers of GET /models/education and /models/education/clusters with `k` levels, and the fitted model."""
    figures = pd.read_csv(SEED / "province_figures.csv")
    places = pd.read_csv(SEED / "provinces.csv").set_index("provinsi_id")
    notes = pd.read_csv(SEED / "breaks.csv")
    values, years = _as_of(figures, 2024)
    model = Clustering(values, k)
    labels = EDUCATION.task.labels(k)
    cluster, distance = model.assign(values[list(USED)].to_numpy(float))
    levels = [
        {
            "cluster": rank,
            "label": _bilingual(label),
            "text": f"{label.id} ({label.en})",
            "size": int((cluster == rank).sum()),
            "center": dict(zip(USED, map(float, model.real_centers[rank]), strict=True)),
        }
        for rank, label in enumerate(labels)
    ]
    members = []
    for row, (entity, features) in enumerate(values.iterrows()):
        place = places.loc[entity]
        rank = int(cluster[row])
        members.append(
            {
                "entity": entity,
                "name": place.provinsi,
                "period": 2024,
                "place": {"ibukota": place.ibukota, "lat": float(place.lat), "lon": float(place.lon)},
                "features": {k: None if pd.isna(v) else float(v) for k, v in features.items()},
                "figure_period": {k: None if pd.isna(v) else int(v) for k, v in years.loc[entity].items()},
                "cluster": rank,
                "distance": float(distance[row]),
                "gap": {k: float(levels[rank - 1]["center"][k] - features[k]) if rank else None for k in USED},
            }
        )
    breaks = [
        {"entity": b.provinsi_id, "period": int(b.tahun), "note": {"id": b.keterangan_id, "en": b.keterangan_en}}
        for b in notes.itertuples()
    ]
    manifest = {
        "served": True,
        "model_version": f"v{k}",
        "alias": "champion",
        "trained_at": "2026-11-20T06:12:44Z",
        "data": {
            "version": "v2",
            "md5": "5f1c0e0c8d1f4b6f9a6a3f2b7b1c9d10",
            "rows": len(figures),
            "rows_rejected": 0,
            "period": 2024,
            "git_commit": "48e668f0000000000000000000000000000000000",
            "query": "SELECT …",
            "origin": "seed",
        },
        "metrics": {**model.metrics, "stability": 0.75},
        "features_used": list(USED),
        "features_left_out": _left_out(values),
        "levels": levels,
        "sweep": _sweep(values),
    }
    return {
        "model": {**_declared(_ranges(values)), **manifest},
        "clusters": {
            "model": "education",
            "model_version": f"v{k}",
            "data_version": "v2",
            "levels": levels,
            "period": 2024,
            "members": members,
            "not_assessed": [],
            "history": _history(figures, model),
            "breaks": breaks,
            "movement": _movement(figures, model, members, breaks, levels),
        },
        "fitted": model,
    }


def _ranges(values: pd.DataFrame) -> dict[str, tuple[float, float]]:
    return {name: (float(values[name].min()), float(values[name].max())) for name in USED}


def _declared(seen: dict[str, tuple[float, float]] | None = None) -> dict[str, Any]:
    return {
        "name": EDUCATION.name,
        "title": _bilingual(EDUCATION.title),
        "question": _bilingual(EDUCATION.question),
        "task": EDUCATION.task.kind,
        "data_source": _bilingual(EDUCATION.data_source),
        "features": [
            f.model_dump(mode="json") | {"training_range": (seen or {}).get(f.name)} for f in EDUCATION.features
        ],
        "request_columns": [
            {
                "name": c.name,
                "kind": c.kind,
                "meaning": _bilingual(c.meaning),
                "required": True,
                "pattern": c.pattern,
                "form": _bilingual(c.form) if c.form else None,
            }
            for c in map(EDUCATION.column, EDUCATION.request_columns)
        ],
        "example": EDUCATION.example,
    }


def _left_out(values: pd.DataFrame) -> list[dict[str, Any]]:
    left = []
    for name in EDUCATION.feature_names:
        if name not in USED:
            known = int(values[name].notna().sum())
            left.append(
                {
                    "name": name,
                    "published_share": known / len(values),
                    "reason": {
                        "id": f"Hanya terbit untuk {known} dari {len(values)} provinsi.",
                        "en": f"Published for only {known} of {len(values)} provinces.",
                    },
                }
            )
    return left


def _sweep(values: pd.DataFrame) -> list[dict[str, Any]]:
    stability = {2: 0.84, 3: 0.75, 4: 0.58, 5: 0.55, 6: 0.52}
    entries = []
    for k, share in stability.items():
        fitted = Clustering(values, k)
        reason = {"id": "Berubah-ubah bila datanya sedikit berbeda.", "en": "Changes when the data differs slightly."}
        entries.append(
            {
                "k": k,
                "run_id": "",
                "metrics": {**fitted.metrics, "stability": share},
                "admissible": share >= 0.6,
                "reason": None if share >= 0.6 else reason,
            }
        )
    return entries


def _history(figures: pd.DataFrame, model: Clustering) -> list[dict[str, Any]]:
    ratio = figures[figures.tahun == 2023].set_index("provinsi_id").rasio_guru_murid
    history = []
    for row in figures.itertuples():
        point = np.array([[row.rata_lama_sekolah, row.harapan_lama_sekolah, ratio.get(row.provinsi_id, np.nan)]])
        known = np.isfinite(point).all() and row.tahun >= 2023
        history.append(
            {
                "entity": row.provinsi_id,
                "period": int(row.tahun),
                "cluster": int(model.assign(point)[0][0]) if known else None,
                "features": {n: float(v) if np.isfinite(v) else None for n, v in zip(USED, point[0], strict=True)},
            }
        )
    return history


def _movement(figures: pd.DataFrame, model: Clustering, members: list, breaks: list, levels: list) -> dict[str, Any]:
    old, _ = _as_of(figures, 2023)
    before = dict(zip(old.index, model.assign(old[list(USED)].to_numpy(float))[0].tolist(), strict=True))
    broken = {b["entity"]: b["note"] for b in breaks}
    moves = []
    for member in members:
        entity, now = member["entity"], member["cluster"]
        then = before.get(entity)
        kind = "new" if then is None else "same" if then == now else "up" if now < then else "down"
        note = broken.get(entity)
        moves.append(
            {
                "entity": entity,
                "name": member["name"],
                "kind": "break" if note else kind,
                "from": then,
                "to": now,
                "from_text": None if then is None else levels[then]["text"],
                "to_text": levels[now]["text"],
                "note": note,
                "from_features": None if then is None else {n: float(old.loc[entity, n]) for n in USED},
            }
        )
    return {"against": {"model_version": "v1", "data_version": "v1", "period": 2023, "levels": 3}, "moves": moves}


def story() -> dict[str, Any]:
    """The clusters after Riau brought new mean years of schooling, which lifted it to the best level."""
    told = copy.deepcopy(answers()["clusters"]) | {"model_version": version_of("story")}
    member = next(each for each in told["members"] if each["entity"] == RISEN)
    before = {name: member["features"][name] for name in USED} | {"rata_lama_sekolah": 8.2, "rasio_guru_murid": 14.9}
    then = answers()["fitted"].assign(np.array([[before[name] for name in USED]]))[0]
    assert (int(then[0]), member["cluster"]) == (1, 0)
    for move in told["movement"]["moves"]:
        if move["entity"] == RISEN:
            move |= {"kind": "up", "from": 1, "to": 0, "from_features": before}
    return told


def predict(body: dict[str, Any], k: int = 3) -> tuple[int, dict[str, Any]]:
    """Status and body of POST /models/education/predict."""
    errors = []
    for feature in EDUCATION.features:
        value = body.get(feature.name)
        if value is None and feature.name in USED:
            errors.append({"field": feature.name, "value": None, "expected": "a number", "remedy": "Give it."})
        elif value is not None and not feature.minimum <= value <= feature.maximum:
            expected = f"between {feature.minimum} and {feature.maximum}"
            errors.append({"field": feature.name, "value": value, "expected": expected, "remedy": "Correct it."})
    if errors:
        return 422, {"type": "about:blank", "title": "Invalid request", "status": 422, "detail": "", "errors": errors}
    model, levels = answers(k)["fitted"], answers(k)["model"]["levels"]
    point = np.array([[body[name] for name in USED]], float)
    rank, distance = (float(x[0]) for x in model.assign(point))
    level = levels[int(rank)]
    gap = {n: levels[int(rank) - 1]["center"][n] - body[n] for n in USED} if rank else None
    outside = [n for i, n in enumerate(USED) if not model.low[i] - 3 <= body[n] <= model.high[i] + 3]
    return 200, {
        "cluster": int(rank),
        "cluster_label": level["text"],
        "distance_to_center": distance,
        "model_version": f"v{k}",
        "model": "education",
        "data_version": "v2",
        "features_used": list(USED),
        "features_left_out": [n for n in EDUCATION.feature_names if n not in USED],
        "gap_to_next_level": gap,
        "out_of_training_range": outside,
    }


def make_app(mode: str = "3") -> FastAPI:
    """The stand-in; `mode` is the number of levels, or `empty` (no champion), or `story` (a
    province rose); `PUT /mode/{mode}` changes it."""
    app = FastAPI()
    app.state.mode = mode
    # What is not answered below is answered by the real API's own routes.
    app.state.five = five = Five()

    @app.put("/mode/{mode}")
    def set_mode(mode: str) -> str:
        app.state.mode = mode
        return mode

    @app.get("/models")
    def models() -> Any:
        others = [_plain(summary(each, EDUCATION.name)) for each in five.service.followers.values()]
        return {"models": [education_summary(app.state.mode), *others]}

    @app.get("/models/education")
    def model() -> Any:
        if app.state.mode == "empty":
            return {**dict.fromkeys(answers()["model"]), **_declared(), "served": False, "alias": "champion"}
        return answers(levels_of(app.state.mode))["model"] | {"model_version": version_of(app.state.mode)}

    @app.get("/models/education/clusters")
    def clusters() -> Any:
        if app.state.mode == "story":
            return story()
        return JSONResponse(NONE_YET, 503) if app.state.mode == "empty" else answers(int(app.state.mode))["clusters"]

    @app.post("/models/education/predict")
    async def ask(request: Request) -> Any:
        if app.state.mode == "empty":
            return JSONResponse(NONE_YET, 503)
        status, body = predict(await request.json(), levels_of(app.state.mode))
        return JSONResponse(body, status)

    @app.post("/models/education/predict-batch")
    async def ask_many(request: Request) -> Any:
        if app.state.mode == "empty":
            return JSONResponse(NONE_YET, 503)
        rows = []
        for number, body in enumerate(await request.json(), start=1):
            status, told = predict(body, levels_of(app.state.mode))
            rows.append({"row": number, "status": "answered" if status == 200 else "refused", **told})
        return {"model_version": version_of(app.state.mode), "data_version": "v2", "predictions": rows}

    @app.get("/models/education/runs")
    async def runs() -> Any:
        found = await five.registry.runs("education", 50)
        listed = [RunSummary(**run_summary(each, EDUCATION, PAGES)) for each in found]
        return RunList(model="education", task="clustering", metric="silhouette", less_is_better=False, pages=PAGES,
                       runs=listed)  # fmt: skip

    @app.get("/models/education/runs/{run}")
    async def run(run: str) -> Any:
        return await run_detail(five.registry, await five.registry.run(run), EDUCATION, PAGES)  # type: ignore[arg-type]

    @app.get("/models/education/decisions")
    async def decided() -> Any:
        return Decisions(model="education", decisions=await decisions(five.registry, "education"))  # type: ignore[arg-type]

    app.state.drift = drift = DriftDesk()
    app.include_router(drift.routes())
    # By model, what its outcomes tell; of the others nothing is known yet.
    app.state.performance = {}

    @app.get("/models/{model}/performance")
    async def performance(model: str) -> Any:
        return app.state.performance.get(model) or Performance(
            model=model, measurable=model != "education", model_version=None, alarm=False, outcomes=0, newest=None,
            window_days=30, versions=[], history=[],
        )  # fmt: skip

    @app.get("/retrains")
    async def retrains() -> Any:
        return Retrains(retrains=[])

    app.state.desk = desk = Desk()
    app.include_router(desk_routes(desk))
    app.mount("/", five.app)
    return app


def levels_of(mode: str) -> int:
    """The number of levels in a mode that has a champion."""
    return 3 if mode == "story" else int(mode)


def version_of(mode: str) -> str:
    """The version of the model in a mode that has a champion."""
    return "v7" if mode == "story" else f"v{mode}"


def education_summary(mode: str) -> dict[str, Any]:
    """The line of GET /models about the stand-in's own model."""
    known = None if mode == "empty" else answers(levels_of(mode))["model"]
    return _plain(
        ModelSummary(
            name=EDUCATION.name,
            title=Bilingual(**_bilingual(EDUCATION.title)),
            question=Bilingual(**_bilingual(EDUCATION.question)),
            task=EDUCATION.task.kind,
            default=True,
            served=known is not None,
            model_version=version_of(mode) if known else None,
            data_version=known["data"]["version"] if known else None,
            data_origin=known["data"]["origin"] if known else None,
            levels=levels_of(mode) if known else None,
            silhouette=known["metrics"]["silhouette"] if known else None,
        )
    )


def _plain(summary: ModelSummary) -> dict[str, Any]:
    return summary.model_dump(mode="json")


if __name__ == "__main__":
    answers()
    uvicorn.run(make_app(*sys.argv[2:3]), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
