"""Operations: who may, signs in; then approves, goes back, and starts pipelines, each act confirmed once."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape

import streamlit as st

from frontend import acts, catalogue, operator, parts
from frontend.api import ApiDownError
from frontend.catalogue import Decision
from frontend.operator import DeniedError, Operator, SignedOutError
from frontend.views import confirmation, intake, pipeline, simulation, stock, versions
from frontend.views.trouble import alert
from frontend.words import Words


def show(words: Words) -> None:
    """Draws the page.

    Raises:
        ApiDownError: The API can't be reached.
    """
    parts.html(
        f'<section class="sg-hero"><p class="sg-eyebrow">{escape(words("ops.eyebrow"))}</p>'
        f"<h1>{escape(words('ops.title'))}</h1>"
        f'<p class="sg-question">{escape(words("ops.text"))}</p></section>'
    )
    who = operator.current()
    if who is None:
        confirmation.told(words)
        _sign_in(words)
        return
    _signed_in(who, words)
    name = _choose(words)
    if name is None:
        return
    confirmation.told(words)
    try:
        versions.show(who, name, words)
        pipeline.show(who, name, words)
        intake.show(who, name, words)
        stock.show(who, name, words)
        simulation.show(who, name, words)
    except SignedOutError:
        ended()
    confirmation.show(words)


def ended() -> None:
    """Signs out where the API no longer knows the token, and draws the page anew."""
    st.session_state[operator.SESSION] = None
    st.session_state["operator_ended"] = True
    acts.drop()
    st.rerun()


def _sign_in(words: Words) -> None:
    if st.session_state.get("operator_ended"):
        parts.html(f'<p class="sg-notice" role="status">{escape(words("ops.ended"))}</p>')
    left, right = st.columns([6, 6], gap="large")
    with left, st.form("operator_form", clear_on_submit=True):
        key = st.text_input(
            words("ops.key"), type="password", autocomplete="off", help=words("ops.key_help"), key="operator_key"
        )
        sent = st.form_submit_button(words("ops.sign_in"), type="primary", icon=":material/login:")
    with right:
        parts.html(
            f'<section class="sg-panel"><h3 class="sg-title">{escape(words("ops.why"))}</h3>'
            f"<p>{escape(words('ops.why_text'))}</p>"
            f'<p class="sg-small" style="margin-top:.6rem">{escape(words("ops.how"))} '
            "<code>./run key create NAME --scope admin</code></p></section>"
        )
    if not sent:
        return
    with left:
        problem, quote = _try(key, words)
        if problem:
            parts.html(alert(problem, "", quote))
            return
    st.rerun()


def _try(key: str, words: Words) -> tuple[str, str]:
    """Signs in; what is wrong in the reader's words, and in the API's, where it did not work."""
    if not key.strip():
        return words("ops.no_key"), ""
    try:
        with st.spinner(words("ops.checking")):
            st.session_state[operator.SESSION] = operator.sign_in(key.strip())
    except DeniedError as error:
        known = {"unknown-key": "ops.unknown_key", "forbidden": "ops.not_admin"}
        text = words(known.get(error.kind, "ops.refused"))
        return text, error.detail if error.kind not in known else ""
    except SignedOutError:
        return words("ops.unknown_key"), ""
    except ApiDownError:
        return words("ops.down"), ""
    st.session_state["operator_ended"] = False
    return "", ""


def _signed_in(who: Operator, words: Words) -> None:
    until = datetime.fromtimestamp(who.expires, UTC)
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        text = words("ops.signed_in", name=who.name, until=f"{until:%H:%M} UTC")
        parts.html(f'<p role="status">{escape(text)}</p>')
        st.button(words("ops.sign_out"), key="operator_out", icon=":material/logout:", on_click=_sign_out, args=(who,))


def _sign_out(who: Operator) -> None:
    # First forgotten here: a second click finds nobody.
    if st.session_state.get(operator.SESSION) is None:
        return
    st.session_state[operator.SESSION] = None
    st.session_state[acts.OUTCOME] = None
    acts.drop()
    operator.sign_out(who)


def _choose(words: Words) -> str | None:
    """The model to operate, which stands in the address."""
    entries = {each.name: each for each in catalogue.entries()}
    if not entries:
        parts.html(f'<p class="sg-muted">{escape(words("state.empty.text"))}</p>')
        return None
    decided = catalogue.decisions(tuple(entries))
    waiting = [name for name, known in decided.items() if _waits(known or ())]
    key = "operator_model"
    if st.session_state.get(key) not in entries:
        asked = st.query_params.get("model")
        st.session_state[key] = asked if asked in entries else (waiting or list(entries))[0]
    if waiting:
        names = ", ".join(entries[name].title(words.language) for name in waiting)
        parts.html(f'<p class="sg-notice">{escape(words("ops.waiting_for", names=names))}</p>')
    name: str = st.selectbox(
        words("ops.model"),
        list(entries),
        format_func=lambda each: entries[each].title(words.language),
        key=key,
        on_change=confirmation.forget,
    )
    st.query_params["model"] = name
    return name


def _waits(decided: tuple[Decision, ...]) -> bool:
    """Whether the newest run that came to its end left a version for a person to approve."""
    newest = next((each for each in decided if each.outcome != "running"), None)
    return newest is not None and newest.rule == "waiting"
