"""How much of the code the tests run: lines and branches, also of processes that tests start."""

from __future__ import annotations

import json
import os

from sigap.cli.output import say
from sigap.settings import Settings

LEAST_COVERED = 85.0
"""Percent of the lines, and of the branches, that a run of all tests has to reach."""


def count(settings: Settings) -> list[str]:
    """Have this process's children count, and forget earlier counts; pytest's options for it.

    Counts and `coverage.xml` go to `coverage/` in the state folder.
    """
    folder = settings.state / "coverage"
    folder.mkdir(parents=True, exist_ok=True)
    for earlier in folder.iterdir():
        earlier.unlink()
    os.environ["COVERAGE_FILE"] = str(folder / "data")
    reports = ("term", f"xml:{folder / 'coverage.xml'}", f"json:{folder / 'all.json'}")
    return ["--cov", "--cov-config=pyproject.toml", *(f"--cov-report={report}" for report in reports)]


def verdict(settings: Settings, code: int, least: float) -> int:
    """Say what share ran.

    Args:
        settings: Of the run that counted.
        code: Pytest's exit code.
        least: Percent of the lines, and of the branches, below which the run has failed.

    Returns:
        Pytest's exit code; 1 if it is 0 and too little was covered.
    """
    try:
        totals = json.loads((settings.state / "coverage" / "all.json").read_text())["totals"]
    except FileNotFoundError:
        say("\nCoverage was not counted: pytest ended before its report.")
        return code or 1
    shares = {"lines": totals["percent_statements_covered"], "branches": totals["percent_branches_covered"]}
    say("\nCovered: " + ", ".join(f"{share:.1f} % of the {name}" for name, share in shares.items()))
    lacking = [name for name, share in shares.items() if share < least]
    if lacking:
        say(f"At least {least:g} % of the {' and of the '.join(lacking)} are wanted.")
    return code or int(bool(lacking))
