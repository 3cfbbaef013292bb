"""The lines of the log: what they hold, what leads from a prediction back to its run, and what never stands in them."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from sigap.cli.session import Reporter
from sigap.errors import RegistryError
from sigap.logs import REQUEST_ID, JsonFormatter, TextFormatter, configuration, ids, into_file
from sigap.services.supervisor import Event
from sigap.settings import ROOT
from tests.backend.bundles import BODY
from tests.backend.conftest import free_port, process, wait_for
from tests.backend.task_bundles import FIVE
from tests.backend.test_memory import keep


def record(message: str = "It happened.", **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("sigap.api", logging.INFO, __file__, 1, message, None, None)
    made.__dict__.update(extra)
    return made


def failed() -> logging.LogRecord:
    try:
        try:
            int("Budi Santoso")
        except ValueError as error:
            raise RegistryError("postgresql://sigap:hidden-word@db") from error
    except RegistryError:
        made = record("A request failed.")
        made.exc_info = sys.exc_info()
        return made


def test_a_json_line_has_the_ids_and_nothing_that_was_not_foreseen() -> None:
    line = json.loads(JsonFormatter().format(record(model="car_price", model_version="v3", customer="Budi Santoso")))
    assert (line["level"], line["logger"], line["message"]) == ("INFO", "sigap.api", "It happened.")
    assert (line["model"], line["model_version"]) == ("car_price", "v3")
    assert "Budi" not in json.dumps(line)
    assert "request_id" not in line


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_of_an_exception_only_its_kind_and_place_are_written(formatter: logging.Formatter) -> None:
    line = formatter.format(failed())
    assert "Traceback" in line
    assert "ValueError" in line
    assert "sigap.errors.RegistryError" in line
    assert "test_logs.py" in line
    assert "Budi" not in line
    assert "hidden-word" not in line


def test_a_line_is_one_line_and_knows_its_request() -> None:
    token = REQUEST_ID.set("abc-1")
    try:
        assert json.loads(JsonFormatter().format(record("One\ntwo.")))["request_id"] == "abc-1"
        assert "\n" not in JsonFormatter().format(record("One\ntwo."))
        assert TextFormatter().format(record("It happened.")).endswith("It happened. [request_id=abc-1]")
        assert TextFormatter().format(record("Request abc-1 failed.")).endswith("failed.")
    finally:
        REQUEST_ID.reset(token)
    assert configuration("json") != configuration("text")


def lines_of(text: str) -> list[dict[str, Any]]:
    """Every line, which has to be JSON."""
    return [json.loads(line) for line in text.splitlines()]


def test_ids_stand_on_what_is_said_meanwhile_and_what_is_nearer_wins() -> None:
    with ids(model="car_price", run_id="abc", pipeline_run=None), ids(model="", data_version="v1"):
        line = json.loads(JsonFormatter().format(record(data_version="v2")))
    assert (line["model"], line["run_id"], line["data_version"]) == ("car_price", "abc", "v2")
    assert "pipeline_run" not in line
    assert "model" not in json.loads(JsonFormatter().format(record()))


OURS = """
import logging, warnings
from sigap.logs import ids, set_up
from sigap.scale.local import completed

def say(what):
    logging.getLogger("sigap.training").info("Worker %s.", what)

if __name__ == "__main__":
    set_up("json", whole=True, pipeline_run=7)
    warnings.warn("Something of a library's.")
    logging.getLogger("httpx").info("GET http://someone:hidden-word@127.0.0.1")
    with ids(run_id="abc"):
        logging.getLogger("sigap.pipeline").info("Said.")
    list(completed(say, [(0, "one"), (1, "two")], 2))
    raise ValueError("hidden-word")
