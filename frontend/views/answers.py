"""What a model answered, as HTML: the answer first, how sure it is, why, and the baseline beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from frontend import scores
from frontend.catalogue import Bounds, Detail, Estimate, Forecast, Group, Reason, Reply, Trait, Verdict
from frontend.palette import group_color, ink_on, outcome_color
from frontend.words import Words


def told(model: Detail, answer: Reply, sent: Mapping[str, Any], words: Words) -> str:
    """The answer to what was `sent`, in a panel."""
    if isinstance(answer, Estimate):
        body = _estimate(model, answer, words)
    elif isinstance(answer, Verdict):
        body = _verdict(answer, words)
    elif isinstance(answer, Group):
        body = _group(model, answer, sent, words)
    else:
        body = ""
    beside = ""
    if answer.baseline is not None:
        head = f"<h4>{escape(words('answer.trust'))}</h4>"
        beside = head + scores.beside(answer.baseline, model, words)
    by = words("try.by", version=answer.model_version, data=answer.data_version)
    return (
        f'<section class="sg-panel sg-answer" role="status">{body}{_cautions(model, answer, words)}{beside}'
        f'<p class="sg-small by">{escape(by)}</p></section>'
    )


def _cautions(model: Detail, answer: Reply, words: Words) -> str:
    found = [
        ("answer.outside", answer.out_of_training_range),
        ("answer.filled", answer.filled_in),
        ("answer.unseen", answer.unseen_categories),
    ]
    lines = "".join(
        f"<p>⚠ {escape(words(key, names=_names(model, names, words)))}</p>" for key, names in found if names
    )
    return f'<div class="sg-caution sg-small">{lines}</div>' if lines else ""


def _names(model: Detail, names: Sequence[str], words: Words) -> str:
    return ", ".join(model.titled(name, words.language) for name in names)


def _unit(model: Detail, words: Words) -> str:
    return model.target.unit(words.language) if model.target and model.target.unit else ""


def _estimate(model: Detail, answer: Estimate, words: Words) -> str:
    ends, unit = answer.interval, _unit(model, words)
    title = model.target.title(words.language) if model.target else ""
    between = words(
        "answer.interval",
        share=scores.share(ends.confidence, words, 0),
        low=scores.amount(ends.low, "", words),
        high=scores.amount(ends.high, unit, words),
    )
    held = words("answer.held", coverage=scores.share(ends.coverage, words))
    segment = ""
    if answer.segment_label is not None:
        segment = f'<span class="sg-chip plain">{escape(answer.segment_label(words.language))}</span>'
    return (
        f'<header><p class="sg-eyebrow">{escape(title)}</p>{segment}</header>'
        f'<p class="sg-big">{escape(words.number(answer.value, 0 if abs(answer.value) >= 100 else 2))}'
        f" <small>{escape(unit)}</small></p>"
        f"<p>{escape(between)}</p>{_scale(answer, words)}"
        f'<p class="sg-small">{escape(held)}</p>'
    )


def _scale(answer: Estimate, words: Words) -> str:
    """The answer and its interval on a line, over the classes of the target."""
    cuts = [bound.maximum for bound in answer.segment_bounds if bound.maximum is not None]
    ends = answer.interval
    least, most = min([ends.low, *cuts]), max([ends.high, *cuts])
    margin = (most - least) * 0.12 or 1.0
    low, high = least - margin, most + margin

    def at(value: float) -> float:
        return 100 * min(max((value - low) / (high - low), 0.0), 1.0)

    zones = "".join(_zone(bound, answer, at, words) for bound in answer.segment_bounds)
    marks = "".join(
        f'<span class="cut" style="left:{at(cut):.1f}%">{escape(scores.amount(cut, "", words))}</span>' for cut in cuts
    )
    return (
        f'<div class="sg-scale" aria-hidden="true"><div class="zones">{zones}</div><div class="line">'
        f'<i class="band" style="left:{at(ends.low):.1f}%;width:{at(ends.high) - at(ends.low):.1f}%"></i>'
        f'<i class="dot" style="left:{at(answer.value):.1f}%"></i></div><div class="cuts">{marks}</div></div>'
    )


def _zone(bound: Bounds, answer: Estimate, at: Any, words: Words) -> str:
    left = 0.0 if bound.minimum is None else at(bound.minimum)
    right = 100.0 if bound.maximum is None else at(bound.maximum)
    on = " on" if answer.segment_label is not None and bound.label.en == answer.segment_label.en else ""
    return (
        f'<span class="zone{on}" style="left:{left:.1f}%;width:{right - left:.1f}%">'
        f"{escape(bound.label(words.language))}</span>"
    )


def _verdict(answer: Verdict, words: Words) -> str:
    color = outcome_color(yes=answer.yes)
    outcome = words.get(f"outcome.{_slug(answer.prediction)}", answer.prediction)
    chance = scores.share(answer.probability, words)
    text = words("answer.chance", chance=chance, threshold=scores.share(answer.threshold, words, 0))
    sure = words("answer.calibrated" if answer.calibrated else "answer.uncalibrated")
    by_rule = ""
    if answer.decided_by == "policy":
        by_rule = f'<p class="sg-notice">{escape(words("answer.by_policy"))}</p>'
    return (
        f'<p class="sg-eyebrow">{escape(words("answer.decision"))}</p>'
        f'<p class="sg-big" style="--c:{color}"><span class="mark" style="background:{color};color:{ink_on(color)}">'
        f"{'✓' if answer.yes else '✕'}</span> {escape(outcome)}"
        f"</p>{by_rule}<p>{escape(text)}</p>"
        f'<div class="sg-chance" aria-hidden="true">'
        f'<i style="width:{100 * answer.probability:.1f}%;background:{color}"></i>'
        f'<b style="left:{100 * answer.threshold:.1f}%"></b></div>'
        f'<p class="sg-small" title="{escape(answer.calibration(words.language))}">{escape(sure)}</p>'
        f"<h4>{escape(words('answer.why'))}</h4>{_reasons(answer.reasons, words)}"
    )


def _slug(text: str) -> str:
    return text.lower().replace(" ", "_")


def _reasons(reasons: Sequence[Reason], words: Words) -> str:
    most = max((abs(reason.effect) for reason in reasons if reason.effect is not None), default=0.0) or 1.0
    lines = []
    for reason in reasons:
        bar, kind = "", reason.kind
        if reason.effect is not None:
            bar = _effect(reason.effect / most, outcome_color(yes=reason.effect > 0))
        rule = f'<b class="sg-tag">{escape(words("answer.rule"))}</b> ' if kind == "policy" else ""
        lines.append(f"<li><span>{rule}{escape(scores.outcomes(reason.text(words.language), words))}</span>{bar}</li>")
    return f'<ul class="sg-reasons">{"".join(lines)}</ul>'


def _effect(share: float, color: str) -> str:
    width = 50 * min(abs(share), 1.0)
    left = 50.0 if share > 0 else 50.0 - width
    return (
        f'<span class="sg-effect" aria-hidden="true"><i style="left:{left:.1f}%;width:{width:.1f}%;'
        f'background:{color}"></i></span>'
    )


def _group(model: Detail, answer: Group, sent: Mapping[str, Any], words: Words) -> str:
    level = model.levels[answer.cluster]
    color = group_color(answer.cluster)
    rows = sum(each.size for each in model.levels)
    share = words(
        "answer.share",
        share=scores.share(level.size / max(rows, 1), words, 0),
        size=words.number(level.size, 0),
        rows=words.number(rows, 0),
    )
    distance = words("answer.distance", distance=words.number(answer.distance_to_center, 2))
    apart = ""
    if answer.distinguishing:
        apart = f"<h4>{escape(words('answer.apart'))}</h4>{traits(model, answer.distinguishing, color, words)}"
    return (
        f'<p class="sg-eyebrow">{escape(words("answer.segment"))}</p>'
        f'<p class="sg-big"><i class="dot" style="background:{color}"></i> {escape(level.label(words.language))}</p>'
        f'<p>{escape(share)}</p><p class="sg-small">{escape(distance)}</p>'
        f"{apart}{_typical(model, answer, sent, words)}"
    )


def traits(model: Detail, found: Sequence[Trait], color: str, words: Words) -> str:
    """What sets a segment apart, the most telling first: its share or mean beside that of all rows."""
    most = max((abs(trait.effect) for trait in found), default=0.0) or 1.0
    lines = "".join(
        f'<li title="{escape(words("segment.effect", effect=words.number(trait.effect, 2, sign=True)))}">'
        f"<span>{trait_text(model, trait, words)}</span>{_effect(trait.effect / most, color)}</li>"
        for trait in found
    )
    return f'<ul class="sg-reasons">{lines}</ul>'


def trait_text(model: Detail, trait: Trait, words: Words) -> str:
    """A trait in words, as HTML, in the numbers of the reader's language."""
    feature = model.feature(trait.feature)
    title = model.titled(trait.feature, words.language)
    if trait.category is not None:
        here, overall = scores.share(trait.here, words, 0), scores.share(trait.overall, words, 0)
        category = feature.label(trait.category, words.language) if feature else trait.category
        return (
            f"{escape(title)}: {escape(category)} <b>{here}</b> "
            f'<span class="sg-muted">{escape(words("segment.of_all", overall=overall))}</span>'
        )
    unit = feature.unit(words.language) if feature else ""
    here, overall = scores.amount(trait.here, unit, words), scores.amount(trait.overall, "", words)
    return (
        f"{escape(title)}: <b>{escape(here)}</b> "
        f'<span class="sg-muted">{escape(words("segment.of_all", overall=overall))}</span>'
    )


