"""Decisions with their numbers: what was measured, how sure that is, and what was needed."""

from __future__ import annotations

from html import escape

import streamlit as st

from frontend import askers, parts, runs, scores
from frontend.catalogue import Detail
from frontend.runs import Comparison, Judged
from frontend.views.about import outcome
from frontend.words import Words

SHOWN = 8


def show(model: Detail, words: Words) -> None:
    """Draws the decisions on a model, newest first."""
    found = runs.judged(model.name)
    if found is None or not found:
        parts.html(f"<p>{escape(words('more.not_now' if found is None else 'decided.none'))}</p>")
        return
    parts.html(f"<p>{escape(words('runs.judged_text'))}</p>")
    shown = st.session_state.get("runs_judged_all", False) or len(found) <= SHOWN
    listed = found if shown else found[:SHOWN]
    parts.html(f'<ol class="sg-decisions">{"".join(f"<li>{_told(each, model, words)}</li>" for each in listed)}</ol>')
    if not shown:
        st.button(
            words("runs.judged_more", count=len(found) - SHOWN),
            on_click=lambda: st.session_state.update(runs_judged_all=True),
        )


def _told(each: Judged, model: Detail, words: Words) -> str:
    when = f"{words.moment(each.decided_at)} · {words.ago(each.decided_at)}" if each.decided_at else ""
    who = askers.told(each.asked_by, words)
    what = [each.model_version or "", words("decided.data", data=each.data_version) if each.data_version else "", who]
    told, language = each.told(words.language)
    own = f'<p class="sg-quote" lang="{language}">{escape(told)}</p>' if told else ""
    record = each.record
    numbers = ""
    if record is not None and record.comparison is not None:
        needed = record.comparison.minimum_effect
        numbers = compared(
            record.comparison, record.minimum_effect if needed is None else needed, record.champion_before, model, words
        )
    elif record is not None and record.score is not None and record.score.score is not None:
        score = record.score
        spread = scores.score(score.metric, score.score, model, words, score.spread)
        beside = scores.score(score.metric, score.baseline, model, words)
        beaten = "runs.scored_chance" if model.task == "clustering" else "runs.scored"
        key = beaten if score.baseline is not None else "runs.scored_alone"
        name = scores.name(score.metric, words)
        numbers = f'<p class="sg-small">{escape(words(key, metric=name, score=spread, baseline=beside))}</p>'
    return (
        f'<p><b>{escape(outcome(each, words))}</b> <span class="sg-muted">'
        f"{escape(' · '.join(text for text in what if text))}</span></p>"
        f'<p class="sg-small">{escape(when)}</p>{numbers}{own}'
    )


def compared(found: Comparison, needed: float | None, champion: str | None, model: Detail, words: Words) -> str:
    """Challenger against champion: the difference with its interval on a line, beside nothing and what was needed."""
    metric, needed = found.metric, needed or 0.0
    if found.same:
        # Bars and an interval of nothing would look like a measurement.
        told = words(
            "runs.compared_same",
            metric=scores.name(metric, words),
            rows=words.number(found.rows, 0),
            score=scores.score(metric, found.challenger, model, words),
            before=champion or "",
        )
        return f'<p class="sg-small">{escape(told)}</p>'
    reach = max(abs(found.low), abs(found.high), needed) * 1.15 or 1.0

    def at(value: float) -> float:
        return 50 + 50 * value / reach

    text = words(
        "runs.compared",
        metric=scores.name(metric, words),
        challenger=scores.score(metric, found.challenger, model, words),
        champion=scores.score(metric, found.champion, model, words),
        before=champion or "",
        rows=words.number(found.rows, 0),
    )
    interval = words(
        "runs.interval",
        difference=_signed(metric, found.difference, model, words),
        low=_signed(metric, found.low, model, words),
        high=_signed(metric, found.high, model, words),
        confidence=f"{words.figure(round(100 * found.confidence, 1))} %",
        needed=scores.difference(metric, needed, model, words),
    )
    return (
        f'<p class="sg-small">{escape(text)}</p>'
        f'<div class="sg-gap" aria-hidden="true"><i class="zero" style="left:{at(0):.1f}%"></i>'
        f'<i class="need" style="left:{at(needed):.1f}%"></i>'
        f'<i class="span" style="left:{at(found.low):.1f}%;width:{at(found.high) - at(found.low):.1f}%"></i>'
        f'<i class="dot" style="left:{at(found.difference):.1f}%"></i></div>'
        f'<div class="sg-gap-ends" aria-hidden="true"><span>{escape(words("runs.worse"))}</span>'
        f"<span>{escape(words('runs.better'))}</span></div>"
        f'<p class="sg-small">{escape(interval)}</p>'
    )


def _signed(metric: str, value: float, model: Detail, words: Words) -> str:
    text = scores.difference(metric, abs(value), model, words)
    return f"{scores.sign(value, text)}{text}"
