"""What the gate or a person decided, as a row of PostgreSQL's table `decisions`."""

from __future__ import annotations

import getpass
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sigap.errors import SigapError
from sigap.settings import Settings

log = logging.getLogger(__name__)

PIPELINE = "pipeline"
COLUMNS = (
    "model", "run_id", "model_version", "champion_before", "champion_after", "promoted", "rule", "reason", "record",
    "mode", "asked_by", "data_version", "data_md5",
)  # fmt: skip
CONNECT_SECONDS = 5


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
    # Here, not above: an API that moves no alias needs no driver.
    import psycopg
    from psycopg.types.json import Jsonb

    values = [getattr(decision, name) for name in COLUMNS]
    values = [
        Jsonb(value) if name in ("reason", "record") else value for name, value in zip(COLUMNS, values, strict=True)
    ]
    statement = (
        f"INSERT INTO decisions ({', '.join(COLUMNS)}) VALUES ({', '.join(['%s'] * len(COLUMNS))})"  # noqa: S608
        " ON CONFLICT (model, run_id, rule) DO NOTHING"
    )
    try:
        with psycopg.connect(settings.dsn, connect_timeout=CONNECT_SECONDS, application_name="sigap") as connection:
            connection.execute(statement, values)
    except (SigapError, psycopg.Error) as error:
        log.warning("The decision on %s is not in PostgreSQL: %s", decision.model, type(error).__name__)
        return False
    return True
