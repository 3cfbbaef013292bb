"""Monitoring: whether all is well, in ten seconds; then requests, models, the shadow and the trainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import streamlit as st

from frontend import catalogue, charts, drift, parts, scores
from frontend.api import ApiDownError
from frontend.catalogue import Decision, Detail
from frontend.palette import glyphs, level_colors
from frontend.retrains import history, retrains
from frontend.tables import table
from frontend.traffic import (
    Dependency,
    Health,
    Latency,
    Traffic,
    health,
    latency_figure,
    requests_figure,
    retrains_figure,
    traffic,
)
from frontend.verdicts import BAD, GOOD, NOTE, WARN, Finding, away, findings
from frontend.views import performance
from frontend.views.drift import section
from frontend.views.overview import stale
from frontend.words import MISSING, Words

MINUTES = (1, 5, 15)
PULSE_SECONDS = 10.0
DETAILS_SECONDS = 30.0


def show(words: Words) -> None:
    """Draws the page.

    Raises:
        ApiDownError: The API can't be reached.
    """
    names = tuple(entry.name for entry in catalogue.entries())
    models = {name: catalogue.detail(name) for name in names}
    # Asked before anything is drawn: an API that is away is told by the frame, not in the middle of the page.
    health()
    _state(models, words)
    _details(models, words)
    parts.html(f'<p class="sg-small" style="margin-top:1.6rem">{escape(words("watch.watched"))}</p>')


@st.fragment(run_every=DETAILS_SECONDS)
def _details(models: Mapping[str, Detail], words: Words) -> None:
    """What changes by the minute, asked again and again: nobody should have to load an open page anew."""
    decided = catalogue.decisions(tuple(models))
    try:
        now, seen = health(), traffic(int(st.session_state["kept_minutes"]))
    except ApiDownError:
        return  # the frame tells it within seconds
    _models(models, now, decided, words)
    section(models, words)
    parts.html(shadow(models, seen, words))
    performance.show(models, words)
    _retrains(decided, models, words)
    parts.html(history(retrains(), {name: model.title(words.language) for name, model in models.items()}, words))


def _minutes() -> int:
    chosen = st.session_state.get("watch_minutes") or st.session_state.get("kept_minutes")
    if chosen not in MINUTES:
        asked = st.query_params.get("minutes", "")
        chosen = int(asked) if asked in map(str, MINUTES) else MINUTES[1]
    st.session_state["watch_minutes"] = st.session_state["kept_minutes"] = chosen
    st.query_params["minutes"] = str(chosen)
    return int(chosen)


@st.fragment(run_every=PULSE_SECONDS)
def _state(models: Mapping[str, Detail], words: Words) -> None:
    """The verdict and the last minutes, asked again and again."""
    try:
        now, seen = health(), traffic(_minutes())
        decided = catalogue.decisions(tuple(models))
    except ApiDownError:
        # The frame tells it within seconds, on the whole page.
        parts.html(parts.calm(words("state.down.title"), words("state.down.text"), ""))
        return
    titles = {name: model.title(words.language) for name, model in models.items()}
    found = [*findings(now, seen, decided, titles, words), *drift.findings(titles, words), *_old(models, words)]
    found += performance.findings(models, words)
    found.sort(key=lambda each: -each.weight)
    parts.html(_hero(found, words) + wells(now, seen, words))
    _period(seen, words)


def _old(models: Mapping[str, Detail], words: Words) -> list[Finding]:
    """Forecasts whose newest figures are too old for what comes next."""
    return [
        Finding(NOTE, words("concern.stale", title=model.title(words.language), period=words.period(model.data.period)))
        for model in models.values()
        if model.task == "forecasting" and model.data is not None and stale(model.data.period)
    ]


def _hero(found: Sequence[Finding], words: Words) -> str:
    worst = max((each.weight for each in found), default=GOOD)
    verdict = GOOD if worst == NOTE else worst
    head = {GOOD: "watch.good", WARN: "watch.look", BAD: "watch.bad"}[verdict]
    lines = "".join(
        f'<li style="--c:{_color(each.weight)}"><i class="sg-glyph">{_glyph(each.weight)}</i> {escape(each.text)}</li>'
        for each in found
    )
    notes = f'<ul class="sg-notes" style="margin-top:1rem">{lines}</ul>' if lines else ""
    return (
        f'<section class="sg-hero" role="status"><p class="sg-eyebrow">{escape(words("nav.monitoring"))}</p>'
        f'<h1><span class="sg-glyph" style="--c:{_color(verdict)}">{_glyph(verdict)}</span> {escape(words(head))}</h1>'
        f"{notes}</section>"
    )


def _color(weight: int) -> str:
    good, middle, bad = level_colors(3)
    return {GOOD: good, NOTE: "var(--sg-muted)", WARN: middle, BAD: bad}[weight]


def _glyph(weight: int) -> str:
    good, middle, bad = glyphs(3)
    return {GOOD: good, NOTE: "○", WARN: middle, BAD: bad}[weight]


def wells(now: Health, seen: Traffic, words: Words) -> str:
    """What an operator looks at first, each in a box that says how it is by colour, shape and words."""
    total = sum(seen.requests.values())
    seconds = seen.period.seconds or 1.0
    predicted = seen.requests.get("predict", 0)
    faults = seen.failed("fault") + seen.failed("unavailable")
    latency = seen.latency.get("predict")
    boxes = [
        _well(
            words("watch.requests"),
            words("watch.rate", count=words.number(total / seconds, 1)),
            words("watch.of_predictions", count=words.number(predicted, 0)),
            GOOD,
        ),
        _well(
            words("watch.failed"),
            words.number(faults, 0),
            words("watch.of_all", share=scores.share(faults / total if total else 0.0, words, 1)),
            BAD if seen.failed("fault") else WARN if faults else GOOD,
        ),
        _well(
            words("watch.latency"),
            milliseconds(latency.p95_ms, latency, words) if latency else MISSING,
            words("watch.latency_text") if latency and latency.count else words("watch.nobody_asked"),
            WARN if latency and (latency.p95_ms or 0.0) > 1000 else GOOD,
        ),
    ]
    for name in ("registry", "postgresql"):
        if service := now.dependencies.get(name):
            boxes.append(_service(f"watch.{name}", service, words))
    up = _span(now.uptime_seconds, words)
    boxes.append(_well(words("watch.api"), words("watch.up"), words("watch.workers", count=now.workers, time=up), GOOD))
    return f'<div class="sg-wells">{"".join(boxes)}</div>'


def _service(key: str, service: Dependency, words: Words) -> str:
    weight = {"up": GOOD, "down": BAD}.get(service.status, WARN)
    answered = milliseconds(service.latency_ms, None, words) if service.latency_ms is not None else ""
    more = words("watch.answered", time=answered) if service.status == "up" and answered else ""
    return _well(words(key), words(f"watch.{service.status}"), more, weight)


def _well(what: str, value: str, more: str, weight: int) -> str:
    return (
        f'<div class="sg-well" style="--c:{_color(weight)}"><span>{escape(what)}</span>'
        f'<b><i class="g" style="font-style:normal">{_glyph(weight)}</i>{escape(value)}</b>'
        f"<small>{escape(more)}</small></div>"
    )


def milliseconds(value: float | None, latency: Latency | None, words: Words) -> str:
    """A time in milliseconds, in seconds where it is longer; beyond what is measured, said so."""
    if value is None:
        return MISSING
    beyond = "> " if latency is not None and value >= latency.longest_told_ms > 0 else ""
    if value >= 1000:
        return f"{beyond}{words.number(value / 1000, 1)} {words('watch.s')}"
    return f"{beyond}{words.number(value, 0 if value >= 100 else 1)} ms"


def _span(seconds: float, words: Words) -> str:
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return words(f"watch.{unit}", count=int(seconds // length))
    return words("runs.seconds", count=int(seconds))


def _period(seen: Traffic, words: Words) -> None:
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="bottom"):
        parts.html(f'<h2 class="sg-title">{escape(words("watch.traffic"))}</h2>')
        st.segmented_control(
            words("watch.period"),
            MINUTES,
            format_func=lambda count: words("watch.last", count=count),
            key="watch_minutes",
            required=True,
            label_visibility="collapsed",
        )
    since, until = (moment[11:19] for moment in (seen.period.since, seen.period.until))
    covered = words("watch.covered", since=since, until=until, time=_span(seen.period.seconds, words))
    parts.html(f'<p class="sg-small">{escape(covered)}</p>')
    if seen.steps:
        surface = parts.surface()
        for column, key, figure in zip(
            st.columns(2, gap="large"), ("requests", "latency"), (requests_figure, latency_figure), strict=True
        ):
            with column:
                parts.html(f"<h3 style='font-size:1.02rem'>{escape(words(f'watch.{key}_title'))}</h3>")
                st.plotly_chart(
                    figure(seen, surface, words),
                    key=f"watch_{key}",
                    theme=None,
                    config=charts.NO_BAR,
                    alt=words(f"watch.{key}_alt"),
                )
    left, right = st.columns(2, gap="large")
    with left:
        parts.html(_times(seen, words))
    with right:
        parts.html(_errors(seen, words))


def _times(seen: Traffic, words: Words) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(words(f"watch.group_{group}"))}</th><td>{words.number(found.count, 0)}</td>'
        + "".join(
            f"<td>{milliseconds(value, found, words)}</td>" for value in (found.p50_ms, found.p95_ms, found.p99_ms)
        )
        + "</tr>"
        for group, found in seen.latency.items()
    )
    heads = ("watch.group", "watch.count", "watch.half", "watch.most", "watch.nearly")
    head = "".join(f"<th scope=col>{escape(words(key))}</th>" for key in heads)
    return (
        f"<h3 style='font-size:1.02rem'>{escape(words('watch.times'))}</h3>"
        f"{table(f'<tr>{head}</tr>{rows}', words('watch.times'))}"
    )


def _errors(seen: Traffic, words: Words) -> str:
    lines = "".join(
        f"<li><span>{escape(words(f'watch.kind_{each.kind}'))}</span><b>{words.number(each.count, 0)}</b></li>"
        for each in sorted(seen.errors, key=lambda each: -each.count)
    )
    body = f'<ul class="sg-list">{lines}</ul>' if lines else f"<p>{escape(words('watch.no_errors'))}</p>"
    return f"<h3 style='font-size:1.02rem'>{escape(words('watch.errors'))}</h3>{body}{_answered(seen, words)}"


def _answered(seen: Traffic, words: Words) -> str:
    head = f"<h3 style='font-size:1.02rem;margin-top:1rem'>{escape(words('watch.answers'))}</h3>"
    if not seen.predictions:
        return f"{head}<p>{escape(words('watch.nobody_asked'))}</p>"
    titles = {entry.name: entry.title(words.language) for entry in catalogue.entries()}
    lines = "".join(
        f"<li><span>{escape(titles.get(each.model, each.model))} {escape(each.model_version)}</span>"
        f"<b>{words.number(each.count, 0)}</b></li>"
        for each in sorted(seen.predictions, key=lambda each: -each.count)
    )
    return f'{head}<ul class="sg-list">{lines}</ul>'


def _models(
    models: Mapping[str, Detail], now: Health, decided: Mapping[str, Sequence[Decision] | None], words: Words
) -> None:
    rows = []
    for name, model in models.items():
        known = now.models.get(name)
        if known is None:
            continue
        served = known.model_version is not None
        behind = "watch.unsure" if away(now) else "watch.old"
        state = words("watch.served" if known.status == "ok" else behind if served else "watch.none")
        weight = GOOD if known.status == "ok" or not served else WARN
        period = model.data.period if model.data is not None else None
        told = [known.data_version or MISSING]
        told += [words("data.newest", period=words.period(period))] if period is not None and served else []
        if begun := first_seen(decided.get(name) or (), known.data_version):
            told.append(words("watch.since", ago=words.ago(begun)))
        glyph = f'<i class="sg-glyph" style="--c:{_color(weight)}">{_glyph(weight)}</i> ' if served else ""
        rows.append(
            f'<tr><th scope="row">{escape(model.title(words.language))}</th><td>{glyph}{escape(state)}</td>'
            f"<td>{escape(known.model_version or MISSING)}</td>"
            f"<td>{escape(words.ago(known.trained_at) if known.trained_at else MISSING)}</td>"
            f"<td>{escape(' · '.join(told))}</td></tr>"
        )
    heads = ("runs.model", "watch.state", "watch.version", "watch.trained", "watch.data")
    head = "".join(f"<th scope=col>{escape(words(key))}</th>" for key in heads)
    body = "".join(rows)
    parts.html(
        f'<h2 class="sg-title" style="margin-top:1.6rem">{escape(words("watch.models"))}</h2>'
        f"{table(f'<tr>{head}</tr>{body}', words('watch.models'), 'wide')}"
    )


def first_seen(decided: Sequence[Decision], data_version: str | None) -> str:
    """When a data version was first trained on; empty where the decisions don't tell."""
    known = [each.decided_at for each in decided if each.data_version == data_version and each.decided_at]
    return min(known) if data_version and known else ""


