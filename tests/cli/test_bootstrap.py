"""`run` before there is an environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sigap.settings import ROOT

# Loads the script as if by another Python on a machine that has no other.
AS_OTHER = """
import importlib.machinery, importlib.util, sys
loader = importlib.machinery.SourceFileLoader("run", sys.argv[1])
run = importlib.util.module_from_spec(importlib.util.spec_from_loader("run", loader))
loader.exec_module(run)
sys.version_info = (3, 10, 13, "final", 0)
run.SEARCH = ()
sys.argv = ["run", *sys.argv[2:]]
run.main()
"""


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A checkout in which nothing was installed: the script and the locks."""
    shutil.copy(ROOT / "run", tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    return tmp_path


def run(fresh: Path, *words: str, path: str = "", code: str = "") -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("SIGAP_", "PYENV_"))}
    env |= {"PATH": path or env["PATH"], "HOME": str(fresh), "PYENV_ROOT": str(fresh / "pyenv")}
    script = ["-c", code, str(fresh / "run")] if code else ["run"]
    return subprocess.run(
        [sys.executable, *script, *words], cwd=fresh, env=env, capture_output=True, text=True, timeout=600, check=False
    )


def only(fresh: Path, *programs: str) -> str:
    """A PATH with these programs and no others."""
    folder = fresh / "bin"
    folder.mkdir()
    for program in programs:
        found = shutil.which(program)
        assert found is not None
        (folder / program).symlink_to(found)
    return str(folder)


def test_help_and_status_answer_without_installing(fresh: Path) -> None:
    assert "`./run` installs it" in run(fresh, "--help").stdout
    status = run(fresh, "status")
    assert status.returncode == 1
    assert "not installed yet" in status.stdout
    assert run(fresh, "stop").returncode == 0
    assert not (fresh / ".sigap").exists()


def test_an_unsuitable_python_alone_is_named_with_the_way_on(fresh: Path) -> None:
    result = run(fresh, path=only(fresh, "git"), code=AS_OTHER)
    assert result.returncode == 1
    assert "needs Python 3.11, 3.12 or 3.13. This is Python 3.10" in result.stderr
    assert "start with it: `python3.12 run`" in result.stderr


def test_an_unsuitable_python_finds_a_suitable_one(fresh: Path) -> None:
    path = only(fresh, "git")
    name = f"python3.{sys.version_info[1]}"
    (Path(path) / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (Path(path) / name).chmod(0o755)
    # An installer that fails shows how far it got.
    (Path(path) / "uv").write_text('#!/bin/sh\n[ "$1" = --version ] && exit 0\necho "uv got: $*" >&2; exit 2\n')
    (Path(path) / "uv").chmod(0o755)
    (Path(path) / "sh").symlink_to("/bin/sh")
    result = run(fresh, path=path, code=AS_OTHER)
    assert f"uv got: venv --quiet --clear --python {sys.executable}" in result.stderr
    assert result.returncode == 1
    assert "could not be installed" in result.stderr
    assert "run ./run again" in result.stderr


def test_without_git_it_says_so(fresh: Path) -> None:
    result = run(fresh, path=only(fresh, "env"))
    assert result.returncode == 1
    assert "Git was not found" in result.stderr


def test_a_folder_that_cannot_be_written_is_named(fresh: Path) -> None:
    (fresh / ".sigap").write_text("a file where the folder should be")
    result = run(fresh)
    assert result.returncode == 1
    assert f"{fresh / '.sigap'} can't be written" in result.stderr
    assert "SIGAP_STATE_DIR" in result.stderr


def test_the_bootstrap_lock_holds_hashes_and_no_address() -> None:
    text = (ROOT / "requirements" / "bootstrap.lock").read_text()
    assert "uv==" in text
    assert "--hash=sha256:" in text
    assert "://" not in text
