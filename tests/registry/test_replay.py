"""The gate after a replay: what is written down, what refuses, what waits for a person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sigap.bundle import Bilingual
from sigap.errors import BundleError
from sigap.registry.challenge import Challenge, read_record, settle
from sigap.training.gate import Comparison, Decision
from sigap.training.replay import Replay, Side, none
from tests.registry.conftest import Workshop

BETTER = Comparison(rows=30, challenger=0.5, champion=0.3, difference=0.2, low=0.1, high=0.3)
SAME = Replay(100, 0, 0, 100, 0.0, 0.0, Side(100), Side(100), Bilingual(id="sama", en="same"))
CHANGED = replace(SAME, changed=40)
SILENT = replace(SAME, compared=90, challenger=Side(90, 10))


@pytest.fixture
def challenged(workshop: Workshop) -> Callable[..., tuple[Decision, dict[str, object], str]]:
    """Puts a better version before the gate, with what its replay finds."""
    served = workshop.register("a")
    workshop.registry.promote(workshop.model, served.number, None)

    def put(found: Replay | Exception, limit: float | None = None) -> tuple[Decision, dict[str, object], str]:
        version = workshop.register("b")
        asked: list[tuple[Path, Path]] = []

        def on_stored_inputs(challenger: Path, champion: Path) -> Replay:
            asked.append((challenger, champion))
            if isinstance(found, Exception):
                raise found
            return found

        challenge = Challenge(workshop.model, version.number, "r1", version.created_at, False, replay_limit=limit)
        decision, champion = settle(workshop.registry, challenge, lambda *_: BETTER, on_stored_inputs)
        assert len(asked) == 1
        assert champion is not None
        return decision, read_record(workshop.registry.version(workshop.model, version.number)), champion.name

    return put


def test_a_replay_is_written_down_with_the_decision(challenged: Callable[..., tuple[Decision, dict, str]]) -> None:
    decision, record, champion = challenged(SAME)
    assert (decision.rule, champion) == ("better", "v2")
    assert record["replay"]["rows"] == 100
    assert record["replay"]["challenger"] == {"answered": 100, "unanswered": 0, "labels": {}}


def test_a_challenger_that_answers_less_than_before_is_refused(
    challenged: Callable[..., tuple[Decision, dict, str]],
) -> None:
    decision, record, champion = challenged(SILENT)
    assert (decision.rule, decision.promote, champion) == ("unanswered", False, "v1")
    assert "leaves more stored inputs without an answer" in record["reason"]
    assert record["reason_id"]


def test_no_stored_inputs_hold_nothing_up(challenged: Callable[..., tuple[Decision, dict, str]]) -> None:
    _, record, champion = challenged(none("No stored inputs."), 0.1)
    assert champion == "v2"
    assert record["replay"]["text"]["en"] == "No stored inputs."


def test_a_replay_that_can_not_be_made_holds_nothing_up(
    challenged: Callable[..., tuple[Decision, dict, str]],
) -> None:
    _, record, champion = challenged(BundleError("damaged"))
    assert champion == "v2"
    assert "replay" not in record


def test_beyond_the_declared_share_a_person_is_asked(
    challenged: Callable[..., tuple[Decision, dict, str]], workshop: Workshop
) -> None:
    decision, record, champion = challenged(CHANGED, 0.25)
    assert (decision.rule, champion) == ("waiting", "v1")
    assert "More than 25%" in record["reason"]
    assert record["reason"].count("needs a person's approval") == 1
    assert workshop.registry.approve(workshop.model, 2, "anna").name == "v2"


def test_below_the_declared_share_nobody_is_asked(challenged: Callable[..., tuple[Decision, dict, str]]) -> None:
    assert challenged(CHANGED, 0.5)[2] == "v2"
