"""Runs as they are written down: each once, whatever was killed, deleted or too much."""

from __future__ import annotations

import uuid

import pytest

from sigap.errors import RegistryError
from sigap.registry.owner import this_process
from sigap.registry.tracking import MAXIMUM_PARAMS, OWNER, Data, Logged, Runs
from sigap.settings import Settings

DATA = Data("v1", "a" * 32, "data/raw/x.parquet", 30)


@pytest.fixture
def runs(settings: Settings) -> Runs:
    return Runs(settings, f"m{uuid.uuid4().hex[:12]}")


def test_of_a_model_that_was_never_trained_there_is_nothing(runs: Runs) -> None:
    assert runs.on_data(DATA.md5) == []
    assert runs.children("x" * 32) == []
    assert runs.refused(DATA, {}) is None
    assert runs.entry("0" * 32) is None
    with pytest.raises(RegistryError, match="while reading run"):
        runs.started_at("0" * 32)


def test_a_pipeline_run_and_its_candidates_are_one_however_often_they_are_logged(runs: Runs) -> None:
    params = {f"p{at}": at for at in range(MAXIMUM_PARAMS + 5)} | {"grid": {"alpha": 1, "long": "x" * 7000}}
    parent = runs.parent("key", DATA, params, owner=this_process())
    assert runs.parent("key", DATA, params) == parent
    logged = [Logged(name, {"k": name}, {"score": 0.5}, 1.0) for name in ("one", "two")]
    first = runs.candidates(parent, DATA, logged)
    assert runs.candidates(parent, DATA, logged[::-1]) == first
    # What a killed process left half logged is filled in.
    runs.client.update_run(first["two"], status="RUNNING")
    assert runs.candidates(parent, DATA, logged) == first
    assert [(each.name, each.status) for each in runs.children(parent)] == [("one", "FINISHED"), ("two", "FINISHED")]
    assert [each.run_id for each in runs.on_data(DATA.md5)] == [parent]
    written = runs.client.get_run(parent).data.params
    assert len(written) == MAXIMUM_PARAMS + 7
    assert len(written["grid.long"]) == 6000
    runs.end(parent, metrics={}, tags={"rule": "first"}, failed=True)
    entry = runs.entry(parent)
    assert entry is not None
    assert (entry.status, entry.tags["rule"], entry.as_dict()["name"]) == ("FAILED", "first", entry.name)


def test_a_run_whose_process_is_gone_is_called_killed_with_its_candidates(runs: Runs) -> None:
    gone = this_process().rsplit(":", 2)[0] + ":999999999:1.00"
    left, mine = runs.parent("left", DATA, {}, owner=gone), runs.parent("mine", DATA, {}, owner=this_process())
    assert runs.client.get_run(left).data.tags[OWNER] == gone
    runs.parent("next", DATA, {})
    entries = {each.run_id: each.status for each in runs.on_data(DATA.md5)}
    assert (entries[left], entries[mine]) == ("KILLED", "RUNNING")


def test_an_experiment_that_somebody_deleted_is_restored(runs: Runs) -> None:
    parent = runs.parent("key", DATA, {})
    experiment = runs.client.get_experiment_by_name(runs.model)
    runs.client.delete_experiment(experiment.experiment_id)
    runs.parent("other", DATA, {})
    assert runs.client.get_experiment_by_name(runs.model).lifecycle_stage == "active"
    assert runs.entry(parent) is not None
