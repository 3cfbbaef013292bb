"""The loop closed on real services: changed rows train by themselves; drift alarms, trains, and the alarm ends.

Prints the time of each arrow and how predictions fared meanwhile: `./run test tests/system/test_whole_cycle.py -s`.
"""

from __future__ import annotations

import contextlib
import shutil
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import psutil
import pytest
from rich.console import Console
from rich.table import Table

from sigap.catalog import declaration
from sigap.services.service import free_port, recorded
from sigap.settings import ROOT
from tests.system.conftest import System, wait_for

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(
        shutil.which("prometheus") is None or shutil.which("prometheus-alertmanager") is None,
        reason="needs Prometheus and Alertmanager, which ./run test installs as root on Debian",
    ),
]

# Far above what any machine needs: only a loop that is not closed reaches it.
PATIENCE = 600
ASKED_EVERY = 0.02


@dataclass
class Arrows:
    """How long each step of the way took.

    Attributes:
        seconds: By what came about.
    """

    seconds: dict[str, float] = field(default_factory=dict)

    def until(self, what: str, check: Callable[[], Any]) -> Any:
        """Waits for the next step."""
        begun = time.perf_counter()
        found = wait_for(check, PATIENCE, what)
        self.seconds[what] = time.perf_counter() - begun
        return found


@dataclass
class Asked:
    """What somebody saw who asked for predictions all the while."""

    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


@contextmanager
def asking(system: System, model: str) -> Iterator[Asked]:
    """Somebody asks for predictions while the block runs."""
    asked, over = Asked(), threading.Event()
    url, body = f"{system.settings.api_address}/models/{model}/predict", declaration(model).example

    def ask() -> None:
        with httpx.Client(trust_env=False, timeout=120) as client:
            while not over.is_set():
                begun = time.perf_counter()
                try:
                    answer = client.post(url, json=body)
                    if answer.status_code != 200:
                        asked.wrong.append(answer.text)
                except httpx.HTTPError as error:
                    asked.wrong.append(repr(error))
                asked.seconds.append(time.perf_counter() - begun)
                over.wait(ASKED_EVERY)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield asked
    finally:
        over.set()
        thread.join()


@dataclass
class Watched:
    """A system with everything that watches it."""

    system: System
    prometheus: str

    def firing(self, model: str) -> bool:
        """Whether Prometheus has the alert of drift."""
        found = httpx.get(f"{self.prometheus}/api/v1/alerts", trust_env=False, timeout=120).json()["data"]["alerts"]
        labels = {"alertname": "SigapDrift", "model": model}
        return any(each["state"] == "firing" and labels.items() <= each["labels"].items() for each in found)

    def started(self, model: str, cause: str) -> dict[str, Any] | None:
        """The newest training that was started for this reason."""
        found = self.system.get(f"/models/{model}/retrains")["retrains"]
        return next((each for each in found if each["cause"] == cause and each["decision"] == "started"), None)

    def ended(self, model: str, cause: str) -> dict[str, Any] | None:
        """The same, once it is over."""
        found = self.started(model, cause)
        return found if found and found["ended_at"] else None


@pytest.fixture(scope="module")
def watched(system: System) -> Iterator[Watched]:
    """The system with the sensor for education, and with Prometheus and Alertmanager."""
    system.stop()
    ports = {
        name: free_port(start=23000 + 50 * at)
        for at, name in enumerate(("PROMETHEUS", "ALERTMANAGER", "NODE_EXPORTER"))
    }
    further = {f"SIGAP_{name}_PORT": str(port) for name, port in ports.items()}
    system.start(**further, SIGAP_WATCHING="true", SIGAP_RETRAIN_ON_CHANGE="education")
    try:
        yield Watched(system, f"http://127.0.0.1:{ports['PROMETHEUS']}")
    finally:
        system.stop()
        system.start()


def test_changed_rows_train_and_drift_alarms_trains_and_ends(watched: Watched) -> None:
    system, arrows = watched.system, Arrows()
    with asking(system, "education") as asked:
        _change(watched, arrows)
        _drift(watched, arrows)
    _print(arrows, asked)
    assert asked.wrong == []
    assert len(asked.seconds) > 100


