"""A model's data as an operator changes it: files into its table, and recorded versions brought back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any

import streamlit as st
from pydantic import ValidationError

from frontend import operator
from frontend.api import Answer, ApiDownError
from frontend.operator import Operator

# Where a session keeps the file that it looks at.
INTAKE = "operations_intake"


class Reason(Answer):
    """Why rows are set aside."""

    field: str
    expected: str
    rows: int


class RefusedRow(Answer):
    """A row that is set aside."""

    row: int
    field: str
    found: str
    expected: str


class Imported(Answer):
    """What an import did, or would do."""

    file: str
    kind: str
    rows: int
    inserted: int
    changed: int
    unchanged: int
    doubles: int
    rejected: int
    mock_removed: int
    mock_said: int = 0
    headings: dict[str, str]
    missing: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    reasons: tuple[Reason, ...] = ()
    refused: tuple[RefusedRow, ...] = ()

    @property
    def moves(self) -> bool:
        """Whether the table is another one afterwards."""
        return bool(self.inserted or self.changed)


class DataVersion(Answer):
    """A recorded snapshot."""

    version: str
    md5: str
    created_at: str | None = None


class DataVersions(Answer):
    """The recorded snapshots, newest first, and the one that is checked out."""

    current: str | None
    versions: tuple[DataVersion, ...] = ()


@dataclass
class Intake:
    """A file that may be imported.

    Attributes:
        key: Tells this file, read in this way, from another.
        file: Its content.
        name: As its owner calls it.
        options: How it is to be read, as the API's parameters.
        found: What would be done.
        refusal: Why the API does not take it, as the problem's kind and its words; None where it does.
    """

    key: tuple[Any, ...]
    file: IO[bytes]
    name: str
    options: Mapping[str, str] = field(default_factory=dict)
    found: Imported | None = None
    refusal: tuple[str, str] | None = None


def send(who: Operator, model: str, intake: Intake, *, dry_run: bool) -> Imported:
    """Imports a file, or tells what an import would do.

    Raises:
        SignedOutError: The token has ended.
        DeniedError: The API refuses the file.
        ApiDownError: The API can't be reached or its answer can't be read.
    """
    intake.file.seek(0)
    options = {**intake.options, "dry_run": str(dry_run).lower()}
    answer = operator.send_file(who, f"/models/{model}/import-file", options, intake.name, intake.file)
    try:
        return Imported.model_validate(answer)
    except ValidationError as error:
        raise ApiDownError(f"The API's answer can't be read: {error}.") from error


def data_versions(who: Operator, model: str) -> DataVersions:
    """The recorded data versions, asked anew; raises as `send` does."""
    try:
        return DataVersions.model_validate(operator.ask(who, "GET", f"/models/{model}/data/versions"))
    except ValidationError as error:
        raise ApiDownError(f"The API's answer can't be read: {error}.") from error


@st.cache_data(ttl=30, show_spinner=False)
def known_versions(_who: Operator, model: str) -> DataVersions:
    """The recorded data versions, for pages: looking them up takes seconds. What raises is not kept."""
    return data_versions(_who, model)
