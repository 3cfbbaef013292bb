"""The whole way from a real table to a served alias, on real PostgreSQL, DVC, Git and MLflow."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import SecretStr

from sigap import workflow
from sigap.bundle import MANIFEST, MODEL, TAG_DECISION, read_manifest, read_members
from sigap.data.postgres import connect
from sigap.errors import AliasMovedError, PipelineError, RegistryError
from sigap.model_card import CARD
from sigap.promotion import Promotion
from sigap.registry import lineage
from sigap.registry.decisions import decisions
from sigap.registry.levels import record_levels
from sigap.settings import Settings
from sigap.training.preprocess import TRUSTED_TYPES
from tests.registry.conftest import PARAMS, Line, Process, free_port, kill_me

BETTER = (
    "UPDATE education_data SET rata_lama_sekolah = 11.2, harapan_lama_sekolah = 15.1"
    " WHERE provinsi_id = 'P35' AND tahun = 2024"
)
Start = Callable[..., Process]


def test_from_table_to_champion_and_the_same_again(line: Line) -> None:
    first = line.run()
    assert (first["promoted"], first["rule"], first["champion"], first["data_version"]) == (True, "first", "v1", "v1")
    assert first["candidate"] == "k3"
    assert first["score"]["metric"] == "silhouette"
    parents = [run for run in line.runs() if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in line.runs() if "mlflow.parentRunId" in run.data.tags]
    assert len(parents) == 1
    assert sorted(run.data.params["n_clusters"] for run in children) == ["2", "3", "4"]
    champion = line.registry.champion("education")
    assert champion is not None
    for run in [*parents, *children]:
        assert run.info.status == "FINISHED"
        assert run.inputs.dataset_inputs[0].dataset.digest == champion.tags["data_md5"]
        assert run.data.tags["mlflow.source.git.commit"]
        assert float(run.data.tags["duration_seconds"]) >= 0
    assert {"init", "n_init", "random_state"} <= set(children[0].data.params)
    assert {"silhouette", "inertia", "davies_bouldin", "smallest_cluster", "stability"} <= set(children[0].data.metrics)
    files = [file.path for file in line.client.list_artifacts(parents[0].info.run_id, "figures")]
    assert files == ["figures/elbow.png"]
    logged = {file.path for file in line.client.list_artifacts(parents[0].info.run_id)}
    assert {"bundle", "data_profile", "figures", "decision.json", CARD} <= logged
    card = Path(line.client.download_artifacts(parents[0].info.run_id, CARD)).read_text()
    for told in ("## What it is for", "silhouette 0.3", "angka_melek_huruf", "## Limits", champion.tags["data_md5"]):
        assert told in card
    manifest = read_manifest(line.registry.bundle(champion))
    assert {each.run_id for each in manifest.sweep} == {run.info.run_id for run in children}
    # The commit of the pointer, which the run itself made, is none of the code.
    codes = {run.data.tags["mlflow.source.git.commit"] for run in [*parents, *children]}
    assert codes == {manifest.code.git_commit}
    assert manifest.code.git_commit != manifest.data.git_commit

    again = line.run()
    assert (again["promoted"], again["rule"], again["champion"]) == (False, "equal", "v1")
    assert again["metrics"] == first["metrics"]
    assert len(line.registry.versions("education")) == 1
    decision = json.loads(line.registry.version("education", 1).tags[TAG_DECISION])
    assert decision["rule"] == "first"
    rows = decisions(line.settings, "education")
    assert [(row.rule, row.promoted, row.champion_before, row.champion_after) for row in rows] == [
        ("equal", False, "v1", "v1"),
        ("first", True, None, "v1"),
    ]
    assert rows[1].record["score"] == first["score"]
    assert (rows[1].asked_by, rows[1].data_md5) == ("pipeline", champion.tags["data_md5"])

    # Who stands where is in PostgreSQL, once, for BI tools; a line that was lost is written by the next decision.
    members = read_members(line.registry.bundle(champion))
    places = {(each["entity"], each["period"]): each["cluster"] for each in [*members["history"], *members["members"]]}
    levels = "SELECT entity, period, level FROM analytics.levels WHERE is_served AND model_version = 'v1'"
    with connect(line.settings) as connection:
        assert {row[:2]: row[2] for row in connection.execute(levels)} == places
        connection.execute("DELETE FROM entity_levels")
    assert record_levels(line.settings, line.registry, champion) == len(places)
    assert record_levels(line.settings, line.registry, champion) == 0

    # From the version back to the query, and from the data on to the version.
    origin = lineage.of_version(line.settings, "education").as_dict()
    assert (origin["model_version"], origin["data"]["tag"]) == ("v1", "education/v1")
    assert origin["data"]["rows"] == first["rows"]
    assert "education_data" in origin["data"]["query"]
    assert line.settings.root.joinpath("data/raw/education_snapshot.parquet").is_file()
    assert origin["run"]["run_id"] == parents[0].info.run_id
    assert {each["run_id"] for each in origin["candidates"]} == {run.info.run_id for run in children}
    onward = lineage.of_data(line.settings, "education", "v1").as_dict()
    assert [each["model_version"] for each in onward["model_versions"]] == ["v1"]
    assert len(onward["runs"]) == 2


def test_a_table_in_partitions_of_which_a_sample_is_trained_on(line: Line) -> None:
    line.settings = line.settings.model_copy(update={"partition_rows": 100, "training_rows": 200})
    first = line.run()
    assert (first["promoted"], first["data_version"], first["rows"]) == (True, "v1", 212)
    parent = next(run for run in line.runs() if "mlflow.parentRunId" not in run.data.tags)
    drawn = parent.data.params["sample"]
    assert drawn.endswith("of 212 rows, drawn evenly by a hash of provinsi_id, seed 20240601")
    assert parent.data.tags["data_md5"].endswith(".dir")
    champion = line.registry.champion("education")
    assert champion is not None
    data = read_manifest(line.registry.bundle(champion)).data
    assert data.sample is not None
    assert (data.rows, f"{data.sample.rows} of 212 rows, {data.sample.drawn}") == (212, drawn)
    assert "## Changes since" not in Path(
        line.client.download_artifacts(parent.info.run_id, "data_profile/data_profile.md")
    ).read_text(encoding="utf-8")
    card = Path(line.client.download_artifacts(parent.info.run_id, CARD)).read_text()
    assert f"| Trained on | {data.sample.rows} of these rows, drawn evenly by a hash of provinsi_id" in card
    # The same rows again: the same sample, scores and version; from a restored version too.
    shutil.rmtree(line.settings.state / "samples")
    again = line.run(data_version="v1")
    assert (again["metrics"], again["rule"], again["rows"]) == (first["metrics"], "equal", 212)
    assert lineage.of_version(line.settings, "education").as_dict()["data"]["can_be_restored"]


def test_a_step_called_twice_doubles_nothing(line: Line) -> None:
    taken = workflow.snapshot("education", settings=line.settings)
    cleaned = workflow.clean(taken, settings=line.settings)
    assert cleaned["used"] == ["rata_lama_sekolah", "harapan_lama_sekolah", "rasio_guru_murid"]
    assert {each["name"] for each in cleaned["left_out"]} == {"angka_melek_huruf", "anggaran_pendidikan_persen"}
    assert len(workflow.preview(cleaned, settings=line.settings)) == cleaned["entities"] == 38

    items = workflow.plan(cleaned, settings=line.settings)
    assert workflow.plan(cleaned, settings=line.settings) == items
    fits = [workflow.fit(item, settings=line.settings) for item in items]
    assert [(item["name"], item["candidates"]) for item in items] == [(name, [name]) for name in ("k2", "k3", "k4")]
    assert workflow.fit(items[0], settings=line.settings) == fits[0]
    # Mage may hand a retried child's answer on twice, and in any order.
    registered = workflow.register([*fits[::-1], fits[0]], settings=line.settings)
    assert registered["created"]
    assert workflow.register(fits, settings=line.settings) == {**registered, "created": False}
    decided = workflow.decide(registered, settings=line.settings)
    assert workflow.decide(registered, settings=line.settings) == decided
    assert decided["promoted"]
    assert len(line.runs()) == 1 + len(items)
    assert len(line.registry.versions("education")) == 1
    for answer in (taken, cleaned, items, fits, registered, decided):
        assert json.loads(json.dumps(answer, allow_nan=False)) == answer
    with pytest.raises(PipelineError, match="one run"):
        workflow.register([], settings=line.settings)
    with pytest.raises(PipelineError, match="both name new data"):
        workflow.snapshot("education", "v9", "v1", settings=line.settings)


def test_new_data_a_new_champion_and_back(line: Line) -> None:
    assert line.run()["data_version"] == "v1"
    first = line.registry.champion("education")
    assert first is not None
    model = (line.registry.bundle(first) / MODEL).read_bytes()

    line.sql(BETTER)
    second = line.run(version="v_2025_Q1")
    assert (second["rule"], second["champion"], second["data_version"]) == ("new_data", "v2", "v_2025_Q1")
    assert second["decision"]["comparison"]["rows"] == 38
    champion = line.registry.champion("education")
    assert champion is not None
    movement = read_members(line.registry.bundle(champion))["movement"]
    assert movement["against"] == {"model_version": "v1", "data_version": "v1", "period": 2024, "levels": 3}
    assert {move["entity"]: move["kind"] for move in movement["moves"]}["P35"] == "up"
    assert line.aliases() == {"champion": 2, "previous": 1}

    # The skops model in the registry is the model that the bundle serves.
    loaded = line.registry.load(champion, TRUSTED_TYPES)
    members = read_members(line.registry.bundle(champion))["members"]
    features = read_manifest(line.registry.bundle(champion)).features_used
    rows = pd.DataFrame([[member["features"][name] for name in features] for member in members], columns=features)
    np.testing.assert_array_equal(loaded.predict(rows), [member["cluster"] for member in members])

    restored = workflow.snapshot("education", data_version="v1", settings=line.settings)
    assert (restored["rows"], restored["rejected"], restored["version"]) == (212, 0, "v1")
    assert restored["query"].startswith("SELECT ")
    back = line.run(data_version="v1")
    assert (back["model_version"], back["champion"], back["data_version"]) == ("v1", "v1", "v1")
    assert (line.registry.bundle(line.registry.champion("education")) / MODEL).read_bytes() == model
    assert len(line.registry.versions("education")) == 2


def test_no_admissible_challenger_and_the_champion_stays(line: Line) -> None:
    line.run()
    line.sql("UPDATE education_data SET rasio_guru_murid = 16 WHERE provinsi_id = 'P35'")
    # So many clusters that some hold one province.
    (line.settings.root / "params.yaml").write_text(PARAMS.replace("2", "12", 1).replace("k_max: 4", "k_max: 12"))
    refused = line.run()
    assert (refused["rule"], refused["promoted"], refused["champion"]) == ("inadmissible", False, "v1")
    assert "No admissible clustering" in refused["reason"]
    assert refused["score"]["score"] is not None
    assert line.aliases() == {"champion": 1}
    assert len(line.registry.versions("education")) == 1
    newest = decisions(line.settings, "education")[0]
    assert (newest.rule, newest.model_version, newest.champion_after) == ("inadmissible", "", "v1")
    parents = [run for run in line.runs() if run.data.tags.get("rule") == "inadmissible"]
    assert [run.info.status for run in parents] == ["FINISHED"]


def test_where_a_person_has_to_approve_what_passes_waits_as_challenger(line: Line) -> None:
    line.settings = line.settings.model_copy(update={"promotion": "manual"})
    waiting = line.run()
    assert (waiting["rule"], waiting["promoted"], waiting["champion"]) == ("waiting", False, None)
    assert line.aliases() == {"challenger": 1}
    assert line.registry.approve("education", 1, asked_by="person: ani").name == "v1"
    assert line.aliases() == {"champion": 1}
    assert line.registry.approve("education", 1, asked_by="person: ani").name == "v1"

    line.sql(BETTER)
    assert line.run()["champion"] == "v1"
    assert line.aliases() == {"champion": 1, "challenger": 2}
    line.sql(BETTER.replace("11.2", "11.3"))
    assert line.run()["model_version"] == "v3"
    assert line.aliases() == {"champion": 1, "challenger": 3}
    line.registry.approve("education", 3, asked_by="person: ani")
    # The gate compared v2 with v1, which is no longer what is served.
    with pytest.raises(AliasMovedError, match="stands on v3, expected v1"):
        line.registry.approve("education", 2, asked_by="person: ani")
    assert line.aliases() == {"champion": 3, "previous": 1}
    assert [(row.rule, row.model_version, row.mode, row.asked_by) for row in decisions(line.settings, "education")] == [
        ("approved", "v3", "manual", "person: ani"),
        ("waiting", "v3", "manual", "pipeline"),
        ("waiting", "v2", "manual", "pipeline"),
        ("approved", "v1", "manual", "person: ani"),
        ("waiting", "v1", "manual", "pipeline"),
    ]


def test_what_the_gate_refused_can_not_be_approved(line: Line) -> None:
    line.run()
    line.sql(BETTER)
    line.run()
    line.registry.rollback("education")
    assert line.run()["rule"] == "withdrawn"
    with pytest.raises(
        RegistryError, match=r"v2 does not wait for an approval\. The gate said: .* in place of this version"
    ):
        line.registry.approve("education", 2, asked_by="person: ani")


def test_a_decision_that_postgresql_missed_is_caught_up(line: Line) -> None:
    real = line.settings
    taken = workflow.snapshot("education", settings=real)
    away = real.model_copy(
        update={"database_url": SecretStr(f"postgresql://nobody:nothing@127.0.0.1:{free_port()}/none")}
    )
    line.settings = away
    assert workflow.decide(registered(line, taken), settings=away)["promoted"]
    line.settings = real
    assert decisions(real, "education") == []
    assert line.run()["rule"] == "equal"
    assert [row.rule for row in decisions(real, "education")] == ["equal", "first"]


def test_what_was_there_when_a_person_chose_is_not_put_in_its_place(line: Line) -> None:
    for years in (9, 10, 11):
        line.sql(f"UPDATE education_data SET rata_lama_sekolah = {years} WHERE provinsi_id = 'P35' AND tahun = 2024")
        line.run()
    line.sql("UPDATE education_data SET rata_lama_sekolah = 10 WHERE provinsi_id = 'P35' AND tahun = 2024")
    assert line.aliases()["champion"] == 3
    line.registry.rollback("education", 1)
    again = line.run()
    assert (again["model_version"], again["rule"], again["champion"]) == ("v2", "withdrawn", "v1")
    line.sql("UPDATE education_data SET rata_lama_sekolah = 9.5 WHERE provinsi_id = 'P35' AND tahun = 2024")
    assert line.run()["champion"] == "v4"


@pytest.mark.parametrize(
    "cut_off_in",
    [
        "promote",  # registered, no alias yet
        "_mark_served",  # alias moved, not yet marked
    ],
)
def test_killed_around_the_promotion_the_next_run_ends_well(line: Line, in_process: Start, cut_off_in: str) -> None:
    killed = in_process(run_until, line.settings, cut_off_in)
    killed.join(600)
    assert killed.exitcode == -signal.SIGKILL
    assert len(line.registry.versions("education")) == 1
    result = line.run()
    assert result["champion"] == "v1"
    assert line.aliases() == {"champion": 1}
    assert len(line.registry.versions("education")) == 1


def run_until(settings: Settings, cut_off_in: str) -> None:
    setattr(Promotion, cut_off_in, kill_me)
    run_once(settings)


def run_once(settings: Settings) -> None:
    workflow.run("education", settings=settings)


def test_two_runs_at_once_end_well(line: Line, in_process: Start) -> None:
    both = [in_process(run_once, line.settings) for _ in range(2)]
    for process in both:
        process.join(600)
    assert [process.exitcode for process in both] == [0, 0]
    assert len(line.registry.versions("education")) == 1
    assert line.aliases() == {"champion": 1}
    assert len(line.runs()) == 2 * 4
    assert all(run.info.status == "FINISHED" for run in line.runs())


def test_of_two_runs_the_one_with_the_later_data_has_the_say(line: Line) -> None:
    line.run()
    line.sql(BETTER)
    slow = registered(line, workflow.snapshot("education", settings=line.settings))
    line.sql(BETTER.replace("11.2", "11.3"))
    assert line.run()["champion"] == "v3"
    late = workflow.decide(slow, settings=line.settings)
    assert (late["rule"], late["promoted"], late["champion"]) == ("superseded", False, "v3")


def test_what_a_person_took_out_of_service_only_a_person_puts_back(line: Line) -> None:
    line.run()
    line.sql(BETTER)
    assert line.run()["champion"] == "v2"
    line.registry.rollback("education")
    refused = line.run()
    assert (refused["rule"], refused["model_version"], refused["champion"]) == ("withdrawn", "v2", "v1")
    asked_for = line.run(data_version="v2")
    assert (asked_for["rule"], asked_for["champion"]) == ("new_data", "v2")


def test_a_damaged_champion_is_replaced_and_a_deleted_experiment_restored(line: Line) -> None:
    line.run()
    champion = line.registry.champion("education")
    assert champion is not None
    damaged = line.settings.root / MANIFEST
    damaged.write_text("{}")
    line.client.log_artifact(champion.run_id, str(damaged), "bundle")
    # Nor is there a whole one that was fetched before.
    shutil.rmtree(line.settings.state / "cache" / "bundles")
    line.client.delete_experiment(line.client.get_experiment_by_name("education").experiment_id)
    line.sql(BETTER)
    result = line.run()
    assert (result["rule"], result["champion"]) == ("not_comparable", "v2")


def registered(line: Line, taken: dict[str, Any]) -> dict[str, Any]:
    items = workflow.plan(workflow.clean(taken, settings=line.settings), settings=line.settings)
    return workflow.register([workflow.fit(item, settings=line.settings) for item in items], settings=line.settings)


def test_without_mlflow_nothing_is_half_registered(line: Line) -> None:
    taken = workflow.snapshot("education", settings=line.settings)
    nobody = {"mlflow_tracking_uri": f"http://127.0.0.1:{free_port()}", "registry_wait_seconds": 0.0}
    gone = line.settings.model_copy(update=nobody)
    with pytest.raises(RegistryError, match="can't be reached"):
        workflow.plan(workflow.clean(taken, settings=gone), settings=gone)
    items = workflow.plan(workflow.clean(taken, settings=line.settings), settings=line.settings)
    fits = [workflow.fit(item, settings=line.settings) for item in items]
    with pytest.raises(RegistryError, match="can't be reached"):
        workflow.register(fits, settings=gone)
    assert line.registry.versions("education") == []


def test_data_of_another_run_in_the_work_tree_changes_nothing(line: Line) -> None:
    taken = workflow.snapshot("education", settings=line.settings)
    line.sql("DELETE FROM education_data WHERE tahun = 2024")
    other = workflow.snapshot("education", settings=line.settings)
    assert workflow.clean(taken, settings=line.settings)["period"] == 2024
    assert workflow.clean(other, settings=line.settings)["period"] == 2023
