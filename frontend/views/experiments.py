"""Experiments and lineage: what a run tried, how it compares with another, and where answers come from."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import plotly.graph_objects as go
import streamlit as st

from frontend import axes, catalogue, charts, parts, runs, scores, sweeps
from frontend.catalogue import Detail, Entry
from frontend.runs import Run, Runs, Tried
from frontend.views import card, compare, judged, origin, profile
from frontend.views.run_choice import duration, pick, run_title, verdict
from frontend.words import Words

TABS = ("sweep", "compare", "origin", "decisions", "data", "card")
# Axes that are shown unless the reader asks for others: more would not fit on a phone.
AXES, SQUARES = 5, 3


def show(words: Words) -> None:
    """Draws the page.

    Raises:
        ApiDownError: The API can't be reached.
    """
    parts.html(
        f'<section class="sg-hero"><p class="sg-eyebrow">{escape(words("nav.experiments"))}</p>'
        f"<h1>{escape(words('runs.head'))}</h1>"
        f'<p class="sg-question">{escape(words("runs.lead"))}</p></section>'
    )
    entries = {entry.name: entry for entry in catalogue.entries()}
    left, right = st.columns([4, 8], gap="medium")
    with left:
        name = _model(entries, words)
    model, found = catalogue.detail(name), runs.runs(name)
    if found is None or not found.runs:
        key = "runs.away" if found is None else "runs.none"
        code = f"./run pipeline {name}" if found is not None else ""
        parts.html(parts.calm(words(f"{key}_title"), words(f"{key}_text"), "", code=code))
        return
    with right:
        chosen = _run(found, words)
    parts.html(_facts(chosen, found, model, words))
    _ways(chosen, found, words)
    _told(_tab(words), chosen, found, model, words)


def _model(entries: Mapping[str, Entry], words: Words) -> str:
    titles = {name: entry.title(words.language) for name, entry in entries.items()}
    return pick("runs_model", titles, words("runs.model"), "model", next(iter(entries)))


def _run(found: Runs, words: Words) -> Run:
    known = {run.run_id: run for run in found.runs}
    options = {run_id: run_title(run, words) for run_id, run in known.items()}
    # The newest that came to an end: what still goes on has nothing to show.
    ended = next((run for run in found.runs if run.outcome in ("promoted", "refused")), found.runs[0])
    asked = st.session_state.get("runs_run")
    if asked not in known:
        # Of another model.
        st.session_state.pop("runs_run", None)
    return known[pick("runs_run", options, words("runs.run"), "run", ended.run_id)]


def _facts(run: Run, found: Runs, model: Detail, words: Words) -> str:
    score = scores.score(found.metric, run.score, model, words, run.spread)
    beside = scores.score(found.metric, run.baseline, model, words)
    facts = [
        (words("runs.outcome"), verdict(run, words), ""),
        (scores.name(found.metric, words), score, words("score.less" if found.less_is_better else "score.more")),
    ]
    if run.baseline is not None:
        key = "runs.chance" if model.task == "clustering" else "metrics.baseline"
        facts.append((words(key), beside, ""))
    facts += [
        (words("lineage.data"), run.data_version, run.data_md5),
        (words("lineage.code"), runs.short(run.git_commit), run.git_commit),
    ]
    if run.seconds is not None:
        facts.append((words("runs.took"), duration(run.seconds, words), ""))
    told, language = run.told(words.language)
    own = f'<p class="sg-quote" lang="{language}">{escape(told)}</p>' if told else ""
    return parts.facts(facts) + own


def _ways(run: Run, found: Runs, words: Words) -> None:
    """Links into the tools behind, where a reader's browser reaches them."""
    ways = [("runs.to_mlflow", run.page), ("runs.to_mage", found.pages.mage)]
    if not any(address for _, address in ways):
        return
    with st.container(horizontal=True, gap="small"):
        for key, address in ways:
            if address:
                st.link_button(words(key), address, icon=":material/open_in_new:")


def _tab(words: Words) -> str:
    asked = st.session_state.get("runs_tab") or st.query_params.get("tab") or st.session_state.get("kept_runs_tab")
    chosen = asked if asked in TABS else TABS[0]
    st.session_state["runs_tab"] = st.session_state["kept_runs_tab"] = chosen
    st.query_params["tab"] = chosen
    picked = st.segmented_control(
        words("runs.part"),
        list(TABS),
        format_func=lambda tab: words(f"runs.tab_{tab}"),
        key="runs_tab",
        required=True,
        label_visibility="collapsed",
    )
    return str(picked or chosen)


