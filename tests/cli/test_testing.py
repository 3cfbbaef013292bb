"""`./run test`: a test that fails beside others is run again by itself, which decides."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from sigap.settings import ROOT

RUN = (
    "from sigap.cli.testing import run_tests; from sigap.settings import Settings; run_tests(Settings(root={!r}), {!r})"
)
CROWDED = "import os\ndef test_crowded():\n    assert 'PYTEST_XDIST_WORKER' not in os.environ\n"
WRONG = "def test_wrong():\n    assert False\n"
RIGHT = "def test_right():\n    pass\n"


def outcome_of(root: Path, *arguments: str, **files: str) -> subprocess.CompletedProcess[str]:
    for name, text in files.items():
        (root / f"test_{name}.py").write_text(text)
    (root / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-c", RUN.format(str(root), list(arguments))]
    # Also where this test is itself counted, or one of two at a time.
    env = {name: value for name, value in os.environ.items() if not name.startswith(("COV_", "COVERAGE_", "PYTEST_"))}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=600, check=False)


def test_what_fails_only_beside_others_passes_and_is_named(tmp_path: Path) -> None:
    ended = outcome_of(tmp_path, crowded=CROWDED, right=RIGHT)
    assert ended.returncode == 0, ended.stdout
    assert "1 tests failed beside others" in ended.stdout
    assert "test_crowded.py::test_crowded" in ended.stdout
    assert "1 passed" in ended.stdout.splitlines()[-1]


def test_what_fails_by_itself_fails_the_run(tmp_path: Path) -> None:
    ended = outcome_of(tmp_path, crowded=CROWDED, wrong=WRONG, right=RIGHT)
    assert ended.returncode == 1, ended.stdout
    assert "1 failed, 1 passed" in ended.stdout.splitlines()[-1]


def test_a_chosen_one_is_run_once(tmp_path: Path) -> None:
    ended = outcome_of(tmp_path, "test_wrong.py", wrong=WRONG)
    assert ended.returncode == 1
    assert "beside others" not in ended.stdout


HALF = "def half(x):\n    if x:\n        return 1\n    return 2\n"
CALLS = """
import subprocess, sys
import half
def test_half():
    subprocess.run([sys.executable, "-c", "import half; half.half(0)"], check=True)
"""
COUNTING = """
[tool.coverage.run]
branch = true
source = ["half"]
parallel = true
patch = ["subprocess"]
"""


def test_what_runs_is_counted_also_in_processes_that_tests_start(tmp_path: Path) -> None:
    (tmp_path / "half.py").write_text(HALF)
    (tmp_path / "pyproject.toml").write_text(COUNTING)
    ended = outcome_of(tmp_path, "--coverage", calls=CALLS, crowded=CROWDED)
    assert "1 tests failed beside others" in ended.stdout
    # Alone, this process runs one line of four and no branch.
    assert "Covered: 75.0 % of the lines, 50.0 % of the branches" in ended.stdout
    assert "At least 85 % of the lines and of the branches are wanted." in ended.stdout
    assert ended.returncode == 1
    assert (tmp_path / ".sigap" / "coverage" / "coverage.xml").exists()
    # Of chosen tests nothing is wanted.
    assert outcome_of(tmp_path, "--coverage", "test_calls.py").returncode == 0
