"""The change sensor: what moves PostgreSQL's counts, and what of it is a change of the data."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from sigap.catalog import declaration
from sigap.data import content
from sigap.data.content import Content, note_decided
from sigap.data.snapshot import take_snapshot
from sigap.settings import Settings
from sigap.watcher import changes
from sigap.watcher.changes import ChangeSensor
from tests.conftest import Checkout

EDUCATION, BITCOIN = declaration("education"), declaration("bitcoin_price")
# PostgreSQL adds what an ended session wrote to its counts at once, or nearly.
SECONDS = 20


@pytest.fixture
def settings(checkout: Checkout, seeded_database: str) -> Settings:
    return checkout.settings(database=seeded_database)


@pytest.fixture
def connection(settings: Settings) -> Iterator[content.Connection]:
    with psycopg.connect(settings.dsn, autocommit=True) as opened:
        yield opened


@pytest.fixture
def write(settings: Settings) -> Callable[..., None]:
    def write(statement: str) -> None:
        with psycopg.connect(settings.dsn) as session:
            session.execute(statement)  # type: ignore[arg-type]

    return write


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "STILL_SECONDS", 0.3)


def now(connection: content.Connection, model: Any = EDUCATION) -> Content:
    (moment,) = connection.execute("SELECT clock_timestamp()").fetchone() or (None,)
    counters = content.counters(connection, model)
    return Content(content.digest(connection, model), counters, moment)


def judged(connection: content.Connection, model: Any = EDUCATION) -> Content:
    """As if a pipeline had just decided on what the tables hold."""
    found = now(connection, model)
    content.note(connection, model.name, found)
    return found


def asked(connection: content.Connection, sensor: ChangeSensor, busy: Any = ()) -> list[Any]:
    """What the sensor asks for once PostgreSQL's counts have moved and stood still."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if found := sensor.look(connection, busy):
            return found
        time.sleep(0.1)
    raise AssertionError("nothing was asked for")


def moved(connection: content.Connection, before: str) -> None:
    end = time.monotonic() + SECONDS
    while content.counters(connection, EDUCATION) == before:
        assert time.monotonic() < end, "the counts stand still"
        time.sleep(0.1)