"""


def test_a_process_of_ours_and_those_it_starts_write_one_form_to_their_very_end(tmp_path: Path) -> None:
    script = tmp_path / "ours.py"
    script.write_text(OURS)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, script], env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    found = lines_of(ended.stderr)
    assert {line["pipeline_run"] for line in found} == {7}
    said = {line["message"]: line for line in found}
    assert said["Said."]["run_id"] == "abc"
    assert {"Worker one.", "Worker two."} <= {*said}
    assert found[0]["logger"] == "py.warnings"
    assert "ValueError" in found[-1]["exception"]
    assert "hidden-word" not in ended.stderr


def test_the_watcher_speaks_as_all_do_and_tells_no_password(tmp_path: Path) -> None:
    env = {
        "SIGAP_STATE_DIR": str(tmp_path),
        "DATABASE_URL": f"postgresql://sigap:hidden-word@127.0.0.1:{free_port()}/sigap",
        "SIGAP_LOG_FORMAT": "json",
        "SIGAP_SENSOR_SECONDS": "1",
    }
    log = tmp_path / "watcher.log"
    with process([sys.executable, "-m", "sigap.watcher"], log, **env):
        wait_for(lambda: log.read_text().count("\n") >= 2, "Two lines of the watcher")
    found = lines_of(log.read_text())
    assert [line["level"] for line in found[:2]] == ["INFO", "WARNING"]
    assert {line["logger"] for line in found} == {"sigap.watcher"}
    assert "hidden-word" not in log.read_text()
    with process([sys.executable, "-m", "sigap.watcher"], log, **env, SIGAP_RETRAIN_ON_CHANGE="no_such") as wrong:
        assert wrong.wait(600) == 1
    assert "no_such" in lines_of(log.read_text())[-1]["message"]


def test_what_happens_to_services_is_written_down(tmp_path: Path) -> None:
    reporter = Reporter()
    reporter.stopping = True  # says nothing to people meanwhile
    with into_file(logging.getLogger("sigap.supervisor"), tmp_path / "logs" / "run.log", "json"):
        reporter(Event("mage", "ready", seconds=3.21))
        reporter(Event("mage", "died", "was ended by SIGKILL"))
        reporter(Event("mage", "failed", "Its log ends with:\nhidden-word", again=True))
    found = lines_of((tmp_path / "logs" / "run.log").read_text())
    assert [(line["level"], line["message"]) for line in found] == [
        ("INFO", "mage is ready after 3.2 s."),
        ("WARNING", "mage was ended by SIGKILL, and is started again."),
        ("ERROR", "mage did not get ready."),
    ]


def test_a_prediction_is_followed_back_to_the_run_that_made_its_model(seeded_database: str, tmp_path: Path) -> None:
    keep(tmp_path, "education", run_id="0123456789abcdef")
    (loan,) = [each for each in FIVE if each.name == "loan_approval"]
    keep(tmp_path, loan.name)
    port, log = free_port(), tmp_path / "api.log"
    env = {
        "SIGAP_STATE_DIR": str(tmp_path),
        "MLFLOW_TRACKING_URI": "http://someone:hidden-word@127.0.0.1:9",
        "DATABASE_URL": seeded_database,
        "SIGAP_LOG_FORMAT": "json",
    }
    api = f"http://127.0.0.1:{port}"
    with process([sys.executable, "-m", "backend", "--port", str(port)], log, **env):
        wait_for(lambda: httpx.get(f"{api}/health/live").status_code == 200, "The API", 600)
        headers = {"x-request-id": "follow-me-1"}
        assert httpx.post(f"{api}/predict", json=BODY, headers=headers).status_code == 200
        wrong = loan.example | {next(iter(loan.example)): "Budi Santoso, NIK 3201"}
        assert httpx.post(f"{api}/models/{loan.name}/predict", json=wrong).status_code == 422
        refused = {"authorization": "Bearer hidden-token"}
        assert httpx.get(f"{api}/health", headers=refused).status_code in (200, 401)
        assert httpx.post(f"{api}/models/education/pipeline", json={}, headers=refused).status_code == 401

        def kept() -> list[tuple[str, str]]:
            with psycopg.connect(seeded_database) as connection:
                query = "SELECT model, model_version FROM predictions WHERE request_id = 'follow-me-1'"
                return connection.execute(query).fetchall()

        wait_for(lambda: bool(kept()), "The prediction in PostgreSQL")
        ((model, version),) = kept()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {"uvicorn.error", "sigap.api"} <= {line["logger"] for line in lines}
    (served,) = [line for line in lines if (line.get("model"), line.get("model_version")) == (model, version)]
    assert served["run_id"] == "0123456789abcdef"
    assert served["data_version"]
    password = seeded_database.split("@")[0].rpartition(":")[2]
    for hidden in ("hidden-word", "hidden-token", "Budi", "3201", password):
        assert hidden not in log.read_text()
