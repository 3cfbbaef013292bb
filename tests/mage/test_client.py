"""Runs through a real Mage server: what comes back, and that every fault comes back too."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import httpx
import psutil
import pytest

from sigap.errors import PipelineError
from sigap.services.mage import mage_service
from sigap.services.mage_api import MageApi
from sigap.services.mage_client import run_pipeline
from sigap.services.service import relatives
from tests.mage.conftest import running_mage

pytestmark = pytest.mark.usefixtures("mage")


def worker_pool(settings):
    """Mage's process that starts its workers; it exists once a job has run."""
    status = httpx.get(f"{settings.mage_address}/api/status", trust_env=False).json()["statuses"][0]
    (pool,) = psutil.Process(status["scheduler_process_id"]).children()
    return pool


def eventually(condition, seconds=5):
    limit = time.monotonic() + seconds
    while not condition() and time.monotonic() < limit:
        time.sleep(0.05)
    return condition()


def test_a_run_is_recorded_block_by_block_and_leaves_the_checkout_as_it_was(mage_settings):
    events = []
    result = run_pipeline(mage_settings, "fan", {"greeting": "halo"}, events.append)
    assert result["candidates"] == [2, 3, 4, 5, 6]
    assert result["greeting"] == "halo"
    assert result["nested"] == {"none": None, "text": "é" * 5000}
    completed = [event["block"] for event in events if event.get("status") == "completed"]
    children = {f"fit:k_{k}" for k in range(2, 7)}
    assert completed[:3] == ["start", "plan", "fit"]
    assert set(completed[3:8]) == children
    assert completed[8:] == ["finish"]
    assert events[0]["event"] == "started"
    assert events[-1]["done"] == events[-1]["total"] == 9
    with MageApi(mage_settings) as api:
        api.sign_in()
        record = api.run(events[0]["run"])
    assert record["status"] == "completed"
    steps = sorted(block["block_uuid"] for block in record["block_runs"])
    assert steps == sorted(["start", "plan", "fit", "finish", *children])
    git = ["git", "-C", str(mage_settings.root), "status", "--porcelain"]
    assert subprocess.run(git, capture_output=True, text=True, check=True).stdout == ""


def test_two_runs_at_once_end_each_with_its_own_result(mage_settings):
    with ThreadPoolExecutor() as threads:
        first, second = threads.map(
            lambda greeting: run_pipeline(mage_settings, "fan", {"greeting": greeting, "items": 2}), ["satu", "dua"]
        )
    assert (first["greeting"], second["greeting"]) == ("satu", "dua")


def test_each_run_has_each_step_once_however_many_are_asked_for_at_once(mage_settings):
    runs = []
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(run_pipeline, mage_settings, "one", {}, runs.append) for _ in range(4)]
        for each in asked:
            each.result()
    with MageApi(mage_settings) as api:
        api.sign_in()
        for event in runs:
            if event["event"] == "started":
                assert [block["block_uuid"] for block in api.run(event["run"])["block_runs"]] == ["start"]


def test_a_pipeline_without_a_file_of_triggers_is_given_one(mage_settings):
    folder = mage_settings.root / "mage_project" / "pipelines"
    (folder / "bare").mkdir(exist_ok=True)
    text = (folder / "one" / "metadata.yaml").read_text()
    (folder / "bare" / "metadata.yaml").write_text(text.replace("uuid: one", "uuid: bare", 1))
    assert run_pipeline(mage_settings, "bare", {"greeting": "halo"})["greeting"] == "halo"
    assert sorted(path.name for path in (folder / "bare").iterdir()) == ["metadata.yaml"]


@pytest.mark.parametrize(
    ("variables", "cause"),
    [({"raises": "cars"}, "There is no table 'cars'."), ({"items": 100}, "100 items are too many.")],
    ids=["a block that raises", "a block whose test fails"],
)
def test_a_failing_block_comes_back_with_its_cause(mage_settings, variables, cause):
    with pytest.raises(PipelineError) as caught:
        run_pipeline(mage_settings, "one", variables)
    assert "The step start of run" in caught.value.message
    assert cause in caught.value.message
    assert f"{mage_settings.mage_address}/pipelines/one/runs/" in caught.value.remedy


def test_a_real_step_passes_on_its_own_error_and_logs_it_as_one_line_of_json(mage_settings):
    events = []
    with pytest.raises(PipelineError) as caught:
        run_pipeline(mage_settings, "education", {"data_version": "v9"}, events.append)
    assert "The step take_snapshot of run" in caught.value.message
    assert "v9" in caught.value.message
    # Lines of Mage's own stand between ours.
    log = mage_service(mage_settings).log.read_text()
    ours = [json.loads(line) for line in log.splitlines() if '"logger": "sigap.' in line]
    failed = [line for line in ours if line["logger"] == "sigap.pipeline" and line["level"] == "ERROR"][-1]
    assert (failed["model"], failed["pipeline_run"]) == ("education", events[0]["run"])
    assert failed["message"] == "The step snapshot failed."
    assert "sigap.errors.VersionError" in failed["exception"]


