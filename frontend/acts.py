"""Acts of an operator: each is asked for once, confirmed once, and done at most once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import streamlit as st
from pydantic import ValidationError

from frontend import operator, simulation, supply
from frontend.api import Answer, ApiDownError
from frontend.operator import DeniedError, Operator, SignedOutError
from frontend.simulation import Simulated, Wish
from frontend.supply import INTAKE, Imported, Intake

T = TypeVar("T", bound=Answer)
Kind = Literal["approve", "rollback", "start", "import", "data", "simulate", "unshift"]

INTENT = "operations_intent"
# Confirmed, and not sent yet: what takes long is sent while the page says so.
GOING = "operations_going"
LONG: frozenset[Kind] = frozenset({"import", "data", "simulate", "unshift"})
OUTCOME = "operations_outcome"


class Version(Answer):
    """A registered version."""

    model_version: str
    aliases: tuple[str, ...] = ()
    registered_at: str
    data_version: str = ""
    waiting: bool = False
    reason: str | None = None
    reason_id: str | None = None

    def told(self, language: str) -> tuple[str, str]:
        """What the gate said, and the language that it is in."""
        return (self.reason_id, "id") if language == "id" and self.reason_id else (self.reason or "", "en")


class Run(Answer):
    """A run of a pipeline."""

    run: int
    status: str
    asked_by: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    blocks_done: int = 0
    blocks_total: int = 0

    @property
    def going_on(self) -> bool:
        """Whether it has not ended."""
        return self.status in ("initial", "running")


class Block(Answer):
    """A step of a run."""

    block: str
    status: str
    started_at: str | None = None
    ended_at: str | None = None
    error: str | None = None


class RunDetail(Run):
    """A run with its steps."""

    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True)
class Act:
    """What somebody asked for and has not confirmed yet.

    Attributes:
        kind: Which act.
        model: On which model.
        before: The version in use, or checked out, when it was asked for; empty if none was.
        after: The version that shall be in use or checked out then; the file that is imported; the data version that a
            pipeline shall train on, empty for what stands in the table.
        wish: The shift that is simulated, or taken back.
    """

    kind: Kind
    model: str
    before: str = ""
    after: str = ""
    wish: Wish | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of an act.

    Attributes:
        act: Which one.
        state: `done`, `refused`, `changed` (somebody was faster), `ended` (signed out) or `down`.
        detail: The run's number, or what the API said, in English.
        by: Who did it, by the key's name.
        imported: What an import did.
        simulated: What a simulation did.
    """

    act: Act
    state: Literal["done", "refused", "changed", "ended", "down"]
    detail: str = ""
    by: str = ""
    imported: Imported | None = None
    simulated: Simulated | None = None


def ask_for(act: Act) -> None:
    """Notes what is to be confirmed."""
    st.session_state[OUTCOME] = None
    st.session_state[INTENT] = act


def drop() -> None:
    """Forgets what was to be confirmed."""
    st.session_state[INTENT] = None


def confirm() -> None:
    """Does what was asked for; a second click finds nothing left to do."""
    act: Act | None = st.session_state.get(INTENT)
    # Before anything is sent: whatever happens, it is not sent twice.
    st.session_state[INTENT] = None
    if act is None:
        return
    if act.kind in LONG:
        st.session_state[GOING] = act
        return
    st.session_state[OUTCOME] = _outcome(act)


def going() -> Act | None:
    """What was confirmed and has to be sent now."""
    act: Act | None = st.session_state.get(GOING)
    return act


def go() -> None:
    """Sends what was confirmed; once, whatever happens."""
    act: Act | None = st.session_state.pop(GOING, None)
    if act is not None:
        st.session_state[OUTCOME] = _outcome(act)


def _outcome(act: Act) -> Outcome:
    who = operator.current()
    if who is None:
        return Outcome(act, "ended")
    try:
        return carry_out(act, who)
    except SignedOutError:
        st.session_state[operator.SESSION] = None
        st.session_state["operator_ended"] = True
        return Outcome(act, "ended")
    except DeniedError as error:
        # Some of the requests may have been sent by then.
        partly = act.wish is not None and act.wish.into == "live" and error.kind.startswith("data-act")
        return Outcome(act, "down" if partly else "refused", error.detail, who.name)
    except ApiDownError:
        return Outcome(act, "down", by=who.name)


def carry_out(act: Act, who: Operator) -> Outcome:
    """Does it, if what was confirmed is still what would be done; raises as `versions` does."""
    if act.kind == "start":
        body = {"data_version": act.after} if act.after else {}
        started = operator.ask(who, "POST", f"/models/{act.model}/pipeline", body)
        return Outcome(act, "done", str(started["run"]), who.name)
    if act.kind == "import":
        return _import(act, who)
    if act.kind == "data":
        return _return_data(act, who)
    if act.wish is not None:
        return Outcome(act, "done", by=who.name, simulated=simulation.send(who, act.model, act.wish))
    known = versions(who, act.model)
    standing = {alias: each.model_version for each in known for alias in each.aliases}
    # What was confirmed is what is done: not what somebody else made of it meanwhile.
    if standing.get("champion", "") != act.before:
        return Outcome(act, "changed", by=who.name)
    if act.kind == "approve" and standing.get("challenger") != act.after:
        return Outcome(act, "changed", by=who.name)
    asked: Mapping[str, Any] = {} if act.kind == "approve" else {"version": act.after}
    path = "update" if act.kind == "approve" else "rollback"
    told = operator.ask(who, "POST", f"/models/{act.model}/{path}", asked)
    return Outcome(act, "done", str(told.get("reason") or ""), who.name)


def _import(act: Act, who: Operator) -> Outcome:
    intake: Intake | None = st.session_state.get(INTAKE)
    if intake is None or (act.model, act.after) != (intake.key[0], intake.name):
        return Outcome(act, "changed", by=who.name)
    found = supply.send(who, act.model, intake, dry_run=False)
    st.session_state[INTAKE] = None
    return Outcome(act, "done", by=who.name, imported=found)


def _return_data(act: Act, who: Operator) -> Outcome:
    if (supply.data_versions(who, act.model).current or "") != act.before:
        return Outcome(act, "changed", by=who.name)
    operator.ask(who, "POST", f"/models/{act.model}/data/rollback", {"version": act.after})
    return Outcome(act, "done", by=who.name)


def versions(who: Operator, model: str) -> tuple[Version, ...]:
    """The registered versions of a model, newest first.

    Raises:
        SignedOutError: The token has ended.
        DeniedError: The registry can't be asked.
        ApiDownError: The API can't be reached or its answer can't be read.
    """
    return tuple(_read(Version, each) for each in operator.ask(who, "GET", f"/models/{model}/versions")["versions"])


def runs(who: Operator, model: str) -> tuple[Run, ...]:
    """The last runs of a model's pipeline, newest first; raises as `versions` does."""
    return tuple(_read(Run, each) for each in operator.ask(who, "GET", f"/models/{model}/pipeline/runs")["runs"])


def run(who: Operator, model: str, number: int) -> RunDetail:
    """A run with its steps; raises as `versions` does."""
    return _read(RunDetail, operator.ask(who, "GET", f"/models/{model}/pipeline/runs/{number}"))


def _read(kind: type[T], answer: Any) -> T:
    try:
        return kind.model_validate(answer)
    except ValidationError as error:
        raise ApiDownError(f"The API's answer can't be read: {error}.") from error
