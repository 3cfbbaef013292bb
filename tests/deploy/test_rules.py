"""Prometheus' and Alertmanager's files, read by their own tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sigap.services import alertmanager, prometheus
from sigap.settings import ROOT, Settings
from tests.deploy.conftest import said

PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))
TESTS = sorted((PROMETHEUS / "tests").glob("*.yml"))


def rules() -> list[dict[str, Any]]:
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"]]


def test_the_files_are_what_the_tools_expect() -> None:
    assert "SUCCESS" in said("promtool", "check", "config", str(PROMETHEUS / "prometheus.yml"))
    assert "SUCCESS" in said("promtool", "check", "rules", *map(str, RULES))
    assert "SUCCESS" in said("amtool", "check-config", str(ROOT / "deploy" / "alertmanager" / "alertmanager.yml"))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_rules_fire_when_they_should_and_only_then(path: Path) -> None:
    assert "SUCCESS" in said("promtool", "test", "rules", str(path))


def test_every_rule_is_tested_and_says_what_to_do() -> None:
    told = "".join(path.read_text() for path in TESTS)
    for rule in rules():
        assert rule["alert"] in told or rule["alert"].replace("Postgres", "").endswith("Unreachable"), rule["alert"]
        assert set(rule["annotations"]) == {"summary", "description", "runbook"}, rule["alert"]
        assert rule["labels"]["severity"] in ("warning", "critical")


def test_what_asks_for_a_retrain_names_model_and_cause() -> None:
    asking = {rule["alert"]: rule for rule in rules() if rule["labels"].get("action") == "retrain"}
    assert set(asking) == {"SigapDrift", "SigapPerformanceDrop"}
    assert {rule["labels"]["cause"] for rule in asking.values()} == {"drift", "performance"}
    assert all("by (model" in rule["expr"] for rule in asking.values())
    routes = yaml.safe_load((ROOT / "deploy" / "alertmanager" / "alertmanager.yml").read_text())["route"]["routes"]
    assert routes[0]["matchers"] == ['action="retrain"']


def test_run_reads_the_same_files_with_addresses_of_its_own(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path, host="0.0.0.0", api_port=18000, prometheus_port=19090, protect="all")
    config = prometheus.configuration(settings)
    jobs = {job["job_name"]: job["static_configs"][0]["targets"] for job in config["scrape_configs"]}
    assert jobs["sigap-api"] == ["127.0.0.1:18000"]
    assert jobs["prometheus"] == ["127.0.0.1:19090"]
    assert "cadvisor" not in jobs, "there is none without containers"
    for name, made in (("prometheus.yml", config), ("alertmanager.yml", alertmanager.configuration(settings))):
        (tmp_path / name).write_text(yaml.safe_dump(made))
    said("promtool", "check", "config", str(tmp_path / "prometheus.yml"))
    said("amtool", "check-config", str(tmp_path / "alertmanager.yml"))
    text = (tmp_path / "alertmanager.yml").read_text()
    assert "http://127.0.0.1:18000/alerts" in text
    key = tmp_path / "secrets" / "alert_key"
    assert text.count(str(key)) == (tmp_path / "prometheus.yml").read_text().count(str(key)) == 1
    assert key.read_text() == settings.secret("alert_key")
    assert key.stat().st_mode & 0o777 == 0o600
    assert settings.secret("alert_key") not in text + (tmp_path / "prometheus.yml").read_text()


def test_production_makes_up_no_key(tmp_path: Path) -> None:
    made = alertmanager.alertmanager_service(Settings(state_dir=tmp_path, environment="production"))
    assert isinstance(made, str), "a line, or nothing where Alertmanager is not installed"
    assert not (tmp_path / "secrets").exists()
