"""What the checks for drift found, as the API tells it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st
from pydantic import Field

from frontend import api
from frontend.api import Answer, Text
from frontend.verdicts import BAD, GOOD, NOTE, WARN, Finding
from frontend.words import Words

WEIGHTS = {"steady": GOOD, "moved": NOTE, "too_few": NOTE, "unchecked": NOTE, "drifting": WARN, "failed": BAD}


class State(Answer):
    """Drift of a model, in short."""

    model: str
    state: str
    live: str = "unchecked"
    table: str = "unchecked"
    checked_at: str | None = None
    overdue: bool = False


class Check(Answer):
    """One check."""

    id: int
    checked_at: str
    model_version: str
    rows: int
    reference_rows: int
    status: str
    share: float | None = None
    drifted: bool
    alarm: bool
    reason: str
    report: str | None = None
    details: dict[str, Any] = Field(default_factory=dict)

    @property
    def state(self) -> str:
        """As `Subject.state`, of this check."""
        if self.status == "failed":
            return "failed"
        if self.alarm:
            return "drifting"
        if self.status == "too_few":
            return "too_few"
        return "moved" if self.drifted else "steady"


class Feature(Answer):
    """One feature in a window, with both its distributions."""

    feature: str
    title: Text
    unit: Text
    test: str
    p_adjusted: float | None = None
    effect: float
    effect_name: str
    drifted: bool
    bins: dict[str, Any] = Field(default_factory=dict)


class Subject(Answer):
    """Live inputs, or the newest table."""

    state: str
    check: Check | None = None
    window: int | None = None
    features: tuple[Feature, ...] = ()
    history: tuple[Check, ...] = ()

    @property
    def computed(self) -> Check | None:
        """The check that `features` are of."""
        return next((each for each in self.history if each.id == self.window), None)


class Drift(Answer):
    """Drift of a model."""

    model: str
    live: Subject
    table: Subject


@st.cache_data(ttl=10, show_spinner=False)
def states() -> dict[str, State] | None:
    """Drift of every model, in short; None where the API can't tell just now."""
    found = _asked("/drift")
    try:
        return {each["model"]: State.model_validate(each) for each in found["models"]} if found else None
    except (ValueError, KeyError, TypeError):
        return None


@st.cache_data(ttl=10, show_spinner=False)
def drift(model: str) -> Drift | None:
    """Drift of a model; None where the API can't tell just now."""
    found = _asked(f"/models/{model}/drift")
    try:
        return Drift.model_validate(found) if found else None
    except ValueError:
        return None


def report(path: str) -> Callable[[], bytes]:
    """What fetches Evidently's page, in any thread; a line that says so where it can't be fetched."""
    fetch = api.fetcher()

    def fetched() -> bytes:
        response = fetch(path)
        if response is None or response.is_error:
            return b"The report can't be fetched just now: the API, or the registry behind it, does not answer."
        return response.content

    return fetched


def findings(titles: dict[str, str], words: Words) -> list[Finding]:
    """Models that drift, or whose check fails or is overdue, for whoever asks whether all is well."""
    found = []
    for name, each in (states() or {}).items():
        if each.state in ("drifting", "failed"):
            subject = max((each.live, each.table), key=lambda state: WEIGHTS.get(state, NOTE))
            where = "live" if subject == each.live else "table"
            text = words(f"drift.finding_{each.state}", title=titles.get(name, name), where=words(f"drift.in_{where}"))
            # It wants a look; the service itself goes on.
            found.append(Finding(WARN, text))
        if each.overdue:
            key = "drift.finding_overdue" if each.checked_at else "drift.finding_never"
            text = words(key, title=titles.get(name, name), ago=words.ago(each.checked_at or ""))
            found.append(Finding(WARN, text))
    return found


def _asked(path: str) -> dict[str, Any] | None:
    response = api.fetcher()(path)
    if response is None or response.is_error:
        return None
    try:
        told = response.json()
    except ValueError:
        return None
    return told if isinstance(told, dict) else None
