"""Forecasting: honest beside the naive forecast, in the order of time, the same through ONNX as in scikit-learn."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from mapie.regression import SplitConformalRegressor
from sklearn.dummy import DummyRegressor

from sigap.bundle import CodeEntry, DataEntry, ForecastingManifest, read_manifest
from sigap.catalog.bitcoin_price import BITCOIN_PRICE
from sigap.data.market import Market
from sigap.errors import BundleError, ConfigurationError, TrainingError
from sigap.model_card import headline, model_card
from sigap.settings import ROOT
from sigap.training.forecasting import ForecastFamily, ForecastingParams, ForecastingTrainer, ForecastTrained
from sigap.training.forecasting_export import predict, predictions
from sigap.training.series import calibrate, chosen_blindly, folds, gain, prepare_series
from sigap.training.trainer import Candidate, trainer
from tests.shared import SHARED

REAL = SHARED / "crypto" / "btcusdt_daily_2018_2025.csv"
HOW = ForecastingTrainer()
DATA = DataEntry(version="v1", md5="0" * 32, rows=1, rows_rejected=0, period=None, git_commit="", query="")
CODE = CodeEntry(git_commit="", lock_sha256="")
QUICK = ForecastingParams(
    folds=5,
    calibration=200,
    candidates={
        "ridge": ForecastFamily(estimator="ridge", grid={"alpha": [10.0]}),
        "random_forest": ForecastFamily(
            estimator="random_forest", grid={"n_estimators": [20], "min_samples_leaf": [20]}
        ),
        "hist_gradient_boosting": ForecastFamily(
            estimator="hist_gradient_boosting", grid={"max_iter": [20], "max_leaf_nodes": [8]}
        ),
    },
)


def table(closes: np.ndarray, start: datetime = datetime(2020, 1, 1, tzinfo=UTC)) -> pd.DataFrame:
    """A snapshot's rows, one a day."""
    times = pd.DatetimeIndex([start + timedelta(days=day) for day in range(len(closes))]).as_unit("us")
    columns = dict.fromkeys(("open", "high", "low", "close"), closes)
    return pd.DataFrame({"opened_at": times, **columns, "volume": 1.0})


def walk(returns: np.ndarray) -> pd.DataFrame:
    return table(100 * np.exp(np.concatenate([[0], np.cumsum(returns)])))


def noise(seed: int = 1, count: int = 900) -> pd.DataFrame:
    return walk(np.random.default_rng(seed).standard_t(4, count) * 0.02)


def echo(seed: int = 1, count: int = 900, strength: float = 0.4) -> pd.DataFrame:
    """A series in which yesterday's return comes back, weaker."""
    generator = np.random.default_rng(seed)
    returns = np.zeros(count)
    for at in range(1, count):
        returns[at] = strength * returns[at - 1] + 0.02 * generator.standard_normal()
    return walk(returns)


def train(rows: pd.DataFrame, params: ForecastingParams = QUICK) -> ForecastTrained:
    series = HOW.prepare(BITCOIN_PRICE, rows)
    tried = [HOW.fit(series, BITCOIN_PRICE, params, spec.name) for spec in HOW.candidates(params)]
    # As in the pipeline, where each candidate travels as JSON.
    travelled = [Candidate.from_dict(json.loads(json.dumps(each.as_dict(), allow_nan=False))) for each in tried]
    return HOW.choose(BITCOIN_PRICE, series, params, travelled)


@pytest.fixture(scope="module")
def naive() -> ForecastTrained:
    return train(noise())


@pytest.fixture(scope="module")
def better() -> ForecastTrained:
    return train(echo())


def write(folder: Path, trained: ForecastTrained) -> ForecastingManifest:
    HOW.write_bundle(folder, trained, data=DATA, code=CODE, run_id="r", candidate_runs={"naive": "n"})
    manifest = read_manifest(folder)
    assert isinstance(manifest, ForecastingManifest)
    return manifest


def test_noise_is_served_as_the_naive_forecast_and_called_so(naive: ForecastTrained, tmp_path: Path) -> None:
    manifest = write(tmp_path, naive)
    assert manifest.winner == "naive"
    assert manifest.baseline.verdict == "ties"
    assert manifest.metrics["better_than_naive"] == 0
    assert "None of 3 models is shown to be better than the naive forecast" in manifest.note.en
    assert "Tidak satu pun dari 3 model" in manifest.note.id
    assert not re.search(r"\d\.\d", manifest.note.id)
    assert manifest.caveat == naive.caveat == manifest.note
    card = model_card(BITCOIN_PRICE, manifest)
    assert "What is served is the naive forecast with its interval" in card
    assert headline(BITCOIN_PRICE, manifest.metrics).note == "the naive forecast itself"
    rivals = [entry for entry in manifest.sweep if entry.name != "naive"]
    assert all(not entry.admissible and entry.reason for entry in rivals)
    assert manifest.sweep[0].run_id == "n"
    assert {entry.name for entry in manifest.features_left_out} == {"open", "high", "low", "volume"}


