"""The form that asks the model: built from the declaration that the API tells."""

from __future__ import annotations

from html import escape
from typing import Any

import streamlit as st

from frontend import api, parts
from frontend.api import ApiDownError, Clusters, Feature, Member, Model, Prediction, RejectedError
from frontend.words import Words

EXAMPLE = "example"


def check(feature: Feature, text: str, words: Words, *, needed: bool) -> tuple[float | None, str]:
    """The number in a field, and what is wrong with it (empty when nothing is)."""
    try:
        value = words.parse(text)
    except ValueError:
        return None, words("try.error.number", example=words.number(feature.middle))
    if value is None:
        return None, words("try.error.empty") if needed else ""
    low, high = feature.minimum, feature.maximum
    if (low is not None and value < low) or (high is not None and value > high):
        limits = {"minimum": words.number(low, 0), "maximum": words.number(high, 0)}
        return value, words("try.error.range", unit=feature.unit(words.language), **limits)
    return value, ""


def _key(feature: Feature) -> str:
    return f"try_{feature.name}"


def _fill(model: Model, source: dict[str, Any], words: Words) -> None:
    for feature in model.features:
        value = source.get(feature.name)
        # Two languages write a number differently: what the field holds is text in the reader's own.
        st.session_state[_key(feature)] = "" if value is None else words.number(float(value))
    st.session_state["try_answer"] = None


@st.fragment
def show(model: Model, clusters: Clusters, selected: Member, words: Words) -> None:
    """Draws the form and, once asked, the answer."""
    origin = (selected.entity, words.language, model.model_version)
    # A page change drops what the fields held.
    if st.session_state.get("try_origin") != origin or _key(model.features[0]) not in st.session_state:
        st.session_state["try_origin"] = origin
        _fill(model, dict(selected.features), words)
    parts.html(
        f'<h2 class="sg-title">{escape(words("try.title"))}</h2><p class="sg-muted">{escape(words("try.text"))}</p>'
    )
    left, right = st.columns([6, 5], gap="large")
    with left:
        submitted = _fields(model, selected, words)
    if submitted:
        _ask(model, selected, words)
    with right:
        _answer(model, clusters, selected, words)


def _fields(model: Model, selected: Member, words: Words) -> bool:
    with st.container(horizontal=True):
        st.button(
            selected.name,
            key="try_province",
            icon=":material/restart_alt:",
            help=words("try.whom"),
            on_click=_fill,
            args=(model, dict(selected.features), words),
        )
        st.button(
            words("try.fill"),
            key="try_example",
            icon=":material/edit_note:",
            on_click=_fill,
            args=(model, model.example, words),
        )
    with st.form("try_form", border=True):
        # Those that decide come first.
        ordered = sorted(model.features, key=lambda f: f.name not in model.features_used)
        for feature in ordered:
            needed = feature.name in model.features_used
            language = words.language
            limits = words(
                "try.range",
                minimum=words.number(feature.minimum, 0),
                maximum=words.number(feature.maximum, 0),
                unit=feature.unit(language),
            )
            role = "" if needed else f" · :gray[{words('try.not_used')}]"
            st.text_input(
                f"{feature.title(language)} ({feature.unit(language)}){role}",
                key=_key(feature),
                placeholder=limits,
                help=f"{feature.meaning(language)}. {limits}. {feature.source}",
            )
        return st.form_submit_button(words("try.submit"), type="primary", icon=":material/play_arrow:")


def _ask(model: Model, selected: Member, words: Words) -> None:
    """Asks the model with what stands in the form; keeps the answer, or what is wrong, in the session."""
    body: dict[str, Any] = {column.name: selected.entity for column in model.request_columns}
    wrong = {}
    for feature in model.features:
        needed = feature.name in model.features_used
        value, problem = check(feature, st.session_state[_key(feature)], words, needed=needed)
        body[feature.name] = value
        if problem:
            wrong[feature.name] = problem
    if not wrong:
        try:
            with st.spinner(words("try.asking")):
                st.session_state["try_answer"] = api.predict(model.name, body)
        except RejectedError as error:
            fields = error.fields or {"": error.message}
            wrong = {name: words("try.error.api", expected=expected) for name, expected in fields.items()}
        except ApiDownError:
            wrong = {"": words("try.failed")}
        else:
            return
    st.session_state["try_answer"] = wrong


def _answer(model: Model, clusters: Clusters, selected: Member, words: Words) -> None:
    answer = st.session_state.get("try_answer")
    if isinstance(answer, Prediction):
        parts.html(_result(model, clusters, selected, answer, words))
        return
    if not answer:
        text = words("try.waiting", submit=words("try.submit"))
        parts.html(f'<section class="sg-panel"><p class="sg-muted">{escape(text)}</p></section>')
        return
    titles = {feature.name: feature.title(words.language) for feature in model.features}
    lines = "".join(
        f"<li><b>{escape(titles.get(name, ''))}</b><span>{escape(problem)}</span></li>"
        for name, problem in answer.items()
    )
    parts.html(
        f'<section class="sg-panel" role="alert"><h3 style="font-size:1.1rem">{escape(words("try.error.title"))}</h3>'
        f'<ul class="sg-list">{lines}</ul></section>'
    )


def _result(model: Model, clusters: Clusters, selected: Member, answer: Prediction, words: Words) -> str:
    language = words.language
    figures = {f.name: words.parse(st.session_state[_key(f)]) for f in model.features}
    goal = model.levels[max(answer.cluster - 1, 0)]
    rows = "".join(
        parts.feature_row(f, value, goal.center[f.name], clusters, (model, answer.cluster, goal.cluster), words)
        for f in model.used
        if (value := figures[f.name]) is not None
    )
    head = words("try.gap", level=goal.label(language)) if answer.cluster else words("try.top")
    now = words("try.before", name=selected.name, level=model.levels[selected.cluster].label(language))
    outside = ""
    if answer.out_of_training_range:
        titles = ", ".join(f.title(language) for f in model.features if f.name in answer.out_of_training_range)
        outside = f'<p class="sg-small" style="margin-top:.6rem">⚠ {escape(words("try.outside", names=titles))}</p>'
    by = words("try.by", version=answer.model_version, data=answer.data_version)
    return (
        f'<section class="sg-panel" role="status"><header><p>{escape(words("try.result"))}</p>'
        f'{parts.chip(model, answer.cluster, words)}</header><p class="sg-small">{escape(now)}</p>'
        f'<ul class="sg-list"><li title="{escape(words("try.distance_help"))}"><span>{escape(words("try.distance"))}'
        f"</span><b>{words.number(answer.distance_to_center, 2)}</b></li></ul>"
        f'<h4>{escape(head)}</h4>{rows}{outside}<p class="sg-small" style="margin-top:.8rem">{escape(by)}</p></section>'
    )
