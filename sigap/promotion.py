"""How the aliases of a model move: promotion, rollback, and the mending of a move that was cut off.

The pipelines drive it through `mlflow`, the API, which does without that package, over MLflow's REST interface: both
are a `Store`. One process at a time moves the aliases of a model.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

from sigap import decisions
from sigap.bundle import TAG_BUNDLE_RUN, TAG_DATA_MD5, TAG_DATA_VERSION, TAG_DECISION, TAG_MANIFEST_SHA256
from sigap.errors import AliasMovedError, ConfigurationError, RegistryError
from sigap.locks import WAIT_SECONDS, Writer, writer
from sigap.settings import Settings

log = logging.getLogger(__name__)

PREVIOUS = "previous"
CHALLENGER = "challenger"
# How aliases moved, kept on the versions so that a move that was cut off can be told and mended.
PROMOTED_AT = "promoted_at"
REPLACED = "replaced"
REPLACED_BY = "replaced_by"
CHOSEN_AT = "chosen_at"  # by a person, in seconds since 1970: the gate puts nothing older in its place
CHOSEN_BY = "chosen_by"  # that person
MOVES = "moves_by_hand"  # JSON: the newest moves that put the version into service by hand
MOVES_KEPT = 20


class NothingBeforeError(RegistryError):
    """No version was served before the one served now."""


@dataclass(frozen=True)
class ModelVersion:
    """A registered version of a model.

    Attributes:
        model: The model's name.
        number: MLflow's number, from 1.
        run_id: The run that it comes from.
        created_at: Seconds since 1970.
        tags: The tags, see `sigap.bundle`.
        aliases: Aliases that stand on it.
    """

    model: str
    number: int
    run_id: str
    created_at: float
    tags: Mapping[str, str] = field(repr=False)
    aliases: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The version as people read it, such as `v3`."""
        return f"v{self.number}"

    @property
    def data_version(self) -> str:
        """The data version it was trained on; empty if it was not registered by Sigap."""
        return self.tags.get(TAG_DATA_VERSION, "")

    @property
    def servable(self) -> bool:
        """Whether it has a bundle that the API could serve."""
        return TAG_BUNDLE_RUN in self.tags and TAG_MANIFEST_SHA256 in self.tags

    @property
    def withdrawn(self) -> bool:
        """Whether it was served once and a person, not the gate, took it out of service."""
        return PROMOTED_AT in self.tags and REPLACED_BY not in self.tags

    def passed_over_for(self, champion: ModelVersion) -> bool:
        """Whether a person chose the champion when this version could have been chosen as well."""
        return self.created_at < float(champion.tags.get(CHOSEN_AT, 0))


class Move(NamedTuple):
    """A move of the served alias by hand, as it stands on the version that it put into service."""

    key: str
    rule: str
    at: str
    asked_by: str
    before: str | None
    reason: str


class Store(Protocol):
    """A model registry, as the moves need it. Every call raises RegistryError where it can't do what it says."""

    def version(self, model: str, number: int) -> ModelVersion:
        """The version `number`."""

    def alias(self, model: str, alias: str) -> ModelVersion | None:
        """The version that `alias` stands on, or None."""

    def exists(self, model: str, number: int) -> bool:
        """Whether there is a version `number`."""

    def set_alias(self, model: str, alias: str, number: str) -> None:
        """Lets `alias` stand on the version `number`."""

    def drop_alias(self, model: str, alias: str) -> None:
        """Takes `alias` away."""

    def set_tag(self, model: str, number: str, tag: str, value: str) -> None:
        """Sets a tag of a version."""

    def drop_tag(self, model: str, number: str, tag: str) -> None:
        """Takes a tag of a version away."""

    def errors(self, doing: str) -> AbstractContextManager[None]:
        """Turns what goes wrong inside into RegistryError that says while doing what."""


