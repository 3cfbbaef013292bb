"""A pipeline whose sweep runs on a real Dask cluster, and its champion scoring a data set by `./run score`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from sigap import workflow
from sigap.data import mock
from sigap.settings import ROOT
from sigap.training import supervised_figures
from tests.registry.conftest import Line
from tests.registry.test_tasks import PARAMS
from tests.scale.cluster import Cluster, make_cluster


def score(line: Line, source: Path, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-P", "-m", "sigap", "score", "credit_approval", str(source), str(folder)]
    environment = {**os.environ, **line.settings.as_environment(), "PYTHONPATH": str(ROOT), **more}
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=240, check=False)


def test_a_pipeline_and_its_champion_on_a_cluster(
    line: Line, make_cluster: Callable[[], Cluster], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (line.settings.root / "params.yaml").write_text(PARAMS)
    monkeypatch.setattr(supervised_figures, "CLASSIFICATION", {})
    monkeypatch.setattr(supervised_figures, "COMMON", {})
    (tmp_path / "in").mkdir()
    mock.credits(50).to_parquet(tmp_path / "in" / "0.parquet", index=False)
    early = score(line, tmp_path / "in", tmp_path / "out")
    assert early.returncode == 1
    assert "No version of credit_approval is served" in early.stderr

    cluster = make_cluster()
    cluster.add()
    there = line.settings.model_copy(update={"dask_address": cluster.address})
    result = workflow.run("credit_approval", settings=there)
    assert (result["champion"], result["rule"]) == ("v1", "first")
    here = workflow.run("credit_approval", settings=line.settings)
    # One version: what decides an answer is the same, wherever the sweep ran.
    assert (here["model_version"], here["metrics"]) == ("v1", result["metrics"])

    done = score(line, tmp_path / "in", tmp_path / "out", SIGAP_DASK_ADDRESS=cluster.address)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"credit_approval v1 scores {tmp_path / 'in'} into {tmp_path / 'out'}, on {cluster.address}" in done.stdout
    assert "50 rows in 1 partitions, 0 refused" in done.stdout
    assert set(pd.read_parquet(tmp_path / "out")["model_version"]) == {"v1"}


__all__ = ["make_cluster"]
