"""Checks for drift as they are kept in PostgreSQL. Their order is that of their ids; no clock decides anything."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from sigap.data.postgres import Connection, connect, translated
from sigap.monitoring.decision import Feature
from sigap.settings import Settings

Subject = Literal["live", "table"]
Status = Literal["computed", "too_few", "failed"]
SUBJECTS: tuple[Subject, ...] = ("live", "table")

# A check that comes upon more predictions than this leaves the oldest out: the log may hold hundreds of millions.
NEWEST_PREDICTIONS = 1_000_000
# About five weeks of checks every ten minutes.
KEPT = 5_000
# First half of the advisory locks' key; the second is the model's and subject's hash.
_LOCK = 7_401_895
_COLUMNS = (
    "model, model_version, subject, rows, reference_rows, status, share, drifted, alarm, reason, run_id, report, "
    "last_prediction, data_md5, details"
)


@dataclass(frozen=True)
class Check:
    """One check, as the table `drift_checks` has it; see its columns' comments."""

    model: str
    model_version: str
    subject: Subject
    rows: int
    reference_rows: int
    status: Status
    share: float | None
    drifted: bool
    alarm: bool
    reason: str
    run_id: str | None = None
    report: str | None = None
    last_prediction: int | None = None
    data_md5: str | None = None
    details: dict[str, Any] = field(default_factory=dict)
    id: int = 0
    checked_at: datetime | None = None

    @property
    def report_failed(self) -> bool:
        """Whether its report could not be made: the next window tries again, whatever it finds."""
        return bool(self.details.get("report_failed"))


@dataclass(frozen=True)
class LiveWindow:
    """Predictions that no window has used yet.

    Attributes:
        rows: How many there are.
        last: Greatest id among all that were looked at; where the next window begins.
        fields: Inputs of all of them, or of as many as were asked for, drawn by a hash of their id.
    """

    rows: int
    last: int
    fields: list[dict[str, Any]]


