"""What becomes of a file: how far it is, and then each row's answer or reason."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import streamlit as st

from frontend import answered, parts
from frontend.answered import Told
from frontend.batch import JOB, MEBIBYTE, Job, stem
from frontend.catalogue import Detail
from frontend.palette import outcome_color
from frontend.results import REFUSED, SHOWN, WORKBOOK_ROWS, Reason, Result, reasons
from frontend.views.ask import limits as range_of
from frontend.views.trouble import told
from frontend.words import Words

PULSE_SECONDS = 0.5
MOST_REASONS = 6
# So many columns of an answer stand before the reason why there is none: the answer, and how sure it is.
LEADING = 2
# So many of the file's columns that the model does not read stand first: they tell whose row it is.
APART = 3


def show(job: Job, model: Detail, words: Words) -> None:
    """Draws how the file fares."""
    parts.html(f'<p class="sg-muted">{escape(words("batch.of", name=job.name, title=model.title(words.language)))}</p>')
    if job.running:
        _progress(job, words)
        return
    if job.state == "done" and job.result is not None:
        _told(job, job.result, model, words)
    elif job.trouble is not None:
        parts.html(told(job.trouble, words))
        parts.html(f'<p class="sg-small">{escape(words("batch.nothing_kept"))}</p>')
    else:
        parts.html(f'<section class="sg-panel"><p>{escape(words("batch.stopped"))}</p></section>')
    st.button(words("batch.again"), key="batch_again", icon=":material/upload_file:", on_click=_leave)


def _leave() -> None:
    job = st.session_state.pop(JOB, None)
    if job is not None:
        job.stop()


@st.fragment(run_every=PULSE_SECONDS)
def _progress(job: Job, words: Words) -> None:
    if not job.running:
        st.rerun()
    if job.state == "sending":
        size = words.number(job.sent / MEBIBYTE, 1)
        text = words("batch.sending", sent=size, size=words.number(job.preview.size / MEBIBYTE, 1))
    else:
        text = words("batch.answering", rows=words.number(job.rows, 0))
    if job.share is None:
        parts.html(f'<p role="status">{escape(text)}</p>')
    else:
        st.progress(job.share, text)
    parts.html(f'<p class="sg-small">{escape(words("batch.may_leave"))}</p>')
    st.button(words("batch.stop"), key="batch_stop", icon=":material/stop:", on_click=job.stop)


def _told(job: Job, found: Result, model: Detail, words: Words) -> None:
    yes, no = outcome_color(yes=True), outcome_color(yes=False)
    whole = max(found.total, 1)
    head = words(
        "batch.done" if found.refused else "batch.done_all",
        total=words.number(found.total, 0),
        answered=words.number(found.answered, 0),
        refused=words.number(found.refused, 0),
    )
    bar = "".join(
        f'<div style="--n:{max(count / whole, 0.04):.3f};--c:{color}"><i></i><b>{escape(label)}</b> '
        f'<span class="sg-muted">{escape(words.number(count, 0))}</span></div>'
        for count, color, label in (
            (found.answered, yes, words("batch.answered")),
            (found.refused, no, words("batch.refused")),
        )
        if count
    )
    by = words("batch.by", version=job.version)
    parts.html(
        f'<section class="sg-panel" role="status"><h2 class="sg-title">{escape(head)}</h2>'
        f'<div class="sg-shares">{bar}</div>{_why(found, model, words)}'
        f'<p class="sg-small by">{escape(by)}</p></section>'
    )
    _downloads(job, found, words)
    _table(job, found, model, words)


def _why(found: Result, model: Detail, words: Words) -> str:
    """Which fields had how many rows refused, and why."""
    if not found.reasons:
        return ""
    lines = "".join(
        f"<li><span>{_cause(found.examples.get(name), name, model, words)}</span>"
        f"<b>{escape(words.counted('batch.rows', count))}</b></li>"
        for name, count in found.reasons.most_common(MOST_REASONS)
    )
    return f'<h4>{escape(words("batch.why"))}</h4><ul class="sg-list">{lines}</ul>'


def _cause(example: Reason | None, name: str, model: Detail, words: Words) -> str:
    """A field with what it has to hold and what stands there instead, as HTML."""
    title = f"<b>{escape(model.titled(name, words.language) if name else words('batch.whole_row'))}</b>"
    if example is None:
        return title
    if not name:
        return f'{title}<br><span class="sg-muted" lang="en">{escape(example.found)}</span>'
    expected = expected_of(model, name, words) or example.expected
    told = words("batch.why_field", expected=expected, found=_found(example, words))
    return f'{title}<br><span class="sg-muted">{escape(told)}</span>'


def _found(each: Reason, words: Words) -> str:
    return words("batch.nothing") if each.found == "nothing" else f"“{each.found}”"


def _downloads(job: Job, found: Result, words: Words) -> None:
    name = f"{stem(job.name)}-{job.model}-{job.version}"
    with st.container(horizontal=True):
        st.download_button(
            words("batch.csv"),
            data=lambda: job.answers.open("rb"),
            file_name=f"{name}.csv",
            mime="text/csv",
            key="batch_csv",
            icon=":material/download:",
            type="primary",
            on_click="ignore",
        )
        if found.total <= WORKBOOK_ROWS:
            st.download_button(
                words("batch.xlsx"),
                data=lambda: job.workbook().open("rb"),
                file_name=f"{name}.xlsx",
                mime="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
                key="batch_xlsx",
                icon=":material/download:",
                on_click="ignore",
            )


def _table(job: Job, found: Result, model: Detail, words: Words) -> None:
    names = {"all": words("batch.show_all"), "refused": words("batch.show_refused")}
    wanted = "all"
    if found.refused:
        chosen = st.segmented_control(
            words("batch.show"),
            list(names),
            format_func=names.__getitem__,
            default="all",
            key="batch_show",
            required=True,
        )
        wanted = chosen or "all"
    rows = found.refused_rows if wanted == "refused" else found.rows
    total = found.refused if wanted == "refused" else found.total
    if total > SHOWN:
        first = words("batch.first", shown=words.number(SHOWN, 0), total=words.number(total, 0))
        parts.html(f'<p class="sg-small">{escape(first)}</p>')
    own = len(job.preview.headings)
    told = answered.columns(model, found.columns[own:-3], words)
    if wanted == "refused":
        # None of them has an answer: the reason stands first.
        told = [Told("", str) for _ in told]
    told = without_empty(told, [cells[own:-3] for _, cells in rows], found.columns[own:-3])
    apart = [at for at, heading in enumerate(job.preview.headings) if heading and heading not in job.taken]
    shown = [_row(number, cells, (own, apart), told, found, model, words) for number, cells in rows]
    wide = {
        words("batch.row"): st.column_config.NumberColumn(width=60, pinned=True),
        words("batch.status"): st.column_config.TextColumn(width=110, pinned=True),
        words("batch.reason"): st.column_config.TextColumn(width="medium"),
        words("column.decided_by"): st.column_config.TextColumn(help=words("batch.decided_help")),
    }
    st.dataframe(shown, hide_index=True, key="batch_rows", column_config=wide)


def without_empty(told: Sequence[Told], rows: Sequence[Sequence[str]], names: Sequence[str]) -> list[Told]:
    """The answer's columns without who decided and by which rule, where no rule decided anything."""
    ruled = {at for at, name in enumerate(names) if name.endswith("policy")}
    if any(row[at] for row in rows for at in ruled):
        return list(told)
    return [
        Told("", str) if name.endswith(("policy", "decided_by")) else each
        for each, name in zip(told, names, strict=True)
    ]


