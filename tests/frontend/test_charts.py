"""What the education page's charts draw, read from the figures themselves."""

from __future__ import annotations

import pytest

from frontend import charts
from frontend.api import Clusters, Model, NotAssessed
from frontend.boundaries import Boundaries
from frontend.charts.radar import Shape
from frontend.palette import LIGHT, level_colors
from frontend.views.movement import comparisons
from frontend.words import Words
from tests.frontend.standin import RISEN, answers, story

WORDS = Words("en")


@pytest.fixture
def model() -> Model:
    return Model.model_validate(answers()["model"])


@pytest.fixture
def clusters() -> Clusters:
    return Clusters.model_validate(answers()["clusters"])


@pytest.fixture
def incomplete(clusters: Clusters) -> Clusters:
    """The provinces without the last one's figures."""
    *members, last = clusters.members
    reason = {"id": "Belum ada angka", "en": "No figures yet"}
    absent = NotAssessed.model_validate(
        {"entity": last.entity, "name": last.name, "place": last.place.model_dump(), "reason": reason}
    )
    return clusters.model_copy(update={"members": tuple(members), "not_assessed": (absent,)})


def test_every_area_has_its_levels_colour(model: Model, clusters: Clusters) -> None:
    square = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 0.0))
    rings = {member.entity: (square,) for member in clusters.members}
    inside = {member.entity: ((0.5, 0.5),) for member in clusters.members}
    figure = charts.regions_figure(model, clusters, "P35", Boundaries(rings, inside, ""), LIGHT, WORDS)
    colors = {trace.name: trace.fillcolor for trace in figure.data if str(trace.name).startswith("area")}
    expected = {f"area {m.entity}": level_colors(3)[m.cluster] for m in clusters.members}
    assert colors == expected


def test_who_is_not_assessed_is_on_every_map_and_says_why(model: Model, incomplete: Clusters) -> None:
    for figure in (
        charts.map_figure(model, incomplete, "P35", LIGHT, WORDS),
        charts.regions_figure(model, incomplete, "P35", Boundaries({}, {}, ""), LIGHT, WORDS),
        charts.tiles_figure(model, incomplete, "P35", LIGHT, WORDS),
    ):
        told = [str(text) for trace in figure.data for text in [*(trace.text or ()), *(trace.hovertext or ())]]
        assert sum("No figures yet" in text for text in told) == 1
        assert sum(len(trace.customdata or ()) for trace in figure.data) == 37


def test_bands_add_up_to_the_provinces_and_breaks_stand_apart(model: Model) -> None:
    clusters = Clusters.model_validate(story())
    compared = comparisons(clusters, WORDS)["model"]
    figure = charts.flows_figure(model.levels, compared.moves, compared.ends, LIGHT, WORDS)
    link = figure.data[0].link
    assert sum(link.value) == 38
    told = list(link.customdata)
    assert [text for text in told if "Riau" in text and "Middle Readiness → ▲ High" in text]
    assert all(RISEN not in text for text in told)
    broken = [text for text in told if "not comparable" in text]
    assert "Papua Barat" in " ".join(broken)
    assert len(broken) == 2


def test_the_radar_tells_figures_with_their_units(model: Model, clusters: Clusters) -> None:
    member = next(m for m in clusters.members if m.entity == "P35")
    shapes = [Shape(member.name, "#112233", member.features, filled=True)]
    figure = charts.radar_figure(model.used, shapes, clusters, LIGHT, WORDS)
    (trace,) = figure.data
    assert all(0 <= value <= 100 for value in trace.r)
    assert "8.28</b> years" in trace.text[0]
    assert "13.8</b> pupils" in " ".join(trace.text)
