"""Calls fan out to a real cluster and come back in order, whatever happens to workers; a lost cluster says so."""

from __future__ import annotations

import _thread
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from sigap.errors import ClusterError, ConfigurationError, TrainingError
from sigap.scale import completed, spread
from sigap.scale import fingerprint as prints
from sigap.services.service import free_port
from sigap.settings import Settings, get_settings
from tests.scale import calls
from tests.scale.cluster import Cluster


def of(cluster: Cluster | str, **more: object) -> Settings:
    address = cluster if isinstance(cluster, str) else cluster.address
    return Settings(**{"dask_address": address, "dask_wait_seconds": 2.0, **more})


def test_without_a_cluster_calls_are_made_here() -> None:
    none = spread(calls.square, [], settings=Settings())
    told: list[tuple[int, int, str]] = []
    found = spread(calls.square, [3, 1, 2], settings=Settings(), progress=lambda *now: told.append(now))
    assert (none, found) == ([], [9, 1, 4])
    assert told == [(1, 3, "3"), (2, 3, "1"), (3, 3, "2")]


def test_processes_of_this_machine_share_the_work(tmp_path: Path) -> None:
    found = spread(partial(calls.slowly, tmp_path), list(range(4)), settings=Settings(), processes=2)
    assert [number for number, _ in found] == [0, 1, 2, 3]
    assert os.getpid() not in {pid for _, pid in found}


def test_a_process_that_is_ended_from_outside_is_told_of() -> None:
    with pytest.raises(ClusterError, match="ended from outside"):
        spread(calls.die, [1, 2], settings=Settings(), processes=2)


def test_results_come_back_in_order_and_progress_is_told(cluster: Cluster) -> None:
    told: list[tuple[int, int]] = []
    found = spread(
        calls.square, list(range(50)), settings=of(cluster), progress=lambda done, total, _: told.append((done, total))
    )
    assert found == [number * number for number in range(50)]
    assert told == [(done, 50) for done in range(1, 51)]


def test_what_is_refused_on_purpose_arrives_as_it_was_raised(cluster: Cluster) -> None:
    with pytest.raises(TrainingError, match="Number 3 can't be trained on") as raised:
        spread(calls.refuse, [3], settings=of(cluster))
    assert raised.value.remedy == "Take another."


def test_what_fails_unforeseen_is_tried_again(cluster: Cluster, tmp_path: Path) -> None:
    assert spread(partial(calls.stumble, tmp_path), [1, 2, 3], settings=of(cluster)) == [1, 2, 3]


def test_a_killed_worker_changes_nothing(cluster: Cluster, tmp_path: Path) -> None:
    victim = cluster.add()[0]
    found, killed = {}, False
    for at, (number, _) in completed(partial(calls.slowly, tmp_path), list(range(24)), settings=of(cluster)):
        assert at not in found
        found[at] = number
        if not killed and len(found) >= 3 and any(path.suffix == f".{victim}" for path in tmp_path.iterdir()):
            cluster.kill(victim)
            killed = True
    assert killed
    assert found == {number: number for number in range(24)}


def test_leaving_early_cancels_what_is_not_done(cluster: Cluster, tmp_path: Path) -> None:
    work = completed(partial(calls.slowly, tmp_path), list(range(200)), settings=of(cluster))
    next(work)
    work.close()
    assert spread(calls.square, [2], settings=of(cluster)) == [4]  # whoever comes next does not wait for the rest
    assert len(list(tmp_path.iterdir())) < 100


def test_ctrl_c_ends_the_wait(cluster: Cluster, tmp_path: Path) -> None:
    threading.Timer(1.0, _thread.interrupt_main).start()
    with pytest.raises(KeyboardInterrupt):
        spread(partial(calls.slowly, tmp_path), list(range(500)), settings=of(cluster))
    assert spread(calls.square, [2], settings=of(cluster)) == [4]
    assert len(list(tmp_path.iterdir())) < 250


def test_a_worker_with_other_code_is_refused(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = {**prints.fingerprint(), "sigap": "0123456789ab"}
    monkeypatch.setattr("sigap.scale.cluster.fingerprint", lambda packages: ours)
    with pytest.raises(ClusterError, match=r"libraries: sigap is [0-9a-f]{12} there and 0123456789ab here"):
        spread(calls.square, [1], settings=of(cluster))


def test_a_worker_that_joins_later_with_other_code_does_nothing(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = {**prints.fingerprint(), "sigap": "0123456789ab"}
    monkeypatch.setattr("sigap.scale.cluster.fingerprint", lambda packages: ours)
    monkeypatch.setattr("sigap.scale.cluster._check_workers", lambda *all: None)
    with pytest.raises(ClusterError, match="computes with other code"):
        spread(calls.square, [1], settings=of(cluster))


def test_a_scheduler_that_is_not_there_is_told_of() -> None:
    with pytest.raises(ClusterError, match=r"No Dask scheduler answers at tcp://127\.0\.0\.1") as raised:
        spread(calls.square, [1], settings=of(f"tcp://127.0.0.1:{free_port()}"))
    assert "./run dask scheduler" in raised.value.remedy


def test_only_where_it_is_wanted_does_this_machine_take_over(caplog: pytest.LogCaptureFixture) -> None:
    settings = of(f"tcp://127.0.0.1:{free_port()}", dask_fallback=True)
    assert spread(calls.square, [1, 2], settings=settings) == [1, 4]
    assert "2 of 2 calls are made on this machine" in caplog.text


@pytest.mark.parametrize("address", ["tcp://127.0.0.1", "tcp://:1", "tcp://127.0.0.1:x"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError, match="expected tcp://host:port"):
        spread(calls.square, [1], settings=of(address))


def test_an_address_of_another_kind_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGAP_DASK_ADDRESS", "http://127.0.0.1:8786")
    get_settings.cache_clear()
    with pytest.raises(ConfigurationError, match="SIGAP_DASK_ADDRESS can't be used"):
        get_settings()


def test_certificates_are_asked_for_and_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="needs certificates"):
        spread(calls.square, [1], settings=of("tls://127.0.0.1:1"))


def test_a_cluster_that_loses_workers_and_scheduler(
    make_cluster: Callable[[], Cluster], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = make_cluster()
    with pytest.raises(ClusterError, match="has had no worker for 2 s"):
        spread(calls.square, [1], settings=of(cluster))
    many = cluster.add(1, "--nthreads", "2")[0]
    with pytest.raises(ClusterError, match="has 2 threads, expected 1"):
        spread(calls.square, [1], settings=of(cluster))
    cluster.kill(many)

    only = cluster.add()[0]
    settings = of(cluster, dask_fallback=True)
    work = completed(partial(calls.slowly, tmp_path), list(range(8)), settings=settings)
    there = next(work)
    cluster.kill(only)
    here = dict(work)
    assert sorted([there[0], *here]) == list(range(8))
    assert {pid for _, pid in here.values()} == {os.getpid()}
    assert "has had no worker for 2 s. 7 of 8 calls are made on this machine" in caplog.text

    cluster.add()
    (tmp_path / "again").mkdir()
    work = completed(partial(calls.slowly, tmp_path / "again"), list(range(50)), settings=of(cluster))
    first = next(work)
    cluster.kill(cluster.scheduler.pid)
    with pytest.raises(ClusterError, match=r"was lost after \d+ of 50 tasks") as raised:
        list(work)
    assert first[0] == first[1][0]
    assert "run this again" in raised.value.remedy