def test_what_can_be_forecast_is_and_beats_naive_beyond_doubt(better: ForecastTrained, tmp_path: Path) -> None:
    manifest = write(tmp_path, better)
    assert manifest.winner == "ridge"
    assert manifest.baseline.verdict == "better"
    assert manifest.baseline.gain.low > 0
    assert manifest.metrics["rmse_percent"] < manifest.metrics["naive_rmse_percent"]
    # Chosen as if blind it gains about as much: the winner's score is not flattered.
    assert manifest.metrics["blind_gain"] == pytest.approx(manifest.metrics["gain"], abs=0.02)
    assert manifest.metrics["direction"] > 0.55


@pytest.mark.parametrize("name", ["naive", "ridge", "random_forest", "hist_gradient_boosting"])
def test_onnx_answers_as_scikit_learn_on_every_step(better: ForecastTrained, tmp_path: Path, name: str) -> None:
    series = better.prepared
    params = QUICK.model_copy(update={"candidates": {name: QUICK.candidates[name]}} if name != "naive" else {})
    chosen = HOW.fit(series, BITCOIN_PRICE, params, name)
    forced = Candidate(name, chosen.params, chosen.metrics, None, chosen.details)
    tried = [HOW.fit(series, BITCOIN_PRICE, params, "naive")]
    trained = HOW.choose(BITCOIN_PRICE, series, params, tried if name == "naive" else [*tried, forced])
    assert trained.chosen.name == name
    manifest = write(tmp_path, trained)
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    assert predict(session, series.looks) == pytest.approx(trained.model.predict(series.frame), abs=1e-7)
    assert manifest.fingerprint == HOW.fingerprint(trained)
    # The answer as the API makes it, from values and from what the bundle carries.
    assert session.get_inputs()[0].shape[1] == manifest.lags
    row = np.array([manifest.returns(manifest.closes)])
    answer = manifest.forecast(manifest.closes, float(predict(session, row)[0]))
    assert answer._asdict().items() >= manifest.example.answer.items()
    assert answer.low < answer.value < answer.high
    assert answer.naive == series.closes[-1] == manifest.last_value
    assert answer.direction == ("unchanged" if name == "naive" else "up" if answer.value > answer.naive else "down")


def test_an_answer_is_the_interval_around_the_forecast(naive: ForecastTrained, tmp_path: Path) -> None:
    manifest = write(tmp_path, naive)
    closes = [100 * 1.05 ** (day % 2) for day in range(manifest.lags + 1)]
    answer = manifest.forecast([1.0, *closes], 0.0)
    stretch = math.exp(manifest.interval.high * math.sqrt(math.log(1.05)))
    assert answer.high == pytest.approx(closes[-1] * stretch)
    assert answer.low == pytest.approx(closes[-1] / stretch)
    for wrong in (closes[1:], [*closes[:-1], 0.0], [*closes[:-1], math.nan], [*closes[:-1], math.inf]):
        with pytest.raises(ValueError, match="at least 15 values above zero"):
            manifest.returns(wrong)
    # Prices that stand still have an interval too.
    still = manifest.forecast([5.0] * 15, 0.0)
    assert still.low < 5.0 < still.high


def test_nothing_later_is_learnt_from(better: ForecastTrained) -> None:
    series = better.prepared
    for training, testing in folds(series, 5):
        newest_seen = series.times[series.at[training] + 1].max()
        assert newest_seen <= series.times[series.at[testing]].min()
    # The future changed beyond recognition changes no earlier forecast.
    changed = echo()
    changed.loc[800:, "close"] *= np.linspace(1, 3, len(changed) - 800)
    before, after = predictions(better), predictions(train(changed))
    early = before["opened_at"] < pd.Timestamp(changed["opened_at"][700])
    # The winner may be another with other data; the ridge's forecasts are compared where it stayed.
    columns = ["forecast", "low", "high"]
    pd.testing.assert_frame_equal(before.loc[early, columns], after.loc[early, columns])


