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
from sigap.catalog import declaration
from sigap.cli import scale
from sigap.data import mock
from sigap.data.versions import DataVersions
from sigap.errors import RegistryError
from sigap.settings import ROOT
from sigap.training import supervised_figures
from sigap.training.sweep import read_snapshot
from sigap.training.trainer import trainer
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
    with pytest.raises(RegistryError, match="No version of credit_approval is served"):
        scale.score(line.settings, "credit_approval", tmp_path / "in", tmp_path / "out", None, 1)

    cluster = make_cluster()
    cluster.add()
    there = line.settings.model_copy(update={"dask_address": cluster.address})
    result = workflow.run("credit_approval", settings=there)
    assert (result["champion"], result["rule"]) == ("v1", "first")
    # As one machine scores it, from the snapshot that the pipeline took.
    declared, how = declaration("credit_approval"), trainer(declaration("credit_approval"))
    prepared = how.prepare(declared, read_snapshot(DataVersions(line.settings).path("credit_approval")))
    params = how.params(line.settings.root, "credit_approval")
    metrics = how.fit(prepared, declared, params, result["candidate"]).metrics
    assert {name: result["metrics"][name] for name in metrics} == metrics

    done = score(line, tmp_path / "in", tmp_path / "out", SIGAP_DASK_ADDRESS=cluster.address)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"credit_approval v1 scores {tmp_path / 'in'} into {tmp_path / 'out'}, on {cluster.address}" in done.stdout
    assert "50 rows in 1 partitions, 0 refused" in done.stdout
    assert set(pd.read_parquet(tmp_path / "out")["model_version"]) == {"v1"}


__all__ = ["make_cluster"]
