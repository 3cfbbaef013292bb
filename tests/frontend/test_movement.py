"""Who moved: judged by one model, and a change of borders is no progress."""

from __future__ import annotations

from frontend.api import Break, Clusters, Member, Moment, Text
from frontend.views.movement import between_years


def _clusters(levels: dict[str, tuple[int | None, int | None]], broken: tuple[str, ...] = ()) -> Clusters:
    members = tuple(
        Member(entity=e, name=e, period=2024, features={}, cluster=new if new is not None else 0, distance=0.0)
        for e, (_, new) in levels.items()
    )
    history = tuple(
        Moment(entity=e, period=year, cluster=level)
        for e, pair in levels.items()
        for year, level in zip((2023, 2024), pair, strict=True)
    )
    note = Text(id="Wilayah berubah", en="Borders changed")
    breaks = tuple(Break(entity=e, period=2024, note=note) for e in broken)
    return Clusters(model_version="v3", members=members, history=history, breaks=breaks)


def test_moves_between_two_years() -> None:
    levels = {"A": (2, 0), "B": (0, 1), "C": (1, 1), "D": (None, 2), "E": (1, None), "F": (None, None)}
    moves = between_years(_clusters(levels), 2023, 2024)
    assert {m.entity: m.kind for m in moves} == {"A": "up", "B": "down", "C": "same", "D": "new", "E": "gone"}


def test_a_change_of_borders_is_a_break_and_not_a_rise() -> None:
    moves = between_years(_clusters({"P94": (2, 0), "P91": (1, 1), "P35": (1, 0)}, broken=("P94", "P91")), 2023, 2024)
    assert {m.entity: m.kind for m in moves} == {"P94": "break", "P91": "break", "P35": "up"}
    assert all(m.note is not None for m in moves if m.kind == "break")


def test_a_break_outside_the_years_does_not_count() -> None:
    moves = between_years(_clusters({"P94": (2, 0)}, broken=("P94",)), 2024, 2025)
    assert all(m.kind != "break" for m in moves)