@pytest.mark.parametrize("killed", [("mlflow", "prometheus"), ("postgres", "api"), ("mage",)], ids="+".join)
def test_the_cycle_completes_though_services_are_killed_in_the_middle(
    watched: Watched, killed: tuple[str, ...]
) -> None:
    system, model = watched.system, "education"
    trained, before = _number(watched, model), _data_versions(system)
    system.sql("UPDATE education_data SET rata_lama_sekolah = rata_lama_sekolah - 0.2 WHERE provinsi_id = 'P35'")
    wait_for(lambda: _number(watched, model) != trained, PATIENCE, "the start of a pipeline")
    for name in killed:
        process = psutil.Process(_pid(system, name))
        process.kill()
        wait_for(lambda old=process.pid, name=name: _pid(system, name) not in (0, old), PATIENCE, f"{name} again")
    told = wait_for(lambda: _tried(watched, model, trained), PATIENCE, "the end of the training")
    assert told["outcome"] in ("promoted", "kept"), told
    # Nothing lost, nothing doubled: one new data version, decided on once, and what was decided is what is served.
    (data,) = _data_versions(system) - before
    decided = [each for each in system.get(f"/models/{model}/decisions")["decisions"] if each["data_version"] == data]
    assert [each["asked_by"] for each in decided] == ["change"]
    served = decided[0]["champion"]
    wait_for(lambda: system.served(model) == served, PATIENCE, "the champion")
    assert system.predict(declaration(model).example).json()["model_version"] == served


def _number(watched: Watched, model: str) -> int:
    """Of the newest training that changed rows started; 0 before there is one."""
    found = watched.started(model, "change")
    return int(found["id"]) if found else 0


def _pid(system: System, name: str) -> int:
    """Of a service that runs; 0 while it does not."""
    found = [record for record in recorded(system.settings.state) if record["name"] == name]
    return int(str(found[0]["pid"])) if found else 0


def _tried(watched: Watched, model: str, before: int) -> dict[str, Any] | None:
    """The training after that one, once it is over; a start that was cut off is made up for."""
    with contextlib.suppress(httpx.HTTPError):  # the API, or what it asks, may be what was killed
        found = watched.ended(model, "change")
        return found if found and found["id"] > before else None
    return None


def _data_versions(system: System) -> set[str]:
    return {tag.partition("/")[2] for tag in system.git("tag", "--list", "education/*").split()}


def _change(watched: Watched, arrows: Arrows) -> None:
    """Rows of a table change, and nobody types anything."""
    system, model = watched.system, "education"
    before, trained = system.served(model), _number(watched, model)
    data = system.get(f"/models/{model}")["data_version"]
    system.sql(
        "UPDATE education_data SET rata_lama_sekolah = rata_lama_sekolah + 0.4 WHERE provinsi_id IN ('P35', 'P33')"
    )
    arrows.until("row changed → pipeline started", lambda: _number(watched, model) != trained)
    told = arrows.until("started → snapshot, sweep and gate done", lambda: watched.ended(model, "change"))
    assert told["outcome"] in ("promoted", "kept"), told
    decided = system.get(f"/models/{model}/decisions")["decisions"][0]
    assert decided["asked_by"] == "change"
    if told["outcome"] == "promoted":
        arrows.until("decided → the API answers anew", lambda: system.served(model) not in ("", before))
        assert system.get(f"/models/{model}")["data_version"] != data


def _drift(watched: Watched, arrows: Arrows) -> None:
    """The table of cars moves; the checks say so, the alarm has the model trained, and ends with its champion."""
    system, model = watched.system, "car_price"
    before = system.served(model)
    assert not watched.firing(model)
    system.run("simulate-drift", model, "--into", "table", "--shift", "1", "--rows", "100000")
    # Two windows of three: one could be chance.
    # The schedule of every ten minutes may have made one of them by now.
    codes = [system.run("drift", "check", model, "--subject", "table", check=False).returncode for _ in range(2)]
    assert codes[1] == 2, codes
    arrows.until("second drifted window → alert", lambda: watched.firing(model))
    arrows.until("alert → retrain started", lambda: watched.started(model, "drift"))
    told = arrows.until("retrain started → done", lambda: watched.ended(model, "drift"))
    assert told["outcome"] == "promoted", told
    decided = system.get(f"/models/{model}/decisions")["decisions"][0]
    assert decided["asked_by"] == "alert:SigapDrift"
    arrows.until("decided → the API serves it", lambda: system.served(model) not in ("", before))
    # The new champion is checked without a hand, and against what it was trained on the table is what it was.
    arrows.until("served → checked and alert resolved", lambda: not watched.firing(model))
    asked = [each for each in system.get(f"/models/{model}/retrains")["retrains"] if each["cause"] == "drift"]
    assert [each["decision"] for each in asked].count("started") == 1, "one alarm, one training"


def _print(arrows: Arrows, asked: Asked) -> None:
    table = Table("Arrow", "Seconds", title="The whole cycle")
    for what, seconds in arrows.seconds.items():
        table.add_row(what, f"{seconds:.1f}")
    # Also there to read after a run whose output pytest keeps to itself.
    console = Console(width=100, record=True)
    console.print(table)
    ends = statistics.quantiles([1000 * each for each in asked.seconds], n=100)
    console.print(
        f"{len(asked.seconds)} predictions meanwhile, {len(asked.wrong)} failed; "
        f"p50 {ends[49]:.1f} ms, p99 {ends[98]:.1f} ms, seen by the client"
    )
    kept = ROOT / ".sigap" / "figures" / "whole-cycle.txt"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(console.export_text())
