"""All members with their figures: to sort, search and download."""

from __future__ import annotations

from html import escape
from typing import Any

import pandas as pd
import streamlit as st

from frontend import charts, parts
from frontend.api import Clusters, Model
from frontend.palette import glyphs, ink_on, level_colors
from frontend.words import Words


def table(model: Model, clusters: Clusters, words: Words) -> pd.DataFrame:
    """A row a member: name, level's rank, capital, every figure in its unit, distance in standard deviations."""
    # What decides the level stands beside it.
    ordered = sorted(model.features, key=lambda f: f.name not in model.features_used)
    rows = [
        {
            words("table.name"): m.name,
            words("table.level"): m.cluster,
            **{charts.axis_title(f, words): m.features.get(f.name) for f in ordered},
            words("table.distance"): m.distance,
            words("table.capital"): m.place.ibukota,
        }
        for m in sorted(clusters.members, key=lambda m: (m.cluster, m.name))
    ]
    numbers = [charts.axis_title(f, words) for f in model.features]
    return pd.DataFrame(rows).astype(dict.fromkeys(numbers, float))


def as_csv(model: Model, shown: pd.DataFrame, words: Words) -> bytes:
    """The table as a spreadsheet in the reader's language opens it: separator and decimal mark as usual there."""
    named = shown.assign(
        **{words("table.level"): [model.levels[rank].label(words.language) for rank in shown[words("table.level")]]}
    )
    comma = words.language == "id"
    text = named.round(6).to_csv(index=False, sep=";" if comma else ",", decimal="," if comma else ".")
    return text.encode("utf-8-sig")


@st.fragment
def show(model: Model, clusters: Clusters, words: Words) -> None:
    """Draws the table with its search and download."""
    everything = table(model, clusters, words)
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        asked = st.text_input(
            words("table.search"),
            key="search",
            icon=":material/search:",
            placeholder=words("table.search"),
            label_visibility="collapsed",
            width=320,
        )
        found = everything[everything[words("table.name")].str.contains(asked.strip(), case=False, regex=False)]
        st.download_button(
            words("table.download"),
            as_csv(model, found, words),
            words("table.file", model=model.name, version=model.model_version),
            "text/csv",
            icon=":material/download:",
            on_click="ignore",
            disabled=found.empty,
        )
    if found.empty:
        st.info(words("table.nothing"))
        return
    st.dataframe(_styled(model, found, words), hide_index=True, height="content" if len(found) < 14 else 520)
    parts.html(
        f'<p class="sg-small">{escape(words("table.count", shown=len(found), total=len(everything)))}</p>'
        + "".join(
            f'<p class="sg-small">{escape(words("table.not_assessed"))}: {escape(m.name)}. '
            f"{escape(words.sentence(m.reason(words.language)))}</p>"
            for m in clusters.not_assessed
        )
    )


def _styled(model: Model, shown: pd.DataFrame, words: Words) -> object:
    colors, marks = level_colors(len(model.levels)), glyphs(len(model.levels))
    level = words("table.level")

    def name(rank: Any) -> str:
        return f"{marks[rank]} {model.levels[rank].label(words.language)}"

    def color(rank: Any) -> str:
        return f"background-color: {colors[rank]}; color: {ink_on(colors[rank])}"

    numbers = [charts.axis_title(f, words) for f in model.features] + [words("table.distance")]
    formats: dict[Any, Any] = {
        level: name,
        **dict.fromkeys(numbers, lambda v: words.number(None if pd.isna(v) else float(v), 2)),
    }
    return shown.style.format(formats).map(color, subset=[level])
