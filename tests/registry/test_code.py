"""Which commit a training names as its code: that of the code, whatever data commits came after it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from sigap.data.git import Git
from sigap.registry.code import commit, unchanged_since

POINTER = Path("data/raw/education_snapshot.parquet.dvc")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    # Sigap may lie in a folder of a greater checkout.
    git(tmp_path, "init", "-q")
    folder = tmp_path / "inside"
    (folder / "sigap").mkdir(parents=True)
    (folder / POINTER).parent.mkdir(parents=True)
    return folder


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    done = subprocess.run(["git", "-C", str(folder), *identity, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def write(root: Path, content: str) -> str:
    (root / "sigap" / "code.py").write_text(content)
    git(root, "add", "sigap")
    git(root, "commit", "-qm", "Code")
    return git(root, "rev-parse", "HEAD")


def record(root: Path, content: str) -> str:
    (root / POINTER).write_text(content)
    made = Git(root).commit_file(POINTER, "Record education data", None)
    Git(root).refresh_index(POINTER)
    return made


def test_data_commits_are_no_change_of_the_code(root: Path) -> None:
    assert commit(root) == ""
    first = write(root, "one = 1\n")
    record(root, "md5: a\n")
    assert commit(root) == first
    assert record(root, "md5: b\n") == git(root, "rev-parse", "HEAD")
    assert commit(root) == first
    assert unchanged_since(root, first)
    second = write(root, "one = 2\n")
    assert commit(root) == second != first
    assert not unchanged_since(root, first)
    (root / "sigap" / "code.py").write_text("one = 3\n")
    assert commit(root) == f"{second}-dirty"


def test_where_nothing_but_data_was_committed_that_commit_is_named(root: Path) -> None:
    made = record(root, "md5: a\n")
    assert commit(root) == made
