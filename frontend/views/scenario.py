"""What if the figures were different: a slider for each one that decides the level, answered by the model."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import streamlit as st

from frontend import api, causes, parts
from frontend.api import ApiDownError, Feature, Member, Model, Move, Prediction
from frontend.views import movement
from frontend.words import Words

# How far beyond what was seen in training a slider goes, as a share of that range.
BEYOND = 0.15
# Steps of a slider are 0.1, or 1 where there would be more of them.
MOST_STEPS = 400


def stops(feature: Feature, value: float) -> list[float]:
    """The figures that a slider offers: what was seen in training and a little beyond, and the province's own."""
    low, high = feature.training_range or (feature.minimum or 0.0, feature.maximum or value + 1.0)
    room = (high - low) * BEYOND
    low, high = min(low - room, value), max(high + room, value)
    low = low if feature.minimum is None else max(low, feature.minimum)
    high = high if feature.maximum is None else min(high, feature.maximum)
    step = 1.0 if (high - low) / 0.1 > MOST_STEPS else 0.1
    count = int((high - low) / step)
    start = -(-low // step) * step
    grid = {round(start + number * step, 1) for number in range(count + 1)}
    return sorted({each for each in grid if low <= each <= high} | {value})


def _own(feature: Feature, member: Member) -> float:
    value = member.features.get(feature.name)
    return feature.middle if value is None else value


def _key(feature: Feature) -> str:
    return f"try_{feature.name}"


def _reset(model: Model, member: Member) -> None:
    for feature in model.used:
        st.session_state[_key(feature)] = _own(feature, member)


def show(model: Model, member: Member, words: Words) -> None:
    """Draws the sliders and what the model answers to them."""
    origin = (member.entity, model.model_version)
    # A page change drops what the sliders held.
    if st.session_state.get("try_origin") != origin or any(_key(f) not in st.session_state for f in model.used):
        st.session_state["try_origin"] = origin
        _reset(model, member)
    parts.html(
        f'<h2 class="sg-title">{escape(words("edu.try.title", name=member.name))}</h2>'
        f'<p class="sg-muted">{escape(words("edu.try.text"))}</p>'
    )
    left, right = st.columns([6, 5], gap="large")
    with left:
        figures = {feature.name: _slider(feature, member, words) for feature in model.used}
        st.button(
            words("edu.try.reset", name=member.name),
            key="try_reset",
            icon=":material/restart_alt:",
            on_click=_reset,
            args=(model, member),
            disabled=all(figures[f.name] == _own(f, member) for f in model.used),
        )
    with right:
        try:
            parts.html(_answer(model, member, figures, words))
        except ApiDownError:
            parts.html(f'<section class="sg-panel" role="alert"><p>{escape(words("try.failed"))}</p></section>')


def _slider(feature: Feature, member: Member, words: Words) -> float:
    language = words.language
    own = _own(feature, member)
    # Not a plain slider: its numbers would be written as the browser's language has them, and without their unit.
    value: float = st.select_slider(
        f"{feature.title(language)} ({feature.unit(language)})",
        stops(feature, own),
        format_func=lambda each: f"{words.number(each)} {feature.unit(language)}",
        key=_key(feature),
        help=f"{feature.meaning(language)}. {feature.source}",
    )
    limits = feature.training_range
    seen = words("edu.try.seen", low=words.number(limits[0]), high=words.number(limits[1])) if limits else ""
    now = words("edu.try.now", value=words.number(own), unit=feature.unit(language))
    side = (
        "" if feature.higher_is_better is None else words("about.better" if feature.higher_is_better else "about.worse")
    )
    changed = "" if value == own else f" · <b>{escape(words.number(round(value - own, 6), sign=True))}</b>"
    parts.html(f'<p class="sg-small edu-now">{escape(now)}{changed} · {escape(seen)} · {escape(side)}</p>')
    return value


def _answer(model: Model, member: Member, figures: Mapping[str, float], words: Words) -> str:
    """The level of these figures, what made it another, and what would be enough for the next."""
    answer = _ask(model, member, figures)
    if answer is None:
        return f'<section class="sg-panel" role="alert"><p>{escape(words("edu.try.refused"))}</p></section>'
    now = words("try.before", name=member.name, level=model.levels[member.cluster].label(words.language))
    by = words("try.by", version=answer.model_version, data=answer.data_version)
    return (
        f'<section class="sg-panel" role="status"><header><p>{escape(words("try.result"))}</p>'
        f'{parts.chip(model, answer.cluster, words)}</header><p class="sg-small">{escape(now)}</p>'
        f"{_changed(model, member, figures, answer, words)}{_enough(model, member, figures, answer, words)}"
        f'{_outside(model, answer, words)}<p class="sg-small" style="margin-top:.8rem">{escape(by)}</p></section>'
    )


def _ask(model: Model, member: Member, figures: Mapping[str, float]) -> Prediction | None:
    rows = (causes.row(model, member.entity, figures),)
    return api.levels(model.name, model.model_version or "", rows)[0]


def _changed(model: Model, member: Member, figures: Mapping[str, float], answer: Prediction, words: Words) -> str:
    """Which slider made it another level."""
    if answer.cluster == member.cluster:
        return ""
    move = Move.model_validate(
        {
            "entity": member.entity,
            "name": member.name,
            "kind": "up" if answer.cluster < member.cluster else "down",
            "from": member.cluster,
            "to": answer.cluster,
            "from_features": {f.name: _own(f, member) for f in model.used},
            "to_features": dict(figures),
        }
    )
    why = causes.why(model, (move,)).get(member.entity, ())
    return f"<h3 class=edu-head>{escape(words('edu.try.why'))}</h3>{movement.reasons(why, words)}"


def enough(model: Model, member: Member, figures: Mapping[str, float], goal: int) -> dict[str, float | None]:
    """For each figure the nearest value that by itself leads to level `goal` or a better one; None where none does.

    Raises:
        ApiDownError: The API can't be asked.
    """
    tried = [
        (feature.name, value) for feature in model.used for value in _better(feature, figures[feature.name], member)
    ]
    rows = tuple(causes.row(model, member.entity, {**figures, name: value}) for name, value in tried)
    answers = api.levels(model.name, model.model_version or "", rows) if rows else ()
    found: dict[str, float | None] = dict.fromkeys(f.name for f in model.used)
    for (name, value), answer in zip(tried, answers, strict=True):
        if found[name] is None and answer is not None and answer.cluster <= goal:
            found[name] = value
    return found


def _better(feature: Feature, value: float, member: Member) -> list[float]:
    """The slider's figures that are better than `value`, the nearest first."""
    offered = stops(feature, _own(feature, member))
    if feature.higher_is_better is False:
        return [each for each in reversed(offered) if each < value]
    return [each for each in offered if each > value]


def _enough(model: Model, member: Member, figures: Mapping[str, float], answer: Prediction, words: Words) -> str:
    if not answer.cluster:
        return f"<h3 class=edu-head>{escape(words('try.top'))}</h3>"
    goal = model.levels[answer.cluster - 1]
    lines = []
    for name, value in enough(model, member, figures, goal.cluster).items():
        feature = next(f for f in model.used if f.name == name)
        unit = feature.unit(words.language)
        if value is None:
            text, on = words("edu.try.never"), ""
        else:
            change = words.number(round(value - figures[name], 6), sign=True)
            text, on = words("edu.try.from", value=words.number(value), unit=unit, change=change), ' class="on"'
        lines.append(f"<li{on}><span>{escape(feature.title(words.language))}</span><b>{escape(text)}</b></li>")
    head = words("edu.try.enough", level=goal.label(words.language))
    return f'<h3 class=edu-head>{escape(head)}</h3><ul class="sg-list edu-enough">{"".join(lines)}</ul>'


def _outside(model: Model, answer: Prediction, words: Words) -> str:
    if not answer.out_of_training_range:
        return ""
    names = ", ".join(f.title(words.language) for f in model.used if f.name in answer.out_of_training_range)
    return f'<p class="sg-small" style="margin-top:.6rem">⚠ {escape(words("try.outside", names=names))}</p>'
