"""The gate around a version: who moves the alias meanwhile, what waits, and what is settled twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sigap.bundle import TAG_MANIFEST_SHA256, Bilingual
from sigap.errors import AliasMovedError
from sigap.registry.challenge import ATTEMPTS, Challenge, read_record, settle
from sigap.registry.models import ModelVersion
from sigap.training.gate import Comparison
from tests.registry.conftest import Workshop

BETTER = Comparison(rows=30, challenger=0.5, champion=0.3, difference=0.2, low=0.1, high=0.3)


@pytest.fixture
def served(workshop: Workshop) -> ModelVersion:
    version = workshop.register("a")
    return workshop.registry.promote(workshop.model, version.number, None, by_gate=True)


def challenge(workshop: Workshop, version: ModelVersion) -> Challenge:
    return Challenge(workshop.model, version.number, f"run of {version.name}", version.created_at, False)


def moving(workshop: Workshop, *numbers: int) -> Callable[[Path, Path], Comparison]:
    """A comparison during which somebody moves the alias, one number after another."""
    left = list(numbers)

    def compare(*_: Path) -> Comparison:
        if left:
            workshop.client.set_registered_model_alias(workshop.model, "champion", str(left.pop(0)))
        return BETTER

    return compare


@pytest.mark.usefixtures("served")
def test_a_decision_is_taken_anew_when_somebody_moves_the_alias_meanwhile(workshop: Workshop) -> None:
    for name in ("b", "c"):
        workshop.register(name, "1" * 32)
    wanted = challenge(workshop, workshop.register("d"))
    with pytest.raises(AliasMovedError):
        settle(workshop.registry, wanted, moving(workshop, 2, 3, 2, *[1] * ATTEMPTS))
    champion = workshop.registry.champion(workshop.model)
    assert champion is not None
    assert champion.number == 2, "what the person chose is served"
    decision, champion = settle(workshop.registry, wanted, moving(workshop, 3))
    assert champion is not None
    assert (decision.promote, champion.number) == (True, 4)
    record = read_record(champion)
    assert record["champion_before"] == "v3", "compared with what was served in the end"

    # Settled once more, as after a crash: its own decision again, and nothing is compared.
    def never(*_: Path) -> Comparison:
        raise AssertionError

    again, champion = settle(workshop.registry, wanted, never)
    assert again == decision
    assert champion is not None
    assert champion.number == 4


def test_what_waits_says_so_and_what_ties_says_so_too(workshop: Workshop, served: ModelVersion) -> None:
    version = workshop.register("b")
    caveat = Bilingual(id="Setara.", en="It ties with its baseline.")
    wanted = replace(challenge(workshop, version), mode="manual", caveat=caveat)
    decision, champion = settle(workshop.registry, wanted, lambda *_: BETTER)
    assert (decision.rule, decision.promote) == ("waiting", False)
    assert "It ties with its baseline. It needs a person's approval: `./run model approve" in decision.reason
    assert "Setara. Perlu persetujuan seseorang" in decision.reason_id
    assert champion is not None
    assert champion.number == served.number
    assert "challenger" in workshop.registry.version(workshop.model, version.number).aliases
    worse = replace(BETTER, difference=-0.2, low=-0.3, high=-0.1)
    decision, _ = settle(workshop.registry, replace(wanted, mode="auto"), lambda *_: worse)
    assert not decision.promote
    assert "ties" not in decision.reason, "it is only said of what would be served"


def test_the_same_model_again_changes_nothing_and_is_no_challenger(workshop: Workshop, served: ModelVersion) -> None:
    decision, champion = settle(workshop.registry, challenge(workshop, served), lambda *_: BETTER)
    assert (decision.rule, champion and champion.number) == ("equal", served.number)
    assert workshop.registry.alias(workshop.model, "challenger") is None
    assert read_record(workshop.registry.version(workshop.model, served.number)) == {}


def test_a_champion_whose_bundle_can_not_be_read_is_replaced(workshop: Workshop, served: ModelVersion) -> None:
    version = workshop.register("b")
    workshop.registry.annotate(served, TAG_MANIFEST_SHA256, "f" * 64)

    def never(*_: Path) -> Comparison:
        raise AssertionError

    decision, champion = settle(workshop.registry, challenge(workshop, version), never)
    assert (decision.rule, champion and champion.number) == ("not_comparable", version.number)
