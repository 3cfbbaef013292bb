"""Which trainings were asked for, why, and what came of them, as the API tells it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import streamlit as st

from frontend import api, askers
from frontend.api import Answer
from frontend.tables import table
from frontend.words import Words

SHOWN = 12


class Retrain(Answer):
    """A training that somebody or something asked for."""

    model: str
    asked_at: str
    cause: str
    decision: str
    detail: str = ""
    asked_by: str = ""
    ended_at: str | None = None
    outcome: str | None = None
    model_version: str | None = None


@st.cache_data(ttl=5, show_spinner=False)
def retrains() -> tuple[Retrain, ...] | None:
    """The newest ones; None where they can't be asked for just now."""
    response = api.fetcher()(f"/retrains?limit={SHOWN}")
    if response is None or response.is_error:
        return None
    try:
        return tuple(Retrain.model_validate(each) for each in response.json()["retrains"])
    except (ValueError, KeyError, TypeError):
        return None


def history(found: Sequence[Retrain] | None, titles: Mapping[str, str], words: Words) -> str:
    """When, of what, why, and what came of it.

    Args:
        found: The newest first; None where they can't be asked for just now.
        titles: Of the models.
        words: The reader's language.
    """
    head = f'<h3 style="font-size:1.02rem;margin-top:1rem">{escape(words("asked.title"))}</h3>'
    if not found:
        return f"{head}<p>{escape(words('more.not_now' if found is None else 'asked.none'))}</p>"
    rows = "".join(
        f'<tr><th scope="row">{escape(words.ago(each.asked_at))}</th>'
        f"<td>{escape(titles.get(each.model, each.model))}</td>"
        f'<td title="{escape(each.detail)}">{escape(_why(each, words))}</td>'
        f"<td>{escape(_result(each, words))}</td></tr>"
        for each in found
    )
    names = ("asked.when", "runs.model", "asked.why", "asked.result")
    heads = "".join(f"<th scope=col>{escape(words(name))}</th>" for name in names)
    return (
        f'{head}<p class="sg-small">{escape(words("asked.text"))}</p>'
        f"{table(f'<tr>{heads}</tr>{rows}', words('asked.title'), 'wide')}"
    )


def _why(each: Retrain, words: Words) -> str:
    why = words.get(f"askedcause.{each.cause}", each.cause)
    return (askers.told(each.asked_by, words) if each.cause == "person" else "") or why


def _result(each: Retrain, words: Words) -> str:
    if each.decision != "started":
        return words.get(f"askedno.{each.decision}", each.decision)
    if each.ended_at is None:
        return words("asked.running")
    said = words.get(f"askedend.{each.outcome}", each.outcome or "")
    return f"{each.model_version}: {said}" if each.model_version else said
