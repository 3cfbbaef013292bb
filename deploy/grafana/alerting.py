"""Grafana's own alerting by file: the rules are those of Prometheus, and what asks for a retrain goes the same way.

Where Alertmanager runs, this is not needed: two alerts about one model are one retrain.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from deploy.grafana.panels import DATASOURCE

RULES = Path(__file__).parents[1] / "prometheus" / "rules"
FOLDER = "Sigap"
RETRAIN = "sigap-retrain"
SHOWN = "grafana-default-email"
"""Grafana's own: what goes there is shown on its page of alerts, and sent once somebody sets an address."""
# Longer than the interval of the rules, shorter than what any of them waits for.
INTERVAL = "10s"
_SECONDS_BACK = 300


def alerting() -> dict[str, Any]:
    """Contact points, policy and rules, as Grafana's provisioning reads them."""
    return {"apiVersion": 1, "contactPoints": _contact_points(), "policies": [_policy()], "groups": _groups()}


def _contact_points() -> list[dict[str, Any]]:
    # The variables are read from Grafana's own environment.
    webhook = {
        "url": "$SIGAP_ALERTS_URL",
        "httpMethod": "POST",
        "authorization_scheme": "Bearer",
        "authorization_credentials": "$SIGAP_ALERT_KEY",
    }
    receiver = {"uid": RETRAIN, "type": "webhook", "disableResolveMessage": False, "settings": webhook}
    return [{"orgId": 1, "name": RETRAIN, "receivers": [receiver]}]


def _policy() -> dict[str, Any]:
    retrain = {
        "receiver": RETRAIN,
        "object_matchers": [["action", "=", "retrain"]],
        "group_by": ["model"],
        "group_wait": "1s",
        "group_interval": "15s",
        "repeat_interval": "1h",
    }
    return {"orgId": 1, "receiver": SHOWN, "group_by": ["alertname", "model"], "routes": [retrain]}


def _groups() -> list[dict[str, Any]]:
    groups = [group for path in sorted(RULES.glob("*.yml")) for group in yaml.safe_load(path.read_text())["groups"]]
    return [
        {
            "orgId": 1,
            "name": group["name"],
            "folder": FOLDER,
            "interval": INTERVAL,
            "rules": [_rule(rule) for rule in group["rules"]],
        }
        for group in groups
    ]


def _rule(rule: dict[str, Any]) -> dict[str, Any]:
    # Prometheus' rules are on where a series is left, whatever its value; Grafana wants a value above nought.
    query = {
        "refId": "A",
        "datasourceUid": DATASOURCE,
        "relativeTimeRange": {"from": _SECONDS_BACK, "to": 0},
        "model": {"refId": "A", "expr": f"({rule['expr'].strip()}) >= bool -Inf", "instant": True, "range": False},
    }
    above = {
        "refId": "B",
        "datasourceUid": "__expr__",
        "model": {
            "refId": "B",
            "type": "threshold",
            "expression": "A",
            "conditions": [{"evaluator": {"type": "gt", "params": [0]}}],
        },
    }
    # Prometheus' templates hold the query's own value, which this query has not.
    # Behind a dollar, Grafana looks for a variable of its environment.
    told = {n: text.replace("$labels", ".Labels") for n, text in rule["annotations"].items() if "$value" not in text}
    return {
        "uid": rule["alert"].lower(),
        "title": rule["alert"],
        "condition": "B",
        "data": [query, above],
        "for": rule.get("for", "0s"),
        "noDataState": "OK",
        "execErrState": "Error",
        "labels": rule["labels"],
        "annotations": told,
    }
