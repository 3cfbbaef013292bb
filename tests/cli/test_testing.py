"""`./run test`: a test that fails beside others is run again by itself, which decides."""

from __future__ import annotations

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
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)


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
