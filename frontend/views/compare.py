"""Two runs side by side: what they were given, what came out, and in what they differ."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import NamedTuple

import streamlit as st

from frontend import axes, parts, runs, scores, sweeps
from frontend.catalogue import Detail
from frontend.runs import Runs, Tried
from frontend.tables import table
from frontend.views.run_choice import pick, run_title, verdict
from frontend.words import MISSING, Words


class Line(NamedTuple):
    """One thing of both runs.

    Attributes:
        title: What it is.
        one: The chosen run's value, as it is read.
        other: The other's.
        same: Whether they are equal.
        note: By how much they differ.
    """

    title: str
    one: str
    other: str
    same: bool
    note: str = ""


def show(one: Tried, found: Runs, model: Detail, words: Words) -> None:
    """Draws the comparison of a run with another that the reader chooses."""
    others = {run.run_id: run_title(run, words) for run in found.runs if run.run_id != one.run_id}
    if not others:
        parts.html(f"<p>{escape(words('runs.only_one'))}</p>")
        return
    if st.session_state.get("runs_with") not in others:
        st.session_state.pop("runs_with", None)
    # The one before it, of which it is the successor.
    ids = [run.run_id for run in found.runs]
    before = next((each for each in ids[ids.index(one.run_id) + 1 :]), next(iter(others)))
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        picked = pick("runs_with", others, words("runs.compare_with"), "with", before, width=480)
        only = st.toggle(words("runs.only_different"), value=True, key="runs_differ")
    other = runs.run(model.name, picked)
    if other is None:
        parts.html(f"<p>{escape(words('more.not_now'))}</p>")
        return
    groups = [
        (words("runs.group_origin"), list(_origin(one, other, words))),
        (words("runs.group_scores"), list(_scores(one, other, model, words))),
        (words("runs.group_params"), list(_params(one, other, words))),
    ]
    different = sum(not line.same for _, lines in groups for line in lines)
    key = "runs.differ" if different else "runs.all_same"
    parts.html(f"<p>{escape(words(key, count=different))}</p>{_table(groups, one, other, words, only=only)}")


def _origin(one: Tried, other: Tried, words: Words) -> Iterator[Line]:
    pairs = (
        ("runs.outcome", verdict(one, words), verdict(other, words)),
        ("runs.winner", *(_winner(run, words) for run in (one, other))),
        ("lineage.data", *(_joined(run.data_version, run.data_md5) for run in (one, other))),
        ("lineage.code", runs.short(one.git_commit), runs.short(other.git_commit)),
        ("runs.environment", runs.short(one.lock_sha256), runs.short(other.lock_sha256)),
    )
    for key, mine, theirs in pairs:
        yield Line(words(key), mine or MISSING, theirs or MISSING, mine == theirs)


def _winner(run: Tried, words: Words) -> str:
    chosen = next((each for each in run.candidates if each.chosen), None)
    return sweeps.title(chosen, words) if chosen else scores.candidate(run.winner or "–", words)


def _joined(version: str, md5: str) -> str:
    return f"{version} · {runs.short(md5)}" if md5 else version


def _scores(one: Tried, other: Tried, model: Detail, words: Words) -> Iterator[Line]:
    known = {**one.metrics, **other.metrics}
    for metric in scores.TOLD:
        if metric not in known:
            continue
        mine, theirs = one.metrics.get(metric), other.metrics.get(metric)
        note = ""
        if mine is not None and theirs is not None and mine != theirs:
            points = metric in scores.SHARES or metric in scores.PERCENT
            unit = words("score.points") if points else scores.unit(metric, model, words)
            # With the digits of the scores themselves.
            apart = scores.bare(metric, abs(mine - theirs), words, mine)
            note = f"{scores.sign(mine - theirs, apart)}{apart} {unit}".rstrip()
        first, second = (
            scores.score(metric, run.metrics.get(metric), model, words, run.metrics.get(f"{metric}_sd"))
            for run in (one, other)
        )
        yield Line(scores.name(metric, words), first, second, mine == theirs, note)


def _params(one: Tried, other: Tried, words: Words) -> Iterator[Line]:
    for name in {**one.params, **other.params}:
        mine, theirs = one.params.get(name), other.params.get(name)
        yield Line(_param(name, words), mine or MISSING, theirs or MISSING, mine == theirs)


def _param(name: str, words: Words) -> str:
    """`candidates.ridge.grid.alpha` as `ridge · alpha`."""
    steps = [step for step in name.split(".") if step not in ("candidates", "grid")]
    return " · ".join(axes.param_name(step, words) for step in steps)


def _table(groups: list[tuple[str, list[Line]]], one: Tried, other: Tried, words: Words, *, only: bool) -> str:
    heads = ("", words.moment(one.started_at), words.moment(other.started_at), words("runs.difference"))
    body = [f"<tr>{''.join(f'<th scope=col>{escape(head)}</th>' for head in heads)}</tr>"]
    for title, lines in groups:
        shown = [line for line in lines if not (only and line.same)]
        if shown:
            body.append(f'<tr class="group"><th colspan="4" scope="rowgroup">{escape(title)}</th></tr>')
        body += [_row(line) for line in shown]
    return table("".join(body), words("runs.tab_compare"), "wide sg-compared")


def _row(line: Line) -> str:
    kind, told = ("", "=") if line.same else (' class="apart"', line.note or "≠")
    return (
        f'<tr{kind}><th scope="row">{escape(line.title)}</th><td>{escape(line.one)}</td>'
        f"<td>{escape(line.other)}</td><td>{escape(told)}</td></tr>"
    )