def _told(tab: str, run: Run, found: Runs, model: Detail, words: Words) -> None:
    if tab == "decisions":
        judged.show(model, words)
    elif tab == "origin":
        origin.show(model, run, words)
    elif tab == "card":
        _card(model, run, words)
    elif tab == "data":
        profile.show(model, run, words)
    else:
        with st.spinner(words("runs.loading")):
            tried = runs.run(model.name, run.run_id)
        if tried is None:
            parts.html(f"<p>{escape(words('more.not_now'))}</p>")
        elif tab == "compare":
            compare.show(tried, found, model, words)
        else:
            _sweep(tried, model, words)


def _sweep(run: Tried, model: Detail, words: Words) -> None:
    if not run.candidates:
        parts.html(f"<p>{escape(words('runs.no_candidates'))}</p>")
        return
    surface = parts.surface()
    parts.html(f'<p class="sg-small">{_legend(words)}</p>')
    if any(each.clusters for each in run.candidates):
        for column, (metric, key) in zip(
            st.columns(2, gap="large"), (("inertia", "elbow"), ("silhouette", "silhouette")), strict=True
        ):
            with column:
                _titled(key, words)
                _chart(sweeps.over_k(run, metric, surface, words), f"runs_{key}", words(f"runs.{key}_alt"))
    else:
        _titled("ranked", words)
        figure = sweeps.ranked(run, scores.unit(run.metric, model, words), surface, words)
        _chart(figure, "runs_ranked", words("tried.alt"))
    _refused(run, words)
    if len(run.candidates) > 1:
        _axes(run, words)


def _titled(key: str, words: Words) -> None:
    parts.html(
        f'<h2 class="sg-title" style="margin-top:1rem">{escape(words(f"runs.{key}"))}</h2>'
        f'<p class="sg-small">{escape(words(f"runs.{key}_text"))}</p>'
    )


def _legend(words: Words) -> str:
    marks = (("◆", "chosen"), ("●", "open"), ("✕", "refused"))
    return " · ".join(f"{glyph} {escape(words(f'runs.{state}'))}" for glyph, state in marks)


def _refused(run: Tried, words: Words) -> None:
    refused = [(each, each.reason) for each in run.candidates if each.reason is not None]
    if not refused:
        return
    lines = "".join(
        f"<li><b>{escape(sweeps.title(each, words))}</b><span>{escape(reason(words.language))}</span></li>"
        for each, reason in refused
    )
    parts.html(
        f"<details><summary>{escape(words('tried.refused', count=len(refused)))}</summary>"
        f'<ul class="sg-list">{lines}</ul></details>'
    )


@st.fragment
def _axes(run: Tried, words: Words) -> None:
    """Lines through, and squares of, what the candidates differ in."""
    known = {axis.key: axis for axis in axes.axes(run, words)}
    if len(known) < 2:
        return
    _titled("parallel", words)
    surface = parts.surface()
    # On a phone the chart is swiped within this frame; what chooses its axes stays in sight.
    with st.container(key="runs_wide"):
        picked = st.multiselect(
            words("runs.axes"),
            list(known),
            default=axes.telling(list(known.values()), AXES),
            format_func=lambda key: known[key].title,
            key=f"runs_axes_{run.run_id}",
            placeholder=words("runs.axes_hint"),
        )
        shown = [known[key] for key in picked]
        if len(shown) > 1:
            parts.swipe(words)
            _chart(sweeps.parallel(run, shown, surface, words), "runs_parallel", words("runs.parallel_alt"))
    if len(shown) < 2:
        parts.html(f"<p>{escape(words('runs.two_axes'))}</p>")
        return
    numbers = axes.squares(list(known.values()), shown, SQUARES)
    if len(numbers) > 1:
        _titled("matrix", words)
        _chart(sweeps.matrix(run, numbers, surface, words), "runs_matrix", words("runs.matrix_alt"))


def _chart(figure: go.Figure, key: str, alt: str) -> None:
    st.plotly_chart(figure, key=key, theme=None, config=charts.NO_BAR, alt=alt)


def _card(model: Detail, run: Run, words: Words) -> None:
    if not run.model_version:
        parts.html(f"<p>{escape(words('runs.no_version'))}</p>")
        return
    card.show(model.name, run.model_version, runs.card(model.name, run.model_version), words)
