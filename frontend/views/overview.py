"""Overview: each model as a card, and what needs attention first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from html import escape

import streamlit as st

from frontend import api, catalogue, drift, parts, scores
from frontend.api import Clusters, Model
from frontend.catalogue import Decision, Detail
from frontend.palette import level_colors
from frontend.views import about, segments
from frontend.views.model import mock
from frontend.words import Words

COLUMNS = 2
# A forecast looks one step ahead, and no declared step is longer than a day.
STALE = timedelta(days=3)
# A model whose levels have members with names and a past has them told on a page of its own.
LEVELS = "education"


def show(words: Words) -> None:
    """Draws the page.

    Raises:
        ApiDownError: The API can't be reached.
    """
    parts.html(
        f'<section class="sg-hero"><p class="sg-eyebrow">Sigap · {escape(words("app.tagline"))}</p>'
        f"<h1>{escape(words('overview.title'))}</h1>"
        f'<p class="sg-question">{escape(words("overview.text"))}</p></section>'
    )
    names = tuple(entry.name for entry in catalogue.entries())
    models = [catalogue.detail(name) for name in names]
    decided = catalogue.decisions(names)
    parts.html(_attention(models, decided, words))
    for first in range(0, len(models), COLUMNS):
        row = models[first : first + COLUMNS]
        for column, model in zip(st.columns(COLUMNS if len(models) > 1 else 1, gap="medium"), row, strict=False):
            with column:
                _card(model, decided.get(model.name), words)


def _card(model: Detail, decided: tuple[Decision, ...] | None, words: Words) -> None:
    language = words.language
    with st.container(border=True, key=f"card_{model.name}", height="stretch"):
        if model.served:
            body = _state(model, words) + parts.facts(_facts(model, words))
        else:
            body = f'<p class="sg-notice">{escape(words("none.title"))}</p>'
        parts.html(
            f'<p class="sg-eyebrow">{escape(model.title(language))}</p>'
            f'<h2 class="sg-title">{escape(model.question(language))}</h2>'
            f'<p>{mock(model, words)}</p>{body}<div style="margin-top:.9rem">{_last(decided, words)}</div>'
        )
        page = st.session_state.get("pages", {}).get(model.name)
        if page is not None:
            st.page_link(
                page,
                label=words("overview.open", title=model.title(language)),
                icon=":material/arrow_forward:",
                query_params={"lang": language},
            )


def _state(model: Detail, words: Words) -> str:
    """What the model found, or how good it is beside its baseline, at a glance."""
    if model.name == LEVELS:
        known = api.model(model.name, catalogue.pulse())
        return parts.squares(known, api.clusters(model.name, model.model_version), None, words)
    if model.baseline is not None:
        return scores.beside(model.baseline, model, words)
    return segments.shares(model, words) if model.levels else ""


def _facts(model: Detail, words: Words) -> list[tuple[str, str, str]]:
    data = model.data
    found = [
        (words("overview.model"), model.model_version, ""),
        (words("overview.trained"), words.ago(model.trained_at), words.date(model.trained_at)),
    ]
    if data is not None:
        found.append((words("overview.data"), data.version, ""))
        found.append((words("overview.rows"), words.number(data.rows, 0), ""))
        if data.period is not None:
            found.append((words("overview.figures"), words.period(data.period), ""))
    known = (drift.states() or {}).get(model.name)
    state = words(f"drift.{known.state if known else 'unknown'}")
    found.append((words("drift.fact"), state, words("drift.fact_help")))
    for metric in ("silhouette", "stability"):
        if metric in model.metrics:
            value = words.number(model.metrics[metric], 2)
            shuffled = model.metrics.get(f"{metric}_shuffled")
            if shuffled is not None:
                value += f" ({words('overview.by_chance', value=words.number(shuffled, 2))})"
            found.append((words(f"overview.{metric}"), value, words(f"overview.{metric}_help")))
    return found


def _last(decided: tuple[Decision, ...] | None, words: Words) -> str:
    if decided is None:
        return f'<p class="sg-small">{escape(words("overview.decision_unknown"))}</p>'
    if not decided:
        return f'<p class="sg-small">{escape(words("decided.none"))}</p>'
    last = decided[0]
    text = f"{words('overview.decision')} · {about.outcome(last, words)}"
    when = f" · {words.ago(last.decided_at)}" if last.decided_at else ""
    # A reason belongs on the card where it is why the newest model is not served.
    told, language = last.told(words.language) if last.outcome in ("refused", "failed") else ("", "")
    quote = f'<p class="sg-quote" lang="{language}">{escape(told)}</p>' if told else ""
    return f'<p class="sg-small">{escape(text + when)}</p>{quote}'


def attention(model: Model, clusters: Clusters, words: Words) -> list[str]:
    """What somebody who reads the levels should know, the gravest first."""
    language = words.language
    notes = []
    if clusters.not_assessed:
        names = ", ".join(m.name for m in clusters.not_assessed)
        notes.append(words("overview.not_assessed", count=len(clusters.not_assessed), names=names))
    if model.data and model.data.rows_rejected:
        notes.append(words.counted("overview.rejected", model.data.rows_rejected))
    names_by_id = {m.entity: m.name for m in clusters.members}
    if broken := [f"{names_by_id.get(b.entity, b.entity)} ({b.period})" for b in clusters.breaks]:
        notes.append(words("overview.breaks", names=", ".join(broken)))
    for left in model.features_left_out:
        title = next((f.title(language) for f in model.features if f.name == left.name), left.name)
        notes.append(words("overview.left_out", title=title, reason=words.sentence(left.reason(language))))
    return notes


def concerns(model: Detail, decided: tuple[Decision, ...] | None, words: Words) -> list[tuple[int, str]]:
    """What needs attention of a model of any task, each with its gravity: 2 first, 0 last."""
    title = model.title(words.language)
    found = []
    last = next((each for each in decided or () if each.outcome != "running"), None)
    if last is not None and last.rule == "waiting":
        found.append((2, words("concern.waiting", title=title)))
    elif not model.served and decided is not None and last is None:
        going_on = any(each.outcome == "running" for each in decided)
        told = words("pages.training", title=title) if going_on else words("concern.untrained", title=title)
        found.append((int(going_on), told))
    elif not model.served:
        found.append((2, words("concern.none", title=title)))
    elif last is not None and last.outcome == "failed":
        found.append((2, words("concern.failed", title=title)))
    if model.baseline is not None and not model.baseline.better:
        found.append(
            (1, words("concern.ties", title=title, rule=scores.outcomes(model.baseline.text(words.language), words)))
        )
    if model.task == "forecasting" and model.data is not None and stale(model.data.period):
        found.append((1, words("concern.stale", title=title, period=words.period(model.data.period))))
    if model.calibrated is False:
        found.append((1, words("concern.uncalibrated", title=title)))
    if model.name != LEVELS and model.data is not None and model.data.rows_rejected:
        found.append((0, f"{title}: {words.counted('overview.rejected', model.data.rows_rejected)}"))
    return found


def stale(period: int | str | None) -> bool:
    """Whether the newest value is too old for a forecast of what comes next to be of use."""
    try:
        newest = datetime.fromisoformat(str(period))
    except ValueError:
        return False
    newest = newest if newest.tzinfo else newest.replace(tzinfo=UTC)
    return datetime.now(UTC) - newest > STALE


def _attention(models: list[Detail], decided: dict[str, tuple[Decision, ...] | None], words: Words) -> str:
    notes: list[tuple[int, str]] = []
    for model in models:
        notes += concerns(model, decided.get(model.name), words)
        if model.name == LEVELS and model.served:
            clusters = api.clusters(model.name, model.model_version)
            notes += [(0, note) for note in attention(api.model(model.name, catalogue.pulse()), clusters, words)]
    titles = {model.name: model.title(words.language) for model in models}
    notes += [(2, each.text) for each in drift.findings(titles, words)]
    if models and not any(model.served for model in models):
        notes.append((2, words("pages.nothing_served")))
    notes.sort(key=lambda note: -note[0])
    colors = ("var(--sg-line)", *level_colors(3)[1:])
    lines = [(grave, f'<li style="--c:{colors[grave]}">{escape(note)}</li>') for grave, note in notes]
    grave_ones = "".join(line for grave, line in lines if grave) or f"<li>{escape(words('overview.calm'))}</li>"
    others = "".join(line for grave, line in lines if not grave)
    # What is only good to know does not stand between the reader and the cards.
    summary = words("overview.good_to_know", count=sum(not grave for grave, _ in lines))
    rest = f"<details><summary>{escape(summary)}</summary><ul class='sg-notes'>{others}</ul></details>"
    return (
        f'<h2 class="sg-title">{escape(words("overview.attention"))}</h2><ul class="sg-notes">{grave_ones}</ul>'
        f"{rest if others else ''}"
    )
