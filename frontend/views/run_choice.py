"""Choices that stand in the address, and runs as a reader tells them apart."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from frontend import catalogue
from frontend.runs import Run
from frontend.views.about import outcome
from frontend.words import Words


def pick(
    key: str, options: Mapping[str, str], label: str, address: str, default: str, *, width: int | None = None
) -> str:
    """A choice that stands in the address, so that it can be passed on.

    Args:
        key: The widget's.
        options: Their texts by value; the first one stands for what is not known.
        label: Of the widget.
        address: Its name in the address.
        default: Chosen where neither the session nor the address names one.
        width: Of the widget in pixels; all there is by default.
    """
    # A page change drops what its widgets held; the copy brings the reader back to where he was.
    asked = st.session_state.get(key) or st.query_params.get(address) or st.session_state.get(f"kept_{key}")
    chosen = str(asked) if asked in options else default if default in options else next(iter(options))
    st.session_state[key] = st.session_state[f"kept_{key}"] = chosen
    st.query_params[address] = chosen
    picked = st.selectbox(label, list(options), format_func=options.__getitem__, key=key, width=width or "stretch")
    return str(picked)


def run_title(run: Run, words: Words) -> str:
    """When a run began, on which data, and what it led to."""
    return f"{words.moment(run.started_at)} · {words('decided.data', data=run.data_version)} · {verdict(run, words)}"


def verdict(run: Run, words: Words) -> str:
    """What a run led to, in a few words."""
    known = catalogue.Decision(outcome=run.outcome, rule=run.rule)
    version = f" ({run.model_version})" if run.model_version else ""
    return outcome(known, words) + version


def duration(seconds: float, words: Words) -> str:
    """A time span in seconds, or in minutes where it is longer than two."""
    if seconds < 120:
        return words("runs.seconds", count=words.number(seconds, 0))
    return words("runs.minutes", count=words.number(seconds / 60, 0))
