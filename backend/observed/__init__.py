"""What stands in PostgreSQL, MLflow and Mage, as metrics: looked at now and then, beside the requests and never in one.

A service that does not answer, or a table that is not there, leaves its series out; whether the service answers is a
series of its own. Of several workers one looks.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from backend.lean import httpx
from backend.mage import Mage
from backend.observed.runs import Runs
from backend.observed.tables import Tables
from backend.registry_client import loopback
from sigap.catalog import Declaration
from sigap.mage_access import PASSWORD
from sigap.settings import Settings

log = logging.getLogger("sigap.api")

LOOK_SECONDS = 10.0
# How often a worker that does not look asks whether it is its turn: one that looked may have been killed.
TURN_SECONDS = 1.0
SOURCE_SECONDS = 8.0


class Source(Protocol):
    """Something that is looked at."""

    name: str

    @property
    def wanted(self) -> bool:
        """Whether there is such a service here."""

    async def look(self) -> list[Metric]:
        """What it holds; raises when it does not answer."""

    async def close(self) -> None:
        """Lets its connections go."""


class Observed(Collector):
    """The metrics of what was seen last.

    Args:
        sources: What is looked at.
        turn: Whether it is this worker that looks; may block for a moment.
        registry: Gets the metrics.
    """

    def __init__(self, sources: Sequence[Source], turn: Callable[[], bool], registry: CollectorRegistry) -> None:
        self._sources = sources
        self._turn = turn
        self._seen: list[Metric] = []
        self._faults: dict[str, str] = {}
        registry.register(self)

    def describe(self) -> Iterable[Metric]:
        """Nothing: what there is depends on what is seen."""
        return []

    def collect(self) -> Iterable[Metric]:
        """What was seen last."""
        return self._seen

    async def run(self) -> None:
        """Looks until cancelled. No fault ends it."""
        while True:
            pause = TURN_SECONDS
            try:
                if await asyncio.to_thread(self._turn):
                    await self.look()
                    pause = LOOK_SECONDS
            except Exception:  # the next look may succeed, and predictions don't depend on it
                log.exception("What stands in the database and the services can't be looked at.")
            await asyncio.sleep(pause)

    async def look(self) -> None:
        """Looks once."""
        up = GaugeMetricFamily("sigap_dependency_up", "1 where a service answers, else 0.", labels=["dependency"])
        took = GaugeMetricFamily(
            "sigap_dependency_seconds", "How long the look at a service took.", labels=["dependency"]
        )
        seen: list[Metric] = [up, took]
        wanted = [source for source in self._sources if source.wanted]
        for source, (metrics, seconds) in zip(wanted, await asyncio.gather(*map(self._asked, wanted)), strict=True):
            up.add_metric([source.name], float(metrics is not None))
            if metrics is not None:
                took.add_metric([source.name], seconds)
                seen += metrics
        looked = GaugeMetricFamily(
            "sigap_observed_timestamp_seconds", "When database and services were looked at last.", time.time()
        )
        self._seen = [*seen, looked]

    async def close(self) -> None:
        """Lets all connections go."""
        await asyncio.gather(*(source.close() for source in self._sources))

    async def _asked(self, source: Source) -> tuple[list[Metric] | None, float]:
        started = time.perf_counter()
        try:
            async with asyncio.timeout(SOURCE_SECONDS):
                found = await source.look()
        except Exception as error:  # whatever a service does, the others are looked at
            self._noted(source.name, type(error).__name__)
            return None, 0.0
        self._noted(source.name, "")
        return found, time.perf_counter() - started

    def _noted(self, name: str, fault: str) -> None:
        # Only changes are logged, and no message of a driver, which may quote an address with its password.
        if fault != self._faults.get(name, ""):
            if fault:
                log.warning("%s does not answer the look for metrics (%s).", name, fault)
            else:
                log.info("%s answers the look for metrics again.", name)
        self._faults[name] = fault


class Registry:
    """Whether MLflow answers.

    Args:
        uri: Its address.
    """

    name = "mlflow"
    wanted = True

    def __init__(self, uri: str) -> None:
        self._url = f"{uri.rstrip('/')}/health"
        self._client: httpx.AsyncClient | None = None

    async def look(self) -> list[Metric]:
        """Nothing but that it answers."""
        if self._client is None:
            self._client = httpx.AsyncClient(
                timeout=SOURCE_SECONDS,
                # A proxy of the environment is for the world outside, not for a server on this machine.
                trust_env=not loopback(urlsplit(self._url).hostname),
                verify=self._url.startswith("https:"),
            )
        (await self._client.get(self._url)).raise_for_status()
        return []

    async def close(self) -> None:
        """Closes the connection."""
        if self._client is not None:
            await self._client.aclose()


class Pipelines:
    """The pipelines' runs in Mage.

    Args:
        settings: Where Mage is, and whether it was ever started.
        mage: Mage.
        names: Of the pipelines that are told of before they ever ran.
    """

    name = "mage"

    def __init__(self, settings: Settings, mage: Mage, names: Iterable[str]) -> None:
        self._settings = settings
        self._mage = mage
        self._runs = Runs(names)

    @property
    def wanted(self) -> bool:
        """Whether Mage was started here once."""
        return self._settings.has_secret(PASSWORD)

    async def look(self) -> list[Metric]:
        """All runs, of which only the newest are asked for after the first look."""
        await self._runs.update(self._mage)
        return self._runs.metrics()

    async def close(self) -> None:
        """Nothing: the connection is the API's."""


def observed(
    settings: Settings,
    models: Sequence[Declaration],
    mage: Mage,
    turn: Callable[[], bool],
    registry: CollectorRegistry,
) -> Observed:
    """The look at everything that these settings name."""
    sources: list[Source] = [Registry(settings.tracking_uri), Pipelines(settings, mage, [each.name for each in models])]
    return Observed([Tables(settings, models), *sources], turn, registry)
