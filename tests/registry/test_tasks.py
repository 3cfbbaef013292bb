"""The way to a decision of models that are no clusterings, on their mock tables and real services."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sigap import workflow
from sigap.errors import TrainingError
from sigap.model_card import CARD
from sigap.registry.decisions import decisions
from sigap.registry.tracking import REPEATS
from sigap.training import forecasting_figures, supervised_figures
from tests.registry.conftest import Line

PARAMS = """
bitcoin_price:
  folds: 4
  calibration: 100
  candidates:
    ridge: { estimator: ridge, grid: { alpha: [100.0, 10000.0] } }
credit_approval:
  folds: 3
  repeats: 2
  inner_folds: 2
  candidates:
    logistic_regression: { estimator: logistic_regression, preprocessor: median_imputer_with_scaler }
    boosting: { estimator: hist_gradient_boosting, grid: { max_iter: [10], max_leaf_nodes: [4] } }
"""
NOISE = "UPDATE credit_applications SET approved = CASE WHEN md5(application_id::text) < '8' THEN 1 ELSE 0 END"


@pytest.fixture
def small(line: Line, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """A checkout with small sweeps and one figure a run; all of them are drawn in the tests of training."""
    (line.settings.root / "params.yaml").write_text(PARAMS)
    monkeypatch.setattr(forecasting_figures, "FIGURES", dict(list(forecasting_figures.FIGURES.items())[:1]))
    monkeypatch.setattr(supervised_figures, "CLASSIFICATION", {})
    monkeypatch.setattr(supervised_figures, "COMMON", {"sweep": supervised_figures.sweep})
    yield line
    for each in line.client.search_registered_models():
        line.client.delete_registered_model(each.name)


def runs_of(line: Line, model: str) -> tuple[list[Any], list[Any]]:
    experiment = line.client.get_experiment_by_name(model)
    found = line.client.search_runs([experiment.experiment_id])
    parents = [run for run in found if "mlflow.parentRunId" not in run.data.tags]
    return parents, [run for run in found if run not in parents]


def test_a_champion_that_is_the_naive_forecast_is_called_so(small: Line) -> None:
    result = workflow.run("bitcoin_price", settings=small.settings)
    assert (result["rule"], result["champion"], result["candidate"]) == ("first", "v1", "naive")
    assert result["score"]["note"] == "the naive forecast itself"
    assert result["score"]["ties"]
    assert "What is served is the naive forecast" in result["reason"]
    assert "Yang disajikan adalah ramalan naif" in result["reason_id"]
    row = decisions(small.settings, "bitcoin_price")[0]
    assert row.record["reason_id"] == result["reason_id"]

    parents, children = runs_of(small, "bitcoin_price")
    assert len(parents) == 1
    assert sorted(run.data.tags["candidate"] for run in children) == ["naive", "ridge-1", "ridge-2"]
    for run in [*parents, *children]:
        assert run.info.status == "FINISHED"
        assert run.inputs.dataset_inputs[0].dataset.digest == row.data_md5
        assert {"mlflow.source.git.commit", "lock_sha256", "duration_seconds"} <= set(run.data.tags)
        assert run.data.params
        assert {"rmse_percent", "rmse_percent_sd", "naive_rmse"} <= set(run.data.metrics)
    logged = {file.path for file in small.client.list_artifacts(parents[0].info.run_id)}
    assert {"bundle", "data_profile", "figures", "decision.json", CARD} <= logged
    card = Path(small.client.download_artifacts(parents[0].info.run_id, CARD)).read_text()
    assert "What is served is the naive forecast" in card


def test_a_leak_is_refused_by_name_and_the_refusal_is_kept(small: Line) -> None:
    small.sql("UPDATE loan_applications SET married = CASE loan_status WHEN 'Y' THEN 'Yes' ELSE 'No' END")
    with pytest.raises(TrainingError, match="the feature Married gives the target Loan_Status away"):
        workflow.run("loan_approval", settings=small.settings)
    parents, children = runs_of(small, "loan_approval")
    assert ([run.info.status for run in parents], children) == (["FAILED"], [])
    assert "the feature Married gives the target" in parents[0].data.tags["error"]
    assert small.client.search_registered_models() == []


def test_what_was_refused_is_not_trained_again_until_something_changes(small: Line) -> None:
    small.sql(NOISE)
    first = workflow.run("credit_approval", settings=small.settings)
    assert (first["rule"], first["champion"]) == ("inadmissible", None)
    assert "not surely better than guessing" in first["reason"]
    assert "tidak pasti lebih baik daripada tebakan" in first["reason_id"]
    assert len(runs_of(small, "credit_approval")[1]) == 2

    for _ in range(2):
        again = workflow.run("credit_approval", settings=small.settings)
        assert (again["rule"], again["champion"], again["score"]) == ("inadmissible", None, first["score"])
        assert again["reason"].endswith(f"not trained again: {first['reason']}")
    parents, children = runs_of(small, "credit_approval")
    assert (len(parents), len(children)) == (3, 2)
    assert sum(REPEATS in run.data.tags for run in parents) == 2
    assert [row.rule for row in decisions(small.settings, "credit_approval")] == ["inadmissible"] * 3

    params = small.settings.root / "params.yaml"
    params.write_text(params.read_text().replace("max_iter: [10]", "max_iter: [12]"))
    workflow.run("credit_approval", settings=small.settings)
    assert len(runs_of(small, "credit_approval")[1]) == 4
    small.sql("DELETE FROM credit_applications WHERE application_id = 1")
    workflow.run("credit_approval", settings=small.settings)
    assert len(runs_of(small, "credit_approval")[1]) == 6
