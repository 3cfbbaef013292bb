"""The education page's logic: what is chosen, why a level changed, what would change it, and the file to take along."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from frontend import causes
from frontend.api import Clusters, Model
from frontend.charts.radar import scaled
from frontend.views import figures, movement, scenario
from frontend.views.figures import as_csv
from sigap.catalog.education import EDUCATION
from sigap.data.mapping import map_headings
from tests.frontend.conftest import StandIn, shown
from tests.frontend.standin import RISEN, USED, answers, predict, story


@pytest.fixture
def model() -> Model:
    return Model.model_validate(answers()["model"])


@pytest.fixture
def clusters() -> Clusters:
    return Clusters.model_validate(answers()["clusters"])


@pytest.mark.parametrize("tab", ["compare", "beside", "moved", "try", "figures", "about"])
@pytest.mark.parametrize("language", ["id", "en"])
def test_a_link_opens_its_tab_in_both_languages(app: AppTest, tab: str, language: str) -> None:
    app.query_params.update({"lang": language, "tab": tab, "province": "P31"})
    app.run()
    assert not app.exception
    assert app.query_params.get("tab") == (tab if tab != "compare" else None)


def test_a_link_keeps_view_axes_and_year(app: AppTest) -> None:
    asked = {"view": "tiles", "x": "rasio_guru_murid", "y": "angka_melek_huruf", "tab": "compare"}
    app.query_params.update(asked)
    app.run()
    assert app.segmented_control(key="view").value == "tiles"
    assert (app.selectbox(key="x").value, app.selectbox(key="y").value) == ("rasio_guru_murid", "angka_melek_huruf")


def test_a_link_opens_the_compared_years(app: AppTest) -> None:
    app.query_params.update({"tab": "moved", "year": "2023-2024"})
    app.run()
    assert app.segmented_control(key="year").value == "2023-2024"


@pytest.mark.parametrize("nonsense", ["", "map2", "<b>"])
def test_nonsense_in_the_address_is_passed_over(app: AppTest, nonsense: str) -> None:
    app.query_params.update(dict.fromkeys(("view", "x", "y", "tab", "year"), nonsense))
    app.run()
    assert not app.exception
    assert "view" not in app.query_params
    assert "tab" not in app.query_params


def test_the_governors_province_is_told_with_its_reason(app: AppTest, standin: StandIn) -> None:
    app.query_params.update({"lang": "en", "province": RISEN, "tab": "moved"})
    with standin.serving("story"):
        app.run()
    page = shown(app)
    assert "Up since the model before (1): Riau." in page
    assert "Up: ● Middle Readiness → ▲ High Readiness" in page
    assert "Mean years of schooling: 8.2 → 9.43 years <small>this change alone was enough</small>" in page
    assert "Pupils per teacher: 14.9 → 14.79 pupils <small>changed too, but did not decide</small>" in page
    assert app.button(key=f"go_{RISEN}").label == "Riau"
    app.button(key="go_P96").click().run()
    assert "<h3>Papua Tengah</h3>" in shown(app)


def test_a_break_is_no_progress_and_says_so(app: AppTest) -> None:
    app.query_params.update({"lang": "en", "province": "P94"})
    app.run()
    assert "Up:" not in shown(app)
    assert "Borders changed, not comparable" in shown(app)


def test_without_figures_of_before_no_reason_is_made_up(model: Model) -> None:
    told = story()
    for move in told["movement"]["moves"]:
        move["from_features"] = None
    moves = movement.since_before(Clusters.model_validate(told))
    assert causes.why(model, moves) == {}


def test_the_sliders_start_at_the_provinces_figures_and_go_back(app: AppTest) -> None:
    app.query_params.update({"lang": "en", "province": "P35", "tab": "try"})
    app.run()
    slider = app.select_slider(key="try_rata_lama_sekolah")
    assert slider.value == 8.28
    assert app.button(key="try_reset").disabled
    slider.set_value(9.5).run()
    page = shown(app)
    assert "this change alone was enough" in page
    assert "▲ High Readiness" in page
    app.button(key="try_reset").click().run()
    assert app.select_slider(key="try_rata_lama_sekolah").value == 8.28
    assert "What alone would be enough for High Readiness" in shown(app)


def test_what_is_enough_alone_is_what_the_model_answers(
    app: AppTest, model: Model, clusters: Clusters, standin: StandIn
) -> None:
    member = next(m for m in clusters.members if m.entity == "P35")
    figures = {name: float(member.features[name] or 0.0) for name in USED}
    found = scenario.enough(model, member, figures, 0)
    assert found["rata_lama_sekolah"] is not None
    for name, value in found.items():
        feature = next(f for f in model.used if f.name == name)
        better = [each for each in scenario.stops(feature, figures[name]) if _is_better(feature, each, figures[name])]
        reach = [each for each in better if _level({**figures, name: each}) == 0]
        nearest = min(reach, key=lambda each: abs(each - figures[name]), default=None)
        assert value == nearest


def _is_better(feature: Any, one: float, other: float) -> bool:
    return one < other if feature.higher_is_better is False else one > other


def _level(figures: dict[str, float]) -> int:
    return int(predict(figures)[1]["cluster"])


def test_sliders_stay_within_what_is_declared(model: Model) -> None:
    for feature in model.used:
        for value in (feature.minimum, feature.maximum):
            assert value is not None
            offered = scenario.stops(feature, value)
            assert value in offered
            assert feature.minimum <= offered[0]  # type: ignore[operator]
            assert offered[-1] <= feature.maximum  # type: ignore[operator]
            assert offered == sorted(set(offered))


def test_the_radar_turns_figures_of_which_fewer_are_better(model: Model, clusters: Clusters) -> None:
    pupils = next(f for f in model.used if f.higher_is_better is False)
    assert pupils.training_range is not None
    least, most = pupils.training_range
    assert (scaled(pupils, least, clusters), scaled(pupils, most, clusters)) == (100, 0)
    assert scaled(pupils, most + 50, clusters) == 0


def test_the_file_is_for_programs_and_opens_in_excel(model: Model, clusters: Clusters) -> None:
    written = as_csv(model, clusters.members)
    assert written.startswith("\N{BOM}".encode())
    read = pd.read_csv(io.BytesIO(written), encoding="utf-8-sig").set_index("provinsi_id")
    member = next(m for m in clusters.members if m.entity == "P35")
    assert len(read) == 38
    assert read.loc["P35", "rata_lama_sekolah"] == member.features["rata_lama_sekolah"]
    # 0 is the highest, as the API has it.
    assert read.loc["P35", "cluster"] == member.cluster
    assert read.loc["P35", "level_en"] == "Middle Readiness"
    assert as_csv(model, ()).startswith("\N{BOM}".encode())


def test_a_figure_of_an_earlier_year_does_not_go_back_as_one_of_this_year(model: Model, clusters: Clusters) -> None:
    source = EDUCATION.source
    assert (source.entity, source.entity_name, source.time) == figures.KEY
    member = next(m for m in clusters.members if m.entity == "P35")
    name = "rata_lama_sekolah"
    carried = member.model_copy(update={"figure_period": {**member.figure_period, name: member.period - 1}})
    read = pd.read_csv(io.BytesIO(as_csv(model, [carried])), encoding="utf-8-sig")
    assert {*figures.KEY, "ibukota", "lat", "lon"} <= {*read}
    (row,) = read.to_dict("records")
    assert pd.isna(row[name])
    assert (row[f"{name}_carried"], row[f"{name}_carried_from"]) == (member.features[name], member.period - 1)
    # The importer takes none of the carried ones for a figure of the row's own year.
    found = map_headings(EDUCATION, list(read), {}).found
    assert {found[each.name] for each in EDUCATION.features} == {each.name for each in EDUCATION.features}


def test_years_are_compared_with_their_figures(clusters: Clusters) -> None:
    move = next(m for m in movement.between_years(clusters, 2023, 2024) if m.entity == "P35")
    assert move.from_features["rata_lama_sekolah"] != move.to_features["rata_lama_sekolah"]