class Promotion:
    """Moves the aliases of models.

    Args:
        settings: Name the served alias, the folder of the locks and the database.
        store: The registry.
        wait: Seconds to wait for another writer.

    Raises:
        ConfigurationError: The served alias is `previous` or `challenger`, which have a meaning of their own.
    """

    def __init__(self, settings: Settings, store: Store, *, wait: float = WAIT_SECONDS) -> None:
        if settings.served_alias in (PREVIOUS, CHALLENGER):
            marks = "the version served before" if settings.served_alias == PREVIOUS else "the version that may follow"
            raise ConfigurationError(
                f"SIGAP_SERVED_ALIAS is {settings.served_alias!r}, which marks {marks}.",
                remedy="Choose another name, such as champion or production.",
            )
        self._settings = settings
        self._store = store
        self._wait = wait
        self._served = settings.served_alias

    def promote(
        self, model: str, number: int, expected_current: int | None, *, by_gate: bool = False, asked_by: str = ""
    ) -> ModelVersion:
        """Moves the served alias to a version, if it still stands where the caller saw it.

        First `previous` is set to the version served until now, then the served alias moves, once. Cut off between
        the two, the old version is served on and the next call mends `previous`.

        Args:
            model: The model.
            number: The version to serve.
            expected_current: The version served when the decision was taken; None if there was none.
            by_gate: Whether the gate decided. What a person replaces, the gate does not put back.
            asked_by: The person that asks for it, to be written down; the gate writes its decisions down itself.

        Returns:
            The version, now served.

        Raises:
            AliasMovedError: Another version is served than expected.
            RegistryError: There is no such version, it has no bundle, or MLflow can't be reached.
        """
        with self._writing(model) as held:
            current = self._repair(model)
            found = current.number if current else None
            if found == number:
                return self._store.version(model, number)
            if found != expected_current:
                raise AliasMovedError(
                    f"{self._served} of {model} stands on {_name(found)}, expected {_name(expected_current)}: "
                    "somebody moved it meanwhile.",
                    remedy="Look at `./run model versions`, then run the pipeline or promote again.",
                )
            target = self._servable(model, number)
            return self._move(
                held, model, current, target, None if by_gate else _by_hand(current, asked_by), by_gate=by_gate
            )

    def approve(self, model: str, number: int, *, asked_by: str) -> ModelVersion:
        """A person's yes to a version that passed the gate and waits; approved once more, it is written down again.

        Args:
            model: The model.
            number: The version.
            asked_by: Who approves.

        Returns:
            The version, now served.

        Raises:
            AliasMovedError: Another version is served than the one that the gate compared it with.
            RegistryError: There is no such version, it does not wait, or MLflow can't be reached.
        """
        before = self.repair(model)
        waiting = self._store.version(model, number)
        record = decision_of(waiting.tags)
        if record.get("rule") not in ("waiting", "approved"):
            told = f"The gate said: {record['reason']}" if record.get("reason") else "The gate has not decided on it."
            raise RegistryError(
                f"{model} {waiting.name} does not wait for an approval. {told}",
                remedy=f"`./run model promote {model} {number}` serves it by hand, past the gate.",
            )
        served = before
        if before is None or before.number != number:
            former = record.get("champion_before")
            served = self.promote(model, number, int(former.removeprefix("v")) if former else None, by_gate=True)
        approved = {**record, "promote": True, "rule": "approved", "asked_by": asked_by}
        with self._store.errors(f"tagging {model} {waiting.name}"):
            self._store.set_tag(model, str(number), TAG_DECISION, json.dumps(approved, allow_nan=False))
        decisions.write(self._settings, decided(model, waiting, approved, before, served))
        return self._store.version(model, number)

    def rollback(self, model: str, to: int | None = None, *, asked_by: str = "") -> ModelVersion:
        """Serves an earlier version again; the gate will not put back the one that was taken out.

        Args:
            model: The model.
            to: The version; by default the one served before.
            asked_by: The person that asks for it, to be written down.

        Returns:
            The version, now served.

        Raises:
            NothingBeforeError: No version was served before.
            RegistryError: There is no such version, it has no bundle, or MLflow can't be reached.
        """
        with self._writing(model) as held:
            current = self._repair(model)
            if to is None:
                previous = self._store.alias(model, PREVIOUS)
                if previous is None:
                    raise NothingBeforeError(
                        f"{model} has no version that was served before {_name(current.number if current else None)}.",
                        remedy=f"Name one of `./run model versions {model}`.",
                    )
                to = previous.number
            target = self._servable(model, to)
            if current and current.number == to:
                return current
            return self._move(held, model, current, target, _rolled_back(current, asked_by), by_gate=False)

    def repair(self, model: str) -> ModelVersion | None:
        """Mends what a promotion that was cut off has left; the served version.

        Raises:
            RegistryError: MLflow can't be reached or refuses.
        """
        with self._writing(model):
            return self._repair(model)

    def set_challenger(self, model: str, number: int) -> None:
        """Sets `challenger` on a version that stood before the gate and is not served, whatever it stood on before.

        Raises:
            RegistryError: MLflow can't be reached or refuses.
        """
        with self._writing(model) as held:
            with self._store.errors(f"naming the challenger of {model}"):
                self._store.set_alias(model, CHALLENGER, str(number))
            held.notify()

    @contextmanager
    def _writing(self, model: str) -> Iterator[Writer]:
        with writer(self._settings, model, wait=self._wait) as held:
            yield held

    def _servable(self, model: str, number: int) -> ModelVersion:
        version = self._store.version(model, number)
        if not version.servable:
            raise RegistryError(
                f"{model} {version.name} has no bundle, so the API could not serve it.",
                remedy="Choose a version that a pipeline registered.",
            )
        return version

    def _repair(self, model: str) -> ModelVersion | None:
        store = self._store
        current = store.alias(model, self._served)
        if current is None:
            return None
        if PREVIOUS in current.aliases:
            # `previous` moves just before the served alias; on one version, a promotion was cut off in between.
            before = current.tags.get(REPLACED, "")
            with store.errors(f"mending the aliases of {model}"):
                if before and store.exists(model, int(before)):
                    store.set_alias(model, PREVIOUS, before)
                else:
                    store.drop_alias(model, PREVIOUS)
        self._mark_served(current)
        return store.version(model, current.number)

    def _move(
        self,
        held: Writer,
        model: str,
        current: ModelVersion | None,
        target: ModelVersion,
        move: Move | None,
        *,
        by_gate: bool,
    ) -> ModelVersion:
        store, number = self._store, str(target.number)
        with store.errors(f"promoting {model} {target.name}"):
            if current:
                store.set_tag(model, number, REPLACED, str(current.number))
                if by_gate:
                    store.set_tag(model, str(current.number), REPLACED_BY, number)
                store.set_alias(model, PREVIOUS, str(current.number))
            if not by_gate:
                store.set_tag(model, number, CHOSEN_AT, str(time.time()))
                if move and move.asked_by:
                    store.set_tag(model, number, CHOSEN_BY, move.asked_by)
            elif CHOSEN_AT in target.tags:
                store.drop_tag(model, number, CHOSEN_AT)
            store.set_alias(model, self._served, number)
        held.notify()
        # Only now: marked before, a version whose promotion was cut off would look like one that was withdrawn.
        self._mark_served(target)
        if move and move.asked_by:
            self._write_down(target, move)
        return store.version(model, target.number)

    def _mark_served(self, version: ModelVersion) -> None:
        store, number = self._store, str(version.number)
        with store.errors(f"tagging {version.model} {version.name}"):
            if CHALLENGER in version.aliases:
                store.drop_alias(version.model, CHALLENGER)
            if REPLACED_BY in version.tags:
                store.drop_tag(version.model, number, REPLACED_BY)
            if PROMOTED_AT not in version.tags or REPLACED_BY in version.tags:
                store.set_tag(version.model, number, PROMOTED_AT, _now())

    def _write_down(self, version: ModelVersion, move: Move) -> None:
        """A person's move of the alias, on the version and beside the gate's own decisions."""
        moves = [*moves_by_hand(version.tags), move][-MOVES_KEPT:]
        with self._store.errors(f"tagging {version.model} {version.name}"):
            self._store.set_tag(
                version.model, str(version.number), MOVES, json.dumps([each._asdict() for each in moves])
            )
        told = decision_of(version.tags)
        record = decisions.Record(
            model=version.model,
            run_id=move.key,
            model_version=version.name,
            champion_before=move.before,
            champion_after=version.name,
            promoted=True,
            rule=move.rule,
            reason=move.reason,
            record={name: told[name] for name in ("rows", "origin", "score", "candidate") if name in told},
            asked_by=move.asked_by,
            data_version=version.data_version,
            data_md5=version.tags.get(TAG_DATA_MD5, ""),
        )
        decisions.write(self._settings, record)


