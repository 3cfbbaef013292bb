"""The data profile: what it says of a snapshot, and of what changed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sigap.catalog import Declaration
from sigap.data.profile import markdown, profile_version, write_profile
from sigap.data.snapshot import take_snapshot
from sigap.settings import Settings

Execute = Callable[..., list[tuple[Any, ...]]]
pytestmark = pytest.mark.usefixtures("catalogue")


def test_a_profile_says_what_is_there_and_what_is_made_up(
    settings: Settings, catalogue: dict[str, Declaration], tmp_path: Path
) -> None:
    declared = catalogue["loan_approval"]
    taken = take_snapshot(declared, settings)
    made = profile_version(declared, settings, taken.version, taken.md5)
    assert (made.rows, made.rejected, made.origin, made.changes) == (600, 0, "mock", None)
    columns = {column.name: column for column in made.columns}
    assert (columns["loan_id"].role, columns["loan_id"].distinct, columns["loan_id"].top) == ("key", 600, {})
    assert columns["Loan_Status"].role == "target"
    assert sum(columns["Loan_Status"].top.values()) == 600
    history = columns["Credit_History"]
    assert history.missing == round(history.missing_share * 600) > 0
    amount = columns["LoanAmount"]
    assert amount.quantiles["0.05"] < amount.quantiles["0.5"] < amount.quantiles["0.95"]
    assert sum(amount.counts) == 600 - amount.missing
    assert (amount.edges[0], amount.edges[-1], amount.unit) == (amount.minimum, amount.maximum, "currency units")

    first = [path.read_bytes() for path in write_profile(tmp_path / "a", made)]
    again = profile_version(declared, settings, taken.version, taken.md5)
    assert [path.read_bytes() for path in write_profile(tmp_path / "b", again)] == first
    assert json.loads(first[0])["columns"][0]["name"] == "loan_id"
    page = first[1].decode()
    assert "**Mock data: these rows are made up.**" in page
    assert "MOCK0" not in page
    assert "| Loan_Status | target | 0 | 2 |" in page


def test_changes_are_told_against_the_version_before(
    settings: Settings, catalogue: dict[str, Declaration], execute: Execute
) -> None:
    declared = catalogue["car_price"]
    take_snapshot(declared, settings)
    execute("DELETE FROM cars WHERE car_id <= 5")
    execute("INSERT INTO cars SELECT * FROM (SELECT * FROM cars LIMIT 3) AS c ON CONFLICT DO NOTHING")
    execute("UPDATE cars SET car_id = 1000 + car_id WHERE car_id IN (6, 7)")
    execute("UPDATE cars SET price = price * 3, horsepower = NULL WHERE car_id BETWEEN 100 AND 249")
    execute("UPDATE cars SET company_name = 'audi' WHERE company_name = 'jaguar'")
    second = take_snapshot(declared, settings)
    made = profile_version(declared, settings, second.version, second.md5)
    assert made.changes is not None
    assert (made.changes.against, made.changes.rows_before, made.rows) == ("v1", 300, 295)
    assert (made.changes.added, made.changes.removed) == (2, 7)
    assert made.changes.changed >= 150
    changed = {column.name: column for column in made.changes.columns}
    assert changed["price"].reading == "much"
    assert changed["price"].median is not None
    assert changed["price"].median > 0
    assert changed["horsepower"].missing_share == pytest.approx(150 / 295)
    assert changed["CompanyName"].vanished == ("jaguar",)
    # Wheelbase lost five of 300 rows and is otherwise as it was.
    assert changed["wheelbase"].psi is not None
    assert changed["wheelbase"].psi < 0.05
    assert "## Changes since v1" in markdown(made)
    assert all(math.isfinite(column.psi) for column in made.changes.columns if column.psi is not None)


def test_empty_constant_and_timestamp_columns(
    settings: Settings, catalogue: dict[str, Declaration], execute: Execute
) -> None:
    execute("UPDATE candles SET volume = 0")
    taken = take_snapshot(catalogue["bitcoin_price"], settings)
    made = profile_version(catalogue["bitcoin_price"], settings, taken.version, taken.md5)
    columns = {column.name: column for column in made.columns}
    assert columns["opened_at"].minimum == "2018-01-01T00:00:00+00:00"
    assert (columns["volume"].minimum, columns["volume"].sd, sum(columns["volume"].counts)) == (0, 0, 2000)
    execute("UPDATE customers SET work_experience = NULL")
    taken = take_snapshot(catalogue["customer_segments"], settings)
    made = profile_version(catalogue["customer_segments"], settings, taken.version, taken.md5)
    empty = next(column for column in made.columns if column.name == "Work_Experience")
    assert (empty.missing_share, empty.distinct, empty.minimum) == (1.0, 0, None)
    education = take_snapshot(catalogue["education"], settings)
    assert profile_version(catalogue["education"], settings, education.version, education.md5).duplicates == 0
