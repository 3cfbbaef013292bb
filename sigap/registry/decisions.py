"""What the gate or a person decided, in PostgreSQL: the table `decisions`, one row a decision.

The same record stands on the model version and among the run's artefacts; this one is there to be asked across models
and runs, and is the only one of a run that registered nothing.
"""

from __future__ import annotations

import getpass
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from sigap.data import postgres
from sigap.errors import ServiceError
from sigap.settings import Settings

log = logging.getLogger(__name__)

PIPELINE = "pipeline"
_COLUMNS = (
    "model", "run_id", "model_version", "champion_before", "champion_after", "promoted", "rule", "reason", "record",
    "mode", "asked_by", "data_version", "data_md5",
)  # fmt: skip


@dataclass(frozen=True)
class Record:
    """A decision and its numbers.

    Attributes:
        model: The model.
        run_id: The pipeline run's parent run; of a person's decision a key of its own.
        model_version: The version decided on, such as `v3`; empty where nothing could be registered.
        champion_before: The version served before, or None.
        champion_after: The version served afterwards, or None.
        promoted: Whether the version decided on came to be served by this decision.
        rule: The rule that decided, see `sigap.training.gate.Rule`, or `approved`, `by_hand`, `rollback`.
        reason: The same as a sentence.
        record: Comparison with its interval, score, baseline, rows; plain JSON.
        mode: `auto`, or `manual` where a person has to approve.
        asked_by: Who or what asked for it.
        data_version: Name of the data version.
        data_md5: DVC's hash of the snapshot.
        decided_at: When it was written down; None before it is.
    """

    model: str
    run_id: str
    model_version: str
    champion_before: str | None
    champion_after: str | None
    promoted: bool
    rule: str
    reason: str
    record: Mapping[str, Any] = field(default_factory=dict)
    mode: str = "auto"
    asked_by: str = PIPELINE
    data_version: str = ""
    data_md5: str = ""
    decided_at: datetime | None = None


def person() -> str:
    """The account that types a command, as it is written down beside what it decides."""
    try:
        return f"person: {getpass.getuser()}"
    except (OSError, KeyError):
        return "person"


def write(settings: Settings, decision: Record) -> bool:
    """Writes a decision down; the same one of the same run again changes nothing.

    Returns:
        Whether PostgreSQL has it. Without PostgreSQL a decision still stands on its version and its run, and a model
        can be put back into service while the database is down.
    """
    values = [getattr(decision, name) for name in _COLUMNS]
    values = [
        Jsonb(value) if name in ("reason", "record") else value for name, value in zip(_COLUMNS, values, strict=True)
    ]
    statement = (
        f"INSERT INTO decisions ({', '.join(_COLUMNS)}) VALUES ({', '.join(['%s'] * len(_COLUMNS))})"  # noqa: S608
        " ON CONFLICT (model, run_id, rule) DO NOTHING"
    )
    try:
        with postgres.connect(settings) as connection:
            connection.execute(statement, values)
    except (ServiceError, psycopg.Error) as error:
        log.warning("The decision on %s is not in PostgreSQL: %s", decision.model, type(error).__name__)
        return False
    return True


def newest(settings: Settings) -> dict[str, list[Record]]:
    """Each model's decisions that a line about it may need, newest first: its last one, and each version's last.

    Raises:
        ServiceError: PostgreSQL can't be reached, or has no such table yet.
    """
    found: dict[str, list[Record]] = {}
    for row in _read(settings, "SELECT DISTINCT ON (model, model_version) {columns} FROM decisions"
                     " WHERE rule <> 'equal' ORDER BY model, model_version, id DESC", []):  # fmt: skip
        found.setdefault(row.model, []).append(row)
    return {model: sorted(rows, key=lambda row: str(row.decided_at), reverse=True) for model, rows in found.items()}


def decisions(settings: Settings, model: str, limit: int = 50) -> list[Record]:
    """The decisions on a model, newest first.

    Raises:
        ServiceError: PostgreSQL can't be reached, or has no such table yet.
    """
    return _read(settings, "SELECT {columns} FROM decisions WHERE model = %s ORDER BY id DESC LIMIT %s", [model, limit])


def _read(settings: Settings, statement: str, values: list[Any]) -> list[Record]:
    columns = ", ".join([*_COLUMNS, "decided_at"])
    with postgres.connect(settings, read_only=True) as connection:
        try:
            rows = connection.execute(statement.format(columns=columns), values).fetchall()
        except psycopg.Error as error:
            raise ServiceError(
                f"The table of decisions can't be read from PostgreSQL ({type(error).__name__}).",
                remedy="It is made by `./run` and by every pipeline; start one of them once.",
            ) from error
    return [Record(*row) for row in rows]