def value(model: Detail, name: str, held: Any, words: Words) -> str:
    """A feature's value with its unit, as text."""
    if held is None:
        return words("ask.unknown")
    feature = model.feature(name)
    if isinstance(held, str):
        return feature.label(held, words.language) if feature else held
    if feature is not None and feature.flag and held in (0, 1):
        return words("pages.yes" if held else "pages.no")
    return f"{words.figure(round(float(held), 2))} {feature.unit(words.language) if feature else ''}".rstrip()


def _typical(model: Detail, answer: Group, sent: Mapping[str, Any], words: Words) -> str:
    if not answer.profile:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{escape(model.titled(name, words.language))}</th>'
        f"<td>{escape(value(model, name, sent.get(name), words))}</td>"
        f"<td>{escape(value(model, name, typical, words))}</td></tr>"
        for name, typical in answer.profile.items()
    )
    heads = "".join(f"<th scope=col>{escape(words(key))}</th>" for key in ("segment.field", "segment.yours"))
    heads += f"<th scope=col>{escape(words('segment.typical'))}</th>"
    return (
        f'<h4>{escape(words("answer.profile"))}</h4><div class="sg-scroll"><table class="sg-table"><tr>{heads}</tr>'
        f"{rows}</table></div>"
    )


def forecast(model: Detail, answer: Forecast, words: Words) -> str:
    """The next value, its interval, and the naive forecast with equal weight."""
    unit, ends = _unit(model, words), answer.interval
    digits = 0 if abs(answer.value) >= 100 else 2
    change = answer.value / answer.naive_forecast - 1 if answer.naive_forecast else 0.0
    glyph = {"up": "▲", "down": "▼"}.get(answer.direction, "=")
    moved = f"{glyph} {words.number(100 * change, 2, sign=True)} %" if answer.direction != "unchanged" else glyph
    between = words(
        "answer.interval",
        share=scores.share(ends.confidence, words, 0),
        low=scores.amount(ends.low, "", words),
        high=scores.amount(ends.high, unit, words),
    )
    when = words("forecast.when", as_of=words.moment(answer.as_of), target=words.moment(answer.forecast_for))
    source = words.get(f"source.{answer.source}", "")
    beside = scores.beside(answer.baseline, model, words) if answer.baseline else ""
    by = words("try.by", version=answer.model_version, data=answer.data_version)
    held = words("answer.held", coverage=scores.share(ends.coverage, words))
    return (
        '<section class="sg-panel sg-answer" role="status"><div class="sg-pair">'
        f'<div><p class="sg-eyebrow">{escape(words("forecast.model"))}</p>'
        f'<p class="sg-big">{words.number(answer.value, digits)} <small>{escape(unit)}</small></p>'
        f'<p class="sg-small">{escape(moved)} · {escape(words(f"direction.{answer.direction}"))}</p></div>'
        f'<div><p class="sg-eyebrow">{escape(words("forecast.naive"))}</p>'
        f'<p class="sg-big">{words.number(answer.naive_forecast, digits)} <small>{escape(unit)}</small></p>'
        f'<p class="sg-small">{escape(words("forecast.naive_text"))}</p></div></div>'
        f"<p>{escape(between)}</p><p class='sg-small'>{escape(held)}</p>"
        f"<p class='sg-notice'>{escape(words.sentence(scores.note(answer.note(words.language), model, words)))}</p>"
        f"<h4>{escape(words('answer.trust'))}</h4>{beside}"
        f'<p class="sg-small by">{escape(when)} {escape(source)} {escape(by)}</p></section>'
    )