class Records:
    """The records of checks, by one connection.

    Args:
        settings: Whose database.
        connection: To it; every call commits.
    """

    def __init__(self, settings: Settings, connection: Connection) -> None:
        self._settings = settings
        self._connection = connection

    @contextmanager
    def alone(self, model: str, subject: Subject) -> Iterator[bool]:
        """Keeps other checks of the same model and subject out; whether nobody else is at it."""
        key = [_LOCK, f"{model} {subject}"]
        got = self._one("SELECT pg_try_advisory_lock(%s, hashtext(%s))", key)[0]
        try:
            yield bool(got)
        finally:
            if got and not self._connection.broken:
                self._one("SELECT pg_advisory_unlock(%s, hashtext(%s))", key)

    def newest(self, model: str, subject: Subject, limit: int = 1, *, computed: bool = False) -> list[Check]:
        """The newest checks, the newest first; with `computed`, those alone that decided something."""
        decided = " AND status <> 'too_few'" if computed else ""
        rows = self._all(
            f"SELECT {_COLUMNS}, id, checked_at FROM drift_checks WHERE model = %s AND subject = %s{decided}"  # noqa: S608
            " ORDER BY id DESC LIMIT %s",
            [model, subject, limit],
        )
        return [Check(*row) for row in rows]

    def reported_within(self, check: Check, seconds: int) -> bool:
        """Whether a report of the check's version and subject was made so lately, before or after by the clock."""
        found = self._one(
            "SELECT EXISTS (SELECT FROM drift_checks WHERE model = %s AND subject = %s AND model_version = %s"
            " AND report IS NOT NULL AND abs(extract(epoch FROM now() - checked_at)) < %s)",
            [check.model, check.subject, check.model_version, seconds],
        )
        return bool(found[0])

    def used_until(self, model: str) -> int:
        """Greatest id of a prediction that a window of the model has used, of whichever version; 0 if none has."""
        return int(
            self._one(
                "SELECT coalesce(max(last_prediction), 0) FROM drift_checks WHERE model = %s AND subject = 'live'",
                [model],
            )[0]
        )

    def live(self, model: str, limit: int) -> LiveWindow:
        """Inputs of the champion's answers that no window has used yet; shadow answers and older ones left out."""
        last = int(self._one("SELECT coalesce(max(id), 0) FROM predictions", [])[0])
        after = max(self.used_until(model), last - NEWEST_PREDICTIONS)
        span = "FROM predictions WHERE model = %s AND NOT shadow AND id > %s AND id <= %s"
        rows = int(self._one(f"SELECT count(*) {span}", [model, after, last])[0])
        # By a hash, so that neither the order of requests nor a client that asks in turns has a say in it.
        part = max(1, -(-rows // limit))
        found = self._all(
            f"SELECT fields {span} AND abs(hashint8(id)::bigint) %% %s = 0 ORDER BY id",
            [model, after, last, part],
        )
        return LiveWindow(rows, last, [row[0] for row in found])

    def write(self, check: Check, features: Sequence[Feature]) -> Check:
        """Writes a check and its features in one transaction; the check with its id."""
        values = [
            check.model, check.model_version, check.subject, check.rows, check.reference_rows, check.status,
            check.share, check.drifted, check.alarm, check.reason, check.run_id, check.report, check.last_prediction,
            check.data_md5, json.dumps(check.details),
        ]  # fmt: skip
        places = ", ".join(["%s"] * len(values))
        with translated(self._settings, "Writing drift_checks"), self._connection.transaction():
            row = self._connection.execute(
                f"INSERT INTO drift_checks ({_COLUMNS}) VALUES ({places}) RETURNING id, checked_at".encode(),  # noqa: S608
                values,
            ).fetchone()
            assert row is not None  # noqa: S101 - an INSERT that returns gives a row
            with self._connection.cursor() as cursor:
                cursor.executemany(
                    "INSERT INTO drift_features (check_id, feature, test, statistic, p, p_adjusted, effect, "
                    "effect_name, drifted, bins) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                    [_feature_row(int(row[0]), each) for each in features],
                )
        return replace(check, id=int(row[0]), checked_at=row[1])

    def reported(self, check: Check, report: str) -> Check:
        """Notes where the check's report is."""
        self._run("UPDATE drift_checks SET report = %s WHERE id = %s", [report, check.id])
        return replace(check, report=report)

    def unreported(self, check: Check, why: str) -> Check:
        """Notes that the check's report can't be made, which is an alarm."""
        reason = f"{check.reason} {why}"
        self._run(
            "UPDATE drift_checks SET alarm = true, reason = %s, details = details || '{\"report_failed\": true}'"
            " WHERE id = %s",
            [reason, check.id],
        )
        return replace(check, alarm=True, reason=reason)

    def move_features(self, source: Check, target: Check) -> None:
        """Gives a check the features of the one before, which saw the same rows.

        A table that stays as it is would otherwise leave the same distributions 144 times a day.
        """
        self._run("UPDATE drift_features SET check_id = %s WHERE check_id = %s", [target.id, source.id])

    def forget(self, check: Check) -> None:
        """Deletes what is older than the newest `KEPT` checks of the same model and subject."""
        self._run(
            "DELETE FROM drift_checks WHERE model = %s AND subject = %s AND id < (SELECT id FROM drift_checks"
            " WHERE model = %s AND subject = %s ORDER BY id DESC OFFSET %s LIMIT 1)",
            [check.model, check.subject, check.model, check.subject, KEPT - 1],
        )

    def features(self, check: Check) -> list[tuple[Any, ...]]:
        """Feature, test, effect, effect's name, adjusted p and whether it drifted, the greatest effect first."""
        return self._all(
            "SELECT feature, test, effect, effect_name, p_adjusted, drifted FROM drift_features WHERE check_id = %s"
            " ORDER BY drifted DESC, effect DESC, feature",
            [check.id],
        )

    def _run(self, statement: str, values: list[Any]) -> None:
        with translated(self._settings, "Writing the checks for drift"), self._connection.transaction():
            self._connection.execute(statement.encode(), values)

    def _all(self, statement: str, values: list[Any]) -> list[tuple[Any, ...]]:
        with translated(self._settings, "Reading the checks for drift"), self._connection.transaction():
            return self._connection.execute(statement.encode(), values).fetchall()

    def _one(self, statement: str, values: list[Any]) -> tuple[Any, ...]:
        return self._all(statement, values)[0]


@contextmanager
def records(settings: Settings) -> Iterator[Records]:
    """The records, while the block lasts.

    Raises:
        ServiceError: PostgreSQL can't be reached, or has no such table yet.
    """
    with connect(settings) as connection:
        connection.autocommit = True
        yield Records(settings, connection)


def _feature_row(check: int, each: Feature) -> tuple[Any, ...]:
    tested = each.tested
    return (
        check, tested.feature, tested.test, tested.statistic, tested.p, each.p_adjusted, tested.effect,
        tested.effect_name, each.drifted, json.dumps(tested.bins),
    )  # fmt: skip
