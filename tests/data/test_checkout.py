"""The checkout on a volume: made of an image's files, brought up to a new image, never against somebody."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sigap.data.checkout import IMAGE, RECORD, Laid, lay
from sigap.errors import ConfigurationError
from sigap.settings import ROOT, Settings

FILES = {
    ".gitignore": "__pycache__/\n",
    ".dvc/config": "[core]\n",
    "data/raw/.gitignore": "/*.parquet\n",
    "data/seed/figures.csv": "a,b\n",
    "mage_project/pipelines/education/triggers.yaml": "triggers: []\n",
    "params.yaml": "k: 3\n",
    "sigap/gate.py": "FLOOR = 1\n",
}


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    write(tmp_path / "image", FILES)
    write(tmp_path / "image", {"sigap/__pycache__/gate.pyc": "x", "mage_project/.ssh_tunnel/x": "x"})
    return tmp_path / "image"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, root=tmp_path / "volume" / "checkout", state_dir=tmp_path / "volume")


def git(settings: Settings, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=settings.root, check=True, capture_output=True, text=True).stdout.strip()


def commit(settings: Settings, name: str, text: str, message: str) -> None:
    write(settings.root, {name: text})
    git(settings, "add", "--force", name)
    git(settings, "-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "--quiet", "-m", message)


def test_the_first_start_makes_a_commit_of_the_images_files(image: Path, settings: Settings) -> None:
    laid = lay(settings, image)
    assert set(laid.written) == set(FILES)
    assert git(settings, "ls-files").splitlines() == sorted(FILES)
    assert git(settings, "status", "--porcelain") == ""
    assert git(settings, "rev-list", "--count", "HEAD") == "1"
    again = lay(settings, image)
    assert again == Laid((), (), ())
    assert git(settings, "rev-list", "--count", "HEAD") == "1"


def test_a_new_image_brings_what_changed_and_leaves_versions_and_somebodys_files(
    image: Path, settings: Settings
) -> None:
    lay(settings, image)
    pointer = "data/raw/education_snapshot.parquet.dvc"
    commit(settings, pointer, "outs:\n- md5: 1\n", "Record education data v1")
    git(settings, "tag", "education/v1")
    commit(settings, "params.yaml", "k: 7\n", "Mine")
    write(settings.root, {"sigap/own.py": "MINE = 1\n", "data/seed/figures.csv": "a,b\n1,2\n"})
    (settings.root / "notes.txt").write_text("staged")
    git(settings, "add", "notes.txt")

    newer = FILES | {"sigap/gate.py": "FLOOR = 2\n", "params.yaml": "k: 4\n", "sigap/new.py": "NEW = 1\n"}
    del newer["mage_project/pipelines/education/triggers.yaml"]
    shutil.rmtree(image)
    write(image, newer)
    # Whoever builds an image from a checkout with pointers brings none of them.
    write(image, {pointer: "outs:\n- md5: 0\n"})
    laid = lay(settings, image)

    assert laid.written == ("sigap/gate.py", "sigap/new.py")
    assert laid.removed == ("mage_project/pipelines/education/triggers.yaml",)
    assert laid.kept == ("params.yaml",)
    assert (settings.root / pointer).read_text() == "outs:\n- md5: 1\n"
    assert (settings.root / "params.yaml").read_text() == "k: 7\n"
    assert (settings.root / "data/seed/figures.csv").read_text() == "a,b\n1,2\n"
    assert git(settings, "show", "--name-only", "--format=", "HEAD").split() == [
        "mage_project/pipelines/education/triggers.yaml", "sigap/gate.py", "sigap/new.py",
    ]  # fmt: skip
    assert git(settings, "rev-parse", "education/v1^{commit}") in git(settings, "rev-list", "HEAD")
    # What somebody had begun goes on as it was.
    assert git(settings, "status", "--porcelain").splitlines() == [
        "M data/seed/figures.csv", "A  notes.txt", "?? sigap/own.py",
    ]  # fmt: skip
    assert lay(settings, image) == Laid((), (), ())


def test_the_way_back_to_the_former_image(image: Path, settings: Settings, tmp_path: Path) -> None:
    lay(settings, image)
    shutil.copytree(image, tmp_path / "newer")
    write(tmp_path / "newer", {"sigap/gate.py": "FLOOR = 2\n", "sigap/new.py": "NEW = 1\n"})
    lay(settings, tmp_path / "newer")
    laid = lay(settings, image)
    assert (laid.written, laid.removed, laid.kept) == (("sigap/gate.py",), ("sigap/new.py",), ())
    assert git(settings, "diff", "HEAD~2", "HEAD") == ""


def test_killed_in_the_middle_it_goes_on_at_the_next_start(image: Path, settings: Settings) -> None:
    lay(settings, image)
    write(image, {"sigap/gate.py": "FLOOR = 2\n", "params.yaml": "k: 4\n"})
    # As a killed start leaves it: one file is new, nothing is committed, the record is the old one.
    write(settings.root, {"sigap/gate.py": "FLOOR = 2\n", ".params.yaml.part": "k:"})
    assert lay(settings, image).written == ("params.yaml",)
    assert git(settings, "status", "--porcelain", "--untracked-files=no") == ""
    assert git(settings, "show", "HEAD:sigap/gate.py") == "FLOOR = 2"


def test_before_the_first_commit_too(image: Path, settings: Settings) -> None:
    settings.root.mkdir(parents=True)
    git(settings, "init", "--quiet", "--initial-branch=main")
    write(settings.root, {"params.yaml": FILES["params.yaml"]})
    assert "params.yaml" not in lay(settings, image).written
    assert git(settings, "ls-files").splitlines() == sorted(FILES)


def test_of_several_at_once_one_does_it(image: Path, settings: Settings) -> None:
    done: list[Laid] = []
    threads = [threading.Thread(target=lambda: done.append(lay(settings, image))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(len(laid.written) for laid in done) == [0, 0, 0, len(FILES)]
    assert git(settings, "rev-list", "--count", "HEAD") == "1"


def test_what_can_not_be_done_is_said(image: Path, settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="where the image's own files are"):
        lay(Settings(_env_file=None, root=image, state_dir=tmp_path), image)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"can't be made.*10001:10001"):
        lay(Settings(_env_file=None, root=tmp_path / "file" / "x", state_dir=tmp_path / "s"), image)
    lay(settings, image)
    (settings.state / RECORD).write_text("[]")
    with pytest.raises(ConfigurationError, match="does not hold what an image brought"):
        lay(settings, image)


def test_a_merge_that_is_not_finished_stops_it_before_anything_is_lost(image: Path, settings: Settings) -> None:
    lay(settings, image)
    (settings.root / ".git" / "MERGE_HEAD").write_text(git(settings, "rev-parse", "HEAD"))
    write(image, {"params.yaml": "k: 4\n"})
    with pytest.raises(ConfigurationError, match="Finish or abort"):
        lay(settings, image)
    (settings.root / ".git" / "MERGE_HEAD").unlink()
    assert lay(settings, image).kept == ()
    assert git(settings, "show", "HEAD:params.yaml") == "k: 4"


def test_the_program_makes_it_and_becomes_the_next_one(tmp_path: Path) -> None:
    # Of an image's own folder, where the code that runs lies too.
    image = tmp_path / "app"
    shutil.copytree(ROOT / "sigap", image / "sigap", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "sigap.data.checkout", sys.executable, "-c", "print('the program')"]
    env = {
        "SIGAP_ROOT": str(tmp_path / "state" / "checkout"), "SIGAP_STATE_DIR": str(tmp_path / "state"),
        "PYTHONPATH": str(image), "PYTHONDONTWRITEBYTECODE": "1", "PATH": os.environ["PATH"],
    }  # fmt: skip
    ended = subprocess.run(command, cwd=image, env=env, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "the program\n"
    assert "files brought, 0 removed" in ended.stderr
    recorded = json.loads((tmp_path / "state" / RECORD).read_text())["files"]
    assert "sigap/data/checkout.py" in recorded
    refused = subprocess.run(command, cwd=image, env=env | {"SIGAP_ROOT": str(image)}, capture_output=True, text=True)
    assert refused.returncode == 1
    assert refused.stderr.startswith("Error: SIGAP_ROOT is")
    assert "Traceback" not in refused.stderr


def test_the_image_is_where_the_code_runs_from() -> None:
    assert IMAGE == ROOT
