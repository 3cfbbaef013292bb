"""Every metric that `/metrics` tells of, out of the API's own registry."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Metric
from schema_words import table

from backend.app import create_app
from backend.observed import Observed
from backend.observed.runs import Runs
from backend.observed.tables import Tables
from sigap.catalog import declarations
from sigap.settings import Settings


def markdown() -> str:
    """A table of Sigap's own metrics: name, kind, labels, text."""
    with tempfile.TemporaryDirectory() as folder:
        # The shadow's metrics are there only where there is one.
        settings = Settings(_env_file=None, state_dir=Path(folder), shadow_alias="challenger")
        registry = create_app(settings).state.service.metrics.registry
        asyncio.run(_looked(registry, settings))
        found = sorted(_described(registry))
    return table(("Metric", "Kind", "Labels", "What it tells"), found)


def _described(registry: CollectorRegistry) -> Iterator[tuple[str, str, str, str]]:
    # Names of labels are no part of what prometheus_client tells of a metric without samples, but it keeps them.
    for collector in list(registry._collector_to_names):
        for family in collector.collect():
            if family.name.startswith("sigap_"):
                labels: tuple[str, ...] = getattr(collector, "_labelnames", ()) or getattr(family, "_labelnames", ())
                name = f"{family.name}_total" if family.type == "counter" else family.name
                yield f"`{name}`", family.type, ", ".join(labels), family.documentation


async def _looked(registry: CollectorRegistry, settings: Settings) -> None:
    """What the API tells of database and services, as if they were there and empty."""
    models = declarations()
    await Observed([_EmptyTables(settings, models), _NoRuns()], lambda: True, registry).look()


class _EmptyTables(Tables):
    wanted = True

    async def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:  # noqa: ARG002
        return [(1,)] if "to_regclass" in query else []


class _NoRuns:
    name = "mage"
    wanted = True

    async def look(self) -> list[Metric]:
        return Runs([]).metrics()

    async def close(self) -> None:
        pass
