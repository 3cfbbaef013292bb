"""A file of rows: what it has to hold, how it is read, and what becomes of each row."""

from __future__ import annotations

from html import escape
from typing import IO, Any

import streamlit as st

from frontend import batch, catalogue, parts, results
from frontend.batch import JOB, MEBIBYTE, Job, Limits, Preview, RefusedFileError, Trouble
from frontend.catalogue import Detail
from frontend.views import columns, outcome
from frontend.views.ask import limits as range_of
from frontend.views.model import mock
from frontend.views.trouble import alert, told
from frontend.words import Words

# A file that is too large is refused here in the reader's words, up to this size; beyond by Streamlit.
LOOKED_AT = 64


def show(words: Words) -> None:
    """Draws the page.

    Raises:
        ApiDownError: The API can't be reached.
    """
    parts.html(
        f'<section class="sg-hero"><p class="sg-eyebrow">{escape(words("batch.eyebrow"))}</p>'
        f"<h1>{escape(words('batch.title'))}</h1>"
        f'<p class="sg-question">{escape(words("batch.text"))}</p></section>'
    )
    job: Job | None = st.session_state.get(JOB)
    if job is not None:
        outcome.show(job, catalogue.detail(job.model), words)
        return
    model = _choose(words)
    if model is None:
        return
    if not model.served:
        parts.html(f'<section class="sg-panel"><p>{escape(words("batch.unserved"))}</p></section>')
        return
    allowed = batch.limits()
    left, right = st.columns([7, 5], gap="large")
    with right:
        _needs(model, allowed, words)
    with left:
        file = _take(model, allowed, words)
    if file is not None:
        _prepare(model, file, words)


def _choose(words: Words) -> Detail | None:
    """The model that answers, which stands in the address."""
    entries = {each.name: each for each in catalogue.entries() if each.task != "forecasting"}
    if not entries:
        parts.html(f'<p class="sg-muted">{escape(words("state.empty.text"))}</p>')
        return None
    key = "batch_model"
    if st.session_state.get(key) not in entries:
        asked = st.query_params.get("model")
        served = next((each.name for each in entries.values() if each.served), next(iter(entries)))
        st.session_state[key] = asked if asked in entries else served
    name = st.selectbox(
        words("batch.model"),
        list(entries),
        format_func=lambda each: entries[each].title(words.language),
        key=key,
    )
    st.query_params["model"] = name
    model = catalogue.detail(name)
    parts.html(f'<p class="sg-muted">{escape(model.question(words.language))}</p><p>{mock(model, words)}</p>')
    return model


def fields(model: Detail) -> tuple[str, ...]:
    """The columns that a file has to bring, in the request's order."""
    return (*(column.name for column in model.request_columns), *(feature.name for feature in model.features))


def _needs(model: Detail, allowed: Limits, words: Words) -> None:
    language = words.language
    lines = []
    for column in model.request_columns:
        lines.append((column.name, words.sentence(column.meaning(language))))
    for feature in model.features:
        choices = ", ".join(feature.categories)
        told = choices or (words("pages.flag") if feature.flag else range_of(feature, words))
        lines.append((feature.name, f"{feature.title(language)}{f': {told}' if told else ''}"))
    items = "".join(
        f"<li><span><b>{escape(name)}</b><br><span class='sg-muted'>{escape(told)}</span></span></li>"
        for name, told in lines
    )
    limits = words(
        "batch.limits",
        size=words.number(allowed.max_file_bytes / MEBIBYTE, 0),
        rows=words.number(allowed.max_file_rows, 0),
        kinds=", ".join(allowed.file_kinds),
    )
    parts.html(
        f'<section class="sg-panel"><h3 class="sg-title">{escape(words("batch.needs"))}</h3>'
        f"<p>{escape(limits)}</p>"
        f'<p class="sg-small">{escape(words("batch.reading"))}</p>'
        f"<details><summary>{escape(words('batch.columns', count=len(lines)))}</summary>"
        f'<ul class="sg-list">{items}</ul></details></section>'
    )
    st.download_button(
        words("batch.template"),
        data=results.template(fields(model), model.example),
        file_name=f"{model.name}.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
        type="tertiary",
    )


def _take(model: Detail, allowed: Limits, words: Words) -> IO[bytes] | None:
    most = allowed.max_file_bytes / MEBIBYTE
    with st.container(key="batch_drop"):
        file = st.file_uploader(
            words("batch.file", size=words.number(most, 0)),
            key=f"batch_file_{model.name}",
            max_upload_size=max(LOOKED_AT, int(most) + 1),
        )
    if file is None:
        parts.html(f'<p class="sg-small">{escape(words("batch.private"))}</p>')
        return None
    if file.size > allowed.max_file_bytes:
        size = words.number(file.size / MEBIBYTE, 1)
        text = words("batch.too_large", size=size, most=words.number(most, 0))
        parts.html(alert(words("batch.trouble_large"), text))
        return None
    return file


def _prepare(model: Detail, file: Any, words: Words) -> None:
    """Shows how the file is read, and sends it once its columns are clear."""
    found = _preview(model, file, words)
    if found is None:
        return
    parts.html(f'<h2 class="sg-title" style="margin-top:1rem">{escape(words("batch.preview"))}</h2>')
    parts.html(f'<p class="sg-small">{escape(words("batch.preview_text", rows=len(found.rows), name=file.name))}</p>')
    st.dataframe(
        [dict(zip(found.headings, row, strict=False)) for row in found.rows],
        hide_index=True,
        key="batch_preview",
    )
    chosen = columns.choose(model, found, file.file_id, words)
    st.button(
        words("batch.start"),
        key="batch_start",
        type="primary",
        icon=":material/play_arrow:",
        disabled=chosen is None,
        on_click=_start,
        args=(model, file, found, chosen),
    )


def _start(model: Detail, file: Any, found: Preview, chosen: dict[str, str]) -> None:
    """Sends the file; a second click finds it on its way."""
    if st.session_state.get(JOB) is None:
        file.seek(0)
        st.session_state[JOB] = Job(model.name, file.name, file, found, chosen)


def _preview(model: Detail, file: Any, words: Words) -> Preview | None:
    key = "batch_seen"
    seen = st.session_state.get(key)
    if seen is None or seen[0] != (model.name, file.file_id):
        with st.spinner(words("batch.looking")):
            file.seek(0)
            try:
                found: Preview | Trouble = batch.preview(model.name, file.name, file)
            except RefusedFileError as error:
                found = error.trouble
        seen = ((model.name, file.file_id), found)
        # A service that is busy is asked again when the page is next drawn.
        st.session_state[key] = None if isinstance(found, Trouble) and found.kind != "unusable-file" else seen
    if isinstance(seen[1], Preview):
        return seen[1]
    parts.html(told(seen[1], words))
    return None
