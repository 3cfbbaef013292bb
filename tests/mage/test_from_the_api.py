"""The API's own way to Mage, against the real one."""

from __future__ import annotations

import asyncio
import time

import pytest
from prometheus_client import CollectorRegistry

from backend.mage import Mage
from backend.observed.runs import Runs
from backend.pipelines import GOING_ON, _block, _lost, _run


class Seen:
    """Metrics that are known already."""

    def __init__(self, metrics):
        self.metrics = metrics

    def collect(self):
        return self.metrics


pytestmark = pytest.mark.usefixtures("mage")


def test_a_run_is_started_listed_followed_and_cancelled(mage_settings):
    async def follow():
        mage = Mage(mage_settings)
        try:
            number = await mage.start("one", {"greeting": "halo", "asked_by": "api: sari"})
            limit = time.monotonic() + 600
            while (record := await mage.run(number))["status"] in GOING_ON:
                assert time.monotonic() < limit
                assert not _lost(record, mage_settings)
                await asyncio.sleep(0.3)
            listed = await mage.runs("one")
            slow = await mage.start("one", {"seconds": 120})
            await mage.cancel(slow)
            newest = [run["id"] for run in await mage.recent(2)]
            assert newest == [slow, number] == [(await mage.recent(1, at))[0]["id"] for at in range(2)]
            runs = Runs([])
            await runs.update(mage)
            registry = CollectorRegistry()
            registry.register(Seen(runs.metrics()))
            assert registry.get_sample_value("sigap_pipeline_runs_total", {"pipeline": "one", "status": "cancelled"})
            assert registry.get_sample_value("sigap_pipeline_run_seconds_count", {"pipeline": "one"})
            return number, record, listed, await mage.run(slow), await mage.run(10**6)
        finally:
            await mage.close()

    number, record, listed, cancelled, nothing = asyncio.run(follow())
    told = _run("one", record)
    assert (told.run, told.status, told.asked_by) == (number, "completed", "api: sari")
    assert (told.blocks_done, told.blocks_total) == (1, 1)
    assert told.started_at <= told.ended_at
    (block,) = map(_block, record["block_runs"])
    assert (block.block, block.status, block.error) == ("start", "completed", None)
    assert number in [each["id"] for each in listed]
    assert {each["pipeline_uuid"] for each in listed} == {"one"}
    assert cancelled["status"] == "cancelled"
    assert nothing is None
