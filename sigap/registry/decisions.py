"""What the gate or a person decided, read from PostgreSQL: the table `decisions`, one row a decision.

The same record stands on the model version and among the run's artefacts; this one is there to be asked across models
and runs, and is the only one of a run that registered nothing. `sigap.decisions` writes it, for the API does so too.
"""

from __future__ import annotations

from typing import Any

import psycopg

from sigap.data import postgres
from sigap.decisions import COLUMNS, PIPELINE, Record, person, write
from sigap.errors import ServiceError
from sigap.settings import Settings

__all__ = ["PIPELINE", "Record", "decisions", "newest", "person", "write"]


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
    columns = ", ".join([*COLUMNS, "decided_at"])
    with postgres.connect(settings, read_only=True) as connection:
        try:
            rows = connection.execute(statement.format(columns=columns), values).fetchall()
        except psycopg.Error as error:
            raise ServiceError(
                f"The table of decisions can't be read from PostgreSQL ({type(error).__name__}).",
                remedy="It is made by `./run` and by every pipeline; start one of them once.",
            ) from error
    return [Record(*row) for row in rows]
