"""What is served: our bundles as training writes them, and the scikit-learn models that the peers serve.

Both are kept below `.sigap/bench/serving/models` and made again when `params.yaml` or the code of training changes.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import mlflow.sklearn
import pandas as pd
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from benchmarks.car import FILE, read_cars
from sigap.bundle import CodeEntry, DataEntry, read_manifest
from sigap.catalog import Declaration, declaration
from sigap.data import mock
from sigap.data.market import mock_candles
from sigap.settings import ROOT
from sigap.training.trainer import trainer

TREES = 100
FOREST = "car_price_forest"
SEED = ROOT / "data" / "seed" / "education"
# Of the models that only have to be loaded: the candidate that wins on their data, without the rest of the sweep.
_QUICK = {
    "loan_approval": "logistic_regression",
    "credit_approval": "logistic_regression-median_imputer_with_scaler",
    "bitcoin_price": "",
}


def prepare(folder: Path, say: Callable[[str], None]) -> dict[str, Path]:
    """Our bundles by model, and those of the peers in the folder `peers` beside them.

    `car_price_forest` is the model of that name with a forest of 100 trees, as the peers have it.
    """
    stamp, wanted = folder / "made_from", _stamp()
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in ("education", "car_price", *_QUICK, "customer_segments"):
            begin = time.monotonic()
            bundle = _train(folder / name, declaration(name), _params(name))
            say(f"trained {name}: {describe(bundle)}, {time.monotonic() - begin:.0f} s")
        _train(folder / FOREST, declaration("car_price"), _forest())
        _peer_models(folder / "peers", read_manifest(folder / "education").features_used)
        stamp.write_text(wanted)
    return {path.name: path for path in sorted(folder.iterdir()) if (path / "model.onnx").exists()}


def describe(bundle: Path) -> str:
    """The model in a bundle, in a few words."""
    manifest = read_manifest(bundle)
    kind = getattr(manifest, "winner", "") or f"K-Means, {len(getattr(manifest, 'levels', ()))} clusters"
    return f"{kind} on {manifest.data.rows} rows"


def _stamp() -> str:
    files = [ROOT / "params.yaml", Path(__file__), *sorted((ROOT / "sigap" / "training").glob("*.py"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def _params(name: str) -> dict[str, Any] | None:
    if name not in _QUICK:
        return None
    import yaml

    values: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())[name]
    values["candidates"] = {key: value for key, value in values["candidates"].items() if key == _QUICK[name]}
    return values if values["candidates"] else None


def _forest() -> dict[str, Any]:
    candidate = {"estimator": "random_forest", "preprocessor": "median_imputer", "grid": {"n_estimators": [TREES]}}
    return {"folds": 5, "repeats": 1, "inner_folds": 2, "candidates": {"random_forest": candidate}}


def _train(folder: Path, model: Declaration, values: dict[str, Any] | None) -> Path:
    how = trainer(model)
    params = how.params(ROOT, model.name) if values is None else how.parse_params(values)
    table = tables()[model.name]()
    prepared = how.prepare(model, table)
    tried = [how.fit(prepared, model, params, spec.name) for spec in how.candidates(params)]
    trained = how.choose(model, prepared, params, tried)
    data = DataEntry(
        version="bench", md5="0" * 32, rows=len(table), rows_rejected=0, period=how.summary(prepared)["period"],
        git_commit="", query="",
    )  # fmt: skip
    how.write_bundle(folder, trained, data=data, code=CodeEntry(git_commit="", lock_sha256=""))
    return folder


def tables() -> dict[str, Callable[[], pd.DataFrame]]:
    """By model, what it is trained on: the real education figures and, where it is at hand, the real car file."""
    return {
        "education": _education,
        "car_price": lambda: read_cars(FILE) if FILE.exists() else _named("car_price", mock.cars()),
        "customer_segments": lambda: _named("customer_segments", mock.customers()),
        "loan_approval": _loans,
        "credit_approval": lambda: _named("credit_approval", mock.credits()),
        "bitcoin_price": lambda: pd.DataFrame(mock_candles(2000)),
    }


def _named(name: str, table: pd.DataFrame) -> pd.DataFrame:
    model = declaration(name)
    declared = [*model.columns, *model.features, model.target]
    return table.rename(columns={each.sql.removeprefix("t."): each.name for each in declared if each and each.sql})


def _loans() -> pd.DataFrame:
    # The mock file is in thousands as the public one is; the way into the warehouse mends it.
    table = _named("loan_approval", mock.loans())
    return table.assign(LoanAmount=table["LoanAmount"] * 1000)


def _education() -> pd.DataFrame:
    model = declaration("education")
    provinces = pd.read_csv(SEED / "provinces.csv")[["provinsi_id", "ibukota", "lat", "lon"]]
    breaks = pd.read_csv(SEED / "breaks.csv").rename(columns={"keterangan_id": "break_id", "keterangan_en": "break_en"})
    table = pd.read_csv(SEED / "province_figures.csv").merge(provinces, how="left", on="provinsi_id")
    table = table.merge(breaks, how="left", on=["provinsi_id", "tahun"])
    columns = [column.name for column in model.columns] + list(model.feature_names)
    return table.reindex(columns=columns).sort_values(list(model.source.key)).reset_index(drop=True)


def _peer_models(folder: Path, used: tuple[str, ...]) -> None:
    """Pipelines as people write them: scaler and K-Means; one-hot and a forest of 100 trees."""
    cars, figures = tables()["car_price"](), _education()[list(used)].dropna()
    car = declaration("car_price")
    words = [feature.name for feature in car.features if feature.categories]
    columns = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), words), remainder="passthrough")
    forest = make_pipeline(columns, RandomForestRegressor(n_estimators=TREES, random_state=42))
    models = {
        "education": make_pipeline(StandardScaler(), KMeans(3, n_init=20, random_state=42)).fit(figures),
        "car_price": forest.fit(cars[list(car.feature_names)], cars["price"]),
    }
    for name, model in models.items():
        (folder / name).mkdir(parents=True)
        joblib.dump(model, folder / name / "model.joblib")
        # Named here: left out, MLflow spends seconds on finding out what a model needs.
        mlflow.sklearn.save_model(
            model, folder / name / "mlflow", pip_requirements=[], serialization_format="cloudpickle"
        )


def peer_rows() -> dict[str, dict[str, Any]]:
    """By model, one row as the peers take it: the values of the declared example."""
    education, car = declaration("education").example, declaration("car_price").example
    return {"education": dict(education), "car_price": {name: car[name] for name in car}}
