"""Trying the alarm: a stated shift of live inputs or of the table, and the way back."""

from __future__ import annotations

from html import escape

import streamlit as st

from frontend import acts, catalogue, drift, parts, simulation
from frontend.acts import Act
from frontend.catalogue import Detail
from frontend.operator import DeniedError, Operator
from frontend.simulation import Into, Simulated, Simulation, Wish
from frontend.views.trouble import alert
from frontend.words import Words

SHIFTS = (-3.0, -2.0, -1.5, -1.0, -0.5, 0.5, 1.0, 1.5, 2.0, 3.0)
ROWS = (50, 100, 200, 500, 1000)


def show(who: Operator, name: str, words: Words) -> None:
    """Draws the section.

    Raises:
        SignedOutError: The token has ended.
        ApiDownError: The API can't be reached.
    """
    parts.html(
        f'<h2 class="sg-title" style="margin-top:1.6rem">{escape(words("sim.title"))}</h2>'
        f'<p class="sg-small">{escape(words("sim.text"))}</p>'
    )
    try:
        found = simulation.standing(who, name)
    except DeniedError as error:
        parts.html(alert(words("sim.trouble"), "", error.detail))
        return
    if found.shifted_since is not None:
        _way_back(name, found.shifted_since, words)
    _form(name, found, words)


def _way_back(name: str, since: str, words: Words) -> None:
    text = words("sim.shifted", since=f"{words.moment(since)} ({words.ago(since)})")
    parts.html(f'<p class="sg-notice" role="status">{escape(text)}</p>')
    st.button(
        words("sim.undo"),
        key="operator_unshift",
        icon=":material/undo:",
        on_click=acts.ask_for,
        args=(Act("unshift", name, wish=Wish("table", undo=True)),),
    )


def _form(name: str, found: Simulation, words: Words) -> None:
    into = _into(name, words)
    left, right = st.columns(2, gap="large")
    with left:
        shift: float = st.select_slider(
            words("sim.shift"),
            SHIFTS,
            value=1.0,
            format_func=lambda each: words.number(each, 1, sign=True),
            key=f"operator_shift_{name}",
            help=words("sim.shift_help"),
        )
    with right:
        rows: int = st.select_slider(
            words("sim.rows") if into == "table" else words("sim.requests"),
            ROWS,
            value=200,
            format_func=lambda each: words.number(each, 0),
            key=f"operator_shift_rows_{name}_{into}",
        )
    held = into == "table" and found.shifted_since is not None
    st.button(
        words("sim.ask"),
        key="operator_simulate",
        icon=":material/science:",
        disabled=held,
        help=words("sim.undo_first") if held else None,
        on_click=acts.ask_for,
        args=(Act("simulate", name, wish=Wish(into, shift, rows)),),
    )


def _into(name: str, words: Words) -> Into:
    # Of a series, values of the table that are shifted are only another price level.
    if catalogue.detail(name).task == "forecasting":
        parts.html(f'<p class="sg-small">{escape(words("sim.live_only"))}</p>')
        return "live"
    names: dict[Into, str] = {"live": words("sim.live"), "table": words("sim.table")}
    chosen: Into | None = st.segmented_control(
        words("sim.into"),
        list(names),
        format_func=lambda each: names[each],
        default="live",
        key=f"operator_into_{name}",
    )
    return chosen or "live"


def lines(act: Act, title: str, words: Words) -> list[str]:
    """What will happen."""
    wish = act.wish
    if wish is None:
        return []
    if wish.undo:
        return [words("sim.undo_what", title=title), words("sim.undo_then")]
    numbers = {"rows": words.number(wish.rows, 0), "shift": words.number(wish.shift, 1, sign=True)}
    if wish.into == "table":
        return [words("sim.table_what", title=title, **numbers), words("sim.table_then")]
    return [words("sim.live_what", title=title, **numbers), words("sim.live_then")]


def headline(done: Simulated, title: str, words: Words) -> str:
    """What was done, in a sentence."""
    rows = words.number(done.rows, 0)
    if done.undone:
        return words("sim.undone", title=title, rows=rows)
    if done.into == "table":
        return words("sim.table_done", title=title, rows=rows)
    return words("sim.live_done", title=title, rows=rows, answered=words.number(done.answered, 0))


def told(done: Simulated, model: Detail, words: Words) -> str:
    """What became of it, as HTML: feature by feature, and where it is seen."""
    if done.undone:
        text = words("sim.left", count=words.number(done.left, 0)) if done.left else ""
        return f"<p>{escape(text)}</p>" if text else ""
    listed = "".join(
        f"<li><span>{escape(model.titled(each.feature, words.language))}"
        f"{'' if each.tested else ' · ' + escape(words('sim.untested'))}</span>"
        f"<b>{escape(words('sim.got', got=words.number(each.got, sign=True)))}</b></li>"
        for each in done.moved
    )
    refused = f'<p class="sg-quote" lang="en">{escape(done.refusal)}</p>' if done.refusal else ""
    features = (
        f"<details><summary>{escape(words('sim.moved', count=len(done.moved)))}</summary>"
        f'<ul class="sg-list">{listed}</ul><p class="sg-small">{escape(words("sim.got_help"))}</p></details>'
    )
    tested = sum(each.tested for each in done.moved)
    personal = ""
    if tested < len(done.moved):
        told = words("sim.personal", tested=tested, count=len(done.moved))
        personal = f'<p class="sg-small">{escape(told)}</p>'
    following = " ".join(
        (words("sim.table_next" if done.into == "table" else "sim.live_next"), again(done, model, words))
    )
    return f'{refused}{features if listed else ""}{personal}<p style="margin-top:.4rem">{escape(following)}</p>'


def again(done: Simulated, model: Detail, words: Words) -> str:
    """How many windows an alarm takes, as the model's last check had it, and what to do for it."""
    known = drift.drift(model.name)
    subject = (known.table if done.into == "table" else known.live) if known else None
    last = subject.check or next(iter(subject.history), None) if subject else None
    rules = last.details.get("rules", {}) if last else {}
    need, of = rules.get("drifted_windows"), rules.get("windows")
    if not need or not of:
        return words("sim.again")
    return words("sim.again_table" if done.into == "table" else "sim.again_live", need=need, of=of)