def test_the_same_training_gives_the_same_bytes(better: ForecastTrained, tmp_path: Path) -> None:
    again = train(echo().sample(frac=1, random_state=3))
    for number, each in enumerate((better, again)):
        write(tmp_path / f"bundle{number}", each)
        HOW.report(each, tmp_path / f"report{number}")
    for name in ("predictions.csv", "metrics.json"):
        assert (tmp_path / "report0" / name).read_bytes() == (tmp_path / "report1" / name).read_bytes()
    assert (tmp_path / "bundle0/model.onnx").read_bytes() == (tmp_path / "bundle1/model.onnx").read_bytes()
    assert HOW.fingerprint(better) == HOW.fingerprint(again)


def test_figures_are_drawn_for_either_winner(naive: ForecastTrained, better: ForecastTrained, tmp_path: Path) -> None:
    for name, each in (("naive", naive), ("better", better)):
        drawn = HOW.figures(each, tmp_path / name)
        assert len(drawn) == 5
        assert all(path.stat().st_size > 10_000 for path in drawn)


def test_rows_in_any_order_and_backwards_are_the_same_series(naive: ForecastTrained) -> None:
    for rows in (noise().iloc[::-1], noise().sample(frac=1, random_state=1)):
        series = prepare_series(BITCOIN_PRICE, rows)
        np.testing.assert_array_equal(series.looks, naive.prepared.looks)
        np.testing.assert_array_equal(series.changes, naive.prepared.changes)
        assert series.last_time == naive.prepared.last_time
    assert HOW.fingerprint(train(noise().iloc[::-1])) == HOW.fingerprint(naive)


def test_holes_are_not_bridged(tmp_path: Path) -> None:
    rows = noise()
    whole = prepare_series(BITCOIN_PRICE, rows)
    holed = prepare_series(BITCOIN_PRICE, rows.drop(index=[400, 401, 402, 403, 404, 405, 406]))
    assert (whole.missing, holed.missing) == (0, 7)
    # Lost: what ends in the week's hole, and what would look back into it.
    assert len(whole.at) - len(holed.at) == 7 + 14 + 1
    assert (
        np.abs(holed.changes).max()
        == np.abs(whole.changes[np.isin(whole.times[whole.at], holed.times[holed.at])]).max()
    )
    with pytest.raises(BundleError, match="one is missing, so that the next can't be forecast"):
        write(tmp_path / "bundle", train(rows.drop(index=[895])))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.drop(columns="close"), "lacks the columns close"),
        (lambda t: pd.concat([t, t.iloc[[5]]]), "1 moments stand twice, first 2020-01-06"),
        (
            lambda t: t.assign(opened_at=t["opened_at"].where(t.index != 7, t["opened_at"] + timedelta(hours=3))),
            "not 1d",
        ),
        (lambda t: t.assign(close=t["close"].where(t.index != 9, -3.0)), "not above zero, first -3 at 2020-01-10"),
        (lambda t: t.assign(close=t["close"].where(t.index < 500, t["close"] * 1000)), "as if its unit had changed"),
        (lambda t: t.assign(close=7.0), "never moves"),
        (lambda t: t.iloc[:150], "at least 200 are needed"),
        (lambda t: t.assign(close=np.nan), "0 rows have a value"),
        (lambda t: t.iloc[::2], "not 1d|are needed"),
    ],
)
def test_a_series_that_cannot_be_forecast_is_refused_plainly(spoil, message: str) -> None:
    with pytest.raises(TrainingError, match=message) as caught:
        prepare_series(BITCOIN_PRICE, spoil(noise()))
    assert caught.value.remedy


def test_a_row_without_value_counts_as_not_there() -> None:
    rows = noise()
    rows.loc[300, "close"] = np.nan
    series = prepare_series(BITCOIN_PRICE, rows)
    assert (series.rows, series.without_value, series.missing) == (901, 1, 1)
    summary = HOW.summary(series)
    assert summary["period"] == "2022-06-19T00:00:00+00:00"
    json.dumps(summary, allow_nan=False)
    assert len(HOW.preview(series)) == len(series.at)


def test_the_interval_holds_what_it_promises_also_when_storms_come() -> None:
    generator = np.random.default_rng(7)
    storm = np.repeat(np.exp(generator.normal(0, 0.7, 40)), 100)
    spreads = np.sqrt(storm * 0.02)
    errors = generator.standard_normal(4000) * storm * 0.02
    found = calibrate(errors, spreads, 0.9, 500)
    # Four standard errors of a share of 0.9 among 3500.
    assert found.coverage == pytest.approx(0.9, abs=0.02)
    assert all(0.84 < part < 0.96 for part in found.by_fold)


