"""Overview: each model as a card, and what needs attention."""

from __future__ import annotations

from html import escape

import streamlit as st

from frontend import api, parts
from frontend.api import Clusters, Model
from frontend.palette import level_colors
from frontend.words import Words


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
    for name in api.model_names():
        _card(api.model(name), words)


def _card(model: Model, words: Words) -> None:
    language = words.language
    with st.container(border=True, key=f"card_{model.name}"):
        parts.html(
            f'<p class="sg-eyebrow">{escape(model.title(language))}</p>'
            f'<h2 class="sg-title">{escape(model.question(language))}</h2>'
        )
        if not model.served:
            parts.html(f'<p class="sg-muted">{escape(words("state.empty.text"))}</p>')
            return
        clusters = api.clusters(model.name, model.model_version or "")
        parts.html(parts.squares(model, clusters, None, words) + parts.facts(_facts(model, clusters, words)))
        page = st.session_state.get(f"{model.name}_page")
        if page is not None:
            st.page_link(
                page,
                label=words("overview.open", title=model.title(language)),
                icon=":material/arrow_forward:",
                query_params={"lang": language},
            )
    _attention(model, clusters, words)


def _facts(model: Model, clusters: Clusters, words: Words) -> list[tuple[str, str, str]]:
    data = model.data
    return [
        (words("overview.model"), model.model_version or "", words.date(model.trained_at)),
        (words("overview.data"), data.version if data else "", ""),
        (words("overview.figures"), str(data.period) if data else "", ""),
        (words("overview.members"), words.number(len(clusters.members), 0), ""),
        (
            words("overview.silhouette"),
            words.number(model.metrics.get("silhouette"), 2),
            words("overview.silhouette_help"),
        ),
        (
            words("overview.stability"),
            words.number(model.metrics.get("stability"), 2),
            words("overview.stability_help"),
        ),
    ]


def attention(model: Model, clusters: Clusters, words: Words) -> list[str]:
    """What somebody who reads the levels should know, the gravest first."""
    language = words.language
    notes = []
    if clusters.not_assessed:
        names = ", ".join(m.name for m in clusters.not_assessed)
        notes.append(words("overview.not_assessed", count=len(clusters.not_assessed), names=names))
    if model.data and model.data.rows_rejected:
        notes.append(words("overview.rejected", count=words.number(model.data.rows_rejected, 0)))
    names_by_id = {m.entity: m.name for m in clusters.members}
    if broken := [f"{names_by_id.get(b.entity, b.entity)} ({b.period})" for b in clusters.breaks]:
        notes.append(words("overview.breaks", names=", ".join(broken)))
    for left in model.features_left_out:
        title = next((f.title(language) for f in model.features if f.name == left.name), left.name)
        notes.append(words("overview.left_out", title=title, reason=words.sentence(left.reason(language))))
    return notes


def _attention(model: Model, clusters: Clusters, words: Words) -> None:
    notes = attention(model, clusters, words)
    color = level_colors(3)[1]
    body = "".join(f'<li style="--c:{color}">{escape(note)}</li>' for note in notes)
    body = body or f"<li>{escape(words('overview.calm'))}</li>"
    parts.html(
        f'<h2 class="sg-title" style="margin-top:.6rem">{escape(words("overview.attention"))}</h2>'
        f'<ul class="sg-notes">{body}</ul>'
    )
