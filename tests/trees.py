"""Fresh copies of this tree, for tests that must not touch the repository itself."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from sigap.settings import ROOT


def copy_tree(target: Path) -> None:
    """The tree as it stands, committed or not, as a Git repository with one commit."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "The tree under test"]):
        subprocess.run(
            ["git", "-c", "user.name=Test", "-c", "user.email=test@localhost", *words], cwd=target, check=True
        )