_TEXTS = frozenset({"rule", "reason", "reason_id", "mode", "asked_by", "run_id", "champion_before"})


def decision_of(tags: Mapping[str, str]) -> dict[str, Any]:
    """The gate's decision on a version with these tags; empty if there is none that can be read.

    Anybody can edit a tag in MLflow's page, so what should be text and is none is left out.
    """
    try:
        record = json.loads(tags.get(TAG_DECISION, "{}"))
    except ValueError:
        return {}
    if not isinstance(record, dict):
        return {}
    return {name: value for name, value in record.items() if name not in _TEXTS or isinstance(value, str)}


def decided(
    model: str,
    version: ModelVersion,
    record: Mapping[str, Any],
    before: ModelVersion | None,
    after: ModelVersion | None,
) -> decisions.Record:
    """A decision as its version's tag holds it, with what was served before and after it."""
    return decisions.Record(
        model=model,
        run_id=record["run_id"],
        model_version=version.name,
        champion_before=before.name if before else None,
        champion_after=after.name if after else None,
        promoted=bool(record["promote"]),
        rule=record["rule"],
        reason=record["reason"],
        record=record,
        mode=record.get("mode", "auto"),
        asked_by=record.get("asked_by", decisions.PIPELINE),
        data_version=record.get("data_version", ""),
        data_md5=record.get("data_md5", ""),
    )


