"""Who may read the metrics where everything needs a token: Prometheus can't get one, and shows a key."""

from __future__ import annotations

from typing import Any


def test_a_key_itself_opens_the_metrics_and_nothing_else(start: Any) -> None:
    api = start(protect="all")
    for name in ("alerts", "predict", "both"):
        shown = {"authorization": f"Bearer {api.keys[name]}"}
        assert api.client.get("/metrics", headers=shown).status_code == 200, name
        assert api.client.get("/models", headers=shown).status_code == 401, name
    assert api.client.get("/metrics", headers=api.bearer("predict")).status_code == 200
    for wrong in ({}, {"authorization": "Bearer nobody"}, {"authorization": "Basic eA=="}, {"authorization": ""}):
        assert api.client.get("/metrics", headers=wrong).status_code == 401, wrong


def test_otherwise_they_are_open(start: Any) -> None:
    api = start(protect="predict")
    for given in ({}, {"authorization": "Bearer nobody"}):
        assert api.client.get("/metrics", headers=given).status_code == 200
