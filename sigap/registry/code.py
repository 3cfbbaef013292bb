"""Which code is running: its commit and the hash of its locked environment."""

from __future__ import annotations

import hashlib
import subprocess
from functools import lru_cache
from pathlib import Path

from sigap.bundle import CodeEntry

LOCK = Path("requirements") / "all.lock"
CODE = ("sigap", "params.yaml", "requirements")
# Sigap's own commits hold such a pointer and nothing else; trainings side by side make them between each other's steps.
POINTERS = ":(exclude,glob)data/raw/*.dvc"


def code(root: Path) -> CodeEntry:
    """The code's commit (with `-dirty` if the code differs from it) and the sha256 of its lock.

    Each is empty where there is none: outside Git, before the first commit, or without a lock.
    """
    lock = root / LOCK
    return CodeEntry(git_commit=commit(root), lock_sha256=_sha256(lock) if lock.is_file() else "")


def commit(root: Path) -> str:
    """The newest commit that changed more than data pointers, so that the same code always has the same one.

    With `-dirty` if the files that training depends on differ from it; empty outside Git or before the first commit.
    """
    newest = _git(root, "rev-list", "-1", "HEAD", "--", ".", POINTERS)
    head = newest or _git(root, "rev-parse", "--verify", "--quiet", "HEAD")
    if not head:
        return ""
    changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", *CODE)
    return f"{head}-dirty" if changed else head


def unchanged_since(root: Path, commit: str) -> bool:
    """Whether the files that training depends on are those of `commit`; False where that can't be told."""
    if not commit or commit.endswith("-dirty"):
        return False
    words = ["git", "--no-optional-locks", "-C", str(root), "diff", "--quiet", commit, "--", *CODE]
    try:
        return subprocess.run(words, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _git(root: Path, *words: str) -> str:
    # `--no-optional-locks`: status may not write the index, which somebody may be staging into.
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(root), *words], capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


@lru_cache(maxsize=4)
def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
