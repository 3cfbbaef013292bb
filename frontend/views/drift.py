"""Drift on the monitoring page: every model at a glance, then one feature by feature, reference against now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import streamlit as st

from frontend import drift as found
from frontend import parts, scores
from frontend.catalogue import Detail
from frontend.drift import Check, Feature, State, Subject
from frontend.palette import glyphs, level_colors
from frontend.tables import table
from frontend.verdicts import BAD, GOOD, NOTE, WARN
from frontend.words import MISSING, Words

SUBJECTS = ("live", "table")
SHOWN = 9
STRIP = 48


def section(models: Mapping[str, Detail], words: Words) -> None:
    """Draws the section."""
    parts.html(
        f'<h2 class="sg-title" style="margin-top:1.6rem">{escape(words("drift.title"))}</h2>'
        f'<p class="sg-small">{escape(words("drift.text"))}</p>'
    )
    known = found.states()
    if known is None:
        parts.html(f"<p>{escape(words('more.not_now'))}</p>")
        return
    parts.html(_all(models, known, words))
    checked = [name for name in models if name in known and known[name].state != "unchecked"]
    if not checked:
        parts.html(f'<p class="sg-small">{escape(words("drift.none_checked"))}</p>')
        return
    _one(models, known, checked, words)


def badge(state: str, words: Words) -> str:
    """A state by colour, shape and word."""
    weight = found.WEIGHTS.get(state, NOTE)
    good, middle, bad = level_colors(3)
    color = {GOOD: good, WARN: middle, BAD: bad}.get(weight, "var(--sg-muted)")
    shape = dict(zip((GOOD, WARN, BAD), glyphs(3), strict=True)).get(weight, "○")
    return f'<i class="sg-glyph" style="--c:{color}">{shape}</i> {escape(words(f"drift.{state}"))}'


def _all(models: Mapping[str, Detail], known: Mapping[str, State], words: Words) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(model.title(words.language))}</th>'
        f"<td>{badge(known[name].live, words)}</td><td>{badge(known[name].table, words)}</td>"
        f"<td>{escape(words.ago(known[name].checked_at or '') or MISSING)}</td></tr>"
        for name, model in models.items()
        if name in known
    )
    heads = ("runs.model", "drift.live", "drift.table", "drift.when")
    head = "".join(f"<th scope=col>{escape(words(key))}</th>" for key in heads)
    return table(f"<tr>{head}</tr>{rows}", words("drift.title"), "wide")


def _one(models: Mapping[str, Detail], known: Mapping[str, State], checked: Sequence[str], words: Words) -> None:
    gravest = max(checked, key=lambda name: (found.WEIGHTS.get(known[name].state, 0), -checked.index(name)))
    left, right = st.columns([2, 1], gap="medium", vertical_alignment="bottom")
    with left:
        name = st.selectbox(
            words("runs.model"),
            checked,
            index=checked.index(gravest),
            format_func=lambda each: models[each].title(words.language),
            key="drift_model",
        )
    with right:
        subject = st.segmented_control(
            words("drift.subject"),
            SUBJECTS,
            default="live" if known[name].live != "unchecked" else "table",
            format_func=lambda each: words(f"drift.{each}"),
            key=f"drift_subject_{name}",
            required=True,
        )
    told = found.drift(name)
    if told is None:
        parts.html(f"<p>{escape(words('more.not_now'))}</p>")
        return
    one = told.live if subject == "live" else told.table
    parts.html(verdict(one, words) + windows(one, words) + features(one, words))
    _report(one, name, words)


def verdict(one: Subject, words: Words) -> str:
    """What the newest check says, and what it was made of."""
    if one.check is None:
        return f"<p>{escape(words('drift.unchecked_text'))}</p>"
    check, computed = one.check, one.computed
    lines = [f"<p style='margin-top:.9rem'><b>{badge(one.state, words)}</b> · {escape(sentence(check, words))}</p>"]
    if check.status == "too_few" and computed is not None:
        lines.append(f'<p class="sg-small">{escape(words("drift.of_last", ago=words.ago(computed.checked_at)))}</p>')
    if check.status == "failed":
        lines.append(f'<p class="sg-quote" lang="en">{escape(check.reason)}</p>')
    return "".join(lines)


def sentence(check: Check, words: Words) -> str:
    """What a check found, in the reader's language."""
    rules = check.details.get("rules", {})
    if check.status == "failed":
        return words("drift.said_failed")
    if check.status == "too_few":
        least = rules.get("minimum_rows", MISSING)
        return words("drift.said_too_few", rows=words.number(check.rows, 0), least=least)
    said = words(
        "drift.said",
        share=scores.share(check.share or 0.0, words),
        rows=words.number(check.rows, 0),
        reference=words.number(check.reference_rows, 0),
        version=check.model_version,
        limit=scores.share(float(rules.get("share", 0.0)), words),
    )
    if check.drifted and not check.alarm:
        said += " " + words("drift.not_yet", need=rules.get("drifted_windows"), of=rules.get("windows"))
    return said


