"""Segments: what each looks like, and what sets it apart from all rows."""

from __future__ import annotations

from html import escape

from frontend import parts, scores
from frontend.catalogue import Detail
from frontend.palette import group_color
from frontend.views import answers
from frontend.words import Words


def shares(model: Detail, words: Words) -> str:
    """How the rows spread over the groups, as one bar."""
    rows = sum(level.size for level in model.levels) or 1
    pieces = "".join(
        f'<div style="--n:{max(level.size / rows, 0.04):.3f};--c:{group_color(level.cluster)}"><i></i>'
        f"<b>{escape(level.label(words.language))}</b> "
        f'<span class="sg-muted">{scores.share(level.size / rows, words, 0)}</span></div>'
        for level in model.levels
    )
    return f'<div class="sg-shares">{pieces}</div>'


def show(model: Detail, words: Words) -> None:
    """Draws a card for each segment."""
    parts.html(
        f'<h2 class="sg-title">{escape(words("segment.title"))}</h2>'
        f'<p class="sg-muted">{escape(words("segment.text"))}</p>'
    )
    # One grid of HTML and no columns of Streamlit's: cards of a row are equally high, and narrow screens have one each.
    cards = "".join(_card(model, cluster, words) for cluster in range(len(model.levels)))
    parts.html(f'<div class="sg-cards">{cards}</div>')


def _card(model: Detail, cluster: int, words: Words) -> str:
    level = model.levels[cluster]
    rows = sum(each.size for each in model.levels) or 1
    profile = next((each for each in model.profiles if each.cluster == cluster), None)
    color = group_color(cluster)
    body = ""
    if profile is not None:
        typical = "".join(
            f"<li><span>{escape(model.titled(name, words.language))}</span>"
            f"<b>{escape(answers.value(model, name, held, words))}</b></li>"
            for name, held in profile.typical.items()
        )
        body = (
            f"<h4>{escape(words('answer.apart'))}</h4>{answers.traits(model, profile.traits, color, words)}"
            f'<details><summary>{escape(words("answer.profile"))}</summary><ul class="sg-list">{typical}</ul></details>'
        )
    elif level.center:
        center = "".join(
            f"<li><span>{escape(model.titled(name, words.language))}</span>"
            f"<b>{escape(answers.value(model, name, held, words))}</b></li>"
            for name, held in level.center.items()
        )
        body = f'<h4>{escape(words("answer.profile"))}</h4><ul class="sg-list">{center}</ul>'
    size = words("segment.size", size=words.number(level.size, 0), share=scores.share(level.size / rows, words, 0))
    return (
        f'<article class="sg-panel sg-segment" style="--c:{color}"><h3>{escape(level.label(words.language))}</h3>'
        f'<p class="sg-small">{escape(size)}</p>{body}</article>'
    )