def test_a_block_that_takes_too_long_is_ended(mage_settings, tmp_path):
    impatient = mage_settings.model_copy(update={"step_timeout_seconds": 2})
    pid_file = tmp_path / "pid"
    with pytest.raises(PipelineError, match=r"The step start of run \d+ .* took longer than 2 s"):
        run_pipeline(impatient, "one", {"seconds": 120, "pid_file": str(pid_file)})
    pid = int(pid_file.read_text())
    assert eventually(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def test_a_lost_job_is_tried_once_more_and_then_given_up(mage_settings):
    run_pipeline(mage_settings, "one", {})
    impatient = mage_settings.model_copy(update={"stuck_seconds": 3})
    pool = worker_pool(mage_settings)
    events = []
    pool.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(PipelineError, match=r"stuck at the step start \(queued\): no step moved for 3 s"):
            run_pipeline(impatient, "one", {}, events.append)
    finally:
        pool.send_signal(signal.SIGCONT)
    assert [event["event"] for event in events if event["event"] in {"started", "retry"}] == [
        "started",
        "retry",
        "started",
    ]


def test_the_second_try_of_a_lost_job_succeeds(mage_settings):
    run_pipeline(mage_settings, "one", {})
    impatient = mage_settings.model_copy(update={"stuck_seconds": 5})
    pool = worker_pool(mage_settings)
    pool.send_signal(signal.SIGSTOP)

    def wake(event):
        if event["event"] == "retry":
            pool.send_signal(signal.SIGCONT)

    try:
        assert run_pipeline(impatient, "one", {"greeting": "halo"}, wake)["greeting"] == "halo"
    finally:
        pool.send_signal(signal.SIGCONT)


def test_a_step_whose_process_keeps_dying_is_given_up(mage_settings, tmp_path):
    pid_file = tmp_path / "pid"
    over = threading.Event()

    def kill_again_and_again():
        while not over.wait(0.6):
            if pid_file.exists():
                psutil.Process(int(pid_file.read_text())).kill()
                pid_file.unlink()

    killer = threading.Thread(target=kill_again_and_again)
    killer.start()
    try:
        with pytest.raises(PipelineError, match=r"The process of the step start .* died 3 times"):
            run_pipeline(mage_settings, "one", {"seconds": 120, "pid_file": str(pid_file)})
    finally:
        over.set()
        killer.join()


KILLED_AMONG_THE_STEPS = """
import os
import psutil
import sigap.services.mage_launch
from mage_ai.orchestration.db.database_manager import database_manager
from mage_ai.orchestration.db.models.schedules import BlockRun, PipelineRun
from mage_ai.settings.repo import get_repo_path, set_repo_path

set_repo_path(get_repo_path())
database_manager.run_migrations()
run = PipelineRun.create(pipeline_uuid="fan")
save, saved = BlockRun.save, []

def save_two(self, *arguments, **options):
    if len(saved) == 2:
        for child in psutil.Process().children():  # the queue's table, which would outlive this process
            child.kill()
        os._exit(7)
    saved.append(save(self, *arguments, **options))

if {killed}:
    BlockRun.save = save_two
run.create_block_runs()
"""


@pytest.mark.parametrize(("killed", "steps"), [(True, 0), (False, 4)], ids=["killed", "left in peace"])
def test_a_run_has_all_its_steps_or_none_though_mage_is_killed_among_them(own_settings, killed, steps):
    service = mage_service(own_settings)
    service.prepare()
    script = KILLED_AMONG_THE_STEPS.format(killed=killed)
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | service.env,
        cwd=own_settings.root,
        capture_output=True,
        text=True,
    )
    assert done.returncode == (7 if killed else 0), done.stderr
    (database,) = (own_settings.state / "mage").rglob("mage-ai.db")
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT count(*) FROM pipeline_run").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM block_run").fetchone() == (steps,)


def test_a_wrong_trigger_token_is_an_error(mage_settings):
    with MageApi(mage_settings) as api:
        api.sign_in()
        trigger = api.trigger("fan")
        with pytest.raises(PipelineError, match="refused to start a run"):
            api.start(trigger | {"token": "wrong"}, {})


def test_an_unknown_pipeline_is_named(mage_settings, monkeypatch):
    monkeypatch.setattr("sigap.services.mage_client._READING_SECONDS", 0.5)
    with pytest.raises(PipelineError, match="can't run a pipeline 'boats'"):
        run_pipeline(mage_settings, "boats", {})


def test_without_mage_the_error_says_how_to_start_it(own_settings):
    with pytest.raises(PipelineError, match=r"can't be reached .* Start it with \./run"):
        run_pipeline(own_settings, "fan", {})


def test_a_server_ended_amid_a_run_takes_its_children_along_and_the_run_is_an_error(own_settings, monkeypatch):
    monkeypatch.setattr("sigap.services.mage_client._SILENT_SECONDS", 2)
    family = []

    def end_server(event):
        if event.get("status") == "running":
            family.extend(relatives(running.process.pid))
            running.process.terminate()  # the server alone, not its group

    with running_mage(own_settings) as running:
        with pytest.raises(
            PipelineError, match=r"has not answered for \d+ s, while run 1 .* at the step start \(running\)"
        ):
            run_pipeline(own_settings, "one", {"seconds": 120}, end_server)
        assert len(family) >= 4  # scheduler, table of jobs, worker pool, worker
        _, alive = psutil.wait_procs(family, timeout=5)
    assert alive == []
