import json
import re

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import skops.io

from sigap import bundle
from sigap.bundle import RowEncoder
from sigap.catalog.car_price import CAR_PRICE
from sigap.catalog.credit_approval import CREDIT_APPROVAL
from sigap.catalog.declaration import Classification
from sigap.catalog.loan_approval import LOAN_APPROVAL
from sigap.errors import BundleError, ConfigurationError, TrainingError
from sigap.model_card import model_card, percent
from sigap.settings import ROOT
from sigap.training import evaluation, gate, supervised_export, uncertainty
from sigap.training.recipes import Recipe, SupervisedParams, build, pipeline, read_supervised_params
from sigap.training.segments import segment_of
from sigap.training.supervised import compare_recipes, fit

from .supervised import LOANS, TRAINER, bundled, cars, credit_cases, public, sweep, trained_on


@pytest.fixture(scope="module")
def car():
    return trained_on(CAR_PRICE, cars(), sweep(False))


@pytest.fixture(scope="module")
def credit():
    return trained_on(CREDIT_APPROVAL, credit_cases(), sweep(True))


def test_the_committed_sweeps_hold_a_linear_model_a_forest_and_boosting():
    for declared in (CAR_PRICE, LOAN_APPROVAL, CREDIT_APPROVAL):
        recipes = read_supervised_params(ROOT, declared.name).recipes()
        used = {recipe.estimator for recipe in recipes.values()}
        assert "hist_gradient_boosting" in used
        assert "random_forest" in used
        assert used & {"ridge", "logistic_regression"}
        for recipe in recipes.values():
            build(recipe, declared, declared.feature_names, 0)


def test_scores_come_with_their_spread_beside_a_baseline_on_the_same_folds(car):
    metrics = car.metrics
    assert car.chosen.metrics["rmse"] == min(each.metrics["rmse"] for each in car.tried if each.admissible)
    assert metrics["r2"] > 0.5 > metrics["baseline_r2"]
    assert metrics["rmse_sd"] > 0
    assert 0 < metrics["gain_low"] < metrics["gain"] < metrics["gain_high"]
    assert metrics["gain"] == pytest.approx(metrics["baseline_rmse"] - metrics["rmse"])
    # Chosen blind within each fold, the sweep can't be better than the best of it by more than chance.
    assert metrics["nested_rmse"] == pytest.approx(metrics["rmse"], rel=0.5)
    assert car.baseline.name == "median"
    assert car.baseline.verdict == "better"
    assert all(np.isfinite(value) for value in metrics.values())


