"""Education: which provinces are ready, and what holds the others back."""

from __future__ import annotations

from html import escape

import streamlit as st

from frontend import api, charts, parts
from frontend.api import Clusters, Member, Model
from frontend.views import figures, form, movement, provenance
from frontend.words import Words
from sigap.settings import get_settings

MODEL = "education"


def show(words: Words) -> None:
    """Draws the page.

    Raises:
        ApiDownError: The API can't be reached.
    """
    model = api.model(MODEL)
    if not model.served:
        parts.html(
            parts.calm(
                words("state.empty.title"),
                words("state.empty.text"),
                words("state.empty.remedy"),
                code=f"./run pipeline {MODEL}",
            )
        )
        return
    clusters = api.clusters(MODEL, model.model_version or "")
    members = {member.entity: member for member in clusters.members}
    chosen = _chosen(model, members)
    parts.html(parts.hero(model, clusters, chosen, words))
    _where(model, clusters, chosen, words)
    selected = members[str(st.session_state["province"])]
    _one_province(model, clusters, selected, words)
    _more(model, clusters, selected, words)


def _chosen(model: Model, members: dict[str, Member]) -> str:
    """The province in the session, else in the address, else the one of the model's example."""
    # A page change drops what its widgets held; the copy brings the reader back to where he was.
    asked = st.session_state.get("province") or st.query_params.get("province") or st.session_state.get("kept")
    if asked not in members:
        example = [str(model.example.get(column.name)) for column in model.request_columns]
        asked = next((entity for entity in example if entity in members), next(iter(members)))
    st.session_state["province"] = st.session_state["kept"] = asked
    st.query_params["province"] = asked
    return str(asked)


def _clicked() -> None:
    points = st.session_state["map"]["selection"]["points"]
    if points and points[0].get("customdata"):
        st.session_state["province"] = points[0]["customdata"][0]


def _where(model: Model, clusters: Clusters, chosen: str, words: Words) -> None:
    names = {m.entity: m.name for m in sorted(clusters.members, key=lambda m: m.name)}
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        view = "map"
        if parts.has_tiles(clusters):
            view = st.segmented_control(
                words("view.label"),
                ["map", "tiles"],
                format_func=lambda v: words(f"view.{v}"),
                default="map",
                key="view",
                required=True,
                label_visibility="collapsed",
            )
        st.selectbox(
            words("pick.label"),
            list(names),
            format_func=names.__getitem__,
            key="province",
            label_visibility="collapsed",
            width=300,
        )
    if view == "tiles":
        parts.html(parts.tiles(model, clusters, chosen, words))
        parts.html(f'<p class="sg-small">{escape(words("tiles.note"))}</p>')
        return
    with st.container(key="map_frame"):
        st.plotly_chart(
            charts.map_figure(model, clusters, chosen, parts.surface(), words),
            height="stretch",
            key="map",
            theme=None,
            on_select=_clicked,
            selection_mode="points",
            config=charts.MAP_BAR,
            alt=words("map.alt"),
        )
    parts.html(f'<p class="sg-small">{escape(words("map.hint"))} {escape(words("map.note"))}</p>')


def _one_province(model: Model, clusters: Clusters, selected: Member, words: Words) -> None:
    left, right = st.columns([5, 6], gap="large")
    with left:
        parts.html(parts.panel(model, clusters, selected, words))
    with right:
        parts.html(
            f'<h2 class="sg-title">{escape(words("strips.title"))}</h2>'
            f'<p class="sg-small">{escape(words("strips.note", name=selected.name))}</p>'
        )
        st.plotly_chart(
            charts.strips_figure(model, clusters, selected.entity, parts.surface(), words),
            key="strips",
            theme=None,
            config=charts.NO_BAR,
            alt=words("strips.alt"),
        )


def _more(model: Model, clusters: Clusters, selected: Member, words: Words) -> None:
    names = ("compare", "moved", "figures", "try", "about")
    compare, moved, table, attempt, about = st.tabs([words(f"tab.{name}") for name in names])
    with compare:
        _compare(model, clusters, selected, words)
    with moved:
        movement.show(model, clusters, words)
    with table:
        figures.show(model, clusters, words)
    with attempt:
        form.show(model, clusters, selected, words)
    with about:
        provenance.show(model, words, get_settings().api_address)


@st.fragment
def _compare(model: Model, clusters: Clusters, selected: Member, words: Words) -> None:
    titles = {f.name: charts.axis_title(f, words) for f in model.features}
    used = [f.name for f in model.used]
    start = [*used, *titles][:2]
    left, right = st.columns(2)
    x = left.selectbox(
        words("compare.horizontal"), list(titles), list(titles).index(start[0]), titles.__getitem__, key="axis_x"
    )
    y = right.selectbox(
        words("compare.vertical"), list(titles), list(titles).index(start[1]), titles.__getitem__, key="axis_y"
    )
    if x == y:
        st.info(words("compare.same"))
        return
    axes = {feature.name: feature for feature in model.features}
    st.plotly_chart(
        charts.scatter_figure(model, clusters, (axes[x], axes[y]), selected.entity, parts.surface(), words),
        key="scatter",
        theme=None,
        config=charts.NO_BAR,
        alt=words("compare.alt"),
    )
    absent = sum(m.features.get(x) is None or m.features.get(y) is None for m in clusters.members)
    note = words("compare.note") + (" " + words("compare.incomplete", count=absent) if absent else "")
    parts.html(f'<p class="sg-small">{escape(note)}</p>')
