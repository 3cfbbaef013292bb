"""Who moved between levels, since the model before or from year to year, and which figure's change did it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

import streamlit as st

from frontend import address, causes, charts, parts
from frontend.api import ApiDownError, Clusters, Member, Model, Move
from frontend.causes import Cause
from frontend.palette import glyphs
from frontend.views import choice
from frontend.words import Words

# So many names are said in a sentence; the tab lists all.
MOST_NAMES = 4
KINDS = ("up", "down", "break", "new", "gone")


@dataclass(frozen=True)
class Comparison:
    """Two states to compare: what the choice is called, what each end is called, and the moves."""

    title: str
    ends: tuple[str, str]
    moves: tuple[Move, ...]


def between_years(clusters: Clusters, before: int, after: int) -> tuple[Move, ...]:
    """How each member moved from one year to another under the served model.

    An entity whose borders or definitions changed in between is a break: its two figures don't compare.
    """
    known = {(m.entity, m.period): m for m in clusters.history}
    broken = {b.entity: b.note for b in clusters.breaks if before < b.period <= after}
    moves = []
    for member in clusters.members:
        ends = known.get((member.entity, before)), known.get((member.entity, after))
        old, new = (end.cluster if end else None for end in ends)
        if old is None and new is None:
            continue
        note = broken.get(member.entity)
        moves.append(
            Move.model_validate(
                {
                    "entity": member.entity,
                    "name": member.name,
                    "kind": "break" if note else _kind(old, new),
                    "from": old,
                    "to": new,
                    "note": note,
                    "from_features": ends[0].features if ends[0] else {},
                    "to_features": ends[1].features if ends[1] else {},
                }
            )
        )
    return tuple(moves)


def _kind(old: int | None, new: int | None) -> str:
    if old is None:
        return "new"
    if new is None:
        return "gone"
    return "same" if old == new else "up" if new < old else "down"


def since_before(clusters: Clusters) -> tuple[Move, ...]:
    """The moves since the model before, each with the figures that it led to."""
    if clusters.movement is None:
        return ()
    now = {member.entity: member.features for member in clusters.members}
    return tuple(move.model_copy(update={"to_features": now.get(move.entity, {})}) for move in clusters.movement.moves)


def numbered(version: str) -> str:
    """A model's version as people write it: the registry's `7` is `v7`."""
    return f"v{version}" if version.isdigit() else version


def news(clusters: Clusters, words: Words) -> str:
    """Who rose and who fell since the model before, in a sentence each; empty where nobody did."""
    sentences = []
    for kind in ("up", "down"):
        names = [move.name for move in since_before(clusters) if move.kind == kind]
        if names:
            shown = ", ".join(names[:MOST_NAMES])
            more = words("edu.news.more", count=len(names) - MOST_NAMES) if len(names) > MOST_NAMES else ""
            sentences.append(words(f"edu.news.{kind}_names", count=len(names), names=shown + more))
    return " ".join(sentences)


def told(model: Model, clusters: Clusters, member: Member, words: Words) -> str:
    """What is new about one province since the model before, and why; empty where nothing is."""
    move = next((each for each in since_before(clusters) if each.entity == member.entity), None)
    if move is None or move.kind not in ("up", "down", "break") or clusters.movement is None:
        return ""
    if move.kind == "break":
        if move.before == move.after:
            return ""
        note = move.note(words.language) if move.note else ""
        head = words("moved.break")
        return f'<div class="sg-move break edu-news"><b>{escape(head)}</b><span>{escape(note)}</span></div>'
    against = clusters.movement.against
    since = words("edu.news.since", version=numbered(against.model_version), period=against.period)
    head = words(
        f"edu.news.{move.kind}", before=_level(model, move.before, words), after=_level(model, move.after, words)
    )
    why = _why(model, (move,)).get(move.entity, ())
    return (
        f'<div class="sg-move edu-news {move.kind}" style="{parts.paint(model, member.cluster)}">'
        f"<b>{escape(head)}</b><span class='sg-small'>{escape(since)}</span>{reasons(why, words)}</div>"
    )


def reasons(why: Sequence[Cause], words: Words) -> str:
    """The figures that changed and what each did, as a list."""
    lines = "".join(
        f'<li class="{"on" if cause.decisive else ""}">{escape(causes.change(cause, words))} '
        f"<small>{escape(causes.verdict(cause, words))}</small></li>"
        for cause in why
    )
    return f'<ul class="edu-why">{lines}</ul>' if lines else ""


def _why(model: Model, moves: Sequence[Move]) -> Mapping[str, tuple[Cause, ...]]:
    try:
        return causes.why(model, moves)
    except ApiDownError:
        # Who moved is known without asking; the reasons come with the next drawing of the page.
        return {}


def show(model: Model, clusters: Clusters, words: Words) -> None:
    """Draws the moves and the levels' past."""
    compared = comparisons(clusters, words)
    if not compared:
        st.info(words("moved.none"))
    else:
        first = next(iter(compared))
        against = address.kept("year", compared, first)
        st.segmented_control(
            words("moved.choice"),
            list(compared),
            format_func=lambda key: compared[key].title,
            required=True,
            key="year",
        )
        if against == "model":
            _scale(model, clusters, words)
        _moves(model, compared[against], words)
    if parts.years(clusters):
        parts.html(
            f'<h2 class="sg-title" style="margin-top:1rem">{escape(words("moved.history"))}</h2>'
            f"{parts.matrix(model, clusters, words)}"
        )


