"""Runs that are cut off: killed at any moment, or left by MLflow in the middle of a sweep."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from sigap import workflow
from sigap.bundle import read_manifest
from sigap.data.versions import DataVersions
from sigap.errors import UnreachableError
from sigap.registry.decisions import decisions
from sigap.settings import Settings
from tests.registry.conftest import PARAMS, Line, Process, free_port, running_mlflow

# Small sweeps, and what makes the table's data new: a clustering's, and a supervised model's.
QUICK = {
    "education": (
        PARAMS.replace("k_max: 4", "k_max: 3"),
        "UPDATE education_data SET rata_lama_sekolah = rata_lama_sekolah + 0.01 WHERE tahun = 2024",
    ),
    "car_price": (
        "car_price:\n  folds: 3\n  repeats: 2\n  inner_folds: 2\n  candidates:\n    ridge: { estimator: ridge, "
        "preprocessor: median_imputer_with_scaler, target_scale: log, grid: { alpha: [1.0, 10.0] } }\n",
        "UPDATE cars SET price = price * 1.02",
    ),
}
# A clustering's steps are the same as a supervised model's, but for the training, which takes longer.
KILLS = {"education": 10, "car_price": 5}


def run_once(settings: Settings, model: str) -> None:
    workflow.run(model, settings=settings)


# A run takes seconds and there are over twenty of them; on a busy machine that is minutes.
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("model", QUICK)
def test_killed_at_random_moments_nothing_is_lost_or_doubled(
    line: Line, in_process: Callable[..., Process], model: str
) -> None:
    params, new_data = QUICK[model]
    (line.settings.root / "params.yaml").write_text(params)
    line.model = model
    begun = time.monotonic()
    assert line.run()["champion"] == "v1"
    whole, moments = time.monotonic() - begun, random.Random(2024)
    for kills in range(1, KILLS[model] + 1):
        line.sql(new_data)
        cut_off = in_process(run_once, line.settings, model)
        cut_off.join(moments.uniform(0, 1.2 * whole))
        cut_off.kill()
        cut_off.join()

        result = line.run()
        assert result["rule"] in ("new_data", "equal"), f"after {kills} kills: {result}"
        assert result["champion"] == result["model_version"] == f"v{kills + 1}"
        assert line.aliases() == {"champion": kills + 1, "previous": kills}
        versions = DataVersions(line.settings).list(model)
        assert [each.name for each in versions] == [f"v{number}" for number in range(kills + 1, 0, -1)]
        assert len({each.md5 for each in versions}) == kills + 1
        # The run that was killed is no longer said to run.
        assert {run.info.status for run in line.runs()} <= {"FINISHED", "KILLED"}

    registered = line.registry.versions(model)
    trained_on = {(each.tags["fingerprint"], each.tags["data_md5"]) for each in registered}
    assert len(trained_on) == len(registered) == KILLS[model] + 1
    for each in registered:
        assert read_manifest(line.registry.bundle(each)).data.version == each.data_version
    tags = [run.data.tags for run in line.runs()]
    assert max(Counter(each["pipeline_run"] for each in tags if "pipeline_run" in each).values()) == 1
    children = Counter((each["mlflow.parentRunId"], each["candidate"]) for each in tags if "candidate" in each)
    assert max(children.values(), default=0) == 1
    promoted = [row.model_version for row in decisions(line.settings, model, 100) if row.promoted]
    assert sorted(promoted) == sorted(each.name for each in registered)


def test_mlflow_away_in_mid_sweep_the_sweep_goes_on_when_it_is_back(line: Line, tmp_path: Path) -> None:
    folder, port = tmp_path / "mlflow", free_port()
    folder.mkdir()
    line.settings = line.settings.model_copy(update={"mlflow_tracking_uri": f"http://127.0.0.1:{port}"})
    impatient = line.settings.model_copy(update={"registry_wait_seconds": 0.0})
    with running_mlflow(folder, port):
        cleaned = workflow.clean(workflow.snapshot("education", settings=line.settings), settings=line.settings)
        items = workflow.plan(cleaned, settings=line.settings)
        fits = [workflow.fit(items[0], settings=line.settings)]
    with pytest.raises(UnreachableError, match="can't be reached"):
        workflow.fit(items[1], settings=impatient)
    waiting = threading.Thread(target=lambda: fits.append(workflow.fit(items[1], settings=line.settings)))
    waiting.start()
    with running_mlflow(folder, port):
        waiting.join(600)
        assert len(fits) == 2, "the step that waited did not go on"
        assert line.registry.versions("education") == []
        fits += [workflow.fit(item, settings=line.settings) for item in items[2:]]
        registered = workflow.register(fits, settings=line.settings)
        assert workflow.decide(registered, settings=line.settings)["champion"] == "v1"
        client = MlflowClient(line.settings.tracking_uri, line.settings.tracking_uri)
        experiment = client.get_experiment_by_name("education")
        runs = client.search_runs([experiment.experiment_id])
        assert {run.info.status for run in runs} == {"FINISHED"}
        names = [run.data.tags.get("candidate") for run in runs if "mlflow.parentRunId" in run.data.tags]
        assert sorted(names) == ["k2", "k3", "k4"]
