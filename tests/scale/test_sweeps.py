"""Sweeps on a cluster give the scores of one machine to the last digit, though a worker is killed in the middle."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sigap.catalog.bitcoin_price import BITCOIN_PRICE
from sigap.catalog.car_price import CAR_PRICE
from sigap.catalog.customer_segments import CUSTOMER_SEGMENTS
from sigap.data.mock import customers
from sigap.data.parts import COMMON, part_name
from sigap.data.samples import sample_of, training_sample
from sigap.data.versions import DataVersions
from sigap.errors import TrainingError
from sigap.settings import Settings
from sigap.training import candidates
from sigap.training.candidates import Source, Sweep, score
from sigap.training.params import Params
from sigap.training.sweep import read_snapshot
from sigap.training.trainer import trainer
from tests.scale.cluster import Cluster
from tests.training.supervised import cars, sweep
from tests.training.test_forecasting import QUICK, noise

SWEEPS: dict[str, Any] = {
    "regression": (CAR_PRICE, cars, sweep(classifies=False, repeats=1)),
    "clustering": (CUSTOMER_SEGMENTS, lambda: customers(300), Params(k_max=4, n_init=2, bootstraps=25)),
    "forecasting": (BITCOIN_PRICE, lambda: noise(count=400), QUICK.model_copy(update={"folds": 3})),
}


def of(cluster: Cluster) -> Settings:
    return Settings(dask_address=cluster.address, dask_wait_seconds=5.0)


def made(task: str, folder: Path) -> Sweep:
    declared, table, params = SWEEPS[task]
    path = folder / f"{declared.name}_snapshot.parquet"
    table().to_parquet(path, index=False)
    return Sweep(declared, params, path)


@pytest.mark.parametrize("task", SWEEPS)
def test_scores_are_the_same_to_the_last_digit(task: str, cluster: Cluster, tmp_path: Path) -> None:
    what = made(task, tmp_path)
    how = trainer(what.declaration)
    prepared = how.prepare(what.declaration, read_snapshot(what.snapshot))
    names = [spec.name for spec in how.candidates(what.params)]
    told: list[str] = []
    victim = cluster.add()[0] if task == "regression" else 0

    def killing(done: int, total: int, name: str) -> None:
        told.append(name)
        assert total == len(names)
        if victim and done == 1:
            cluster.kill(victim)

    here = score(what, names, Settings(), lambda: prepared)
    there = score(what, names, of(cluster), lambda: pytest.fail("prepared here"), killing)
    assert [each.candidate.as_dict() for each in there] == [each.candidate.as_dict() for each in here]
    assert all(each.candidate.model is None and each.seconds > 0 for each in there)
    assert sorted(told) == sorted(names)
    chosen = [
        how.choose(what.declaration, prepared, what.params, [each.candidate for each in scored])
        for scored in (here, there)
    ]
    assert how.fingerprint(chosen[0]) == how.fingerprint(chosen[1])


def test_parts_of_a_candidate_make_up_what_it_computes_alone() -> None:
    declared, table, params = SWEEPS["clustering"]
    how = trainer(declared)
    prepared = how.prepare(declared, table())
    parts = [how.part(prepared, declared, params, "k3", at) for at in range(how.parts(params, "k3"))]
    assert [len(part) for part in parts] == [10, 10, 5]
    told = [value for part in parts for value in part]
    alone, apart = how.fit(prepared, declared, params, "k3"), how.fit(prepared, declared, params, "k3", told)
    assert alone.as_dict() == apart.as_dict()


def test_a_worker_that_does_not_find_the_snapshot_says_so(cluster: Cluster, tmp_path: Path) -> None:
    what = made("clustering", tmp_path)
    missing = Source("customer_segments", str(tmp_path / "elsewhere.parquet"), "0" * 64)
    there = candidates._There(what.declaration, what.params, missing, "key")
    with pytest.raises(TrainingError, match="can't read the snapshot of customer_segments") as raised:
        candidates.spread(candidates.partial(candidates._part_there, there), [("k2", 0)], settings=of(cluster))
    assert "SIGAP_DVC_REMOTE_URL" in raised.value.remedy


def test_a_snapshot_that_changed_meanwhile_is_not_trained_on(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.parquet"
    pd.DataFrame({"a": [1]}).to_parquet(path)
    source = Source.of("cars", path)
    assert source.file() == path
    pd.DataFrame({"a": [2]}).to_parquet(path)
    with pytest.raises(TrainingError, match="holds something else"):
        source.file()


def test_a_machine_without_the_folder_takes_the_snapshot_from_the_remote(
    checkout: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = checkout.settings(dvc_remote_url=str(tmp_path / "remote"), git_commit=False)
    versions = DataVersions(settings)
    customers(50).to_parquet(versions.path("customer_segments"), index=False)
    recorded = versions.record("customer_segments")
    source = Source.of("customer_segments", versions.path("customer_segments"), recorded.md5)
    versions.path("customer_segments").unlink()
    shutil.rmtree(checkout.root / ".dvc" / "cache")
    monkeypatch.setattr(candidates, "get_settings", lambda: settings)
    assert candidates._holds(source.file(), source.sha256)


def test_a_machine_without_the_folder_draws_the_same_sample_of_partitions(
    checkout: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = checkout.settings(dvc_remote_url=str(tmp_path / "remote"), git_commit=False)
    versions, table = DataVersions(settings), pa.Table.from_pandas(customers(50), preserve_index=False)
    folder = versions.path("customer_segments")
    folder.mkdir()
    for number in range(2):
        pq.write_table(table.slice(25 * number, 25), folder / part_name(number))
    pq.write_metadata(table.schema, folder / COMMON)
    recorded = versions.record("customer_segments")
    whole = Source.of("customer_segments", folder, recorded.md5)
    few = settings.model_copy(update={"training_rows": 20})
    drawn = training_sample(CUSTOMER_SEGMENTS, few, recorded.md5)
    assert (drawn.rows, drawn.of) == (20, 50)
    assert sample_of(CUSTOMER_SEGMENTS, few, folder) == drawn.path
    some = Source.of("customer_segments", drawn.path, recorded.md5, 20)
    for gone in (folder, settings.state / "samples", checkout.root / ".dvc" / "cache"):
        shutil.rmtree(gone)
    monkeypatch.setattr(candidates, "get_settings", lambda: settings)
    assert candidates._holds(whole.file(), whole.sha256)
    assert candidates._holds(some.file(), some.sha256)


def test_the_whole_training_is_the_same_on_a_cluster(cluster: Cluster, tmp_path: Path) -> None:
    what = made("clustering", tmp_path)
    reports = []
    for settings in (Settings(), of(cluster)):
        how, trained = candidates.train(what.declaration, what.snapshot, what.params, settings)
        folder = how.report(trained, tmp_path / str(settings.dask_address is None))
        reports.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert reports[0] == reports[1]
