"""A challenger before the gate: measured beside the champion, judged, recorded, and promoted if it passes."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from sigap.bundle import TAG_DATA_MD5, TAG_DECISION, TAG_FINGERPRINT, Bilingual
from sigap.errors import AliasMovedError, BundleError
from sigap.promotion import decided, decision_of
from sigap.registry import decisions
from sigap.registry.decisions import PIPELINE
from sigap.registry.models import ModelVersion, Registry
from sigap.training.gate import Comparison, Decision, decide
from sigap.training.replay import Replay

log = logging.getLogger(__name__)

# How often a decision is taken when somebody moves the alias between decision and promotion.
ATTEMPTS = 3

# Compares the bundles of challenger and champion; None where the champion can't be applied to the challenger's rows.
Compare = Callable[[Path, Path], Comparison | None]
# Has the bundles of challenger and champion answer stored inputs.
Replayed = Callable[[Path, Path], Replay]


@dataclass(frozen=True)
class Challenge:
    """A registered version that a pipeline run puts before the gate.

    Attributes:
        model: The model's name.
        number: The version.
        run_id: The pipeline run's parent run.
        started_at: When it began, before it read its data; seconds since 1970.
        restored: Whether a person asked for this very data version.
        mode: `auto`, or `manual`: what passes the gate waits as `challenger` for a person's approval.
        asked_by: Who or what started the run.
        facts: What else belongs on the record, such as score and rows; plain JSON.
        caveat: What has to be said when it is served, such as that it is no better than its baseline.
        replay_limit: Share of changed answers to stored inputs above which a person has to approve; None for none.
    """

    model: str
    number: int
    run_id: str
    started_at: float
    restored: bool
    mode: Literal["auto", "manual"] = "auto"
    asked_by: str = PIPELINE
    facts: Mapping[str, Any] = field(default_factory=dict)
    caveat: Bilingual | None = None
    replay_limit: float | None = None


def settle(
    registry: Registry, challenge: Challenge, compare: Compare, replay: Replayed | None = None
) -> tuple[Decision, ModelVersion | None]:
    """Decides on a challenger, records the decision on its version and in PostgreSQL, and promotes it if it passes.

    Settled again after a crash, a run gets its own decision back and nothing moves twice.

    Args:
        registry: Holds the challenger.
        challenge: The challenger and the run that made it.
        compare: Measures challenger and champion; called only if there is something to measure.
        replay: Has both answer stored inputs; called only before a promotion.

    Returns:
        The decision and the version served afterwards.

    Raises:
        AliasMovedError: Somebody moved the alias during each of several attempts.
        RegistryError: MLflow can't be reached or refuses.
    """
    for attempt in range(1, ATTEMPTS + 1):
        before = champion = registry.repair(challenge.model)
        _catch_up(registry, champion)
        challenger = registry.version(challenge.model, challenge.number)
        if earlier := _promoted_by_this_run(challenge, challenger, champion):
            return earlier, champion
        decision = _judge(registry, challenge, challenger, champion, compare)
        if decision.promote and challenge.caveat:
            decision = _with_caveat(decision, challenge.caveat)
        found = _replayed(registry, challenger, champion, replay) if decision.promote else None
        if found is not None:
            decision = _after_replay(decision, found, challenge, challenger)
        if decision.promote and challenge.mode == "manual":
            decision = _waiting(decision, challenger)
        record = _as_record(challenge, decision, champion, challenger)
        if found is not None:
            record["replay"] = found.as_dict()
        if decision.rule != "equal":
            # Before the promotion, so that a run cut off after it knows its own decision again.
            registry.annotate(challenger, TAG_DECISION, json.dumps(record, allow_nan=False))
        if not decision.promote:
            if decision.rule != "equal":
                registry.set_challenger(challenge.model, challenge.number)
            break
        try:
            expected = champion.number if champion else None
            champion = registry.promote(challenge.model, challenge.number, expected, by_gate=True)
            break
        except AliasMovedError:
            if attempt == ATTEMPTS:
                raise
    decisions.write(registry.settings, decided(challenge.model, challenger, record, before, champion))
    return decision, champion


def read_record(version: ModelVersion) -> dict[str, Any]:
    """The decision on a version, as it stands in its tag; empty if there is none that can be read."""
    return decision_of(version.tags)


def _judge(
    registry: Registry,
    challenge: Challenge,
    challenger: ModelVersion,
    champion: ModelVersion | None,
    compare: Compare,
) -> Decision:
    if champion is None:
        # Only admissible candidates are ever registered.
        return decide(admissible=True, champion=None)

    def both(tag: str) -> bool:
        return bool(challenger.tags.get(tag)) and challenger.tags.get(tag) == champion.tags.get(tag)

    same_data = both(TAG_DATA_MD5)
    equal = challenger.number == champion.number or (same_data and both(TAG_FINGERPRINT))
    # Of two runs at once, the one that read the table later has the say, whichever ends first.
    served = read_record(champion)
    later = bool(served.get("promote")) and served.get("started_at", 0.0) > challenge.started_at
    superseded = later and not same_data
    withdrawn = (challenger.withdrawn or challenger.passed_over_for(champion)) and not challenge.restored
    comparison = None
    if not (equal or superseded or withdrawn):
        comparison = _measured(registry, challenger, champion, compare)
    return decide(
        admissible=True,
        champion=champion.name,
        equal=equal,
        superseded=superseded,
        withdrawn=withdrawn,
        same_data=same_data,
        comparison=comparison,
    )


def _measured(
    registry: Registry, challenger: ModelVersion, champion: ModelVersion, compare: Compare
) -> Comparison | None:
    try:
        theirs = registry.bundle(champion) if champion.servable else None
    except BundleError as error:
        log.warning("The champion's bundle can't be used: %s", error)
        theirs = None
    return compare(registry.bundle(challenger), theirs) if theirs is not None else None


def _replayed(
    registry: Registry, challenger: ModelVersion, champion: ModelVersion | None, replay: Replayed | None
) -> Replay | None:
    if replay is None or champion is None or not champion.servable:
        return None
    try:
        return replay(registry.bundle(challenger), registry.bundle(champion))
    except BundleError as error:
        # A champion that can't be read has nothing to be compared with; that is no reason to keep it.
        log.warning("Stored inputs can't be replayed: %s", error)
        return None


def _after_replay(decision: Decision, found: Replay, challenge: Challenge, challenger: ModelVersion) -> Decision:
    if found.fails_more:
        return replace(
            decision,
            promote=False,
            rule="unanswered",
            reason=f"The challenger leaves more stored inputs without an answer. {found.text.en}",
            reason_id=f"Penantang tidak menjawab lebih banyak masukan tersimpan. {found.text.id}",
        )
    if challenge.replay_limit is None or found.share <= challenge.replay_limit:
        return decision
    shown = f"{challenge.replay_limit:.0%}"
    return _waiting(
        replace(
            decision,
            reason=f"{decision.reason} {found.text.en} More than {shown} needs a look.",
            reason_id=f"{decision.reason_id} {found.text.id} Lebih dari {shown} perlu dilihat.",
        ),
        challenger,
    )


def _promoted_by_this_run(
    challenge: Challenge, challenger: ModelVersion, champion: ModelVersion | None
) -> Decision | None:
    record = read_record(challenger)
    served = champion is not None and champion.number == challenger.number
    if not served or not record.get("promote") or record.get("run_id") != challenge.run_id:
        return None
    return Decision.from_dict(record)


def _with_caveat(decision: Decision, caveat: Bilingual) -> Decision:
    return replace(
        decision, reason=f"{decision.reason} {caveat.en}", reason_id=f"{decision.reason_id} {caveat.id}".lstrip()
    )


def _waiting(decision: Decision, challenger: ModelVersion) -> Decision:
    command = f"`./run model approve {challenger.model} {challenger.number}`"
    return replace(
        decision,
        promote=False,
        rule="waiting",
        reason=f"{decision.reason} It needs a person's approval: {command}.",
        reason_id=f"{decision.reason_id} Perlu persetujuan seseorang: {command}.",
    )


def _as_record(
    challenge: Challenge, decision: Decision, champion: ModelVersion | None, challenger: ModelVersion
) -> dict[str, Any]:
    return {
        **challenge.facts,
        **decision.as_dict(),
        "run_id": challenge.run_id,
        "started_at": challenge.started_at,
        "champion_before": champion.name if champion else None,
        "mode": challenge.mode,
        "asked_by": challenge.asked_by,
        "data_version": challenger.data_version,
        "data_md5": challenger.tags.get(TAG_DATA_MD5, ""),
    }


def _catch_up(registry: Registry, champion: ModelVersion | None) -> None:
    """Writes the champion's decision into PostgreSQL where a run was cut off, or the database down, before it could."""
    if champion is None:
        return
    record = read_record(champion)
    if not record.get("promote") or "run_id" not in record:
        return
    row = decided(champion.model, champion, record, None, champion)
    decisions.write(registry.settings, replace(row, champion_before=record.get("champion_before")))