def shadow(models: Mapping[str, Detail], seen: Traffic, words: Words) -> str:
    """How challengers in the shadow answer beside their champions."""
    head = f'<h2 class="sg-title" style="margin-top:1.6rem">{escape(words("watch.shadow"))}</h2>'
    if not seen.shadow:
        return f"{head}<p>{escape(words('watch.no_shadow'))}</p>"
    rows = []
    for each in seen.shadow:
        compared = each.same + each.other
        title = models[each.model].title(words.language) if each.model in models else each.model
        share = scores.share(each.same / compared, words) if compared else MISSING
        rows.append(
            f'<tr><th scope="row">{escape(title)} {escape(each.model_version)}</th>'
            f"<td>{words.number(compared, 0)}</td><td>{escape(share)}</td>"
            f"<td>{words.number(each.refused + each.failed, 0)}</td></tr>"
        )
    heads = ("watch.shadow_model", "watch.compared", "watch.same", "watch.no_answer")
    body = "".join(rows)
    head_row = "".join(f"<th scope=col>{escape(words(key))}</th>" for key in heads)
    return (
        f'{head}<p class="sg-small">{escape(words("watch.shadow_text"))}</p>'
        f"{table(f'<tr>{head_row}</tr>{body}', words('watch.shadow'))}"
    )


def _retrains(decided: Mapping[str, Sequence[Decision] | None], models: Mapping[str, Detail], words: Words) -> None:
    parts.html(f'<h2 class="sg-title" style="margin-top:1.6rem">{escape(words("watch.retrains"))}</h2>')
    known = {name: found for name, found in decided.items() if found}
    if not known:
        away = any(found is None for found in decided.values())
        parts.html(f"<p>{escape(words('more.not_now' if away else 'decided.none'))}</p>")
        return
    every = [each for found in known.values() for each in found]
    counts = {outcome: sum(each.outcome == outcome for each in every) for outcome in ("promoted", "refused", "failed")}
    parts.html(f'<p class="sg-small">{escape(words("watch.retrains_text", total=sum(counts.values()), **counts))}</p>')
    titles = {name: model.title(words.language) for name, model in models.items()}
    st.plotly_chart(
        retrains_figure(known, titles, parts.surface(), words),
        key="watch_retrains",
        theme=None,
        config=charts.NO_BAR,
        alt=words("watch.retrains_alt"),
    )