def test_a_changed_row_is_seen_and_nothing_before_it(
    connection: content.Connection, write: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    sensor, known = ChangeSensor((EDUCATION,)), judged(connection)
    with monkeypatch.context() as patched:
        # While the counts stand still, no row is read.
        patched.setattr(content, "digest", None)
        for _ in range(5):
            assert sensor.look(connection, ()) == []
    write("UPDATE education_data SET rata_lama_sekolah = rata_lama_sekolah + 0.1 WHERE provinsi_id = 'P35'")
    (ask,) = asked(connection, sensor)
    assert (ask.model, ask.cause, ask.asked_by) == ("education", "change", "change")
    # The same change is the same request, after a restart of the watcher too; once judged, it is none.
    (again,) = asked(connection, ChangeSensor((EDUCATION,)))
    assert again == ask
    assert judged(connection).digest != known.digest
    assert sensor.look(connection, ()) == []


def test_rows_written_as_they_were_change_nothing_and_are_read_once(
    connection: content.Connection, write: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    sensor, known = ChangeSensor((EDUCATION,)), judged(connection)
    write("UPDATE education_data SET rata_lama_sekolah = rata_lama_sekolah")
    write("ALTER TABLE education_data ADD COLUMN note text")
    write("UPDATE education_data SET note = 'not declared'")
    moved(connection, known.counters)
    end = time.monotonic() + SECONDS
    while content.noted(connection)["education"].counters == known.counters:
        assert sensor.look(connection, ()) == []
        assert time.monotonic() < end
        time.sleep(0.1)
    settled = content.noted(connection)["education"]
    assert settled.digest == known.digest
    # Noted in PostgreSQL: a watcher that starts anew need not read it either.
    if settled.counters == content.counters(connection, EDUCATION):
        monkeypatch.setattr(content, "digest", None)
        assert ChangeSensor((EDUCATION,)).look(connection, ()) == []


def test_there_and_back_again_is_no_change(connection: content.Connection, write: Callable[..., None]) -> None:
    before = now(connection)
    write("DELETE FROM education_data WHERE provinsi_id = 'P35'")
    gone = now(connection)
    write("UPDATE provinces SET ibukota = ibukota || ' ' WHERE provinsi_id = 'P11'")
    joined = now(connection)
    assert len({before.digest, gone.digest, joined.digest}) == 3
    write("UPDATE provinces SET ibukota = trim(ibukota) WHERE provinsi_id = 'P11'")
    assert now(connection).digest == gone.digest


def test_a_table_that_a_view_hides_or_a_join_brings_in_is_watched_too(
    connection: content.Connection, write: Callable[..., None]
) -> None:
    assert ("public", "provinces") in content.tables(connection, EDUCATION)
    write("ALTER TABLE education_data RENAME TO figures")
    write("CREATE VIEW education_data AS SELECT * FROM figures")
    assert ("public", "figures") in content.tables(connection, EDUCATION)
    judged(connection)
    write("UPDATE figures SET rata_lama_sekolah = rata_lama_sekolah + 0.1 WHERE provinsi_id = 'P35'")
    assert asked(connection, ChangeSensor((EDUCATION,)))


def test_counts_that_begin_anew_are_looked_into_and_a_change_meanwhile_is_found(
    connection: content.Connection, write: Callable[..., None]
) -> None:
    judged(connection)
    write("UPDATE education_data SET rata_lama_sekolah = rata_lama_sekolah + 0.1 WHERE provinsi_id = 'P35'")
    # As after a crash.
    write("SELECT pg_stat_reset()")
    assert asked(connection, ChangeSensor((EDUCATION,)))


def test_while_a_run_goes_on_and_before_the_first_training_nothing_is_asked_for(
    connection: content.Connection, write: Callable[..., None]
) -> None:
    sensor = ChangeSensor((EDUCATION,))
    for _ in range(3):
        assert sensor.look(connection, ()) == []
    assert content.noted(connection) == {}
    judged(connection)
    write("UPDATE education_data SET rata_lama_sekolah = rata_lama_sekolah + 0.1 WHERE provinsi_id = 'P35'")
    moved(connection, content.noted(connection)["education"].counters)
    for _ in range(5):
        assert sensor.look(connection, {"education"}) == []
        time.sleep(0.1)
    assert asked(connection, sensor)


def test_a_model_that_was_judged_before_anybody_noted_it_begins_with_what_there_is(
    connection: content.Connection, write: Callable[..., None]
) -> None:
    write(
        "INSERT INTO decisions (model, run_id, model_version, promoted, rule, reason, record, mode, asked_by,"
        " data_version, data_md5) VALUES ('education', 'r', 'v1', true, 'first', '\"\"', '{}', 'auto', 'pipeline',"
        " 'v1', '')"
    )
    assert ChangeSensor((EDUCATION,)).look(connection, ()) == []
    assert content.noted(connection)["education"].digest == now(connection).digest


def test_a_table_that_changes_all_the_time_has_its_model_trained_so_often_at_most(
    connection: content.Connection, write: Callable[..., None]
) -> None:
    write(
        "INSERT INTO candles (product, step, opened_at, open, high, low, close, volume, origin)"
        " VALUES ('BTC-USD', '1d', '2026-01-01', 1, 1, 1, 1, 1, 'rest')"
    )
    sensor, known = ChangeSensor((BITCOIN,)), judged(connection, BITCOIN)
    assert BITCOIN.change_minutes == 60
    write("UPDATE candles SET close = 2")
    end = time.monotonic() + SECONDS
    while content.counters(connection, BITCOIN) == known.counters:
        assert time.monotonic() < end
        time.sleep(0.1)
    for _ in range(5):
        assert sensor.look(connection, ()) == []
        time.sleep(0.1)
    write("UPDATE table_contents SET read_at = now() - interval '61 minutes'")
    assert asked(connection, sensor)
    # A clock that was set back does not make it wait.
    write("UPDATE table_contents SET read_at = now() + interval '1 day'")
    assert asked(connection, sensor)


def test_a_missing_table_bars_no_other(
    connection: content.Connection, write: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    judged(connection)
    content.note(connection, "bitcoin_price", Content("x", "x", content.noted(connection)["education"].read_at))
    write("ALTER TABLE candles RENAME TO elsewhere")
    write("UPDATE education_data SET rata_lama_sekolah = rata_lama_sekolah + 0.1 WHERE provinsi_id = 'P35'")
    sensor = ChangeSensor((BITCOIN, EDUCATION))
    assert [ask.model for ask in asked(connection, sensor)] == ["education"]
    sensor.look(connection, ())
    assert caplog.text.count("can't be seen: UndefinedTable") == 1


def test_the_pipeline_notes_the_very_rows_that_it_has_read(
    settings: Settings, connection: content.Connection, write: Callable[..., None]
) -> None:
    taken = take_snapshot(EDUCATION, settings)
    assert taken.content["digest"] == content.digest(connection, EDUCATION)
    write("UPDATE education_data SET rata_lama_sekolah = rata_lama_sekolah + 0.1 WHERE provinsi_id = 'P35'")
    # Judged after the change, but on the rows from before it.
    note_decided(settings, "education", taken.content)
    assert asked(connection, ChangeSensor((EDUCATION,)))
    later = take_snapshot(EDUCATION, settings)
    note_decided(settings, "education", later.content)
    # Of two runs at once, the one that read earlier may end later.
    note_decided(settings, "education", taken.content)
    assert content.noted(connection)["education"].digest == later.content["digest"]
    note_decided(settings, "education", {})


def test_a_note_that_can_not_be_written_does_not_undo_the_decision(
    settings: Settings, connection: content.Connection, write: Callable[..., None]
) -> None:
    taken = take_snapshot(EDUCATION, settings)
    write("DROP TABLE table_contents")
    note_decided(settings, "education", taken.content)
