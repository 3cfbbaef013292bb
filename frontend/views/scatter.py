"""Two features against each other, with the centres of the levels."""

from __future__ import annotations

from html import escape

import streamlit as st

from frontend import address, charts, parts
from frontend.api import Clusters, Member, Model
from frontend.views import choice
from frontend.words import Words


def show(model: Model, clusters: Clusters, member: Member, words: Words) -> None:
    """Draws the choice of axes and the scatter."""
    titles = {f.name: charts.axis_title(f, words) for f in model.features}
    start = [*(f.name for f in model.used), *titles]
    other = next(name for name in start if name != start[0])
    x = address.kept("x", titles, start[0])
    y = address.kept("y", titles, other)
    left, right = st.columns(2)
    left.selectbox(words("compare.horizontal"), list(titles), format_func=titles.__getitem__, key="x")
    right.selectbox(words("compare.vertical"), list(titles), format_func=titles.__getitem__, key="y")
    if x == y:
        st.info(words("compare.same"))
        return
    axes = {feature.name: feature for feature in model.features}
    key = choice.chart_key("scatter", member.entity)
    st.plotly_chart(
        charts.scatter_figure(model, clusters, (axes[x], axes[y]), member.entity, parts.surface(), words),
        key=key,
        theme=None,
        on_select=lambda: choice.clicked("scatter", key),
        selection_mode="points",
        config=charts.NO_BAR,
        alt=words("compare.alt"),
    )
    absent = sum(m.features.get(x) is None or m.features.get(y) is None for m in clusters.members)
    centers = {x, y} <= set(model.features_used)
    note = words("compare.note") if centers else words("edu.compare.no_centers")
    note += " " + words("compare.incomplete", count=absent) if absent else ""
    parts.html(f'<p class="sg-small">{escape(words("edu.compare.click"))} {escape(note)}</p>')
