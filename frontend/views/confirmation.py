"""Before an act: what will happen. After it: what has."""

from __future__ import annotations

from html import escape

import streamlit as st

from frontend import acts, catalogue, operator, parts
from frontend.acts import Act, Outcome
from frontend.views.trouble import alert
from frontend.words import Words

_TITLES = {"approve": "ops.approve_title", "rollback": "ops.rollback_title", "start": "ops.start_title"}
_DONE = {"approve": "ops.approve_done", "rollback": "ops.rollback_done", "start": "ops.start_done"}
_NOT_DONE = {"changed": "ops.changed", "ended": "ops.act_ended", "down": "ops.act_down", "refused": "ops.act_refused"}


def show(words: Words) -> None:
    """Asks once, where something waits to be confirmed."""
    act: Act | None = st.session_state.get(acts.INTENT)
    if act is not None:
        st.dialog(words(_TITLES[act.kind]), on_dismiss=acts.drop)(_ask)(act, words)


def _ask(act: Act, words: Words) -> None:
    who = operator.current()
    for line in _lines(act, words):
        parts.html(f"<p>{escape(line)}</p>")
    if who is not None:
        parts.html(f'<p class="sg-small">{escape(words("ops.recorded", name=who.name))}</p>')
    with st.container(horizontal=True):
        st.button(
            words("ops.confirm"), key="operator_confirm", type="primary", icon=":material/check:", on_click=_confirm
        )
        st.button(words("ops.cancel"), key="operator_cancel", on_click=acts.drop)
    # Confirmed or given up: the dialog closes with the next drawing of the whole page.
    if st.session_state.get(acts.INTENT) is None:
        st.rerun()


def _confirm() -> None:
    acts.confirm()
    # What was served, decided and registered may be another by now.
    catalogue.entries.clear()
    catalogue.detail.clear()
    catalogue.decisions.clear()


def forget() -> None:
    """Takes the outcome of the last act away."""
    st.session_state[acts.OUTCOME] = None
    acts.drop()


def _lines(act: Act, words: Words) -> list[str]:
    """What will happen."""
    model = catalogue.detail(act.model)
    title = model.title(words.language)
    if act.kind == "start":
        return [words("ops.start_what", title=title), words("ops.start_then")]
    if not act.before:
        return [words("ops.first_what", title=title, after=act.after), words("ops.act_then")]
    since = since_when(act.model, act.before, words)
    what = words("ops.move_what", title=title, before=act.before, after=act.after)
    return [what, *([words("ops.since", version=act.before, since=since)] if since else []), words("ops.act_then")]


def since_when(model: str, version: str, words: Words) -> str:
    """Since when a version is in use, in words; empty where the records don't tell."""
    known = (catalogue.decisions((model,)) or {}).get(model) or ()
    moved = next((each for each in known if each.outcome == "promoted" and each.champion == version), None)
    if moved is None or moved.decided_at is None:
        return ""
    return f"{words.moment(moved.decided_at)} ({words.ago(moved.decided_at)})"


def told(words: Words) -> None:
    """What became of the last act."""
    outcome: Outcome | None = st.session_state.get(acts.OUTCOME)
    if outcome is None:
        return
    act = outcome.act
    title = catalogue.detail(act.model).title(words.language)
    if outcome.state != "done":
        head = words("ops.unsure" if outcome.state == "down" else "ops.not_done", title=title)
        parts.html(alert(head, words(_NOT_DONE[outcome.state]), outcome.detail))
        return
    head = words(_DONE[act.kind], title=title, before=act.before, after=act.after, run=outcome.detail)
    quote = "" if act.kind == "start" else outcome.detail
    by = words("ops.by", name=outcome.by)
    own = f'<p class="sg-quote" lang="en">{escape(quote)}</p>' if quote else ""
    parts.html(
        f'<section class="sg-panel" role="status" style="margin-bottom:1rem"><h3 class="sg-title">✓ {escape(head)}</h3>'
        f'{own}<p class="sg-small">{escape(by)}</p></section>'
    )
