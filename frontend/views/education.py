"""Education: which provinces are ready, and what holds the others back."""

from __future__ import annotations

import logging
from html import escape

import streamlit as st

from frontend import address, api, boundaries, catalogue, charts, parts
from frontend.api import Clusters, Member, Model
from frontend.boundaries import Boundaries, BoundariesError
from frontend.charts.tiles import has_tiles
from frontend.views import choice, figures, movement, provenance, scatter, scenario, standing
from frontend.words import Words
from sigap.settings import get_settings

log = logging.getLogger("sigap.dashboard")

MODEL = "education"
TABS = ("compare", "beside", "moved", "try", "figures", "about")


def show(words: Words) -> None:
    """Draws the page.

    Raises:
        ApiDownError: The API can't be reached.
    """
    model = api.model(MODEL, catalogue.pulse())
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
    member = choice.chosen(model, {each.entity: each for each in clusters.members})
    parts.html(parts.hero(model, clusters, member.entity, words))
    if news := movement.news(clusters, words):
        parts.html(f'<p class="edu-headline">{escape(news)}</p>')
    _where(model, clusters, member, words)
    _one_province(model, clusters, member, words)
    _more(model, clusters, member, words)
    choice.bring_into_view(member, words)


def _where(model: Model, clusters: Clusters, member: Member, words: Words) -> None:
    areas, problem = _areas(clusters)
    views = [*(["regions"] if areas else []), "map", *(["tiles"] if has_tiles(clusters) else [])]
    view = address.kept("view", views, views[0])
    names = {m.entity: m.name for m in sorted(clusters.members, key=lambda m: m.name)}
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        if len(views) > 1:
            st.segmented_control(
                words("view.label"),
                views,
                format_func=lambda v: words(f"edu.view.{v}"),
                key="view",
                required=True,
                label_visibility="collapsed",
            )
        st.selectbox(
            words("pick.label"),
            list(names),
            format_func=names.__getitem__,
            key=choice.KEY,
            label_visibility="collapsed",
            width=300,
        )
    if problem:
        parts.html(f'<p class="sg-small" role="status">{escape(words(f"edu.areas.{problem}"))}</p>')
    _drawn(view, model, clusters, member, areas, words)
    parts.html(f'<p class="sg-small">{escape(_note(view, clusters, areas, words))}</p>')


def _drawn(view: str, model: Model, clusters: Clusters, member: Member, areas: Boundaries | None, words: Words) -> None:
    surface = parts.surface()
    if view == "regions" and areas:
        figure = charts.regions_figure(model, clusters, member.entity, areas, surface, words)
    elif view == "tiles":
        figure = charts.tiles_figure(model, clusters, member.entity, surface, words)
    else:
        figure = charts.map_figure(model, clusters, member.entity, surface, words)
    key = choice.chart_key(view, member.entity)
    parts.swipe(words)
    with st.container(key="tiles_frame" if view == "tiles" else "map_frame"):
        st.plotly_chart(
            figure,
            height="stretch",
            key=key,
            theme=None,
            on_select=lambda: choice.clicked(view, key),
            selection_mode="points",
            config=charts.NO_BAR if view == "tiles" else charts.MAP_BAR,
            alt=words(f"edu.alt.{view}"),
        )


def _areas(clusters: Clusters) -> tuple[Boundaries | None, str]:
    """The provinces' areas, and why there are none although a file is set."""
    entities = [each.entity for each in clusters.members] + [each.entity for each in clusters.not_assessed]
    try:
        return boundaries.configured(entities), ""
    except BoundariesError as error:
        log.warning("%s", error)
        return None, error.reason


def _note(view: str, clusters: Clusters, areas: Boundaries | None, words: Words) -> str:
    if view == "tiles":
        return f"{words('map.hint')} {words('tiles.note')}"
    if view == "map" or areas is None:
        return f"{words('map.hint')} {words('map.note')}"
    absent = [m.name for m in clusters.members if m.entity not in areas.rings]
    without = " " + words("edu.areas.absent", names=", ".join(absent)) if absent else ""
    source = areas.attribution or words("edu.areas.unnamed")
    return f"{words('map.hint')} {words('edu.areas.source', source=source)}{without}"


def _one_province(model: Model, clusters: Clusters, member: Member, words: Words) -> None:
    left, right = st.columns([5, 6], gap="large")
    with left, st.container(key="one_province"):
        news = movement.told(model, clusters, member, words)
        # For those who hear the page: the panel's own heading is one of third rank.
        heading = f'<h2 class="sg-unseen">{escape(words("pick.label"))}</h2>'
        parts.html(heading + parts.panel(model, clusters, member, words, news))
    with right:
        parts.html(
            f'<h2 class="sg-title">{escape(words("strips.title"))}</h2>'
            f'<p class="sg-small">{escape(words("strips.note", name=member.name))}</p>'
        )
        key = choice.chart_key("strips", member.entity)
        st.plotly_chart(
            charts.strips_figure(model, clusters, member.entity, parts.surface(), words),
            key=key,
            theme=None,
            on_select=lambda: choice.clicked("strips", key),
            selection_mode="points",
            config=charts.NO_BAR,
            alt=words("strips.alt"),
        )


@st.fragment
def _more(model: Model, clusters: Clusters, member: Member, words: Words) -> None:
    """The tabs; only the open one is drawn."""
    choice.follow()
    names = {words(f"edu.tab.{name}"): name for name in TABS}
    titles = {name: title for title, name in names.items()}
    before = st.session_state.get("kept_tab") or st.query_params.get("tab")
    key = f"tab_{words.language}"
    if key not in st.session_state:
        # Another default in a later run would make the page open that one, whatever was clicked.
        st.session_state["first_tab"] = titles.get(str(before), titles[TABS[0]])
    opened = st.tabs(list(names), default=st.session_state["first_tab"], key=key, on_change="rerun")
    for tab, name in zip(opened, TABS, strict=True):
        if not tab.open:
            continue
        st.session_state["kept_tab"] = name
        address.tell("tab", name, default=TABS[0])
        with tab:
            _tab(name, model, clusters, member, words)


def _tab(name: str, model: Model, clusters: Clusters, member: Member, words: Words) -> None:
    if name == "compare":
        scatter.show(model, clusters, member, words)
    elif name == "beside":
        standing.show(model, clusters, member, words)
    elif name == "moved":
        movement.show(model, clusters, words)
    elif name == "figures":
        figures.show(model, clusters, member, words)
    elif name == "try":
        scenario.show(model, member, words)
    else:
        provenance.show(model, words, get_settings().api_address)
