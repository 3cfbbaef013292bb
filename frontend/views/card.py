"""A model card: the document of one model version."""

from __future__ import annotations

from html import escape

import streamlit as st

from frontend import parts
from frontend.words import Words


def show(model: str, version: str | None, text: str | None, words: Words) -> None:
    """The card with a button to keep it, or a sentence that it can't be had now.

    Args:
        model: The model's name.
        version: Of the model, such as v3.
        text: The card in Markdown; empty when it can't be had.
        words: The reader's language.
    """
    if not text:
        parts.html(f"<p>{escape(words('more.not_now'))}</p>")
        return
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        parts.html(f'<p class="sg-small">{escape(words("card.english"))}</p>')
        st.download_button(
            words("card.download"),
            text,
            file_name=f"{model}-{version}.md",
            mime="text/markdown",
            icon=":material/download:",
            on_click="ignore",
        )
    with st.container(border=True, key=f"card_text_{model}"):
        # A heading within the page, not a second one of the page.
        st.markdown(text.replace("\n## ", "\n#### ").replace("# ", "### ", 1))
