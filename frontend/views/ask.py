"""The form that asks a model of any task, built from the declaration that the API tells."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import streamlit as st

from frontend import catalogue, parts
from frontend.api import ApiDownError, RejectedError
from frontend.catalogue import Detail, FormField, Reply
from frontend.views import answers, request
from frontend.words import Words


@st.fragment
def show(model: Detail, words: Words) -> None:
    """Draws the form and, once asked, the answer."""
    _restore(model, words)
    left, right = st.columns([7, 6], gap="large")
    with left:
        submitted = _fields(model, words)
    with right:
        if submitted or st.session_state.pop(_key(model, "go"), False):
            with st.spinner(words("try.asking")):
                _ask(model, words)
        _answer(model, words)


# What stands in the session for a field of yes and no, as the API wants it.
FLAGS = {"1": 1, "0": 0}


def check(feature: FormField, text: str, words: Words) -> tuple[float | int | None, str]:
    """The number in a field, and what is wrong with it (empty when nothing is)."""
    try:
        value = words.parse(text)
    except ValueError:
        return None, words("try.error.number", example=words.figure(round(feature.middle)))
    if value is None:
        return None, ""
    low, high = feature.minimum, feature.maximum
    if (low is not None and value < low) or (high is not None and value > high):
        return value, words("ask.error.range", limits=limits(feature, words))
    if feature.whole:
        return (int(value), "") if value.is_integer() else (value, words("ask.error.whole"))
    return value, ""


def limits(feature: FormField, words: Words) -> str:
    """The least and the greatest value that can be true, with the unit."""
    low, high = feature.minimum, feature.maximum
    unit = feature.unit(words.language)
    if low is None and high is None:
        return unit
    if high is None:
        return words("ask.at_least", minimum=words.figure(low or 0.0), unit=unit).strip()
    if low is None:
        return words("ask.at_most", maximum=words.figure(high), unit=unit).strip()
    return words("try.range", minimum=words.figure(low), maximum=words.figure(high), unit=unit).strip()


def _key(model: Detail, name: str) -> str:
    return f"ask_{model.name}_{name}"


def _field(model: Detail, feature: FormField) -> str:
    return _key(model, f"field_{feature.name}")


def _restore(model: Detail, words: Words) -> None:
    """Puts back what was typed: a page change drops it, and another language writes the same number differently."""
    known = _key(model, "values"), _key(model, "language")
    written = st.session_state.get(known[1])
    first = _field(model, model.features[0])
    if first in st.session_state and written == words.language:
        return
    if first in st.session_state and written is not None:
        _keep(model, Words(written))
    _fill(model, st.session_state.get(known[0], {}), words)


def _keep(model: Detail, words: Words) -> None:
    """Remembers what stands in the form, whatever page is shown next."""
    values: dict[str, Any] = {}
    for feature in model.features:
        typed = st.session_state.get(_field(model, feature))
        try:
            plain = typed if feature.categories else FLAGS.get(typed or "") if feature.flag else None
            values[feature.name] = plain if feature.categories or feature.flag else words.parse(typed or "")
        except ValueError:
            values[feature.name] = None
    st.session_state[_key(model, "values")] = values


def _fill(model: Detail, source: Mapping[str, Any], words: Words) -> None:
    for feature in model.features:
        value = source.get(feature.name)
        st.session_state[_field(model, feature)] = _shown(feature, value, words)
    st.session_state[_key(model, "language")] = words.language
    st.session_state[_key(model, "values")] = dict(source)


def _shown(feature: FormField, value: Any, words: Words) -> str | None:
    if feature.categories:
        # A client may write a category in any case of letters; the choices are spelt as declared.
        spelt = {category.casefold(): category for category in feature.categories}
        return spelt.get(str(value).casefold())
    if feature.flag:
        return None if value is None else str(int(value))
    return "" if value is None else words.figure(float(value))


def _example(model: Detail, words: Words) -> None:
    _fill(model, model.example, words)
    st.session_state[_key(model, "go")] = True


def _clear(model: Detail, words: Words) -> None:
    _fill(model, {}, words)
    st.session_state[_key(model, "answer")] = None


def _fields(model: Detail, words: Words) -> bool:
    with st.container(horizontal=True):
        st.button(
            words("ask.example"),
            key=_key(model, "example"),
            icon=":material/edit_note:",
            on_click=_example,
            args=(model, words),
        )
        st.button(
            words("ask.clear"),
            key=_key(model, "clear"),
            icon=":material/backspace:",
            on_click=_clear,
            args=(model, words),
            type="tertiary",
        )
    with st.form(_key(model, "form"), border=True):
        features = list(model.features)
        for first in range(0, len(features), 2):
            for column, feature in zip(
                st.columns(2, vertical_alignment="bottom"), features[first : first + 2], strict=False
            ):
                with column:
                    _input(model, feature, words)
        if any(feature.personal for feature in features):
            parts.html(f'<p class="sg-small">{escape(words("ask.private"))}</p>')
        return st.form_submit_button(words("ask.submit"), type="primary", icon=":material/play_arrow:")


def _input(model: Detail, feature: FormField, words: Words) -> None:
    language = words.language
    title, unit = feature.title(language), feature.unit(language)
    unused = bool(model.features_used) and feature.name not in model.features_used
    label = f"{title} ({unit})" if unit else title
    if unused:
        label += f" · :gray[{words('try.not_used')}]"
    if feature.categories or feature.flag:
        flags = {"1": words("pages.yes"), "0": words("pages.no")}
        st.selectbox(
            label,
            list(feature.categories or flags),
            index=None,
            format_func=lambda each: flags[each] if feature.flag else feature.label(each, language),
            key=_field(model, feature),
            placeholder=words("ask.unknown"),
            help=f"{words.sentence(feature.meaning(language))} {words('ask.may_stay_empty')}",
        )
        return
    between = limits(feature, words)
    st.text_input(
        label,
        key=_field(model, feature),
        placeholder=between.removesuffix(f" {unit}") if unit else between,
        help=f"{words.sentence(feature.meaning(language))} {between}. {words('ask.may_stay_empty')}",
    )


def _ask(model: Detail, words: Words) -> None:
    """Asks the model with what stands in the form; keeps the answer, or what is wrong, in the session."""
    body: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for feature in model.features:
        typed = st.session_state[_field(model, feature)]
        if feature.categories:
            body[feature.name] = typed
            continue
        if feature.flag:
            body[feature.name] = FLAGS.get(typed or "")
            continue
        body[feature.name], problem = check(feature, typed, words)
        if problem:
            wrong[feature.name] = problem
    _keep(model, words)
    if not wrong and all(value is None for value in body.values()):
        wrong[""] = words("ask.error.nothing")
    found: Reply | None = None
    if not wrong:
        try:
            found = catalogue.ask(model, body)
        except RejectedError as error:
            fields = error.fields or {"": error.message}
            wrong = {name: words("try.error.api", expected=expected) for name, expected in fields.items()}
        except ApiDownError:
            wrong = {"": words("try.failed")}
    st.session_state[_key(model, "answer")] = found or wrong


def _answer(model: Detail, words: Words) -> None:
    answer = st.session_state.get(_key(model, "answer"))
    if isinstance(answer, Reply):
        parts.html(answers.told(model, answer, st.session_state[_key(model, "values")], words))
        request.show(model.name, answer.request_id, words)
    elif answer:
        parts.html(_problems(model, answer, words))
    else:
        text = words("ask.waiting", submit=words("ask.submit"), example=words("ask.example"))
        parts.html(f'<section class="sg-panel sg-waiting"><p class="sg-muted">{escape(text)}</p></section>')


def _problems(model: Detail, wrong: Mapping[str, str], words: Words) -> str:
    lines = "".join(
        f"<li><b>{escape(model.titled(name, words.language))}</b><span>{escape(problem)}</span></li>"
        for name, problem in wrong.items()
    )
    return (
        f'<section class="sg-panel" role="alert"><h3 class="sg-title">{escape(words("ask.error.title"))}</h3>'
        f'<ul class="sg-list">{lines}</ul></section>'
    )
