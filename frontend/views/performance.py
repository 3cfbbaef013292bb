"""The part of monitoring that tells how right the answers turned out to be, beside what was promised."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Literal

import streamlit as st

from frontend import charts, parts, scores
from frontend.catalogue import Detail
from frontend.palette import glyphs, level_colors
from frontend.performance import Metric, Performance, Version, performances, reliability_figure
from frontend.tables import table
from frontend.verdicts import WARN, Finding
from frontend.words import MISSING, Words

State = Literal["fine", "worse", "alarm", "few", "none", "failed"]


def show(models: Mapping[str, Detail], words: Words) -> None:
    """Draws the part; models that group rows have no outcomes and no place in it."""
    measured = {name: model for name, model in models.items() if model.task != "clustering"}
    found = performances(tuple(measured))
    parts.html(section(found, measured, words))
    drawn = [
        (name, version)
        for name, each in found.items()
        if each is not None and (version := each.served) is not None and version.reliability
    ]
    if not drawn:
        return
    for column, (name, version) in zip(st.columns(2, gap="large") * len(drawn), drawn, strict=False):
        with column:
            title = words("live.reliability", title=measured[name].title(words.language), version=version.model_version)
            parts.html(f"<h3 style='font-size:1.02rem;margin-top:1rem'>{escape(title)}</h3>")
            st.plotly_chart(
                reliability_figure(version.reliability, parts.surface(), words),
                key=f"live_{name}",
                theme=None,
                config=charts.NO_BAR,
                alt=words("live.reliability_alt"),
            )
            parts.html(f'<p class="sg-small">{escape(off_by(version, words))}</p>')


def findings(models: Mapping[str, Detail], words: Words) -> list[Finding]:
    """Models about which the performance alarm is raised."""
    found = performances(tuple(name for name, model in models.items() if model.task != "clustering"))
    return [
        Finding(WARN, words("live.finding", title=models[name].title(words.language)))
        for name, each in found.items()
        if each is not None and each.alarm
    ]


def section(found: Mapping[str, Performance | None], models: Mapping[str, Detail], words: Words) -> str:
    """Heading and table, or calmly why there is nothing to show yet."""
    head = f'<h2 class="sg-title" style="margin-top:1.6rem">{escape(words("live.title"))}</h2>'
    known = {name: each for name, each in found.items() if each is not None}
    if not known:
        return f"{head}<p>{escape(words('more.not_now'))}</p>"
    if not any(each.outcomes or state(each) != "none" for each in known.values()):
        return (
            f'{head}<p>{escape(words("live.none_text"))}</p><p class="sg-small">{escape(words("live.none_more"))}</p>'
        )
    days = next(iter(known.values())).window_days
    rows = "".join(_row(models[name], each, words) for name, each in known.items())
    heads = ("runs.model", "watch.state", "live.error", "live.promised", "live.held", "live.outcomes")
    row = "".join(f"<th scope=col>{escape(words(key))}</th>" for key in heads)
    return (
        f'{head}<p class="sg-small">{escape(words("live.text", days=days))}</p>'
        f"{table(f'<tr>{row}</tr>{rows}', words('live.title'), 'wide')}"
    )


def state(each: Performance) -> State:
    """How the served version fares."""
    decisive = each.served.decisive if each.served else None
    if decisive is None:
        return "none"
    if each.alarm:
        return "alarm"
    if decisive.worse:
        return "worse" if decisive.n else "failed"
    if not decisive.n:
        return "none"
    return "fine" if decisive.judged else "few"


def _row(model: Detail, each: Performance, words: Words) -> str:
    how, served = state(each), each.served
    decisive = served.decisive if served else None
    good, middle, bad = level_colors(3)
    marks = glyphs(3)
    color = {"fine": good, "alarm": bad, "worse": middle, "failed": middle}.get(how, "var(--sg-muted)")
    glyph = {"fine": marks[0], "alarm": marks[2], "worse": marks[1], "failed": marks[1]}.get(how, "○")
    told = words(f"live.{how}")
    title = f"{model.title(words.language)} {each.model_version or ''}".rstrip()
    return (
        f'<tr><th scope="row">{escape(title)}</th>'
        f'<td><i class="sg-glyph" style="--c:{color}">{glyph}</i> {escape(told)}</td>'
        f"<td>{escape(_error(decisive, model, words))}</td>"
        f"<td>{escape(_promised(decisive, model, words))}</td>"
        f"<td>{escape(_held(served, words))}</td>"
        f"<td>{escape(words.number(decisive.n if decisive else 0, 0))}</td></tr>"
    )


def _error(found: Metric | None, model: Detail, words: Words) -> str:
    if found is None or found.value is None:
        return MISSING
    text = f"{scores.name(found.metric, words)}: {scores.score(found.metric, found.value, model, words)}"
    if found.low is None or found.high is None:
        return text
    ends = [scores.bare(found.metric, end, words, found.value) for end in (found.low, found.high)]
    return f"{text} ({words('live.between', low=ends[0], high=ends[1])})"


def _promised(found: Metric | None, model: Detail, words: Words) -> str:
    if found is None or found.promised is None:
        return MISSING
    return scores.score(found.metric, found.promised, model, words, found.promised_sd)


def _held(served: Version | None, words: Words) -> str:
    found = served.metric("coverage") if served else None
    if served is None or found is None or served.confidence is None:
        return MISSING
    return words("live.held_of", share=scores.share(found.value, words), goal=scores.share(served.confidence, words, 0))


def off_by(version: Version, words: Words) -> str:
    """How far the probabilities were off, in a sentence."""
    found = version.metric("calibration_error")
    value = scores.bare("calibration_error", found.value if found else None, words)
    return words("live.off_by", value=value, count=words.number(found.n if found else 0, 0))
