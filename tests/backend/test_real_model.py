"""A model trained on the real provinces, served: every province gets the level that training gave it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import httpx
import pandas as pd
import pytest

from sigap.bundle import MANIFEST, read_members
from sigap.catalog import Declaration
from sigap.training.export import Previous
from sigap.training.params import Params
from sigap.training.sweep import train
from tests.backend.bundles import BODY
from tests.backend.conftest import MODEL, Api, MlflowServer, wait_for
from tests.training.conftest import bundled, education, figures, params, save

__all__ = ["education", "figures", "params"]


def test_every_province_gets_its_level(
    mlflow_server: MlflowServer,
    start_api: Callable[..., Api],
    education: Declaration,
    figures: pd.DataFrame,
    params: Params,
    tmp_path: Path,
) -> None:
    # One k and no floor: how a clustering is chosen is tested with the training.
    quick = params.model_copy(update={"k_min": 3, "k_max": 3, "n_init": 4, "bootstraps": 10})
    lenient = education.model_copy(update={"task": education.task.model_copy(update={"stability_floor": 0.0})})
    until_2023 = train(lenient, save(figures[figures["tahun"] <= 2023], tmp_path), quick)
    with_2024 = train(lenient, save(figures, tmp_path), quick)
    first, second = tmp_path / "first", tmp_path / "second"
    bundled(first, until_2023)
    bundled(second, with_2024, "v2", Previous("1", "v1", read_members(first)))
    versions = []
    for folder in (first, second):
        sha256 = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
        versions.append(mlflow_server.register(folder, sha256, MODEL))

    mlflow_server.point(versions[0], "real")
    api = start_api(mlflow_server.uri, "real")
    assert api.predict(BODY).json()["model_version"] == f"v{versions[0]}"
    mlflow_server.point(versions[1], "real")
    wait_for(lambda: api.serves(versions[1]), "The new champion")

    clusters = api.get("/models/education/clusters").json()
    assert clusters["movement"]["against"] == {"model_version": "1", "data_version": "v1", "period": 2023, "levels": 3}
    assert sum(level["size"] for level in clusters["levels"]) == len(clusters["members"]) == 38
    for member in clusters["members"]:
        answer = api.predict({"provinsi_id": member["entity"], **member["features"]}).json()
        assert answer["cluster"] == member["cluster"]
        assert answer["distance_to_center"] == pytest.approx(member["distance"], rel=1e-9)
        assert answer["out_of_training_range"] == []
        if answer["gap_to_next_level"] is None:
            assert member["gap"] is None
        else:
            assert answer["gap_to_next_level"] == pytest.approx(member["gap"], abs=1e-8)

    # From what figures were, the dashboard asks in one batch which one's change moved an entity.
    papua = next(move for move in clusters["movement"]["moves"] if move["entity"] == "P94")
    assert papua["from_features"]["rata_lama_sekolah"] == 7.15
    then = {(each["entity"], each["period"]): each["features"] for each in clusters["history"]}
    assert then["P94", 2023] == papua["from_features"]
    unused = dict.fromkeys(set(education.feature_names) - set(papua["from_features"]))
    rows = [{"provinsi_id": "P94", **unused, **papua["from_features"]}, {"provinsi_id": "P94", **unused}]
    asked = httpx.post(f"{api.url}/models/education/predict-batch", json=rows, trust_env=False).json()
    assert asked["model_version"] == f"v{versions[1]}"
    assert [each["status"] for each in asked["predictions"]] == ["answered", "refused"]
    assert asked["predictions"][0]["cluster"] == papua["from"]
