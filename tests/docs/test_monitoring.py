"""The document of alarms names those that there are."""

from __future__ import annotations

import re

import yaml

from sigap.settings import ROOT

DOCUMENT = (ROOT / "docs" / "monitoring.md").read_text()


def test_every_alarm_stands_in_the_document() -> None:
    for path in (ROOT / "deploy" / "prometheus" / "rules").glob("*.yml"):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                assert re.search(rf"\b{rule['alert']}\b", DOCUMENT), rule["alert"]
