"""The story of system C, whole and on real services: new figures, a new champion, and the way back."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from sigap.catalog import declaration
from sigap.settings import ROOT
from tests.system.conftest import System, wait_for

# The system, whose start trains six models, is brought up within the first test.
pytestmark = [pytest.mark.system, pytest.mark.timeout(1800)]

EDUCATION = declaration("education")


def figures_of_2024() -> list[dict[str, str]]:
    text = (ROOT / "data/seed/education/province_figures.csv").read_text()
    return [row for row in csv.DictReader(io.StringIO(text)) if row["tahun"] == "2024"]


def insert(system: System, row: dict[str, str]) -> None:
    columns = ", ".join(row)
    marks = ", ".join(["%s"] * len(row))
    system.sql(f"INSERT INTO education_data ({columns}) VALUES ({marks})", *[value or None for value in row.values()])


def levels(system: System) -> dict[str, Any]:
    return {member["entity"]: member for member in system.get("/models/education/clusters")["members"]}


def body(member: dict[str, Any]) -> dict[str, Any]:
    return {"provinsi_id": member["entity"], **member["features"]}


def test_new_figures_become_a_new_champion_and_back_again(system: System) -> None:
    first = system.get("/models/education")
    assert first["model_version"] == "v1"
    assert len(levels(system)) == 38

    # Figures up to 2023 only: the new provinces of Papua have no schooling figures yet.
    system.sql("DELETE FROM education_data WHERE tahun = 2024")
    system.run("pipeline", "education", "--version", "v_2024_Q1")
    wait_for(lambda: system.served() == "v2", 5, "the champion of the figures up to 2023")
    before = levels(system)
    assert len(before) == 34
    assert before["P35"]["cluster"] > 0, "East Java is not at the highest level yet"
    asked = body(before["P35"])
    first_answer = system.predict(asked)
    assert first_answer.json()["cluster"] == before["P35"]["cluster"]

    # Local government updates the mean years of schooling, and the year 2024 comes in.
    for row in figures_of_2024():
        if row["provinsi_id"] == "P35":
            row |= {"rata_lama_sekolah": "11.2", "harapan_lama_sekolah": "15.1"}
        insert(system, row)
    system.run("pipeline", "education", "--version", "v_2025_Q1")
    wait_for(lambda: system.served() == "v3", 5, "the champion of the new figures")
    after = levels(system)
    assert len(after) == 38
    assert after["P35"]["cluster"] == 0
    answer = system.predict(body(after["P35"])).json()
    assert (answer["cluster"], answer["model_version"], answer["data_version"]) == (0, "v3", "v_2025_Q1")
    assert answer["cluster_label"] == "Tinggi (High Readiness)"
    movement = system.get("/models/education/clusters")["movement"]
    assert movement["against"]["data_version"] == "v_2024_Q1"
    kinds = {move["entity"]: move["kind"] for move in movement["moves"]}
    assert kinds["P35"] == "up"
    assert kinds["P94"] == "break", "Papua was divided: its jump is no progress"
    assert kinds["P97"] == "new"

    # The version is in Git, alone in its commit, and DVC holds its content.
    assert system.git("tag", "--list", "education/*").split() == [
        "education/v1",
        "education/v_2024_Q1",
        "education/v_2025_Q1",
    ]
    changed = system.git("show", "--name-only", "--format=", "education/v_2025_Q1")
    assert changed == "data/raw/education_snapshot.parquet.dvc"
    assert system.git("status", "--porcelain") == ""

    # Whoever asks is led from the served version back to its data and its decision.
    assert "education/v_2025_Q1" in system.run("lineage", "education").stdout
    assert "new_data" in system.run("model", "decisions", "education").stdout

    # Back again: the former model answers bit for bit as it did.
    system.run("model", "rollback", "education")
    wait_for(lambda: system.served() == "v2", 3, "the former champion")
    again = system.predict(asked)
    assert again.content == first_answer.content
    assert levels(system) == before

    # The former data trains the same model again, with the same figures to the last digit.
    system.run("data", "rollback", "education", "v_2024_Q1")
    system.run("train", "education")
    metrics = json.loads((system.root / "reports/education/metrics.json").read_text())
    served = system.get("/models/education")["metrics"]
    assert {name: metrics[name] for name in ("silhouette", "inertia", "davies_bouldin")} == {
        name: served[name] for name in ("silhouette", "inertia", "davies_bouldin")
    }
    with (system.root / "reports/education/assignments.csv").open() as file:
        assigned = {row["provinsi_id"]: int(row["cluster"]) for row in csv.DictReader(file)}
    assert assigned == {entity: member["cluster"] for entity, member in before.items()}

    # So does the pipeline in Mage, which finds that it has this model already.
    done = system.run("pipeline", "education", "--data", "v_2024_Q1")
    assert "The challenger is v2: same data, same answers." in done.stdout
    assert system.served() == "v2"
