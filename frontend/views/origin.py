"""From an answer back to its rows: by the request's id, or from the version that a run made."""

from __future__ import annotations

from html import escape

import streamlit as st

from frontend import catalogue, parts, runs
from frontend.catalogue import Detail, Lineage
from frontend.runs import Origin, Run
from frontend.views.run_choice import duration
from frontend.words import MISSING, Words

LONGEST_ID = 64


def show(model: Detail, run: Run, words: Words) -> None:
    """Draws the chain of the request that the reader asks for, else of the run's version."""
    if "runs_request" not in st.session_state:
        st.session_state["runs_request"] = st.query_params.get("request", "")[:LONGEST_ID]
    st.text_input(
        words("runs.request"),
        key="runs_request",
        max_chars=LONGEST_ID,
        placeholder="x-request-id",
        help=words("runs.request_help"),
    )
    asked = str(st.session_state["runs_request"]).strip()
    if not asked:
        st.query_params.pop("request", None)
        parts.html(f'<p class="sg-small">{escape(words("runs.request_hint"))}</p>')
        if not run.model_version:
            parts.html(f"<p>{escape(words('runs.no_version'))}</p>")
            return
        _chain(model.name, run.model_version, None, words)
        return
    st.query_params["request"] = asked
    names = (model.name, *(entry.name for entry in catalogue.entries() if entry.name != model.name))
    found = runs.origins(names, asked)
    if isinstance(found, str):
        parts.html(f'<p class="sg-notice" role="status">{escape(words(f"runs.request_{found}"))}</p>')
        return
    name, answered = found
    _chain(name, answered.model_version, answered, words)


def _chain(name: str, model_version: str, answered: Origin | None, words: Words) -> None:
    found = runs.lineage(name, model_version)
    if found is None:
        parts.html(f"<p>{escape(words('more.not_now'))}</p>")
        return
    title = catalogue.detail(name).title(words.language)
    parts.html(
        f"<p>{escape(words('lineage.text'))}</p>"
        f'<ol class="sg-way">{"".join(_step(*step) for step in steps(title, found, answered, words))}</ol>'
    )
    if found.data.query:
        st.caption(words("lineage.query"))
        st.code(found.data.query.strip(), language="sql", wrap_lines=True)


def steps(title: str, found: Lineage, answered: Origin | None, words: Words) -> list[tuple[str, str, str]]:
    """The chain's links: what each is, its name, and what else there is to say."""
    data, run, version = found.data, found.run, found.version
    links = []
    if answered is not None:
        links.append((words("runs.step_request"), answered.request_id, words.moment(answered.at)))
    aliases = ", ".join(version.aliases)
    registered = words("runs.registered", when=words.moment(version.registered_at)) if version.registered_at else ""
    took = duration(run.seconds, words) if run.seconds is not None else ""
    started = words.moment(run.started_at) if run.started_at else ""
    links += [
        (words("lineage.answer"), f"{title} {version.model_version}", _told(aliases, registered)),
        (words("lineage.run"), run.run_id or MISSING, _told(started, took)),
        (words("runs.step_code"), found.code.git_commit or MISSING, ""),
        (
            words("lineage.data"),
            data.git_tag or data.version,
            words("runs.hash", md5=data.dvc_md5) if data.dvc_md5 else "",
        ),
        (words("runs.step_commit"), data.git_commit or words("runs.uncommitted"), ""),
        (
            words("lineage.rows"),
            words.number(data.rows, 0),
            words.counted("about.rejected", data.rows_rejected) if data.rows_rejected else "",
        ),
    ]
    return links


def _told(*texts: str) -> str:
    return " · ".join(text for text in texts if text)


def _step(what: str, name: str, more: str) -> str:
    return f"<li><span>{escape(what)}</span><b>{escape(name)}</b><small>{escape(more)}</small></li>"
