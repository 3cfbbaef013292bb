import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.exceptions import NotFittedError

from sigap.errors import ConfigurationError, TrainingError
from sigap.settings import ROOT
from sigap.training.clusters import Candidate, fit, fit_model, select
from sigap.training.export import fingerprint
from sigap.training.features import prepare
from sigap.training.params import Params, read_params
from sigap.training.preprocess import Winsorizer
from sigap.training.sweep import choose, read_snapshot, train
from tests.shared import shared

from .conftest import made_up, save


def test_the_real_figures_make_three_levels_in_both_years(until_2023, with_2024):
    assert until_2023.winner.sizes == (16, 4, 14)
    assert until_2023.winner.metrics["silhouette"] == pytest.approx(0.3638, abs=1e-4)
    assert with_2024.winner.sizes == (16, 16, 6)
    assert with_2024.winner.metrics["silhouette"] == pytest.approx(0.3705, abs=1e-4)
    assert [level.text for level in with_2024.levels] == [
        "Tinggi (High Readiness)",
        "Menengah (Middle Readiness)",
        "Rendah (Low Readiness)",
    ]
    assert with_2024.ranks[["P31", "P34"]].tolist() == [0, 0]
    assert with_2024.ranks[["P96", "P97"]].tolist() == [2, 2]


def test_the_best_silhouette_alone_does_not_win(with_2024):
    six = with_2024.candidates[-1]
    assert six.metrics["silhouette"] > with_2024.winner.metrics["silhouette"]
    assert not six.admissible
    assert "stability" in six.reason.en


@pytest.mark.parametrize("seed", [2])
def test_the_choice_does_not_hang_on_the_seed(education, params, figures, seed):
    params = params.model_copy(update={"random_state": seed})
    for table in (figures[figures["tahun"] <= 2023], figures):
        prepared = prepare(education, table)
        assert (
            choose(education, prepared, params, [fit(prepared, education, params, k) for k in (2, 3, 6)]).winner.k == 3
        )


def test_one_regions_new_figure_does_not_turn_the_scale_over(education, params, figures, tmp_path):
    changed = figures.copy()
    raised = (changed["provinsi_id"] == "P35") & (changed["tahun"] == 2024)
    changed.loc[raised, ["rata_lama_sekolah", "harapan_lama_sekolah"]] = [11.2, 15.1]
    trained = train(education, save(changed, tmp_path), params)
    best = max((each for each in trained.candidates if each.admissible), key=lambda each: each.metrics["silhouette"])
    assert best.k != 3, "the better silhouette, within the noise, is another number of levels"
    assert trained.winner.k == 3
    assert trained.ranks["P35"] == 0


def test_one_region_split_off_is_never_promoted(education, params):
    # 33 alike and one far away on every feature: without winsorizing or floor, k = 2 has the best silhouette by far.
    generator = np.random.default_rng(3)
    rows = pd.DataFrame(generator.normal(50, 1, (34, 5)), columns=list(education.feature_names)).clip(1, 99)
    rows.iloc[0] = [1, 1, 1, 99, 1]
    prepared = prepare(education, made_up(education, rows))
    unguarded = education.model_copy(update={"task": education.task.model_copy(update={"winsorize": 0.0})})
    split = fit(prepared, unguarded, params, 2)
    assert split.sizes == (33, 1)
    assert split.metrics["silhouette"] > 0.6
    assert "1 of 34 entities, at least 2 needed" in split.reason.en
    for k in range(2, 7):
        candidate = fit(prepared, education, params, k)
        assert not candidate.admissible or min(candidate.sizes) >= 2


def test_none_admissible_promotes_nothing_and_says_why(education, quick):
    rows = pd.DataFrame(np.random.default_rng(0).uniform(10, 20, (60, 5)), columns=list(education.feature_names))
    prepared = prepare(education, made_up(education, rows))
    tried = [fit(prepared, education, quick, k) for k in (4, 5)]
    with pytest.raises(TrainingError, match=r"No admissible clustering among 2 candidates \(k=4: .*; k=5: "):
        select(tried)


def test_three_rows_are_too_few(education, params, figures, tmp_path):
    table = figures[figures["provinsi_id"].isin(["P11", "P12", "P13"])]
    with pytest.raises(TrainingError, match=r"3 entities have figures .* at least 10 are needed"):
        train(education, save(table, tmp_path), params)


def test_rows_that_are_all_alike_make_an_inadmissible_candidate_not_a_crash(education, quick):
    rows = pd.DataFrame({name: [10.0, 20.0, 30.0] * 5 for name in education.feature_names})
    rows["rata_lama_sekolah"] = [10.0, 20.0, 11.0] * 5
    prepared = prepare(education, made_up(education, rows))
    four = fit(prepared, education, quick, 4)
    assert (four.metrics, four.admissible) == ({}, False)
    assert "too few different rows" in four.reason.en
    assert Candidate.from_dict(json.loads(json.dumps(four.as_dict()))) == four


def test_the_journey_as_json_gives_the_same_model_bit_for_bit(until_2023, education, params):
    sent = [Candidate.from_dict(json.loads(json.dumps(each.as_dict()))) for each in until_2023.candidates]
    assert tuple(sent) == until_2023.candidates
    again = choose(education, until_2023.prepared, params, sent[::-1])
    assert again.candidates == until_2023.candidates
    assert fingerprint(again) == fingerprint(until_2023)
    centers = again.model[-1].cluster_centers_.tobytes()
    assert centers == until_2023.model[-1].cluster_centers_.tobytes()