def test_the_same_rows_in_any_order_give_the_same_scores_and_bytes(car, tmp_path):
    again = trained_on(CAR_PRICE, cars().sample(frac=1, random_state=1), sweep(False))
    assert again.metrics == car.metrics
    assert [each.as_dict() for each in again.tried] == [each.as_dict() for each in car.tried]
    assert supervised_export.to_onnx(again) == supervised_export.to_onnx(car)
    first, second = TRAINER.report(car, tmp_path / "1"), TRAINER.report(again, tmp_path / "2")
    for name in ("metrics.json", "predictions.csv"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_candidates_travel_as_plain_json(car):
    for each in car.tried:
        assert json.loads(json.dumps(each.as_dict(), allow_nan=False)) == each.as_dict()


def test_the_interval_holds_what_it_promises_and_segments_agree_with_the_price(car):
    interval = car.interval
    assert interval.confidence == 0.9
    assert 0.8 <= interval.coverage <= 0.99
    low, high = interval.around(10_000.0)
    assert low < 10_000 < high
    lows = [entry.minimum for entry in car.segments]
    assert lows[0] is None
    assert lows[1:] == [entry.maximum for entry in car.segments[:-1]]
    assert sum(entry.rows for entry in car.segments) == 120
    bound = lows[1]
    assert segment_of(car.segments, np.array([bound - 0.01, bound])).tolist() == [0, 1]


def test_a_regression_bundle_answers_as_scikit_learn_does(car, tmp_path):
    manifest = bundled(tmp_path, car)
    assert bundle.read_manifest(tmp_path) == manifest
    assert manifest.fingerprint == TRAINER.fingerprint(car)
    session = onnxruntime.InferenceSession(tmp_path / bundle.MODEL, providers=["CPUExecutionProvider"])
    row = RowEncoder(manifest.inputs).encode(manifest.example.request)
    (value,) = session.run(["value"], {"X": np.array([row])})[0]
    assert value == manifest.example.answer["value"]
    frame = pd.DataFrame([CAR_PRICE.example])
    assert value == pytest.approx(car.model.predict(frame)[0], rel=1e-5)
    assert manifest.segment(value) in manifest.segments
    assert manifest.interval.around(value) == (manifest.example.answer["low"], manifest.example.answer["high"])
    assert [entry.name for entry in manifest.sweep] == ["linear", "forest", "boosting"]


def test_a_brand_never_seen_gets_an_answer_and_is_said(car, tmp_path):
    manifest = bundled(tmp_path, car)
    encoder = RowEncoder(manifest.inputs)
    strange = {**CAR_PRICE.example, "CompanyName": "tatra"}
    assert encoder.unseen(strange) == ["CompanyName"]
    assert encoder.unseen(CAR_PRICE.example) == []
    session = onnxruntime.InferenceSession(tmp_path / bundle.MODEL, providers=["CPUExecutionProvider"])
    found = supervised_export.predict(session, np.array([encoder.encode(strange)]))
    row = pd.DataFrame([{name: strange[name] for name in manifest.features_used}])
    assert found[0] == pytest.approx(evaluation.answers(car.model, row)[0], rel=1e-5)
    assert 0 < found[0] < 1e6


def test_the_card_never_claims_certainty_and_says_a_tie(car, credit, tmp_path):
    card = model_card(CAR_PRICE, bundled(tmp_path / "car", car))
    assert "The interval of the gain has 99.67 % confidence" in card
    assert "100%" not in card.replace(" ", "")
    assert [percent(share) for share in (0.95, 0.9966667, 0.99975)] == ["95 %", "99.67 %", "99.975 %"]
    manifest = bundled(tmp_path / "credit", credit)
    ties = manifest.baseline.model_copy(update={"verdict": "ties"})
    told = manifest.model_copy(update={"baseline": ties}).caveat
    assert told.en.startswith("The model is not shown to be better than a simple rule (")
    assert told.id.startswith("Model ini tidak terbukti lebih baik daripada aturan sederhana (")
    assert told.en in model_card(CREDIT_APPROVAL, manifest.model_copy(update={"baseline": ties}))
    assert ties.model_copy(update={"verdict": "better"}).caveat is None


def test_figures_in_indonesian_sentences_have_its_separators(car, credit):
    assert re.search(r"median \d+\.\d{3} dolar AS", car.baseline.text.id)
    assert re.search(r"meleset \d+,\d poin", credit.calibration.id)
    assert not re.search(r"\d\.\d", credit.calibration.id)


@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize("preprocessor", ["median_imputer", "median_imputer_target_coded_with_scaler"])
@pytest.mark.parametrize("estimator", ["ridge", "random_forest", "extra_trees", "gradient_boosting"])
def test_every_regressor_keeps_its_answers_in_onnx(car, estimator, preprocessor, scale):
    options = {} if estimator == "ridge" else {"n_estimators": 8}
    recipe = Recipe(estimator=estimator, preprocessor=preprocessor, target_scale=scale, options=options)
    _check_parity(car, recipe)


@pytest.mark.parametrize("calibration", ["none", "sigmoid"])
@pytest.mark.parametrize(
    ("estimator", "preprocessor", "options"),
    [
        ("logistic_regression", "median_imputer_with_scaler", {}),
        ("random_forest", "median_imputer_with_scaler", {"n_estimators": 8}),
        ("hist_gradient_boosting", "median_imputer", {"max_iter": 10}),
        ("gradient_boosting", "median_imputer", {"n_estimators": 8}),
    ],
)
def test_every_classifier_keeps_its_answers_in_onnx(credit, estimator, preprocessor, options, calibration):
    recipe = Recipe(estimator=estimator, preprocessor=preprocessor, calibration=calibration, options=options)
    _check_parity(credit, recipe)


def _check_parity(trained, recipe):
    declared, prepared = trained.declaration, trained.prepared
    model = evaluation.fit_model(build(recipe, declared, prepared.used, 0), prepared.features, prepared.target)
    made = type("Made", (), {"declaration": declared, "prepared": prepared, "model": model})
    session = onnxruntime.InferenceSession(supervised_export.to_onnx(made), providers=["CPUExecutionProvider"])
    found = supervised_export.predict(session, pipeline(model)["encode"].transform(prepared.features))
    np.testing.assert_allclose(found, evaluation.answers(model, prepared.features), rtol=1e-5, atol=1e-6)
    again = skops.io.loads(skops.io.dumps(model), trusted=list(TRAINER.trusted_types))
    assert np.array_equal(evaluation.answers(again, prepared.features), evaluation.answers(model, prepared.features))


def test_a_model_whose_onnx_answers_otherwise_is_not_written(car, tmp_path, monkeypatch):
    monkeypatch.setattr(supervised_export, "predict", lambda _, rows: np.zeros(len(rows)))
    with pytest.raises(BundleError, match="answers 120 of 120 rows otherwise than scikit-learn"):
        bundled(tmp_path, car)
    assert not (tmp_path / bundle.MANIFEST).exists()


def test_a_classification_bundle_says_what_its_probability_is_worth(credit, tmp_path):
    manifest = bundled(tmp_path, credit)
    assert bundle.read_manifest(tmp_path) == manifest
    assert manifest.metrics["accuracy"] > manifest.metrics["baseline_accuracy"] - 0.05
    assert manifest.calibrated == credit.calibrated
    assert ("are calibrated" in manifest.calibration.en) == manifest.calibrated
    assert 0 < manifest.example.answer["probability"] < 1
    assert set(manifest.reference) == set(manifest.features_used)


def test_noise_yields_no_champion_and_the_reason_is_plain():
    with pytest.raises(TrainingError) as refused:
        trained_on(CREDIT_APPROVAL, credit_cases(150, noise=True), sweep(True))
    assert "not surely better than guessing (always “" in str(refused.value)
    assert "Nothing was promoted" in refused.value.remedy
    table = cars(80)
    table["price"] = table["price"].sample(frac=1, random_state=0).to_numpy()
    with pytest.raises(TrainingError, match=r"not surely better than guessing \(the median, "):
        trained_on(CAR_PRICE, table, sweep(False))


def test_loans_are_shown_beside_the_one_column_rule_and_tie_with_it():
    table = pd.read_csv(public(LOANS)).rename(columns={"Loan_ID": "loan_id"})
    table["LoanAmount"] *= 1000
    trained = trained_on(LOAN_APPROVAL, table, sweep(True))
    assert trained.baseline.name == "one_column_rule"
    assert trained.baseline.text.en.startswith("Credit history above 0.5 → “Loan Approved”")
    assert trained.baseline.metrics["accuracy"] == pytest.approx(0.809, abs=0.002)
    assert trained.baseline.verdict == "ties"
    assert trained.metrics["accuracy"] == pytest.approx(0.81, abs=0.015)
    groups = {(entry.feature, entry.value): entry for entry in trained.fairness}
    assert sum(entry.rows for (feature, _), entry in groups.items() if feature == "Gender") == 614
    best = max(entry.approval_rate for (feature, _), entry in groups.items() if feature == "Property_Area")
    rural = groups["Property_Area", "Rural"]
    assert rural.disparate_impact == pytest.approx(rural.approval_rate / best)
    assert trained.metrics["disparate_impact_Property_Area"] <= rural.disparate_impact


def test_the_gate_compares_recipes_on_the_same_rows_and_folds(car, tmp_path):
    bundled(tmp_path, car)
    params = sweep(False)
    itself = TRAINER.compare(CAR_PRICE, car.prepared, params, tmp_path, tmp_path)
    assert (itself.difference, itself.low, itself.high) == (0, 0, 0)
    verdict = gate.decide(admissible=True, champion="v1", same_data=True, comparison=itself)
    assert verdict.rule == "not_better"
    good, poor = (Recipe(estimator="ridge", preprocessor="median_imputer", options={"alpha": a}) for a in (1.0, 1e9))
    used = car.prepared.used
    better = compare_recipes(CAR_PRICE, car.prepared, params, (good, used), (poor, used))
    assert better.metric == "rmse"
    assert better.difference == pytest.approx(better.champion - better.challenger)
    assert gate.decide(admissible=True, champion="v1", same_data=True, comparison=better).rule == "better"
    worse = compare_recipes(CAR_PRICE, car.prepared, params, (poor, used), (good, used))
    verdict = gate.decide(admissible=True, champion="v1", comparison=worse)
    assert verdict.rule == "worse"
    assert "rmse" in verdict.reason


def test_a_candidate_that_scores_otherwise_when_chosen_is_refused(car):
    params = sweep(False)
    tried = [fit(car.prepared, CAR_PRICE, params, name) for name in params.recipes()]
    for each in tried:
        each.details["folds"]["rmse"][0] += 1.0
    with pytest.raises(TrainingError, match="scores otherwise here than where it was fitted"):
        TRAINER.choose(CAR_PRICE, car.prepared, params, tried)


def test_a_wrong_option_in_params_is_named(car):
    grid = {"n_estimators": [-3]}
    with pytest.raises(ConfigurationError, match="n_estimators"):
        fit(
            car.prepared,
            CAR_PRICE,
            sweep(False, candidates={"forest": {"estimator": "random_forest", "grid": grid}}),
            "forest",
        )
    with pytest.raises(ConfigurationError, match="logistic_regression is none"):
        build(Recipe(estimator="logistic_regression", preprocessor="median_imputer"), CAR_PRICE, ("curbweight",), 0)
    with pytest.raises(ValueError, match="can't be served behind one"):
        SupervisedParams.model_validate(
            {"candidates": {"b": {"estimator": "hist_gradient_boosting", "preprocessor": "median_imputer_with_scaler"}}}
        )


def test_corrected_intervals_are_wider_than_naive_ones():
    ours, theirs = np.array([0.8, 0.82, 0.79, 0.81, 0.83]), np.array([0.78, 0.8, 0.8, 0.79, 0.8])
    found = evaluation.paired("accuracy", ours, theirs, rows=100, folds=5)
    naive = 2.776 * (ours - theirs).std(ddof=1) / np.sqrt(5)
    assert found.difference == pytest.approx(0.016)
    assert found.high - found.difference == pytest.approx(naive * np.sqrt(1 + 5 / 4), rel=1e-3)
    assert evaluation.paired("rmse", ours, theirs, rows=100, folds=5).difference == pytest.approx(-0.016)


def test_calibration_tells_honest_probabilities_from_boastful_ones():
    generator = np.random.default_rng(0)
    honest = generator.uniform(0.05, 0.95, 3000)
    true = (generator.uniform(size=3000) < honest).astype(float)
    assert uncertainty.calibration(true, honest)[1]
    boastful = np.clip(honest + 0.3 * np.sign(honest - 0.5), 0.01, 0.99)
    metrics, calibrated, text = uncertainty.calibration(true, boastful)
    assert not calibrated
    assert metrics["calibration_error"] > 0.15
    assert "not calibrated" in text.en


def test_figures_are_drawn_for_both_tasks(car, credit, tmp_path):
    drawn = {path.stem for path in TRAINER.figures(car, tmp_path / "car")}
    assert drawn == {
        "predicted_against_true",
        "residuals",
        "sweep",
        "permutation_importance",
        "learning_curve",
        "error_by_slice",
    }
    drawn = {path.stem for path in TRAINER.figures(credit, tmp_path / "credit")}
    assert {"confusion_matrix", "roc_and_precision_recall", "calibration"} <= drawn
    assert isinstance(credit.declaration.task, Classification)
    assert all(path.stat().st_size > 10_000 for path in tmp_path.rglob("*.png"))
