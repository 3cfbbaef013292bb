"""A data set scored on a cluster: the bytes of one machine, each partition once, though a worker is killed."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pyarrow.parquet as pq

from backend.scoring.partition import Part
from sigap.settings import Settings
from tests.backend.scoring.test_scoring import begun, bundles, content, data_set, left, scored
from tests.scale.cluster import Cluster

__all__ = ["bundles"]


def test_a_worker_killed_in_the_middle_leaves_each_partition_there_once(
    cluster: Cluster, bundles: Path, tmp_path: Path
) -> None:
    source = data_set(tmp_path / "in", parts=12, rows=2000)
    scored(bundles, source, tmp_path / "here")
    victim, killed = cluster.add()[0], []

    def killing(done: int, total: int, part: Part) -> None:
        if done == 2 and not killed:
            killed.append(victim)
            cluster.kill(victim)

    settings = Settings(dask_address=cluster.address, dask_wait_seconds=5.0)
    found = scored(bundles, source, tmp_path / "there", settings=settings, progress=killing)
    assert killed
    assert (found.rows, found.refused, len(found.parts), len(found.failed)) == (24_000, 0, 12, 0)
    here, there = content(tmp_path / "here"), content(tmp_path / "there")
    assert {name: here[name] for name in here if name.endswith(".parquet")} == {
        name: there[name] for name in there if name.endswith(".parquet")
    }
    assert here == there
    assert not left(tmp_path / "there")


def test_ctrl_c_leaves_whole_partitions_only(cluster: Cluster, bundles: Path, tmp_path: Path) -> None:
    source = data_set(tmp_path / "in", parts=40, rows=1000)
    with begun(bundles, source, tmp_path / "out", SIGAP_DASK_ADDRESS=cluster.address) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        errors = process.communicate(timeout=240)[1]
    assert process.returncode == 130
    assert errors == "\nInterrupted; the same command goes on where it was.\n"
    limit = time.monotonic() + 30
    while left(tmp_path / "out") and time.monotonic() < limit:
        time.sleep(0.1)  # a worker ends what it had begun
    written = list((tmp_path / "out").glob("*.parquet"))
    assert 0 < len(written) < 40
    assert all(pq.read_metadata(path).num_rows == 1000 for path in written)
