"""All members with their figures: to sort, search and download."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import pandas as pd
import streamlit as st

from frontend import charts, parts
from frontend.api import Clusters, Member, Model
from frontend.palette import glyphs, ink_on, level_colors
from frontend.views import choice
from frontend.words import Words

# As the education table calls them, so that the file can go into it again.
KEY = ("provinsi_id", "provinsi", "tahun")


def _ordered(clusters: Clusters) -> list[Member]:
    return sorted(clusters.members, key=lambda m: (m.cluster, m.name))


def table(model: Model, shown: Sequence[Member], words: Words) -> pd.DataFrame:
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
        for m in shown
    ]
    numbers = [charts.axis_title(f, words) for f in model.features]
    return pd.DataFrame(rows).astype(dict.fromkeys(numbers, float))


def as_csv(model: Model, shown: Sequence[Member]) -> bytes:
    """The members for another program: declared names, commas, decimal points, UTF-8 with the mark that Excel needs.

    A figure stands under its declared name only if it is of the row's own year. One that is carried forward stands
    beside it, with its year: taken in again, it must not become a figure of a year that it is not of.
    """
    names = [f.name for f in model.features]
    rows = [
        {
            **dict(zip(KEY, (m.entity, m.name, m.period), strict=True)),
            "cluster": m.cluster,
            "level_id": model.levels[m.cluster].label.id,
            "level_en": model.levels[m.cluster].label.en,
            **{name: None if _carried(m, name) else m.features.get(name) for name in names},
            **{f"{name}_carried": m.features.get(name) if _carried(m, name) else None for name in names},
            **{f"{name}_carried_from": m.figure_period.get(name) if _carried(m, name) else None for name in names},
            "distance_to_center": m.distance,
            "ibukota": m.place.ibukota,
            "lat": m.place.lat,
            "lon": m.place.lon,
            "model_version": model.model_version,
            "data_version": model.data.version if model.data else "",
        }
        for m in shown
    ]
    kinds: dict[str, str] = {f"{name}_carried_from": "Int64" for name in names}
    kinds |= {each: "float" for name in names for each in (name, f"{name}_carried")}
    frame = pd.DataFrame(rows).astype(kinds if rows else {})
    # What nobody needed to carry forward has no columns of its own.
    carried = [each for each in frame if "_carried" in str(each)]
    frame = frame.drop(columns=[each for each in carried if frame[each].isna().all()])
    return frame.to_csv(index=False, lineterminator="\r\n").encode("utf-8-sig")


def _carried(member: Member, name: str) -> bool:
    """Whether the figure is of an earlier year than the row."""
    year = member.figure_period.get(name)
    return year is not None and year != member.period


def _picked(shown: Sequence[Member], key: str) -> None:
    rows = st.session_state[key]["selection"]["rows"]
    if rows and rows[0] < len(shown):
        choice.choose(shown[rows[0]].entity)


def show(model: Model, clusters: Clusters, member: Member, words: Words) -> None:
    """Draws the table with its search and download."""
    everyone = _ordered(clusters)
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        asked = st.text_input(
            words("table.search"),
            key="search",
            icon=":material/search:",
            placeholder=words("table.search"),
            label_visibility="collapsed",
            width=320,
        )
        found = [m for m in everyone if asked.strip().casefold() in m.name.casefold()]
        st.download_button(
            words("table.download"),
            as_csv(model, found),
            words("table.file", model=model.name, version=model.model_version),
            "text/csv",
            icon=":material/download:",
            on_click="ignore",
            disabled=not found,
        )
    if not found:
        st.info(words("table.nothing"))
        return
    # A row keeps its tick by its place, so what is found has a key of its own.
    key = f"table_{member.entity}_{asked.strip().casefold()}"
    st.dataframe(
        _styled(model, table(model, found, words), words),
        hide_index=True,
        height="content" if len(found) < 14 else 520,
        key=key,
        on_select=lambda: _picked(found, key),
        selection_mode="single-row",
        selection_default={"selection": {"rows": [n for n, m in enumerate(found) if m.entity == member.entity]}},
        placeholder=words("detail.unpublished"),
        alt=words("edu.table.alt"),
    )
    count = words("table.count", shown=len(found), total=len(everyone))
    parts.html(
        f'<p class="sg-small">{escape(words("edu.table.hint"))} {escape(count)}</p>'
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
