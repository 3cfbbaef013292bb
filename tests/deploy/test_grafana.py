"""The dashboards and alert rules that Grafana reads. Grafana itself is not here: what it reads is checked."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import combinations
from typing import Any

import pytest
import yaml

from deploy.grafana.panels import DATASOURCE
from sigap.settings import ROOT

GRAFANA = ROOT / "deploy" / "grafana"
BOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((GRAFANA / "dashboards").glob("*.json"))}


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def test_making_them_again_changes_nothing() -> None:
    made = subprocess.run(
        [sys.executable, "-m", "deploy.grafana", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, f"{made.stdout}{made.stderr}Run `python -m deploy.grafana` and commit what it writes."


def test_there_are_four_and_each_has_an_address_of_its_own() -> None:
    assert set(BOARDS) == {"service", "models", "pipelines", "host"}
    assert len({board["uid"] for board in BOARDS.values()}) == 4


@pytest.mark.parametrize("name", BOARDS)
def test_panels_have_ids_places_and_words(name: str) -> None:
    board = BOARDS[name]
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    for one, other in combinations([panel["gridPos"] for panel in board["panels"]], 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in board["panels"])
    for panel in panels(board):
        assert panel["title"]
        assert len(panel["description"]) > 15, panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters), panel["title"]


@pytest.mark.parametrize("name", BOARDS)
def test_every_source_is_the_provisioned_one(name: str) -> None:
    provisioned = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "prometheus.yml").read_text())
    assert [source["uid"] for source in provisioned["datasources"]] == [DATASOURCE]
    board = BOARDS[name]
    named = [panel["datasource"]["uid"] for panel in panels(board)]
    named += [target["datasource"]["uid"] for panel in panels(board) for target in panel["targets"]]
    named += [choice["datasource"]["uid"] for choice in board["templating"]["list"]]
    assert set(named) == {DATASOURCE}


def test_alerting_by_file_has_the_rules_of_prometheus_and_the_same_way_to_a_retrain() -> None:
    made = yaml.safe_load((GRAFANA / "provisioning" / "alerting" / "sigap.yml").read_text())
    rules = {rule["title"]: rule for group in made["groups"] for rule in group["rules"]}
    files = sorted((ROOT / "deploy" / "prometheus" / "rules").glob("*.yml"))
    theirs = [rule for path in files for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]
    assert set(rules) == {rule["alert"] for rule in theirs}
    assert {rule["alert"]: rule["labels"] for rule in theirs} == {name: rule["labels"] for name, rule in rules.items()}
    assert all(rule["data"][0]["datasourceUid"] == DATASOURCE for rule in rules.values())
    (point,) = made["contactPoints"]
    (retrain,) = made["policies"][0]["routes"]
    assert retrain["receiver"] == point["name"]
    assert retrain["object_matchers"] == [["action", "=", "retrain"]]
    settings = point["receivers"][0]["settings"]
    assert (settings["url"], settings["authorization_credentials"]) == ("$SIGAP_ALERTS_URL", "$SIGAP_ALERT_KEY")
    dollars = [text for rule in rules.values() for text in rule["annotations"].values() if "$" in text]
    assert dollars == [], "Grafana would look for a variable of its environment"
