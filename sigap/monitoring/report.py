"""Evidently's report of a window, kept on the champion's run: what people know how to read. The decision is ours.

It is made in a process of its own: the import alone takes seconds and 300 MB, it prints and warns, and whatever
becomes of it must not take the check along.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from sigap.errors import SigapError
from sigap.monitoring.decision import Verdict
from sigap.monitoring.records import Check
from sigap.monitoring.rules import Rules
from sigap.monitoring.subjects import Pair
from sigap.registry.tracking import Runs
from sigap.settings import Settings

HTML, JSON = "report.html", "report.json"
SECONDS = 300


class ReportError(SigapError):
    """A report can't be computed."""


def keep_report(check: Check, pair: Pair, verdict: Verdict, rules: Rules, folder: Path, settings: Settings) -> str:
    """Makes the report as HTML and JSON and keeps both on the champion's run.

    Returns:
        Folder of the two among the run's artefacts.

    Raises:
        ReportError: Evidently can't compute it.
        RegistryError: MLflow can't be reached or refuses.
    """
    made = folder / "report"
    made_of(made, pair, verdict, rules)
    place = f"drift/{check.subject}/{check.id}"
    if not check.run_id:
        raise ReportError(f"The version {check.model_version} has no run that could keep it.")
    Runs(settings, check.model).log_files(check.run_id, made, place)
    return place


def made_of(made: Path, pair: Pair, verdict: Verdict, rules: Rules) -> None:
    """Writes the report into the folder `made`, of at most `rules.report_rows` rows of each sample.

    Raises:
        ReportError: Evidently can't compute it.
    """
    made.mkdir(parents=True)
    given = made.with_name("given")
    given.mkdir()
    drawn = {}
    # A column without any value has no distribution, which Evidently refuses.
    names = [each.tested.feature for each in verdict.features if _drawable(each.tested.bins)]
    for side, sample in (("reference", pair.reference), ("now", pair.now)):
        frame = sample.some(names, rules.report_rows, rules.random_state)
        drawn[side] = len(frame)
        frame.to_parquet(given / f"{side}.parquet")
    numbers = [name for name in names if pair.reference.is_number(name)]
    left_out = [each.tested.feature for each in verdict.features if each.tested.feature not in names]
    about = {
        "numbers": numbers,
        "categories": [name for name in names if name not in numbers],
        "share": rules.share,
        "note": {
            "rows_drawn": drawn,
            "rows": {"reference": pair.reference.rows, "now": pair.now.rows},
            "random_state": rules.random_state,
            "left_out_without_values": left_out,
            "drifted_by_our_decision": [each.tested.feature for each in verdict.features if each.drifted],
            "decision": "Sigap decides by its own tests on all rows; this report shows Evidently's defaults beside it.",
        },
    }
    (given / "about.json").write_text(json.dumps(about), encoding="utf-8")
    _run_evidently(given, made)


def _drawable(bins: dict[str, object]) -> bool:
    return all(sum(counts) > 0 for side in ("reference", "now") if isinstance(counts := bins.get(side, [0]), list))


def _run_evidently(given: Path, made: Path) -> None:
    command = [sys.executable, "-m", "sigap.monitoring.evidently_report", str(given), str(made)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise ReportError(f"Evidently did not end within {SECONDS} s.") from error
    missing = [name for name in (HTML, JSON) if not (made / name).is_file()]
    if done.returncode or missing:
        last = done.stderr.strip().splitlines()[-1:] or [f"it ended with {done.returncode}"]
        raise ReportError(f"Evidently can't compute it: {last[0][:300]}")
