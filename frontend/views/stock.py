"""The recorded versions of a model's data, and the way back to an earlier one."""

from __future__ import annotations

from html import escape

import streamlit as st

from frontend import acts, parts, supply
from frontend.acts import Act
from frontend.api import ApiDownError
from frontend.operator import DeniedError, Operator
from frontend.views.trouble import alert
from frontend.words import Words


def show(who: Operator, name: str, words: Words) -> None:
    """Draws them.

    Raises:
        SignedOutError: The token has ended.
    """
    parts.html(
        f'<h2 class="sg-title" style="margin-top:1.6rem">{escape(words("supply.versions"))}</h2>'
        f'<p class="sg-small">{escape(words("supply.versions_text"))}</p>'
    )
    try:
        with st.spinner(words("supply.loading")):
            found = supply.known_versions(who, name)
    except DeniedError as error:
        parts.html(alert(words("supply.no_versions"), "", error.detail))
        return
    except ApiDownError:
        parts.html(alert(words("supply.no_versions"), ""))
        return
    dates = {each.version: words.ago(each.created_at) if each.created_at else "" for each in found.versions}
    others = [each.version for each in found.versions if each.version != found.current]
    current = found.current or "–"
    parts.html(
        f'<section class="sg-panel"><p class="sg-eyebrow">{escape(words("supply.checked_out"))}</p>'
        f'<h3>{escape(current)}</h3><p class="sg-small">{escape(dates.get(current, ""))}</p></section>'
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if others:
            chosen = st.selectbox(
                words("supply.back_to"),
                others,
                format_func=lambda version: " · ".join(filter(None, (version, dates[version]))),
                key=f"operator_data_{name}_{found.current}",
            )
            st.button(
                words("supply.return"),
                key="operator_return",
                icon=":material/history:",
                on_click=acts.ask_for,
                args=(Act("data", name, found.current or "", chosen),),
            )
        if found.current in dates:
            st.button(
                words("supply.train", data=current),
                key="operator_train_on",
                icon=":material/model_training:",
                on_click=acts.ask_for,
                args=(Act("start", name, "", current),),
            )
    if not others:
        parts.html(f'<p class="sg-small">{escape(words("supply.no_other"))}</p>')