def _row(
    number: int,
    cells: tuple[str, ...],
    file: tuple[int, Sequence[int]],
    told: Sequence[Told],
    found: Result,
    model: Detail,
    words: Words,
) -> dict[str, Any]:
    """A row as the table has it: what tells it apart, its status and answer, why it has none, the file's columns.

    `file` is how many columns the file brings, and the places of those that the model does not read.
    """
    own, apart = file
    refused = cells[-2] == REFUSED
    shown: dict[str, Any] = {
        words("batch.row"): number,
        words("batch.status"): f"✕ {words('batch.refused')}" if refused else f"✓ {words('batch.answered')}",
    }
    for at in apart[:APART]:
        name = found.columns[at]
        shown[name if name not in shown else f"{name} "] = cells[at]
    answers = [(each, cell) for each, cell in zip(told, cells[own:-3], strict=True) if each.title]
    for at, (each, cell) in enumerate(answers):
        if found.refused and at == LEADING:
            shown[words("batch.reason")] = reason(cells[-1], model, words)
        shown[each.title] = "" if refused else each.read(cell)
    if found.refused:
        shown.setdefault(words("batch.reason"), reason(cells[-1], model, words))
    # The file's own columns as they are; one that is called like an answer stands behind it by its own name.
    for at, (name, cell) in enumerate(zip(found.columns[:own], cells[:own], strict=True)):
        if at not in apart[:APART]:
            shown[name if name not in shown else f"{name} "] = cell
    return shown


def expected_of(model: Detail, name: str, words: Words) -> str:
    """What a field has to hold, in the reader's language; empty where the declaration does not tell."""
    feature, column = model.feature(name), model.column(name)
    if feature is not None and feature.flag:
        return words("pages.flag")
    if feature is not None:
        return ", ".join(feature.categories) or range_of(feature, words)
    return column.form(words.language) if column is not None and column.form is not None else ""


def reason(problem: str, model: Detail, words: Words) -> str:
    """Why a row was refused, in the reader's language as far as the declaration tells what was expected."""
    known = reasons(problem)
    if not known:
        return problem
    lines = []
    for each in known:
        expected = expected_of(model, each.field, words)
        found = _found(each, words)
        title = model.titled(each.field, words.language)
        lines.append(words("batch.found", title=title, found=found, expected=expected or each.expected))
    return " ".join(lines)
