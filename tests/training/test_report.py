import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from sigap.errors import TrainingError, UnknownModelError
from sigap.settings import ROOT, Settings
from sigap.training.report import train_and_report

from .conftest import save

POINTER = "data/raw/education_snapshot.parquet"
REPORT = ("assignments.csv", "metrics.json")


@pytest.fixture
def checkout(tmp_path, figures):
    """What `dvc repro` needs of the checkout, with a snapshot."""
    root = tmp_path / "checkout"
    (root / "data" / "raw").mkdir(parents=True)
    for name in ("dvc.yaml", "params.yaml", "pyproject.toml", ".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, root / name)
    shutil.copytree(ROOT / "sigap", root / "sigap", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "requirements", root / "requirements")
    save(figures, root / "data" / "raw")
    # Fewer bootstraps: they cost most of the time, and what is asked here is whether they repeat.
    params = root / "params.yaml"
    text = params.read_text()
    assert "bootstraps: 100" in text
    params.write_text(text.replace("bootstraps: 100", "bootstraps: 20"))
    return root


def test_the_report_holds_every_assessed_province_and_every_candidate(checkout):
    seen = []
    folder = train_and_report(
        "education", Settings(root=checkout, _env_file=None), lambda done, total, what: seen.append((done, total, what))
    )
    assert seen[-1] == (5, 5, "k6")
    table = pd.read_csv(folder / "assignments.csv")
    assert len(table) == 38
    assert table.loc[table["provinsi_id"] == "P31", "cluster_label"].item() == "Tinggi (High Readiness)"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (metrics["k"], metrics["period"], metrics["sizes"]) == (3, 2024, [16, 16, 6])
    assert list(metrics["sweep"]) == ["k2", "k3", "k4", "k5", "k6"]


def test_without_a_snapshot_or_a_model_the_way_on_is_named(tmp_path):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    settings = Settings(root=tmp_path, _env_file=None)
    with pytest.raises(TrainingError, match="dvc checkout"):
        train_and_report("education", settings)
    with pytest.raises(UnknownModelError, match="Choose one of: education"):
        train_and_report("eduction", settings)


def _run(folder: Path, *command: str) -> str:
    identity = {
        f"GIT_{who}_{what}": "sigap@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith(("SIGAP_", "GIT_"))},
            **identity,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "DVC_NO_ANALYTICS": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
        },
    )  # fmt: skip
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def _report(root: Path) -> list[bytes]:
    return [(root / "reports" / "education" / name).read_bytes() for name in REPORT]


def test_dvc_repro_gives_the_same_figures_twice_and_in_another_clone(checkout, tmp_path):
    _run(checkout, "git", "init", "--quiet", "--initial-branch", "main")
    _run(checkout, "dvc", "init", "--quiet")
    _run(checkout, "dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
    _run(checkout, "dvc", "add", "--quiet", POINTER)
    _run(checkout, "git", "add", "--all")
    _run(checkout, "git", "commit", "--quiet", "--message", "A snapshot")
    _run(checkout, "dvc", "push", "--quiet")
    _run(checkout, "dvc", "repro", "train_education", "--quiet")
    first = _report(checkout)
    assert "up to date" in _run(checkout, "dvc", "repro", "train_education")
    shutil.rmtree(checkout / "reports")
    _run(checkout, "dvc", "repro", "train_education", "--quiet", "--force")
    assert _report(checkout) == first

    clone = tmp_path / "clone"
    _run(tmp_path, "git", "clone", "--quiet", str(checkout), str(clone))
    _run(clone, "dvc", "pull", "--quiet", POINTER)
    _run(clone, "dvc", "repro", "train_education", "--quiet")
    assert _report(clone) == first
    assert "education_snapshot.parquet" not in _run(clone, "git", "status", "--short")

    # A changed parameter retrains.
    params = clone / "params.yaml"
    params.write_text(params.read_text().replace("k_max: 6", "k_max: 4"))
    assert "train_education" in _run(clone, "dvc", "status")