def moves_by_hand(tags: Mapping[str, str]) -> list[Move]:
    """The newest moves by hand that put the version with these tags into service, the oldest first."""
    try:
        return [Move(**each) for each in json.loads(tags.get(MOVES, "[]"))]
    except (ValueError, TypeError):
        log.warning("The tag %s can't be read.", MOVES)
        return []


def _by_hand(before: ModelVersion | None, asked_by: str) -> Move:
    return _written("by_hand", before, asked_by, "Promoted by hand, past the gate.")


def _rolled_back(before: ModelVersion | None, asked_by: str) -> Move:
    reason = f"Served again instead of {before.name if before else 'none'}."
    return _written("rollback", before, asked_by, reason)


def in_indonesian(move: Move) -> str:
    """Why somebody moved the alias, in Indonesian; the move itself keeps the English sentence."""
    if move.rule == "rollback":
        return f"Dipakai lagi sebagai ganti {move.before}." if move.before else "Dipakai lagi; sebelumnya tidak ada."
    return "Dipakai atas perintah seseorang, tanpa lewat seleksi."


def _written(rule: str, before: ModelVersion | None, asked_by: str, reason: str) -> Move:
    return Move(uuid.uuid4().hex, rule, _now(), asked_by, before.name if before else None, reason)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _name(number: int | None) -> str:
    return "no version" if number is None else f"v{number}"
