"""Clusterings of records without time or names: mixed columns, gaps, numbers that stay, honest refusals."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import skops.io
from sklearn.metrics import adjusted_rand_score

from sigap import bundle
from sigap.bundle import ClusteringManifest, RowEncoder
from sigap.catalog import Declaration
from sigap.catalog.customer_segments import CUSTOMER_SEGMENTS
from sigap.catalog.declaration import Clustering
from sigap.data.mock import customers
from sigap.errors import BundleError, TrainingError
from sigap.model_card import headline, model_card
from sigap.settings import ROOT
from sigap.training import clusters, export
from sigap.training.clustering import ClusteringTrained, ClusteringTrainer
from sigap.training.matching import Match, keep_numbers, match
from sigap.training.params import Params, read_params
from sigap.training.report import write_report
from tests.shared import shared

from .conftest import bundled

TRAINER = ClusteringTrainer()


@pytest.fixture(scope="module")
def quick() -> Params:
    return Params(n_init=4, bootstraps=10)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return customers(600)


def train(
    table: pd.DataFrame, params: Params, champion: Path | None = None, declared: Declaration = CUSTOMER_SEGMENTS
) -> ClusteringTrained:
    prepared = TRAINER.prepare(declared, table)
    tried = [TRAINER.fit(prepared, declared, params, spec.name) for spec in TRAINER.candidates(params)]
    return TRAINER.choose(declared, prepared, params, tried, previous=champion)


@pytest.fixture(scope="module")
def trained(table, quick) -> ClusteringTrained:
    return train(table, quick)


@pytest.fixture(scope="module")
def written(trained, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("segments")
    bundled(folder, trained.sweep)
    return folder


def loosened(**changes) -> Declaration:
    task = CUSTOMER_SEGMENTS.task_as(Clustering).model_copy(update=changes)
    return CUSTOMER_SEGMENTS.model_copy(update={"task": task})


def shuffled(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """The same columns, each in an order of its own: rows without groups."""
    generator = np.random.default_rng(seed)
    columns = {name: table[name].to_numpy()[generator.permutation(len(table))] for name in table.columns[1:]}
    return pd.DataFrame({"customer_id": table["customer_id"].to_numpy(), **columns})


def test_every_customer_is_assessed_although_cells_are_missing(table, trained):
    assert table.isna().any(axis=1).sum() > 50
    prepared = trained.prepared
    assert (prepared.period, prepared.history, prepared.names) == (None, (), {})
    assert prepared.used == CUSTOMER_SEGMENTS.feature_names
    assert len(trained.sweep.ranks) == len(table)
    assert TRAINER.summary(prepared)["not_assessed"] == []
    sizes = trained.sweep.winner.sizes
    assert sizes == tuple(sorted(sizes, reverse=True))
    assert [level.text for level in trained.sweep.levels][:2] == ["Segmen 1 (Segment 1)", "Segmen 2 (Segment 2)"]


def test_a_customer_of_whom_nothing_is_known_is_not_assessed(table, quick):
    blank = table.copy()
    blank.loc[5, list(CUSTOMER_SEGMENTS.feature_names)] = None
    prepared = TRAINER.prepare(CUSTOMER_SEGMENTS, blank)
    (lost,) = prepared.not_assessed
    assert lost.entity == str(table.loc[5, "customer_id"])
    assert lost.reason.en.startswith("Not filled in: Gender")
    assert len(prepared.matrix) == len(table) - 1
    strict = TRAINER.prepare(loosened(missing="not_assessed"), table)
    assert len(strict.matrix) == len(table.dropna())


def test_the_scale_is_what_the_declaration_says(trained):
    model, rows = trained.model, trained.sample
    scaled = pd.DataFrame(model[:-1].transform(rows), columns=model["encode"].get_feature_names_out())
    indicators = [name for name in scaled if "=" in name]
    assert set(np.unique(scaled[indicators])) == {0.0, 1.0}
    assert scaled["Age"].std(ddof=0) == pytest.approx(1)
    # A category as rare as the extremes that are pulled in stays a category.
    rarest = rows["Var_1"].value_counts().idxmin()
    assert scaled[f"Var_1={rarest}"].sum() == (rows["Var_1"] == rarest).sum() > 0
    gap = rows["Profession"].isna().to_numpy()
    assert (scaled.loc[gap, [name for name in scaled if name.startswith("Profession=")]] == 0).all(axis=None)


def test_rows_without_groups_yield_no_champion_though_they_are_cut_stably(table, quick):
    noise = shuffled(table)
    with pytest.raises(TrainingError, match=r"No admissible clustering among 5 candidates \(k=2: .*; k=6: "):
        train(noise, quick)
    prepared = TRAINER.prepare(CUSTOMER_SEGMENTS, noise)
    four = TRAINER.fit(prepared, CUSTOMER_SEGMENTS, quick, "k4")
    assert "when shuffled, where no groups are" in four.reason.en
    # Without the floor one of them is stable enough: stability alone takes cuts through a cloud for segments.
    unasked = loosened(structure_floor=None)
    cut = [TRAINER.fit(prepared, unasked, quick, spec.name) for spec in TRAINER.candidates(quick)]
    assert any(each.admissible for each in cut)
    assert all("silhouette_shuffled" not in each.metrics for each in cut)


def test_few_rows_have_to_be_further_beyond_chance():
    task = CUSTOMER_SEGMENTS.task_as(Clustering)
    metrics = {
        "smallest_cluster": 30, "stability": 0.9, "stability_low": 0.88, "silhouette": 0.16,
        "silhouette_shuffled": 0.12, "silhouette_shuffled_sd": 0.005,
    }  # fmt: skip
    assert clusters.inadmissible(task, metrics, 100) is None
    assert "not 0.06 above" in clusters.inadmissible(task, {**metrics, "silhouette_shuffled_sd": 0.02}, 100).en


def test_the_bundle_answers_as_scikit_learn_and_holds_no_person(table, trained, written):
    manifest, members = bundle.read_manifest(written), bundle.read_members(written)
    assert isinstance(manifest, ClusteringManifest)
    assert manifest.data.period is None
    assert [column.feature for column in manifest.inputs] == list(manifest.features_used)
    assert set(manifest.training_range) == {"Age", "Work_Experience", "Family_Size"}
    assert (members["members"], members["history"], members["movement"]) == ([], [], None)
    assert members["assessed_count"] == len(table)
    text = (written / bundle.MEMBERS).read_text() + (written / bundle.MANIFEST).read_text()
    assert not {str(key) for key in table["customer_id"]} & set(re.findall(r"(?<![\d.])\d+(?![\d.])", text))
    session = onnxruntime.InferenceSession(str(written / bundle.MODEL), providers=["CPUExecutionProvider"])
    encode = RowEncoder(manifest.inputs).encode
    rows = [
        {name: None if pd.isna(value) else value for name, value in row.items()}
        for row in trained.sample.to_dict("records")
    ]
    label, far = session.run(["label", "distances"], {"X": np.array([encode(row) for row in rows])})
    assert label.tolist() == trained.model.predict(trained.sample).tolist()
    assert np.allclose(far, trained.sweep.distances, rtol=1e-9)
    example = manifest.example
    ((cluster,), (distances,)) = session.run(["label", "distances"], {"X": np.array([encode(example.request)])})
    assert (cluster, distances[cluster]) == (example.cluster, example.distance_to_center)
    assert encode({**example.request, "Spending_Score": "AVERAGE"}) == encode(example.request)


def test_a_request_encoded_otherwise_than_training_is_never_promoted(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(export.RowEncoder, "encode", lambda encoder, values: [0.0] * encoder.width)
    with pytest.raises(BundleError, match="encoded otherwise than training"):
        bundled(tmp_path, trained.sweep)
    assert not (tmp_path / bundle.MANIFEST).exists()


def test_profiles_say_how_segments_differ_from_all(table, trained, written):
    manifest, members = bundle.read_manifest(written), bundle.read_members(written)
    indexed = table.set_index("customer_id")
    for profile, level, entry in zip(manifest.profiles, manifest.levels, members["profiles"], strict=True):
        here = indexed.loc[trained.sweep.ranks.index[trained.sweep.ranks == level.cluster]]
        assert profile.typical["Age"] == here["Age"].median()
        assert profile.typical["Profession"] == here["Profession"].mode().iloc[0]
        effects = [abs(trait.effect) for trait in profile.traits]
        assert effects == sorted(effects, reverse=True)
        assert len({trait.feature for trait in profile.traits}) == len(effects) >= 1
        for trait in profile.traits:
            known, every = here[trait.feature].dropna(), indexed[trait.feature].dropna()
            if trait.category is None:
                assert trait.here == pytest.approx(known.mean())
                assert trait.effect == pytest.approx((known.mean() - every.mean()) / every.std(ddof=0))
            else:
                assert trait.here == pytest.approx((known == trait.category).mean())
                assert trait.overall == pytest.approx((every == trait.category).mean())
        assert entry["size"] == level.size == len(here)
        assert entry["numbers"]["Family_Size"]["missing_share"] == pytest.approx(here["Family_Size"].isna().mean())
        shares = entry["categories"]["Profession"]["shares"]
        assert sum(each["share"] for each in shares.values()) == pytest.approx(1)
    assert members["structure"]["text"]["en"]
    card = model_card(CUSTOMER_SEGMENTS, manifest)
    assert "so that there are no groups, as many clusters reach" in card
    assert "features have missing values, Work_Experience most" in card
    # An older bundle does not tell where its rows are from: what was declared stands there.
    assert "table `customers`; Mock data, or your own once it is imported" in card
    imported = manifest.model_copy(update={"data": manifest.data.model_copy(update={"origin": "import"})})
    assert "table `customers`; imported from a file of its owner" in model_card(CUSTOMER_SEGMENTS, imported)
    line = headline(CUSTOMER_SEGMENTS, trained.metrics)
    assert line.baseline == trained.metrics["silhouette_shuffled"]
    assert line.baseline_text.endswith("(shuffled columns)")
    assert sum(entry["share"] for entry in members["profiles"]) == pytest.approx(1)


def test_a_segment_keeps_its_number_when_another_becomes_the_largest(table, quick, trained, written):
    ranks = trained.sweep.ranks
    # Most of the largest segment leaves: by size alone it would be numbered last.
    first = ranks.index[ranks == 0]
    left = table[~table["customer_id"].isin(first[: int(0.75 * len(first))])]
    alone, again = train(left, quick), train(left, quick, written)
    assert again.sweep.winner.k == alone.sweep.winner.k == trained.sweep.winner.k
    assert [each.former for each in again.sweep.matches] == list(range(trained.sweep.winner.k))
    kept = ranks[again.sweep.ranks.index]
    assert (kept == again.sweep.ranks).mean() > 0.9 > (kept == alone.sweep.ranks).mean()
    assert again.sweep.winner.sizes != alone.sweep.winner.sizes
    assert sorted(again.sweep.winner.sizes) == sorted(alone.sweep.winner.sizes)
    assert [level.size for level in again.sweep.levels] == np.bincount(again.sweep.ranks).tolist()
    assert again.model.predict(again.sample).tolist() == again.sweep.ranks.tolist()
    # The numbers are all that differs, so the gate sees the same clustering.
    prepared = again.prepared
    same = TRAINER.compare(CUSTOMER_SEGMENTS, prepared, quick, written, written)
    assert (same.difference, same.rows) == (pytest.approx(same.challenger - same.champion), len(left))


def test_trained_again_beside_itself_it_is_the_same_model(table, quick, trained, written, tmp_path):
    sent = [each.without_model() for each in trained.tried]
    again = TRAINER.choose(CUSTOMER_SEGMENTS, trained.prepared, quick, sent, previous=written)
    assert TRAINER.fingerprint(again) == TRAINER.fingerprint(trained)
    assert all((each.former, each.agreement) == (each.cluster, 1.0) for each in again.sweep.matches)
    TRAINER.write_bundle(
        tmp_path,
        again,
        data=bundle.read_manifest(written).data,
        code=bundle.read_manifest(written).code,
        previous=written,
        previous_version="v7",
    )
    matched = bundle.read_members(tmp_path)["matched"]
    assert matched["against"] == {"model_version": "v7", "data_version": "v1"}
    assert [each["former"] for each in matched["segments"]] == list(range(again.sweep.winner.k))
    order = train(table.sample(frac=1, random_state=1), quick)
    assert TRAINER.fingerprint(order) == TRAINER.fingerprint(trained)


def test_numbers_are_kept_although_the_new_model_leaves_a_feature_out(table, quick, trained, written):
    again = train(table.assign(Var_1="Cat_6"), quick, written)
    assert "Var_1" in trained.prepared.used
    assert "Var_1" not in again.prepared.used
    assert [each.former for each in again.sweep.matches] == list(range(trained.sweep.winner.k))


def test_numbers_are_kept_as_far_as_there_are_any():
    old = np.repeat([0, 1, 2, 3], [40, 30, 20, 10])
    # The second is gone into the first, the others go on: three numbers are left for them.
    new = np.repeat([0, 2, 1], [70, 20, 10])
    matches = match(new, old, 3, 4)
    assert [each.former for each in matches] == [0, 3, 2]
    assert keep_numbers(matches) == (0, 1, 2)
    assert keep_numbers([Match(0, 1, 0.9), Match(1, None, 0.3), Match(2, 0, 0.8)]) == (2, 0, 1)
    # Two halves of a segment are neither of them the segment.
    halves = match(np.repeat([0, 1], 50), np.zeros(100, dtype=int), 2, 1)
    assert [each.agreement for each in halves] == [0.5, 0.5]
    assert {each.former for each in match(np.repeat([0, 1, 2], 40), np.zeros(120, dtype=int), 3, 1)} == {None}


def test_columns_that_say_nothing_are_left_out_with_their_reason(table):
    dull = table.assign(Gender="Male", Graduated=table["Ever_Married"], Work_Experience=None)
    dull.loc[:10, "Work_Experience"] = 1.0
    dull["Family_Size"] = dull["Age"] / 10 - 0.8
    prepared = TRAINER.prepare(CUSTOMER_SEGMENTS, dull)
    reasons = {entry.name: entry.reason.en for entry in prepared.left_out}
    assert reasons["Gender"] == "it is the same nearly everywhere"
    assert reasons["Graduated"] == "it says the same as Ever married"
    assert reasons["Work_Experience"] == "filled in only 1% of the rows, 80% needed"
    assert reasons["Family_Size"] == "it says the same as Age"
    trained = train(dull, Params(n_init=2, bootstraps=10), declared=loosened(stability_floor=0.0, structure_floor=None))
    assert "Gender" not in trained.sweep.levels[0].center
    for name in CUSTOMER_SEGMENTS.feature_names:
        dull[name] = None
    with pytest.raises(TrainingError, match="not one figure"):
        TRAINER.prepare(CUSTOMER_SEGMENTS, dull)


def test_the_registry_s_copy_answers_alike(trained, tmp_path):
    path = tmp_path / "model.skops"
    skops.io.dump(trained.model, path)
    again = skops.io.load(path, trusted=list(TRAINER.trusted_types))
    assert again.predict(trained.sample).tolist() == trained.sweep.ranks.tolist()


def test_the_report_names_no_personal_feature(trained, tmp_path):
    folder = write_report(tmp_path, trained.sweep)
    table = pd.read_csv(folder / "assignments.csv")
    assert list(table) == ["customer_id", "cluster", "cluster_label", "distance_to_center", "Var_1"]
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (metrics["period"], metrics["entities"]) == (None, len(table))
    assert "silhouette_shuffled" in metrics["sweep"]["k2"]
    assert list(TRAINER.preview(trained.prepared))[:2] == ["entity", "Gender"]


def test_its_figures_are_drawn(trained, tmp_path):
    paths = TRAINER.figures(trained, tmp_path)
    assert [path.stem for path in paths] == [
        "elbow", "silhouette_profile", "segment_profile", "segment_numbers", "segment_categories",
    ]  # fmt: skip
    assert all(path.stat().st_size > 5_000 for path in paths)


def test_another_process_agrees_to_the_last_digit(table, quick, tmp_path):
    path = tmp_path / "customers.parquet"
    table.to_parquet(path, index=False)
    prepared = TRAINER.prepare(CUSTOMER_SEGMENTS, table)
    here = TRAINER.fit(prepared, CUSTOMER_SEGMENTS, quick, "k3").as_dict()
    program = (
        "import json, sys; import pandas as pd; from sigap.training.clustering import ClusteringTrainer;"
        "from sigap.catalog.customer_segments import CUSTOMER_SEGMENTS as d; t = ClusteringTrainer();"
        "p = t.prepare(d, pd.read_parquet(sys.argv[1])); q = t.parse_params(json.loads(sys.argv[2]));"
        "print(json.dumps(t.fit(p, d, q, 'k3').as_dict()))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, str(path), quick.model_dump_json()],
        cwd=ROOT, check=True, capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "4", "PYTHONHASHSEED": "4"},
    )  # fmt: skip
    assert json.loads(answer.stdout) == here


def test_many_rows_are_sampled_where_it_would_be_quadratic(table, quick, monkeypatch):
    prepared = TRAINER.prepare(CUSTOMER_SEGMENTS, table)
    whole = TRAINER.fit(prepared, CUSTOMER_SEGMENTS, quick, "k3")
    monkeypatch.setattr(clusters, "SILHOUETTE_ROWS", 300)
    monkeypatch.setattr(clusters, "STABILITY_ROWS", 300)
    monkeypatch.setattr(clusters, "CHUNK", 97)
    sampled = TRAINER.fit(prepared, CUSTOMER_SEGMENTS, quick, "k3")
    assert sampled.metrics["inertia"] == whole.metrics["inertia"]
    assert sampled.metrics["silhouette"] == pytest.approx(whole.metrics["silhouette"], abs=0.03)
    assert sampled.metrics["silhouette"] != whole.metrics["silhouette"]
    assert 0 < sampled.metrics["stability"] <= 1
    near = clusters.distances(sampled.model, prepared.matrix).argmin(axis=1)
    assert near.tolist() == sampled.model.predict(prepared.matrix).tolist()


def test_the_public_customers_have_three_stable_segments_without_sharp_borders(tmp_path):
    raw = pd.read_csv(shared("customers", "automobile_customers.csv")).rename(columns={"ID": "customer_id"})
    params = read_params(ROOT, "customer_segments").model_copy(update={"bootstraps": 10, "n_init": 5})
    trained = train(raw.drop(columns="Segmentation"), params)
    assert int(raw.isna().sum().sum()) == 1582
    silhouettes = {each.name: each.metrics["silhouette"] for each in trained.tried}
    # The data's README has 0.175 0.199 0.150 0.166 0.159, without winsorizing.
    assert silhouettes["k2"] == pytest.approx(0.172, abs=0.005)
    assert silhouettes["k3"] == pytest.approx(0.194, abs=0.005)
    assert trained.chosen.name == "k3"
    assert trained.metrics["stability_low"] > 0.9
    two = trained.tried[0]
    assert not two.admissible
    assert two.metrics["silhouette"] < two.metrics["silhouette_shuffled"]
    manifest = bundled(tmp_path, trained.sweep)
    assert bundle.read_members(tmp_path)["structure"]["text"]["en"].startswith("The borders are not sharp")
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 60_000
    settled, starting, experienced = manifest.profiles
    assert settled.traits[0].feature == "Age"
    assert settled.traits[0].here > 50
    assert starting.typical["Ever_Married"] == "No"
    assert starting.typical["Age"] < 30
    assert experienced.traits[0].feature == "Work_Experience"
    assert experienced.traits[0].here > 7
    given = raw.set_index("customer_id").loc[trained.sweep.ranks.index, "Segmentation"]
    assert adjusted_rand_score(given, trained.sweep.ranks) == pytest.approx(0.1, abs=0.05)