def windows(one: Subject, words: Words) -> str:
    """The newest checks as a strip, the newest at the right."""
    good, middle, bad = level_colors(3)
    colors = {"steady": good, "moved": middle, "drifting": middle, "failed": bad}
    marks = "".join(
        f'<i class="{each.state}" style="--c:{colors.get(each.state, "var(--sg-line)")}" title="'
        f'{escape(words.moment(each.checked_at))}: {escape(words(f"drift.{each.state}"))}"></i>'
        for each in reversed(one.history[:STRIP])
    )
    label = words("drift.strip", count=min(len(one.history), STRIP))
    return f'<div class="sg-drift-strip" role="img" aria-label="{escape(label)}">{marks}</div>' if marks else ""


def features(one: Subject, words: Words) -> str:
    """Each feature with both distributions, the farthest apart first."""
    if not one.features:
        return ""
    cards = [_card(each, words) for each in one.features]
    rest = "".join(cards[SHOWN:])
    more = (
        f"<details><summary>{escape(words('drift.more', count=len(cards) - SHOWN))}</summary>"
        f'<div class="sg-drift-grid">{rest}</div></details>'
        if rest
        else ""
    )
    return (
        f'<p class="sg-small sg-drift-key"><i class="then"></i>{escape(words("drift.then"))} '
        f'<i class="now"></i>{escape(words("drift.now"))}</p>'
        f'<div class="sg-drift-grid">{"".join(cards[:SHOWN])}</div>{more}'
    )


def _card(each: Feature, words: Words) -> str:
    color = level_colors(3)[1] if each.drifted else "var(--sg-line)"
    state = badge("drifting" if each.drifted else "steady", words)
    bins = each.bins
    drawn = (
        _numbers(bins, each.unit(words.language), words) if bins.get("kind") == "number" else _categories(bins, words)
    )
    title = each.title(words.language)
    return (
        f'<section class="sg-drift" style="--c:{color}"><h3>{escape(title)}</h3>'
        f'<p class="sg-small">{state}</p>{drawn}<p class="sg-small">{escape(" · ".join(_facts(each, words)))}</p>'
        "</section>"
    )


def _facts(each: Feature, words: Words) -> list[str]:
    told = [words(f"drift.by_{each.effect_name}", value=words.number(each.effect, 2))]
    moved = each.bins.get("moved_sd")
    if isinstance(moved, int | float) and abs(moved) >= 0.05:
        told.append(words("drift.higher" if moved > 0 else "drift.lower", value=words.number(abs(moved), 1)))
    shares = [lacking / max(lacking + sum(each.bins.get(side) or [0]), 1) for lacking, side in
              zip(each.bins.get("missing", (0, 0)), ("reference", "now"), strict=False)]  # fmt: skip
    if len(shares) == 2 and any(shares):
        told.append(words("drift.missing", then=scores.share(shares[0], words), now=scores.share(shares[1], words)))
    if new := each.bins.get("new"):
        told.append(words("drift.new", names=", ".join(map(str, new))))
    return told


def _shares(bins: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Share of each bin in both samples, times what makes the greatest 1."""
    sides = [[float(count) for count in bins.get(side) or []] for side in ("reference", "now")]
    totals = [sum(side) or 1.0 for side in sides]
    shares = [(then / totals[0], now / totals[1]) for then, now in zip(*sides, strict=False)]
    greatest = max((max(pair) for pair in shares), default=0.0) or 1.0
    return [(then / greatest, now / greatest) for then, now in shares]


def _numbers(bins: Mapping[str, Any], unit: str, words: Words) -> str:
    bars = "".join(f'<i style="--r:{then:.1%};--n:{now:.1%}"></i>' for then, now in _shares(bins))
    edges = bins.get("edges") or []
    shown = [words.figure(float(f"{edge:.4g}")) for edge in (edges[0], edges[-1])] if len(edges) > 1 else ["", ""]
    ends = "".join(f"<span>{escape(text)}</span>" for text in (shown[0], unit, shown[1]))
    return f'<div class="sg-drift-bars" aria-hidden="true">{bars}</div><div class="sg-drift-ends">{ends}</div>'


def _categories(bins: Mapping[str, Any], words: Words) -> str:
    several = {"…": words("drift.others"), "… +": words("drift.unseen")}
    labels = [several.get(label, str(label)) for label in bins.get("labels") or []]
    return '<div class="sg-drift-rows" aria-hidden="true">' + "".join(
        f'<span>{escape(label)}</span><i style="--r:{then:.1%};--n:{now:.1%}"></i>'
        for label, (then, now) in zip(labels, _shares(bins), strict=False)
    ) + "</div>"  # fmt: skip


def _report(one: Subject, name: str, words: Words) -> None:
    newest = next((each for each in one.history if each.report), None)
    if newest is None or newest.report is None:
        parts.html(f'<p class="sg-small">{escape(words("drift.no_report"))}</p>')
        return
    st.download_button(
        words("drift.report", ago=words.ago(newest.checked_at)),
        found.report(newest.report),
        file_name=f"drift-{name}-{newest.id}.html",
        mime="text/html",
        icon=":material/description:",
        on_click="ignore",
        key="drift_report",
        help=words("drift.report_help"),
    )
