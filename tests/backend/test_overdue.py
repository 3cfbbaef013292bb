"""When a check for drift is overdue."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from backend.drift import OVERDUE_PERIODS, PERIOD_SECONDS, _overdue, _short

NOW = datetime(2026, 11, 20, 6, 0, tzinfo=UTC)
LONG = timedelta(seconds=OVERDUE_PERIODS * PERIOD_SECONDS + 1)


def test_a_check_is_overdue_long_after_the_last_one_and_after_the_champion_came() -> None:
    assert not _overdue([NOW], NOW)
    assert not _overdue([NOW - LONG, NOW - timedelta(minutes=9)], NOW), "checked lately, or put into use lately"
    assert _overdue([NOW - LONG], NOW), "never checked since it is served"
    assert _overdue([NOW - 2 * LONG, NOW - LONG], NOW)


def test_what_is_not_served_waits_for_no_check() -> None:
    assert not _short("education", ([], [])).overdue
