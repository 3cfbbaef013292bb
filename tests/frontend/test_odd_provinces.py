"""Provinces and levels that lack something: the pages about them leave it out and say so."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from frontend import boundaries, causes, charts, parts
from frontend.api import Clusters, Member, Model, Move, Prediction
from frontend.boundaries import BoundariesError
from frontend.palette import LIGHT
from frontend.views import choice, figures, monitoring, movement, provenance, scenario, standing
from frontend.words import Words
from tests.frontend.pieces import both, detail, fresh, told
from tests.frontend.test_boundaries import _areas, _set

__all__ = ["fresh", "told"]

EN = Words("en")
SCHOOLING = {"name": "rata_lama_sekolah", "title": both("Years at school"), "unit": both("years"),
             "meaning": both("m"), "minimum": 0, "maximum": 20}  # fmt: skip
PUPILS = {**SCHOOLING, "name": "rasio_guru_murid", "title": both("Pupils a teacher"), "higher_is_better": False}
LEVELS = [
    {
        "cluster": at,
        "label": both(name),
        "size": 5,
        "center": {"rata_lama_sekolah": 10.0 - at, "rasio_guru_murid": 15.0},
    }
    for at, name in enumerate(("High", "Middle", "Low"))
]


def model(**changes: Any) -> Model:
    fields = detail().model_dump() | {"features": [SCHOOLING, PUPILS], "levels": LEVELS, "name": "education",
                                      "features_used": ("rata_lama_sekolah", "rasio_guru_murid")}  # fmt: skip
    return Model.model_validate(fields | changes)


def member(cluster: int = 1, **features: float | None) -> Member:
    fields = {"rata_lama_sekolah": 9.5, "rasio_guru_murid": 14.0} | features
    return Member(entity="P11", name="Aceh", period=2024, features=fields, cluster=cluster, distance=0.5)


def clusters(*members: Member, **changes: Any) -> Clusters:
    return Clusters.model_validate({"model_version": "v3", "members": members} | changes)


def test_what_a_province_lacks_to_the_next_level_is_told_by_figure() -> None:
    levels = [model().levels[1], model().levels[0]]
    table = standing._table(model(), levels, member(), EN)
    assert "+0.50" in table
    assert EN("edu.beside.nothing") in table, "fewer pupils a teacher than the next level's centre"
    assert "–" in standing._table(model(), levels, member(rata_lama_sekolah=None), EN)


def test_who_stands_on_top_lacks_nothing_and_two_figures_make_no_shape(told: list[str]) -> None:
    standing.show(model(), clusters(member(0)), member(0), EN)
    assert EN("edu.beside.title_top", name="Aceh", own="High", next="High") in told[0]
    assert EN("edu.beside.lacks") not in told[1]


def test_a_province_without_a_past_has_no_years() -> None:
    assert parts._past(model(), clusters(member()), member(), EN) == ""


def test_without_changes_and_years_the_page_says_that_there_are_none(
    told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calm: list[str] = []
    monkeypatch.setattr(movement.st, "info", calm.append)
    movement.show(model(), clusters(member()), EN)
    assert calm == [EN("moved.none")]
    assert told == []


def test_moves_whose_figures_nobody_kept_are_told_without_a_cause(
    told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(movement.st, "plotly_chart", lambda *_, **__: None)
    up = Move.model_validate({"entity": "P11", "name": "Aceh", "kind": "up", "from": 2, "to": 1})
    movement._moves(model(), movement.Comparison("t", ("2023", "2024"), (up,)), EN)
    assert any(EN("edu.why.unknown").replace("'", "&#x27;") in each for each in told)
    assert causes.why(model(), (up,)) == {}


def test_a_figure_that_the_model_refuses_is_no_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    then, now = (
        {"rata_lama_sekolah": 8.0, "rasio_guru_murid": 14.0},
        {"rata_lama_sekolah": 9.5, "rasio_guru_murid": 14.0},
    )
    up = Move.model_validate({"entity": "P11", "name": "Aceh", "kind": "up", "from": 2, "to": 1,
                              "from_features": then, "to_features": now})  # fmt: skip
    reached = Prediction(cluster=1, cluster_label="Middle", distance_to_center=0.1, model_version="v3")
    monkeypatch.setattr(causes.api, "levels", lambda *_: (None, reached))
    (found,) = causes.why(model(), (up,))["P11"]
    assert (found.alone, found.needed, found.decisive) == (False, False, False)
    monkeypatch.setattr(causes.api, "levels", lambda *_: (reached, None))
    (found,) = causes.why(model(), (up,))["P11"]
    assert (found.alone, found.needed) == (True, True)


def test_a_chosen_province_without_a_figure_has_no_ring_there() -> None:
    absent = member(rata_lama_sekolah=None)
    other = member().model_copy(update={"entity": "P35", "name": "Jawa Timur"})
    with_ring = charts.strips_figure(model(), clusters(other), "P35", LIGHT, EN)
    without = charts.strips_figure(model(), clusters(absent, other), "P11", LIGHT, EN)
    rings = [sum(each.marker.symbol == "circle-open" for each in figure.data) for figure in (with_ring, without)]
    assert rings == [2, 1]


def test_no_tile_is_framed_where_nobody_is_chosen() -> None:
    assert not charts.tiles_figure(model(), clusters(member()), None, LIGHT, EN).layout.shapes


def test_a_model_without_kept_rows_and_features_tells_the_rest() -> None:
    assert provenance._left_out(model(), EN) == ""
    assert EN("about.version", version="v3") in provenance._versions(model(), EN)


def test_an_answer_outside_what_was_learnt_is_marked() -> None:
    found = Prediction(cluster=1, cluster_label="Middle", distance_to_center=0.1, model_version="v3")
    assert scenario._outside(model(), found, EN) == ""
    odd = found.model_copy(update={"out_of_training_range": ("rata_lama_sekolah",)})
    assert "Years at school" in scenario._outside(model(), odd, EN)


def test_figures_that_the_api_refuses_are_told_beside_the_sliders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenario, "_ask", lambda *_: None)
    assert 'role="alert"' in scenario._answer(model(), member(), {}, EN)


@pytest.mark.parametrize(
    ("data", "entity"), [(["P11", 1], "P11"), ({"0": "P35"}, "P35"), ("P12", "P12"), (None, None), ([], None)]
)
def test_a_click_chooses_whatever_form_the_chart_gives_it(
    monkeypatch: pytest.MonkeyPatch, data: Any, entity: str | None
) -> None:
    points = [{"customdata": data}] if data != [] else []
    session: dict[str, Any] = {"map_0": {"selection": {"points": points}}}
    monkeypatch.setattr(choice.st, "session_state", session)
    choice.clicked("map", "map_0")
    assert session.get(choice.KEY) == entity
    assert choice.chart_key("map", "elsewhere") == ("map_1" if entity else "map_0"), "its own click would be kept"
    assert choice.chart_key("map", "elsewhere") == ("map_1" if entity else "map_0")


def test_a_part_that_chose_another_province_has_the_page_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[bool] = []
    monkeypatch.setattr(choice.st, "rerun", lambda: drawn.append(True))
    session: dict[str, Any] = {choice.KEY: "P11", choice._SHOWN: "P11"}
    monkeypatch.setattr(choice.st, "session_state", session)
    choice.follow()
    assert drawn == []
    session[choice.KEY] = "P35"
    choice.follow()
    assert drawn == [True]


@pytest.mark.parametrize(("rows", "chosen"), [([0], "P11"), ([7], None), ([], None)])
def test_a_row_that_is_gone_chooses_nobody(
    monkeypatch: pytest.MonkeyPatch, rows: list[int], chosen: str | None
) -> None:
    session: dict[str, Any] = {"figures": {"selection": {"rows": rows}}}
    monkeypatch.setattr(choice.st, "session_state", session)
    figures._picked([member()], "figures")
    assert session.get(choice.KEY) == chosen


@pytest.mark.parametrize(
    ("seconds", "said"), [(3 * 86_400, "3 days"), (7200, "2 hours"), (150, "2 minutes"), (45, "45")]
)
def test_a_span_is_told_in_its_greatest_unit(seconds: float, said: str) -> None:
    assert said in monitoring._span(seconds, EN)


def test_a_service_that_nobody_asked_yet_is_told(told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen = SimpleNamespace(
        period=SimpleNamespace(since="2026-11-20T06:12:00Z", until="2026-11-20T06:13:00Z", seconds=60),
        steps=(), latency={}, errors=(), predictions=(),
    )  # fmt: skip
    drawn: list[Any] = []
    monkeypatch.setattr(monitoring.st, "plotly_chart", lambda *given, **_: drawn.append(given))
    monitoring._period(seen, EN)  # type: ignore[arg-type]
    assert drawn == []
    assert EN("watch.nobody_asked").replace("'", "&#x27;") in told[-1]
    assert EN("watch.no_errors") in told[-1]


@pytest.mark.parametrize(("decided", "key"), [({"a": None}, "more.not_now"), ({"a": ()}, "decided.none")])
def test_trainings_that_are_unknown_are_told_apart_from_none(told: list[str], decided: Any, key: str) -> None:
    monitoring._retrains(decided, {}, EN)
    assert EN(key).replace("'", "&#x27;") in told[-1]


def test_areas_of_every_form_are_joined_and_points_are_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    areas = _areas()
    first, second, third = areas["features"][:3]
    first["geometry"] = {"type": "GeometryCollection", "geometries": [first["geometry"], {"type": "Point"}]}
    second["geometry"] = {"type": "Point", "coordinates": [100, 1]}
    codes = [f"P{each['properties']['kode']}" for each in areas["features"]]
    third["properties"]["kode"] = 99
    _set(monkeypatch, tmp_path, areas)
    found = boundaries.configured(codes)
    assert found is not None
    assert set(found.rings) == {codes[0], *codes[3:]}


def test_a_file_that_is_too_large_is_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(boundaries, "MOST_BYTES", 100)
    _set(monkeypatch, tmp_path, _areas())
    with pytest.raises(BoundariesError, match="at most 100 are read") as refused:
        boundaries.configured(["P11"])
    assert refused.value.reason == "large"