def comparisons(clusters: Clusters, words: Words) -> dict[str, Comparison]:
    """What can be compared, the nearest first."""
    found = {}
    if clusters.movement:
        against = clusters.movement.against
        version, period = numbered(against.model_version), against.period
        title = words("moved.against_model", version=version, period=period)
        now = max((member.period for member in clusters.members), default=period)
        ends = words("edu.moved.before", version=version, period=period), words("edu.moved.now", period=now)
        found["model"] = Comparison(title, ends, since_before(clusters))
    for before, after in reversed(list(pairwise(parts.years(clusters)))):
        title = words("moved.against_year", before=before, after=after)
        found[f"{before}-{after}"] = Comparison(
            title, (str(before), str(after)), between_years(clusters, before, after)
        )
    return found


def _scale(model: Model, clusters: Clusters, words: Words) -> None:
    """Says so when the model before had another number of levels: its labels meant something else."""
    before, now = clusters.movement.against.levels if clusters.movement else 0, len(model.levels)
    if before and before != now:
        parts.html(f'<p role="note">{escape(words("moved.scale", before=before, now=now))}</p>')


def _moves(model: Model, compared: Comparison, words: Words) -> None:
    moves = compared.moves
    if not any(move.kind in ("up", "down") for move in moves):
        parts.html(f"<p>{escape(words('moved.nobody'))}</p>")
    st.plotly_chart(
        charts.flows_figure(model.levels, moves, compared.ends, parts.surface(), words),
        key="flows",
        theme=None,
        config=charts.NO_BAR,
        alt=words("edu.moved.alt", before=compared.ends[0], after=compared.ends[1]),
    )
    parts.html(f'<p class="sg-small">{escape(words("edu.moved.bands"))}</p>')
    why = _why(model, moves)
    for kind in KINDS:
        of_kind = [move for move in moves if move.kind == kind]
        if of_kind:
            _group(model, kind, of_kind, why, words)
    if any(move.kind in ("up", "down") and not move.from_features for move in moves):
        parts.html(f'<p class="sg-small" role="note">{escape(words("edu.why.unknown"))}</p>')
    same = sum(move.kind == "same" for move in moves)
    parts.html(
        f'<p style="margin-top:1rem">{escape(words("moved.same", count=same))}</p>'
        f'<p class="sg-small">{escape(words("moved.rule"))}</p>'
    )


def _group(model: Model, kind: str, moves: Sequence[Move], why: Mapping[str, tuple[Cause, ...]], words: Words) -> None:
    parts.html(f'<h3 style="font-size:1.05rem;margin-top:1rem">{escape(words(f"moved.{kind}"))} ({len(moves)})</h3>')
    with st.container(horizontal=True, gap="small", key=f"moves_{kind}"):
        for move in moves:
            rank = move.after if move.after is not None else move.before
            with st.container(border=True, width=282, key=f"move_{move.entity}", gap=None):
                st.button(
                    move.name,
                    key=f"go_{move.entity}",
                    type="tertiary",
                    help=words("edu.moved.go"),
                    on_click=choice.choose,
                    args=(move.entity,),
                    disabled=kind == "gone",
                )
                colors = parts.paint(model, rank) if rank is not None and rank < len(model.levels) else ""
                note = f'<p class="sg-small">{escape(move.note(words.language))}</p>' if move.note else ""
                parts.html(
                    f'<div class="edu-moved {kind}" style="{colors}">{escape(_path(model, move, words))}</div>'
                    f"{note}{reasons(why.get(move.entity, ()), words)}"
                )


def _level(model: Model, rank: int | None, words: Words) -> str:
    if rank is None or rank >= len(model.levels):
        return ""
    return f"{glyphs(len(model.levels))[rank]} {model.levels[rank].label(words.language)}"


def _path(model: Model, move: Move, words: Words) -> str:
    old, new = _level(model, move.before, words), _level(model, move.after, words)
    return words("moved.was", before=old, after=new) if old and new else new or old
