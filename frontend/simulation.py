"""A stated shift that an operator injects to see the alarm come, and takes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import httpx
import streamlit as st
from pydantic import ValidationError

from frontend import operator
from frontend.api import Answer, ApiDownError
from frontend.operator import Operator
from sigap.settings import get_settings

Into = Literal["live", "table"]


class Moved(Answer):
    """How a feature was shifted, in standard deviations."""

    feature: str
    asked: float
    got: float
    tested: bool = True


class Simulated(Answer):
    """What was sent, changed or brought back."""

    into: Into
    undone: bool
    table: str | None = None
    rows: int
    answered: int | None = None
    left: int = 0
    refusal: str = ""
    moved: tuple[Moved, ...] = ()


class Simulation(Answer):
    """Since when the table holds a simulated shift; None if it holds none."""

    shifted_since: str | None = None


@dataclass(frozen=True)
class Wish:
    """What is to be injected.

    Attributes:
        into: Live inputs or the table.
        shift: In standard deviations.
        rows: How many requests, or rows at most.
        undo: Take the shift of the table back instead.
    """

    into: Into
    shift: float = 1.0
    rows: int = 200
    undo: bool = False


def send(who: Operator, model: str, wish: Wish) -> Simulated:
    """Injects it, or takes it back.

    Raises:
        SignedOutError: The token has ended.
        DeniedError: The API refuses.
        ApiDownError: The API can't be reached or its answer can't be read.
    """
    body = {"into": wish.into, "shift": wish.shift, "rows": wish.rows, "undo": wish.undo}
    # Longer than the API itself lets it take.
    patience = httpx.Timeout(get_settings().data_act_seconds + 30.0, connect=1.5)
    try:
        return Simulated.model_validate(
            operator.ask(who, "POST", f"/models/{model}/simulate-drift", body, patience=patience)
        )
    except ValidationError as error:
        raise ApiDownError(f"The API's answer can't be read: {error}.") from error


@st.cache_data(ttl=30, show_spinner=False)
def standing(_who: Operator, model: str) -> Simulation:
    """Whether the table holds a simulated shift, for pages; raises as `send` does, and what raises is not kept."""
    try:
        return Simulation.model_validate(operator.ask(_who, "GET", f"/models/{model}/simulate-drift"))
    except ValidationError as error:
        raise ApiDownError(f"The API's answer can't be read: {error}.") from error