def test_the_half_width_is_mapie_s() -> None:
    generator = np.random.default_rng(3)
    ratios = generator.standard_t(5, 400)
    found = calibrate(ratios, np.ones(400), 0.9, 200)
    last = ratios[-200:]
    mapie = SplitConformalRegressor(
        DummyRegressor(strategy="constant", constant=0.0).fit([[0.0]], [0.0]), confidence_level=0.9, prefit=True
    )
    mapie.conformalize(np.zeros((200, 1)), last)
    _, interval = mapie.predict_interval(np.zeros((1, 1)))
    assert found.half == pytest.approx(float(interval[0, 1, 0]))


def test_gain_has_an_interval_that_knows_neighbours_are_alike() -> None:
    generator = np.random.default_rng(5)
    theirs = generator.standard_normal(1000)
    assert gain(theirs, theirs, 0.95).difference == 0
    clearly = gain(0.9 * theirs, theirs, 0.95)
    assert clearly.difference == pytest.approx(0.1)
    assert clearly.low == pytest.approx(0.1)
    noisy = gain(theirs + 0.3 * generator.standard_normal(1000), theirs, 0.95)
    assert noisy.high < 0


def test_choosing_blindly_gains_nothing_from_luck() -> None:
    # The first candidate wins by one lucky fold only; blind choice never sees that fold in time.
    assert chosen_blindly([[1.0, 1.0, 1.0, 0.2]], [0.9, 0.9, 0.9, 0.9], [10] * 4) == 0
    assert chosen_blindly([[0.5, 0.5, 0.5]], [1.0, 1.0, 1.0], [10] * 3) == pytest.approx(1 - math.sqrt(0.5))


def test_the_gate_compares_recipes_on_the_same_steps(
    naive: ForecastTrained, better: ForecastTrained, tmp_path: Path
) -> None:
    write(tmp_path / "naive", naive)
    write(tmp_path / "better", better)
    worse = HOW.compare(BITCOIN_PRICE, better.prepared, QUICK, tmp_path / "naive", tmp_path / "better")
    same = HOW.compare(BITCOIN_PRICE, better.prepared, QUICK, tmp_path / "better", tmp_path / "better")
    good = HOW.compare(BITCOIN_PRICE, better.prepared, QUICK, tmp_path / "better", tmp_path / "naive")
    assert worse
    assert same
    assert good
    assert worse.high < 0
    assert (same.difference, same.low, same.high) == (0, 0, 0)
    assert good.low > good.minimum_effect > 0
    assert good.champion - good.challenger == pytest.approx(good.difference)


def test_parameters_are_checked_and_the_checkout_s_are_good() -> None:
    params = HOW.params(ROOT, "bitcoin_price")
    assert HOW.parse_params(params.model_dump()) == params
    estimators = {recipe.estimator for recipe in params.recipes().values()}
    assert estimators == {"naive", "ridge", "random_forest", "hist_gradient_boosting"}
    series = prepare_series(BITCOIN_PRICE, noise(count=400))
    for options in ({"depth": [3]}, {"max_depth": ["three"]}):
        wrong = ForecastingParams(candidates={"f": ForecastFamily(estimator="random_forest", grid=options)})
        with pytest.raises(ConfigurationError, match="random_forest can't be"):
            HOW.fit(series, BITCOIN_PRICE, wrong, "f")
    with pytest.raises(TrainingError, match="no candidate 'lstm'"):
        HOW.fit(series, BITCOIN_PRICE, QUICK, "lstm")
    assert isinstance(trainer(BITCOIN_PRICE), ForecastingTrainer)


def test_the_mock_market_cannot_be_beaten() -> None:
    days = Market().candles("1d", datetime(2021, 1, 1, tzinfo=UTC), datetime(2023, 6, 1, tzinfo=UTC))
    trained = train(table(np.array([float(each.close) for each in days])))
    assert trained.chosen.name == "naive"


def test_real_bitcoin_is_not_beaten_either_and_the_interval_holds() -> None:
    if not REAL.exists():
        pytest.skip(f"the real candles are not here ({REAL})")
    read = pd.read_csv(REAL)
    rows = table(read["Close"].to_numpy(), datetime(2018, 1, 1, tzinfo=UTC))
    trained = train(rows, QUICK.model_copy(update={"calibration": 500}))
    assert trained.chosen.name == "naive"
    assert 0.88 <= trained.metrics["coverage"] <= 0.93
