"""`./run test`: a test that fails beside others is run again by itself, which decides."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sigap.cli import coverage, testing
from sigap.cli.main import app
from sigap.cli.testing import FEW, _failed_tests, _run_all, provide_chromium, run_benchmark
from sigap.errors import ConfigurationError
from sigap.settings import ROOT, Settings

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


RUNNER = """
import json, pathlib, sys
calls = pathlib.Path("calls")
calls.write_text((calls.read_text() if calls.exists() else "") + " ".join(sys.argv[1:]) + "\\n")
cache = pathlib.Path(".pytest_cache/v/cache")
cache.mkdir(parents=True, exist_ok=True)
failed = int(pathlib.Path("failed").read_text())
(cache / "lastfailed").write_text(json.dumps({{f"test_{{at}}": True for at in range(failed)}}))
sys.exit({first} if "--last-failed" not in sys.argv else {again})
"""


@pytest.mark.parametrize(
    ("first", "failed", "again", "code", "calls"),
    [
        (0, 0, 0, 0, 1),
        (1, 2, 0, 0, 2),
        (1, FEW, 1, 1, 2),
        (1, FEW + 1, 0, 1, 1),  # so many are no matter of a busy machine
        (1, 0, 0, 1, 1),
        (2, 3, 0, 2, 1),  # interrupted, or asked for what there is not
    ],
)
def test_only_few_failures_are_looked_at_again(
    first: int, failed: int, again: int, code: int, calls: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "failed").write_text(str(failed))
    runner = [sys.executable, "-c", RUNNER.format(first=first, again=again)]
    settings = Settings(_env_file=None, root=tmp_path)
    assert _run_all(settings, [*runner, "--cov"], ["-q"]) == code
    made = (tmp_path / "calls").read_text().splitlines()
    assert len(made) == calls
    assert "--numprocesses=2" in made[0]
    assert all(each.endswith("-q") for each in made)
    # What is counted in the second run comes to what was counted in the first.
    assert ["--cov-append" in each for each in made] == [False, True][:calls]


def test_without_a_note_of_failures_there_are_none(tmp_path: Path) -> None:
    assert _failed_tests(tmp_path) == []
    cache = tmp_path / ".pytest_cache" / "v" / "cache"
    cache.mkdir(parents=True)
    (cache / "lastfailed").write_text("{")
    assert _failed_tests(tmp_path) == []


def test_who_is_not_root_is_told_what_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    provide_chromium(Settings(_env_file=None, state_dir=tmp_path / "state"))
    said = capsys.readouterr().out
    assert "Chromium is not installed (only root can, by apt): tests that need a browser will be skipped." in said
    assert not (tmp_path / "state").exists()
    (tmp_path / "chromium").write_text("#!/bin/sh\n")
    (tmp_path / "chromium").chmod(0o755)
    provide_chromium(Settings(_env_file=None))
    assert capsys.readouterr().out == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root installs packages")
@pytest.mark.parametrize(("failing", "said"), [("update", "apt-get update failed"), ("install", "failed"), ("", "")])
def test_packages_that_do_not_come_are_told_with_the_log(
    failing: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "apt-get").write_text(f'#!/bin/sh\necho "$@"\n[ "$1" != "{failing}" ]\n')
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    provide_chromium(Settings(_env_file=None, state_dir=tmp_path))
    out = capsys.readouterr().out
    assert said in out
    log = tmp_path / "logs" / "apt.log"
    assert (str(log) in out.replace("\n", "")) == bool(said)
    assert log.read_text().startswith("update\n")
    assert ("chromium" in log.read_text()) == (failing != "update")


def test_a_benchmark_that_there_is_not_is_named_with_those_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(_env_file=None, root=tmp_path)
    with pytest.raises(ConfigurationError, match="no benchmark 'speed'") as caught:
        run_benchmark(settings, "speed", [])
    assert caught.value.remedy == "There are: none."
    folder = tmp_path / "benchmarks"
    (folder / "drift").mkdir(parents=True)
    (folder / "drift" / "__main__.py").write_text('"""How long a check takes.\n\nAnd more."""\n')
    (folder / "api.py").write_text("x = 1\n")
    (folder / "_shared.py").write_text('"""Shared."""\n')
    with pytest.raises(ConfigurationError) as caught:
        run_benchmark(settings, "_shared", [])
    assert caught.value.remedy == "There are: api, drift."
    run_benchmark(settings, "", [])
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()[1:]]
    assert [[word.strip() for word in line] for line in lines] == [["api"], ["drift", "How long a check takes."]]


def test_a_benchmark_finds_the_ports_of_what_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "api.py").write_text("")
    became: list[list[str]] = []
    monkeypatch.setattr(testing, "_become", became.append)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    run_benchmark(Settings(_env_file=None, root=tmp_path, api_port=1234), "api", ["--quick"])
    assert became == [[sys.executable, "-m", "benchmarks.api", "--quick"]]
    assert os.environ["SIGAP_API_PORT"] == "1234"


@pytest.mark.parametrize(
    ("code", "shares", "verdict", "said"),
    [
        (0, (90.0, 85.0), 0, "Covered: 90.0 % of the lines, 85.0 % of the branches"),
        (0, (90.0, 84.9), 1, "At least 85 % of the branches are wanted."),
        (3, (10.0, 10.0), 3, "At least 85 % of the lines and of the branches are wanted."),
    ],
)
def test_too_little_that_ran_fails_the_run(
    code: int, shares: tuple[float, float], verdict: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(_env_file=None, state_dir=tmp_path)
    assert coverage.verdict(settings, 0, 85) == 1
    assert coverage.verdict(settings, 4, 85) == 4
    assert "pytest ended before its report" in capsys.readouterr().out
    (tmp_path / "coverage").mkdir()
    totals = dict(zip(("percent_statements_covered", "percent_branches_covered"), shares, strict=True))
    (tmp_path / "coverage" / "all.json").write_text(json.dumps({"totals": totals}))
    assert coverage.verdict(settings, code, 85) == verdict
    assert said in capsys.readouterr().out
    assert coverage.verdict(settings, code, 0) == code, "of chosen tests nothing is wanted"


def test_both_words_have_help_of_their_own_and_hand_on_what_is_not_for_them() -> None:
    shown = CliRunner().invoke(app, ["test", "tests/cli", "--help"], terminal_width=200)
    assert shown.exit_code == 0
    for told in ("30 minutes", "--coverage", "system", "browser", "load", "-k snapshot", "./run test -- --help"):
        assert told in shown.output
    assert CliRunner().invoke(app, ["bench", "--help"], terminal_width=200).output.count("--help") > 1


def test_the_help_of_a_benchmark_is_its_own() -> None:
    command = [sys.executable, "-m", "sigap", "bench", "soak", "--help"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=True).stdout
    assert "usage: ./run bench soak" in shown
    assert "--runs" in shown


def test_every_benchmark_reads_its_options() -> None:
    folder = ROOT / "benchmarks"
    for path in (*folder.glob("[!_]*.py"), *folder.glob("*/__main__.py")):
        assert "ArgumentParser(" in path.read_text(), f"{path.stem} would start at `--help`"
