"""Which column of a file is which field of the model: found by name, suggested by likeness, or chosen."""

from __future__ import annotations

from collections import Counter
from html import escape

import streamlit as st

from frontend import parts
from frontend.batch import Preview
from frontend.catalogue import Detail
from frontend.words import Words

PER_ROW = 3


def choose(model: Detail, found: Preview, file: str, words: Words) -> dict[str, str] | None:
    """Draws the choices.

    Args:
        model: Whose fields are looked for.
        found: How the file is read.
        file: Tells this file's choices from another's.
        words: The reader's.

    Returns:
        By field: the chosen heading where it is not the one that the API takes by itself; None while a field has no
        column, or two have the same.
    """
    parts.html(f'<h2 class="sg-title" style="margin-top:1rem">{escape(words("batch.mapping"))}</h2>')
    known = all(column.heading for column in found.columns)
    text = "batch.mapping_known" if known else "batch.mapping_text"
    parts.html(f'<p class="sg-small">{escape(words(text, count=len(found.columns)))}</p>')
    with st.expander(words("batch.mapping_open"), expanded=not known, key=f"batch_mapping_{file}"):
        chosen = _boxes(model, found, file, words)
    return _checked(model, found, chosen, words)


def _boxes(model: Detail, found: Preview, file: str, words: Words) -> dict[str, str | None]:
    # Those that need a look come first.
    ordered = sorted(found.columns, key=lambda column: column.heading is not None)
    headings = list(dict.fromkeys(found.headings))
    chosen: dict[str, str | None] = {}
    for first in range(0, len(ordered), PER_ROW):
        row = ordered[first : first + PER_ROW]
        for place, column in zip(st.columns(PER_ROW, vertical_alignment="bottom"), row, strict=False):
            start = column.heading or column.near
            with place:
                title = model.titled(column.field, words.language)
                chosen[column.field] = st.selectbox(
                    title if title == column.field else f"{title} ({column.field})",
                    headings,
                    index=headings.index(start) if start in headings else None,
                    placeholder=words("batch.choose"),
                    key=f"batch_column_{file}_{model.name}_{column.field}",
                )
    return chosen


def _checked(model: Detail, found: Preview, chosen: dict[str, str | None], words: Words) -> dict[str, str] | None:
    missing = [name for name, heading in chosen.items() if heading is None]
    times = Counter(heading for heading in chosen.values() if heading is not None)
    twice = [heading for heading, count in times.items() if count > 1]
    guessed = [
        f"{column.near} → {column.field}"
        for column in found.columns
        if column.near is not None and chosen[column.field] == column.near
    ]
    if missing:
        names = ", ".join(f"{model.titled(name, words.language)} ({name})" for name in missing)
        parts.html(f'<p class="sg-notice" role="alert">{escape(words("batch.missing", names=names))}</p>')
    if twice:
        names = ", ".join(twice)
        parts.html(f'<p class="sg-notice" role="alert">{escape(words("batch.twice", names=names))}</p>')
    if guessed:
        parts.html(f'<p class="sg-notice">{escape(words("batch.guessed", names="; ".join(guessed)))}</p>')
    if missing or twice:
        return None
    sure = {column.field: column.heading for column in found.columns}
    return {name: heading for name, heading in chosen.items() if heading is not None and heading != sure[name]}
