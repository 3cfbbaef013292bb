"""Who moved between levels, since the model before or from year to year."""

from __future__ import annotations

from html import escape
from itertools import pairwise

import streamlit as st

from frontend import parts
from frontend.api import Clusters, Model, Move
from frontend.palette import glyphs
from frontend.words import Words

KINDS = ("up", "down", "break", "new", "gone")


def between_years(clusters: Clusters, before: int, after: int) -> tuple[Move, ...]:
    """How each member moved from one year to another under the served model.

    An entity whose borders or definitions changed in between is a break: its two figures don't compare.
    """
    levels = {(m.entity, m.period): m.cluster for m in clusters.history}
    broken = {b.entity: b.note for b in clusters.breaks if before < b.period <= after}
    moves = []
    for member in clusters.members:
        old, new = levels.get((member.entity, before)), levels.get((member.entity, after))
        if old is None and new is None:
            continue
        note = broken.get(member.entity)
        fields = {"from": old, "to": new, "note": note}
        moves.append(Move(entity=member.entity, name=member.name, kind="break" if note else _kind(old, new), **fields))
    return tuple(moves)


def _kind(old: int | None, new: int | None) -> str:
    if old is None:
        return "new"
    if new is None:
        return "gone"
    return "same" if old == new else "up" if new < old else "down"


@st.fragment
def show(model: Model, clusters: Clusters, words: Words) -> None:
    """Draws the moves and the levels' past."""
    choices = _choices(clusters, words)
    if not choices:
        st.info(words("moved.none"))
    else:
        first = next(iter(choices))
        against = st.segmented_control(
            words("moved.choice"),
            list(choices),
            format_func=lambda key: choices[key][0],
            default=first,
            required=True,
            key="moved_against",
        )
        if (against or first) == "model":
            _scale(model, clusters, words)
        _moves(model, choices[against or first][1], words)
    if parts.years(clusters):
        parts.html(
            f'<h2 class="sg-title" style="margin-top:1rem">{escape(words("moved.history"))}</h2>'
            f"{parts.matrix(model, clusters, words)}"
        )


def _choices(clusters: Clusters, words: Words) -> dict[str, tuple[str, tuple[Move, ...]]]:
    """What can be compared: a title and the moves, the nearest first."""
    choices = {}
    if clusters.movement:
        against = clusters.movement.against
        title = words("moved.against_model", version=against.model_version, period=against.period)
        choices["model"] = title, clusters.movement.moves
    known = parts.years(clusters)
    for before, after in reversed(list(pairwise(known))):
        title = words("moved.against_year", before=before, after=after)
        choices[f"{before}-{after}"] = title, between_years(clusters, before, after)
    return choices


def _scale(model: Model, clusters: Clusters, words: Words) -> None:
    """Says so when the model before had another number of levels: its labels meant something else."""
    before, now = clusters.movement.against.levels if clusters.movement else 0, len(model.levels)
    if before and before != now:
        parts.html(f'<p role="note">{escape(words("moved.scale", before=before, now=now))}</p>')


def _moves(model: Model, moves: tuple[Move, ...], words: Words) -> None:
    body = []
    for kind in KINDS:
        cards = "".join(_card(model, move, words) for move in moves if move.kind == kind)
        if cards:
            body.append(
                f'<h3 style="font-size:1.05rem;margin-top:1rem">{escape(words(f"moved.{kind}"))}</h3>'
                f'<div class="sg-moves">{cards}</div>'
            )
    if not any(move.kind in ("up", "down") for move in moves):
        body.insert(0, f"<p>{escape(words('moved.nobody'))}</p>")
    same = sum(move.kind == "same" for move in moves)
    body.append(
        f'<p style="margin-top:1rem">{escape(words("moved.same", count=same))}</p>'
        f'<p class="sg-small">{escape(words("moved.rule"))}</p>'
    )
    parts.html("".join(body))


def _card(model: Model, move: Move, words: Words) -> str:
    def level(rank: int | None) -> str:
        if rank is None or rank >= len(model.levels):
            return ""
        return f"{glyphs(len(model.levels))[rank]} {model.levels[rank].label(words.language)}"

    old, new = level(move.before), level(move.after)
    text = words("moved.was", before=old, after=new) if old and new else new or old
    rank = move.after if move.after is not None else move.before
    colors = parts.paint(model, rank) if rank is not None and rank < len(model.levels) else ""
    note = f'<p class="sg-small">{escape(move.note(words.language))}</p>' if move.note else ""
    return (
        f'<div class="sg-move {escape(move.kind)}" style="{colors}"><b>{escape(move.name)}</b>'
        f"<span>{escape(text)}</span>{note}</div>"
    )
