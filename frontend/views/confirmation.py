"""Before an act: what will happen. After it: what has."""

from __future__ import annotations

from html import escape

import streamlit as st

from frontend import acts, catalogue, operator, parts, supply
from frontend import simulation as shifts
from frontend.acts import Act, Outcome
from frontend.views import intake, simulation
from frontend.views.trouble import alert
from frontend.words import Words
from sigap.settings import get_settings

_TITLES = {
    "approve": "ops.approve_title",
    "rollback": "ops.rollback_title",
    "start": "ops.start_title",
    "import": "supply.import_title",
    "data": "supply.data_title",
    "simulate": "sim.ask_title",
    "unshift": "sim.undo_title",
}
_DONE = {
    "approve": "ops.approve_done",
    "rollback": "ops.rollback_done",
    "start": "ops.start_done",
    "import": "supply.import_done",
    "data": "supply.data_done",
}
_GOING = {
    "import": "supply.import_going",
    "data": "supply.data_going",
    "simulate": "sim.going",
    "unshift": "sim.undo_going",
}
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
    _look_anew()


def _look_anew() -> None:
    # What was served, decided and registered may be another by now.
    catalogue.forget()
    catalogue.decisions.clear()
    supply.known_versions.clear()
    shifts.standing.clear()


def forget() -> None:
    """Takes the outcome of the last act away."""
    st.session_state[acts.OUTCOME] = None
    st.session_state[supply.INTAKE] = None
    acts.drop()


def _lines(act: Act, words: Words) -> list[str]:
    """What will happen."""
    model = catalogue.detail(act.model)
    title = model.title(words.language)
    if act.kind == "start":
        key = "supply.start_what" if act.after else "ops.start_what"
        return [words(key, title=title, data=act.after), words("ops.start_then")]
    if act.kind == "data":
        what = words("supply.data_what", title=title, before=act.before or "–", after=act.after)
        return [what, words("supply.data_then")]
    if act.kind == "import":
        return _import_lines(act, title, words)
    if act.wish is not None:
        return simulation.lines(act, title, words)
    if not act.before:
        return [words("ops.first_what", title=title, after=act.after), words("ops.act_then")]
    since = since_when(act.model, act.before, words)
    what = words("ops.move_what", title=title, before=act.before, after=act.after)
    return [what, *([words("ops.since", version=act.before, since=since)] if since else []), words("ops.act_then")]


def _import_lines(act: Act, title: str, words: Words) -> list[str]:
    held: supply.Intake | None = st.session_state.get(supply.INTAKE)
    found = held.found if held is not None else None
    if found is None:
        return []
    lines = [words("supply.import_what", title=title, file=act.after, **counts(found, words))]
    if found.rejected:
        lines.append(words("supply.import_aside", count=words.number(found.rejected, 0)))
    if found.mock_removed:
        lines.append(words("supply.mock_gives_way", count=words.number(found.mock_removed, 0)))
    if found.mock_said:
        lines.append(words("supply.mock_said", count=words.number(found.mock_said, 0)))
    return [*lines, words("supply.import_then"), words(f"supply.import_by_{'itself' if by_itself(act) else 'hand'}")]


def by_itself(act: Act) -> bool:
    """Whether the watcher has the model trained when its rows change; the dashboard shares its settings."""
    listed = get_settings().retrain_on_change.replace(",", " ").split()
    return listed == ["all"] or act.model in listed


def counts(found: supply.Imported, words: Words) -> dict[str, str]:
    """How many rows are new, changed and unchanged, as they are read."""
    return {name: words.number(getattr(found, name), 0) for name in ("rows", "inserted", "changed", "unchanged")}


def since_when(model: str, version: str, words: Words) -> str:
    """Since when a version is in use, in words; empty where the records don't tell."""
    known = (catalogue.decisions((model,)) or {}).get(model) or ()
    moved = next((each for each in known if each.outcome == "promoted" and each.champion == version), None)
    if moved is None or moved.decided_at is None:
        return ""
    return f"{words.moment(moved.decided_at)} ({words.ago(moved.decided_at)})"


def told(words: Words) -> None:
    """What became of the last act; one that takes long is sent here, while the page says so."""
    act = acts.going()
    if act is not None:
        with st.spinner(words(_GOING[act.kind])):
            acts.go()
            _look_anew()
    outcome: Outcome | None = st.session_state.get(acts.OUTCOME)
    if outcome is None:
        return
    act = outcome.act
    model = catalogue.detail(act.model)
    title = model.title(words.language)
    if outcome.state != "done":
        head = words("ops.unsure" if outcome.state == "down" else "ops.not_done", title=title)
        parts.html(alert(head, words(_NOT_DONE[outcome.state]), outcome.detail))
        return
    by = words("ops.by", name=outcome.by)
    if outcome.simulated is not None:
        head = simulation.headline(outcome.simulated, title, words)
        _panel(head, simulation.told(outcome.simulated, model, words), by)
        return
    numbers = counts(outcome.imported, words) if outcome.imported is not None else {}
    head = words(_DONE[act.kind], title=title, before=act.before, after=act.after, run=outcome.detail, **numbers)
    quote = "" if act.kind == "start" else outcome.detail
    own = f'<p class="sg-quote" lang="en">{escape(quote)}</p>' if quote else ""
    _panel(head, f"{own}{_next(act, words)}", by)
    if outcome.imported is not None and outcome.imported.rejected:
        # What was not taken in is told as long as the outcome is.
        intake.refused(outcome.imported, model, words, "done")


def _panel(head: str, more: str, by: str) -> None:
    """What was done; `more` is HTML."""
    parts.html(
        f'<section class="sg-panel" role="status" style="margin-bottom:1rem"><h3 class="sg-title">✓ {escape(head)}</h3>'
        f'{more}<p class="sg-small">{escape(by)}</p></section>'
    )


def _next(act: Act, words: Words) -> str:
    """What an operator may want to do then."""
    key = {"import": "supply.import_next", "data": "supply.data_next"}.get(act.kind)
    if act.kind == "import" and by_itself(act):
        key = "supply.import_next_itself"
    return f"<p>{escape(words(key))}</p>" if key else ""