def test_another_process_with_another_number_of_threads_agrees_to_the_last_digit(education, quick, figures, tmp_path):
    path = save(figures, tmp_path)
    prepared = prepare(education, read_snapshot(path))
    here = [fit(prepared, education, quick, k).as_dict() for k in (2, 3)]
    program = (
        "import json, sys; from pathlib import Path; from sigap.catalog import declaration;"
        "from sigap.training.clusters import fit; from sigap.training.features import prepare;"
        "from sigap.training.params import Params; from sigap.training.sweep import read_snapshot;"
        "d = declaration('education'); p = prepare(d, read_snapshot(Path(sys.argv[1])));"
        "q = Params.model_validate_json(sys.argv[2]);"
        "print(json.dumps([fit(p, d, q, k).as_dict() for k in (2, 3)]))"
    )
    for threads in ("1", "4"):
        answer = subprocess.run(
            [sys.executable, "-c", program, str(path), quick.model_dump_json()],
            cwd=ROOT, check=True, capture_output=True, text=True,
            env={**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, "PYTHONHASHSEED": threads},
        )  # fmt: skip
        assert json.loads(answer.stdout) == here


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    values=arrays(np.float64, st.tuples(st.integers(12, 30), st.just(5)), elements=st.integers(1, 60).map(float)),
    k=st.integers(2, 5),
    seed=st.integers(0, 2**32 - 1),
    order=st.randoms(use_true_random=False),
)
def test_a_label_keeps_its_meaning(education, quick, values, k, seed, order):
    """Whatever the data, the seed and the order of rows: readiness falls with the rank, and regions keep theirs."""
    table = made_up(education, pd.DataFrame(values, columns=list(education.feature_names)))
    try:
        prepared = prepare(education, table)
    except TrainingError:
        return
    params = quick.model_copy(update={"random_state": seed})
    candidate = fit(prepared, education, params, k)
    if candidate.model is None:
        return
    rows = prepared.matrix
    ranks = candidate.model.predict(rows)
    assert set(ranks) == set(range(k))
    signs = [-1 if education.feature(name).higher_is_better is False else 1 for name in rows.columns]
    inside = rows.clip(rows.quantile(0.05), rows.quantile(0.95), axis=1)
    readiness = ((inside - inside.mean()) / inside.std(ddof=0) * signs).mean(axis=1)
    means = readiness.groupby(ranks).mean().to_numpy()
    assert (np.diff(means) <= 1e-9).all()
    shuffled = list(range(len(table)))
    order.shuffle(shuffled)
    again = fit_model(prepare(education, table.iloc[shuffled]), education, params, k)
    assert again.predict(rows).tolist() == ranks.tolist()


def test_districts_of_east_java_use_all_five_features(education, params, tmp_path):
    districts = pd.read_csv(shared("education", "eastjava_kabkota_2014.csv"))
    rows = districts[list(education.feature_names)]
    table = made_up(education, rows, year=2014).assign(
        provinsi_id="P" + districts["kode_bps"].astype(str), provinsi=districts["kabkota"]
    )
    trained = train(education, save(table, tmp_path), params)
    assert trained.prepared.used == education.feature_names
    assert len(trained.prepared.matrix) == 38
    assert trained.winner.sizes == (11, 27)
    assert [level.text for level in trained.levels] == ["Tinggi (High Readiness)", "Rendah (Low Readiness)"]
    best, worst = trained.levels
    assert best.center["rata_lama_sekolah"] > worst.center["rata_lama_sekolah"]


def test_a_snapshot_that_is_missing_or_damaged_says_what_to_do(tmp_path):
    path = tmp_path / "education_snapshot.parquet"
    with pytest.raises(TrainingError, match="dvc checkout"):
        read_snapshot(path)
    path.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(TrainingError, match="can't be read"):
        read_snapshot(path)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("education: {k_min: 1}", "education.k_min"),
        ("education: {n_init: twenty}", "education.n_init"),
        ("education: {clusters: 3}", "education.clusters"),
        ("education: {k_min: 5, k_max: 4}", "k_min 5 is above k_max 4"),
        ("education: [2, 6]", "no sections by model"),
        ("education: [", "can't be read"),
    ],
)
def test_wrong_parameters_are_named(tmp_path, text, names):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=names):
        read_params(tmp_path, "education")


def test_the_defaults_are_what_the_file_says():
    assert read_params(ROOT, "education") == Params()


def test_the_winsorizer_pulls_in_what_lies_beyond_its_bounds():
    rows = np.arange(21.0).reshape(-1, 1)
    fitted = Winsorizer(0.05).fit(rows)
    assert (fitted.lower_[0], fitted.upper_[0]) == (1, 19)
    assert fitted.transform([[-100.0], [7.0], [100.0]]).ravel().tolist() == [1, 7, 19]
    assert (Winsorizer(0.0).fit_transform(rows) == rows).all()
    with pytest.raises(NotFittedError):
        Winsorizer().transform(rows)
