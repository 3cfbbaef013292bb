"""The table of metrics is what the API tells."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from pathlib import Path

import psycopg
import yaml
from prometheus_client import Metric

from backend.app import create_app
from sigap.services.service import free_port
from sigap.settings import ROOT, Settings
from tests.backend.mage import mage_standin
from tests.backend.observed.test_observed import ROWS, TABLES

DOCUMENT = (ROOT / "docs" / "monitoring.md").read_text()
ROW = re.compile(r"^\| `(sigap_\w+)` \| (\w+) \| ([\w, ]*) \| (.*) \|$", re.MULTILINE)


def told(families: Iterable[Metric]) -> dict[str, tuple[str, str]]:
    """Kind and text of what is Sigap's own, by the name that a reader asks for."""
    return {
        f"{each.name}_total" if each.type == "counter" else each.name: (each.type, each.documentation)
        for each in families
        if each.name.startswith("sigap_")
    }


def test_every_metric_stands_in_the_table_and_no_other(seeded_database: str, tmp_path: Path) -> None:
    with psycopg.connect(seeded_database) as connection:
        connection.execute(TABLES)
        connection.execute(ROWS)
    settings = Settings(
        state_dir=tmp_path,
        DATABASE_URL=seeded_database,
        MLFLOW_TRACKING_URI="http://127.0.0.1:9",
        shadow_alias="challenger",
        mage_port=free_port(),
    )

    async def families() -> list[Metric]:
        service = create_app(settings).state.service
        await service.observed.look()
        found = list(service.metrics.registry.collect())
        await asyncio.gather(service.observed.close(), service.mage.close(), service.registry.close())
        return found

    with mage_standin(settings) as mage:
        mage.start("education", {})
        found = asyncio.run(families())
    listed = {name: (kind, text) for name, kind, _, text in ROW.findall(DOCUMENT)}
    assert told(found) == listed
    labels = {name: set(filter(None, names.split(", "))) for name, _, names, _ in ROW.findall(DOCUMENT)}
    for family in found:
        for sample in family.samples:
            name = f"{family.name}_total" if family.type == "counter" else family.name
            if name in labels:
                assert set(sample.labels) - {"le"} == labels[name], name


def test_every_alarm_stands_in_the_document() -> None:
    for path in (ROOT / "deploy" / "prometheus" / "rules").glob("*.yml"):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                assert re.search(rf"\b{rule['alert']}\b", DOCUMENT), rule["alert"]
