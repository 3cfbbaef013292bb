"""Six models in one system: brought up together, real data in place of mock data, and a person's say."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from sigap.catalog import declaration, declarations
from tests.shared import shared
from tests.system.conftest import System, wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(1800)]

SEEDED = "education"


def asked(system: System, *words: str) -> Any:
    return json.loads(system.run(*words, "--json").stdout)


def test_six_models_come_up_with_a_champion_or_the_reason_for_none(system: System) -> None:
    said = system.log.read_text()
    assert re.search(r"6 models in \d+ s", said)
    listed = {model["name"]: model for model in system.get("/models")["models"]}
    assert list(listed) == [declared.name for declared in declarations()]
    for name, model in listed.items():
        line = next(line for line in said.splitlines() if re.match(rf"{name} +[\d-]", line))
        # Rows, version, data, score, baseline and what was decided.
        assert re.match(rf"{name} +[\d,]+ +(v1|-) +v1( \(mock\))? +\S.*\d.* +\S", line), line
        assert ("(mock)" in line) is (name != SEEDED)
        if not model["served"]:
            assert "no champion: no admissible candidate" in line
            assert f"\n{name}: " in said, "why it has none"
            continue
        assert "champion: the first" in line
        answer = system.predict(declaration(name).example, name)
        assert answer.status_code == 200, answer.text
        # The first story, where it was told before, has left another version of its model.
        assert name == SEEDED or answer.json()["model_version"] == "v1"
    assert listed[SEEDED]["served"]
    assert listed["car_price"]["served"]


def test_a_real_file_takes_the_place_of_mock_cars_and_the_way_back(system: System) -> None:
    file, example = shared("car", "CarPrice_Assignment.csv"), declaration("car_price").example
    first = system.predict(example, "car_price")
    assert first.json()["model_version"] == "v1"

    imported = system.run("import", "cars", str(file)).stdout
    assert "205 rows: 205 new" in imported
    assert "300 mock rows give way" in imported
    again = system.run("import", "cars", str(file)).stdout
    assert "0 new, 0 changed, 205 unchanged" in again
    done = system.run("pipeline", "car_price").stdout
    assert "car_price v2 on data v2 is the champion now" in done
    wait_for(lambda: system.served("car_price") == "v2", 5, "the champion of the real cars")
    second = system.predict(example, "car_price").json()
    assert (second["model_version"], second["data_version"]) == ("v2", "v2")
    assert second["price"] != first.json()["price"]
    # Nothing calls it mock any more.
    listed = {model["name"]: model for model in system.get("/models")["models"]}
    assert (listed["car_price"]["data_origin"], listed["bitcoin_price"]["data_origin"]) == ("import", "mock")
    line = next(line for line in system.run("status").stdout.splitlines() if line.startswith("car_price"))
    assert re.match(r"car_price +205 +v2 +v2 +rmse", line), line
    assert "mock" not in system.run("model", "card", "car_price").stdout.lower()
    assert "mock data: made up" in system.run("model", "card", "car_price", "v1").stdout

    # From the version back to the query, and from the data on to the version.
    back = asked(system, "lineage", "car_price", "v2")
    assert (back["data"]["version"], back["data"]["rows"], back["data"]["source_table"]) == ("v2", 205, "cars")
    assert back["data"]["can_be_restored"]
    assert "FROM cars" in back["data"]["query"]
    assert back["run"]["status"] == "FINISHED"
    assert len(back["candidates"]) > 2
    assert back["decision"]["promote"] is True
    assert system.git("rev-parse", f"{back['data']['tag']}^{{commit}}") == back["data"]["git_commit"]
    onward = asked(system, "lineage", "car_price", "--data", "v2")
    assert [each["model_version"] for each in onward["model_versions"]] == ["v2"]
    assert [run["run_id"] for run in onward["runs"]] == [back["run"]["run_id"]]

    # Data that nobody changed make no new version, and an equal model none either.
    system.run("model", "rollback", "car_price")
    wait_for(lambda: system.served("car_price") == "v1", 3, "the former champion")
    assert system.predict(example, "car_price").content == first.content
    assert "rollback" in system.run("model", "decisions", "car_price").stdout
    # The first story leaves the reports of its `dvc repro`, which are new to Git.
    assert system.git("status", "--porcelain", "--untracked-files=no") == ""


# The last one: it leaves the system in manual mode.
def test_in_manual_mode_a_challenger_waits_for_a_person_across_a_restart(system: System) -> None:
    before = {declared.name: system.served(declared.name) for declared in declarations()}
    system.stop()
    system.start(SIGAP_PROMOTION="manual")
    wait_for(
        lambda: {declared.name: system.served(declared.name) for declared in declarations()} == before,
        30,
        "the champions of before",
    )
    system.sql("DELETE FROM candles WHERE opened_at = (SELECT max(opened_at) FROM candles)")
    done = system.run("pipeline", "bitcoin_price").stdout
    assert "bitcoin_price v2 on data v2 was not promoted" in done
    assert "./run model approve bitcoin_price 2" in done
    assert system.served("bitcoin_price") == "v1"
    refused = system.run("model", "approve", "bitcoin_price", "v1", check=False)
    assert refused.returncode == 1
    assert "does not wait for an approval" in refused.stderr
    system.run("model", "approve", "bitcoin_price", "v2")
    wait_for(lambda: system.served("bitcoin_price") == "v2", 3, "the version that a person approved")
    assert "approved" in system.run("model", "decisions", "bitcoin_price").stdout
