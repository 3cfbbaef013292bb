"""What workers leave for each other in files: counted once, and nothing of those that are gone is lost."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

from backend import workers as working
from backend.workers import Workers

# No process has this number: it is beyond what Linux gives.
GONE = 2**22 + 7
Start = Callable[..., Workers]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Workers as of one supervisor, in this process, each with its count and its memory."""
    supervisor = SimpleNamespace(pid=os.getppid())
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: supervisor)
    # However slow the machine, nobody is taken for dead between two lines of a test.
    monkeypatch.setattr(working, "ALIVE_SECONDS", 3600.0)

    def started(count: float, pid: int = 0) -> Workers:
        registry = CollectorRegistry()
        Counter("sigap_api_predictions", "d", registry=registry).inc(count)
        Gauge("sigap_api_requests_in_progress", "d", registry=registry).set(count)
        Gauge("process_resident_memory_bytes", "d", registry=registry).set(count)
        Gauge("sigap_data_rows", "d", registry=registry).set(count)
        found = Workers(tmp_path, registry)
        found.pid = pid or os.getpid()
        return found

    return started


def figures(worker: Workers) -> dict[tuple[str, str], float]:
    return {
        (sample.name, sample.labels.get("worker", "")): sample.value
        for metric in worker.families()
        for sample in metric.samples
        if not sample.name.endswith("_created")
    }


def test_counts_are_added_and_what_is_each_one_s_own_is_kept_apart(start: Start) -> None:
    one, other = start(3), start(4)
    assert figures(one)["sigap_api_predictions_total", ""] == 3
    told = figures(other)
    assert told["sigap_api_predictions_total", ""] == 7
    assert told["sigap_api_requests_in_progress", ""] == 7
    assert told["sigap_data_rows", ""] == 4, "what concerns the whole is told once"
    assert [told["process_resident_memory_bytes", place] for place in ("0", "1")] == [3, 4]
    assert other.count() == 2
    assert b"sigap_api_predictions_total 7.0" in other.text()


def test_of_workers_that_ended_the_counts_stay_and_nothing_else(start: Start, tmp_path: Path) -> None:
    for count in (3, 4):
        assert start(count, GONE).families()
    living = start(5)
    told = figures(living)
    assert told["sigap_api_predictions_total", ""] == 12
    assert told["sigap_api_requests_in_progress", ""] == 5
    assert [value for (name, _), value in told.items() if name.startswith("process_")] == [5]
    (group,) = tmp_path.iterdir()
    assert (group / "0-ended.json").exists()
    assert len(list(group.glob(f"{GONE}-*"))) == 0, "their files are one now"
    start(6, GONE).families()
    later = start(7)
    assert figures(later)["sigap_api_predictions_total", ""] == 25, "and counted on, once"
    assert later.count() == 2


def test_what_another_api_left_is_cleared_away(start: Start, tmp_path: Path) -> None:
    left = tmp_path / f"{GONE}-1.00"
    left.mkdir()
    (left / "1-0-a.json").write_text("[]")
    beside = tmp_path / f"{os.getpid()}-1.00"
    beside.mkdir()
    assert start(1).families()
    assert not left.exists()
    assert beside.exists(), "of an API that lives"


def test_a_worker_beyond_the_places_still_counts(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working, "SLOTS", 1)
    one, other = start(1), start(2)
    figures(one)
    told = figures(other)
    assert told["sigap_api_predictions_total", ""] == 3
    assert told["process_resident_memory_bytes", "1"] == 2


def test_one_of_several_looks_at_what_concerns_them_all(start: Start) -> None:
    one, other = start(1), start(2)
    assert (one.watches(), other.watches(), one.watches()) == (True, False, True)
    one._watch.release()
    assert other.watches()


def test_a_folder_that_can_t_be_written_leaves_each_worker_its_own_figures(
    start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("in the way")
    worker = start(3)
    worker._group = blocked / "group"
    assert figures(worker) == {
        ("sigap_api_predictions_total", ""): 3,
        ("sigap_api_requests_in_progress", ""): 3,
        ("process_resident_memory_bytes", ""): 3,
        ("sigap_data_rows", ""): 3,
    }
    assert not worker.watches()

    async def run() -> None:
        task = asyncio.create_task(worker.run())
        async with asyncio.timeout(300):
            while "can't be written" not in caplog.text:
                await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(run())
    assert "The worker's metrics can't be written" in caplog.text


def test_a_file_that_goes_while_it_is_looked_at_is_of_nobody(tmp_path: Path) -> None:
    assert not working._alive(tmp_path / "1-0-a.json")


def test_one_worker_alone_has_no_file(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    alone = Workers(tmp_path / "none", registry)
    asyncio.run(alone.run())
    assert (alone.count(), alone.watches(), alone.text(), list(alone.families())) == (1, True, b"", [])
    assert not (tmp_path / "none").exists()
