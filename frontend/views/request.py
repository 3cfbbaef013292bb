"""The id of an answer, to copy, and the way from it to its rows."""

from __future__ import annotations

from html import escape

import streamlit as st

from frontend import parts
from frontend.words import Words


def show(model: str, request_id: str, words: Words) -> None:
    """Draws the id that the API gave the answer, and a link to where the answer comes from."""
    if not request_id:
        return
    page = st.session_state.get("pages", {}).get("experiments")
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"request_{model}"):
        parts.html(f'<p class="sg-small">{escape(words("pages.request"))}</p>')
        st.code(request_id, language=None, width="content")
        if page is not None:
            st.page_link(
                page,
                label=words("pages.request_link"),
                icon=":material/account_tree:",
                query_params={"lang": words.language, "model": model, "tab": "origin", "request": request_id},
            )
