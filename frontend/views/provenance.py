"""About the model: its version, its data, what it uses, and how the number of levels was chosen."""

from __future__ import annotations

from html import escape

import streamlit as st

from frontend import charts, parts
from frontend.api import Model
from frontend.words import Words


def show(model: Model, words: Words, address: str) -> None:
    """Draws what somebody needs to know to trust, or to doubt, the levels."""
    left, right = st.columns(2, gap="large")
    with left:
        parts.html(_versions(model, words) + _used(model, words) + _left_out(model, words))
    with right:
        chosen = len(model.levels)
        parts.html(
            f'<h2 class="sg-title">{escape(words("about.levels"))}</h2>'
            f'<p class="sg-small">{escape(words("about.levels_text"))}</p>'
        )
        st.plotly_chart(
            charts.sweep_figure(model.sweep, chosen, parts.surface(), words),
            key="sweep",
            theme=None,
            config=charts.NO_BAR,
            alt=words("sweep.alt"),
        )
        text = words(
            "about.chosen",
            k=chosen,
            silhouette=words.number(model.metrics.get("silhouette"), 2),
            stability=words.number(model.metrics.get("stability"), 2),
        )
        parts.html(
            f"<p>{escape(text)}</p>"
            f'<h2 class="sg-title" style="margin-top:1.4rem">{escape(words("about.honest"))}</h2>'
            f"<p>{escape(words('about.honest_text'))}</p>"
            f'<p class="sg-small" style="margin-top:1rem">API: <a href="{escape(address)}/docs">'
            f"{escape(address)}/docs</a></p>"
        )


def _versions(model: Model, words: Words) -> str:
    lines = [words("about.trained", when=words.date(model.trained_at))] if model.trained_at else []
    if data := model.data:
        lines.append(
            words("about.data", version=data.version, rows=words.number(data.rows, 0), period=data.period)
            + (f" · {words.counted('about.rejected', data.rows_rejected)}" if data.rows_rejected else "")
        )
    lines.append(f"{words('about.sources')}: {parts.sources(model, words)}")
    body = "".join(f"<p>{escape(line)}</p>" for line in lines)
    return f'<h2 class="sg-title">{escape(words("about.version", version=model.model_version))}</h2>{body}'


def _used(model: Model, words: Words) -> str:
    language = words.language
    lines = "".join(
        f"<li><span><b>{escape(f.title(language))}</b> ({escape(f.unit(language))})<br>"
        f'<span class="sg-muted">{escape(f.meaning(language))}</span></span>'
        f'<span class="sg-small">{escape(words("about.worse" if f.higher_is_better is False else "about.better"))}'
        "</span></li>"
        for f in model.used
    )
    return (
        f'<h2 class="sg-title" style="margin-top:1.4rem">{escape(words("about.used"))}</h2>'
        f'<ul class="sg-list">{lines}</ul>'
    )


def _left_out(model: Model, words: Words) -> str:
    if not model.features_left_out:
        return ""
    titles = {f.name: f.title(words.language) for f in model.features}
    lines = "".join(
        f"<li><span><b>{escape(titles.get(left.name, left.name))}</b><br>"
        f'<span class="sg-muted">{escape(words.sentence(left.reason(words.language)))}</span></span></li>'
        for left in model.features_left_out
    )
    return (
        f'<h2 class="sg-title" style="margin-top:1.4rem">{escape(words("about.left_out"))}</h2>'
        f'<ul class="sg-list">{lines}</ul>'
    )
