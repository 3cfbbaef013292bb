"""The change sensor: which models' tables hold other rows than those that were last judged."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg

from sigap.catalog import Declaration
from sigap.data import content
from sigap.data.content import Content
from sigap.data.postgres import Connection
from sigap.retrains import Ask

log = logging.getLogger(__name__)

STILL_SECONDS = 4.0
"""How long a table has to stand still: a change mostly comes in several transactions."""
LONGEST_WAIT = 30.0
"""Somebody who writes without a pause is not waited for any longer."""
_READING_SHARE = 20
"""A table whose digest took a second is not read again within this many: at most a twentieth of the time."""


@dataclass
class _Seen:
    """What is known of a model's tables beyond what is noted in PostgreSQL."""

    counters: str = ""
    moved_at: float = 0.0
    still_since: float = 0.0
    read: tuple[str, str] | None = None
    next_read: float = 0.0
    fault: str = ""


@dataclass
class ChangeSensor:
    """Looks at the tables behind some models.

    Attributes:
        models: Those whose changes start something.
    """

    models: tuple[Declaration, ...]
    _seen: dict[str, _Seen] = field(default_factory=dict)

    def look(self, connection: Connection, busy: Collection[str]) -> list[Ask]:
        """What has to be trained by now. A look costs about a millisecond a model while nothing changes.

        Args:
            connection: To PostgreSQL, in autocommit.
            busy: Models with a run that goes on, whose end decides what is new.

        Raises:
            psycopg.Error: PostgreSQL does not answer, or was never prepared.
        """
        noted = content.noted(connection)
        asks = []
        for model in self.models:
            if model.name in busy:
                continue
            with self._failing_softly(connection, model.name):
                if model.name not in noted:
                    self._begin(connection, model)
                elif ask := self._look_at(connection, model, noted[model.name]):
                    asks.append(ask)
        return asks

    def _look_at(self, connection: Connection, model: Declaration, known: Content) -> Ask | None:
        now, seen = time.monotonic(), self._seen.setdefault(model.name, _Seen())
        counters = content.counters(connection, model)
        if counters == known.counters:
            self._seen[model.name] = _Seen(next_read=seen.next_read)
            return None
        if counters != seen.counters:
            seen.moved_at = seen.moved_at or now
            seen.counters, seen.still_since = counters, now
        still = now - seen.still_since >= STILL_SECONDS
        if not still and now - seen.moved_at < LONGEST_WAIT:
            return None
        if not self._due(connection, model, known):
            return None
        if seen.read is None or seen.read[0] != counters:
            if now < seen.next_read:
                return None
            digest = content.digest(connection, model)
            seen.read, seen.moved_at = (counters, digest), 0.0
            seen.next_read = time.monotonic() + (time.monotonic() - now) * _READING_SHARE
        if seen.read[1] == known.digest:
            # Written to, and as it was: nobody has to read it again for that, not after a restart either.
            _take_note(connection, model.name, known.digest, counters)
            return None
        return Ask(
            model=model.name,
            cause="change",
            fingerprint=f"change:{model.name}:{known.read_at.timestamp():.6f}:{seen.read[1]}",
            detail=f"Rows of {model.source.table} have changed.",
            asked_by="change",
        )

    def _begin(self, connection: Connection, model: Declaration) -> None:
        """Notes what a model's tables hold that was judged before anybody noted it; the first training is `./run`'s."""
        judged = connection.execute("SELECT FROM decisions WHERE model = %s LIMIT 1", [model.name]).fetchone()
        if judged is None:
            return
        (moment,) = connection.execute("SELECT clock_timestamp()").fetchone() or (None,)
        counters = content.counters(connection, model)
        if moment is not None:
            content.note(connection, model.name, Content(content.digest(connection, model), counters, moment))

    def _due(self, connection: Connection, model: Declaration, known: Content) -> bool:
        """Whether the model may be trained again already; times of the future are a clock's that was set back."""
        if not model.change_minutes:
            return True
        row = connection.execute(
            "SELECT NOT (greatest(%s::timestamptz, (SELECT max(started_at) FROM retrains WHERE model = %s"
            " AND cause = 'change' AND started_at <= now()))"
            " BETWEEN now() - make_interval(secs => %s) AND now())",
            [known.read_at, model.name, model.change_minutes * 60],
        ).fetchone()
        return row is None or bool(row[0])

    @contextmanager
    def _failing_softly(self, connection: Connection, model: str) -> Iterator[None]:
        """A table that is missing or altered is told once and bars no other."""
        seen = self._seen.setdefault(model, _Seen())
        try:
            yield
        except psycopg.Error as error:
            if connection.closed or isinstance(error, psycopg.OperationalError):
                raise
            fault = type(error).__name__
            if fault != seen.fault:
                log.warning("Changes of the tables of %s can't be seen: %s", model, fault, extra={"model": model})
            self._seen[model] = _Seen(fault=fault)
        else:
            self._seen[model].fault = ""


def _take_note(connection: Connection, model: str, digest: str, counters: str) -> None:
    # Unless a pipeline has noted something newer meanwhile.
    connection.execute(
        "UPDATE table_contents SET counters = %s WHERE model = %s AND digest = %s", [counters, model, digest]
    )
