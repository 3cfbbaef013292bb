"""The views for BI tools and the logins that read them, on a real PostgreSQL."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.types.json import Jsonb

from backend.personal import Mask
from backend.prediction_log import Logged, line
from sigap import decisions
from sigap.catalog import declaration, declarations
from sigap.data.analysts import GROUP, AnalystError, analysts, create_analyst, drop_analyst
from sigap.data.postgres import migrate
from sigap.errors import ServiceError
from sigap.settings import ROOT, Settings
from tests.conftest import _drop_database, _make_database

VIEWS = ("decisions", "drift", "levels", "predictions")
DOCUMENT = ROOT / "docs" / "analytics.md"
MARK = "Pribadi-4711"
ANSWERS: dict[str, dict[str, Any]] = {
    "education": {"cluster": 1, "cluster_label": "Menengah (Middle Readiness)", "distance_to_center": 0.45},
    "car_price": {"price": 9850.0, "interval": {"low": 7900.0, "high": 12300.0, "confidence": 0.9}, "segment": "Low"},
    "loan_approval": {"prediction": "Loan Approved", "is_approved": True, "probability": 0.82},
    "credit_approval": {"prediction": "Approved", "prediction_code": 1, "probability": 0.7},
    "bitcoin_price": {"next_close": 5.0, "naive_forecast": 4.0, "interval": {"low": 3, "high": 8}, "direction": "up"},
}


@pytest.fixture(scope="module")
def filled(postgres: str) -> Iterator[Settings]:
    """A database with something in every view, written the way that the API and the pipelines write it."""
    url = _make_database(postgres)
    settings = Settings(DATABASE_URL=url, _env_file=None)
    migrate(settings)
    with psycopg.connect(url) as connection:
        for name, answer in ANSWERS.items():
            mask = Mask(declaration(name), b"k" * 32, "hash")
            fields = {each.name: MARK for each in declaration(name).features}
            record = Logged(name, "v1", f"request-{MARK}", f"key-{MARK}", 1.7e9, fields, answer, latency=0.002)
            columns = 'at, model, model_version, request_id, principal, shadow, latency_ms, "row", fields, answer'
            with connection.cursor().copy(f"COPY predictions ({columns}) FROM STDIN") as copy:
                copy.write(line(record, mask))
        connection.execute(
            "INSERT INTO outcomes (prediction_id, model, value, observed_at)"
            " SELECT id, model, CASE model WHEN 'car_price' THEN '9000'::jsonb ELSE 'true' END, now()"
            " FROM predictions WHERE model IN ('car_price', 'loan_approval')"
        )
        check = connection.execute(
            "INSERT INTO drift_checks (model, model_version, subject, rows, reference_rows, status, share, drifted,"
            " alarm, reason) VALUES ('car_price', 'v1', 'live', 50, 300, 'computed', 0.5, true, false, '') RETURNING id"
        ).fetchone()
        assert check is not None
        connection.execute(
            "INSERT INTO drift_features (check_id, feature, test, statistic, effect, effect_name, drifted, bins)"
            " VALUES (%s, 'horsepower', 'ks', 0.4, 0.4, 'distance', true, %s)",
            [check[0], Jsonb({MARK: 1})],
        )
        connection.execute(
            "INSERT INTO entity_levels (model, model_version, bundle_sha256, entity, name, period, level)"
            " VALUES ('education', 'v1', 'x', 'P35', 'Jawa Timur', 2023, 1),"
            " ('education', 'v1', 'x', 'P35', 'Jawa Timur', 2024, 0), ('education', 'v0', 'x', 'P35', 'X', 2024, 2)"
        )
    record = {"origin": "mock", "rows": 300, "score": {"metric": "rmse", "score": 1415.0, "baseline": 8006.0}}
    named = {"record": record, "asked_by": f"person: {MARK}"}
    for model in ("education", "car_price"):
        made = decisions.Record(model, f"r-{model}", "v1", None, "v1", True, "first", "The first.", **named)
        assert decisions.write(settings, made)
    yield settings
    _drop_database(postgres, url)


@pytest.fixture(scope="module")
def analyst(filled: Settings) -> Iterator[str]:
    """URL by which a login reads the views of `filled`."""
    password = create_analyst(filled, "superset_test", 1)
    parts = urlsplit(filled.dsn)
    yield f"postgresql://superset_test:{password}@{parts.hostname}:{parts.port}{parts.path}"
    drop_analyst(filled, "superset_test")


@pytest.fixture
def ask(analyst: str) -> Iterator[Callable[..., list[tuple[Any, ...]]]]:
    with psycopg.connect(analyst, autocommit=True) as connection:
        yield lambda statement, *values: connection.execute(statement, values or None).fetchall()


def test_every_view_answers_typed_and_named(ask: Callable[..., list[tuple[Any, ...]]]) -> None:
    found = {row[0]: row[1:] for row in ask(
        "SELECT model, answer, level, is_approved, probability, value, value_low, value_high, outcome_value,"
        " outcome_is_yes FROM predictions WHERE NOT is_shadow"
    )}  # fmt: skip
    assert found == {
        "education": ("Menengah (Middle Readiness)", 1, None, None, None, None, None, None, None),
        "car_price": ("Low", None, None, None, 9850.0, 7900.0, 12300.0, 9000.0, None),
        "loan_approval": ("Loan Approved", None, True, 0.82, None, None, None, None, True),
        "credit_approval": ("Approved", None, True, 0.7, None, None, None, None, None),
        "bitcoin_price": ("up", None, None, None, 5.0, 3.0, 8.0, None, None),
    }
    [(predicted, latency)] = ask("SELECT predicted_at, latency_ms FROM predictions WHERE model = 'education'")
    assert (predicted, latency) == (datetime.fromtimestamp(1.7e9, UTC), 2.0)
    levels = "SELECT model_version, is_served, period, is_newest, level FROM levels ORDER BY 1, 3"
    assert ask(levels) == [("v0", False, 2024, True, 2), ("v1", True, 2023, False, 1), ("v1", True, 2024, True, 0)]
    assert ask(
        "SELECT asked_by, is_promoted, data_origin, rows, score_metric, score, baseline_score, reason, champion_before"
        " FROM decisions WHERE model = 'car_price'"
    ) == [("person", True, "mock", 300, "rmse", 1415.0, 8006.0, "The first.", None)]
    assert ask("SELECT model, feature, feature_is_drifted, drifted_share, is_alarm FROM drift") == [
        ("car_price", "horsepower", True, 0.5, False)
    ]


def test_nothing_personal_and_nothing_of_the_request(ask: Callable[..., list[tuple[Any, ...]]]) -> None:
    for view in VIEWS:
        rows = ask(f"SELECT row_to_json(v)::text FROM {view} AS v")
        assert rows
        assert not [row for row in rows if MARK in row[0]], view
    personal = {each.name for model in declarations() for each in model.features if each.personal}
    assert personal
    columns = ask("SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'analytics'")
    assert not {name for _, name in columns} & (personal | {"fields", "principal", "request_id", "bins"})


def test_an_analyst_reads_the_views_and_no_table(analyst: str, filled: Settings) -> None:
    with psycopg.connect(filled.dsn) as connection:
        tables = connection.execute(
            "SELECT schemaname, relname FROM pg_stat_user_tables UNION SELECT 'pg_catalog', 'pg_authid'"
        ).fetchall()
    assert ("public", "predictions") in tables
    with psycopg.connect(analyst, autocommit=True) as connection:
        for name in tables:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("SELECT 1 FROM {}.{}".format(*name).encode())


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM analytics.decisions",
        "UPDATE analytics.levels SET level = 0",
        "INSERT INTO analytics.levels (model) VALUES ('x')",
        "DROP VIEW analytics.drift",
        "CREATE TABLE analytics.mine (a int)",
        "CREATE TABLE public.mine (a int)",
        "CREATE SCHEMA mine",
        "CREATE ROLE mine",
        "ALTER ROLE superset_test SUPERUSER",
        "SET ROLE sigap",
        "COPY (SELECT 1) TO '/tmp/mine'",
        "SELECT pg_read_file('/etc/passwd')",
    ],
)  # fmt: skip
@pytest.mark.parametrize("read_only", [True, False], ids=["as it is", "with read-only taken off"])
def test_an_analyst_changes_nothing(analyst: str, statement: str, *, read_only: bool) -> None:
    with psycopg.connect(analyst, autocommit=True) as connection:
        if not read_only:
            connection.execute("SET default_transaction_read_only = off")
        with pytest.raises(
            (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction,
             psycopg.errors.ObjectNotInPrerequisiteState)
        ):  # fmt: skip
            connection.execute(statement.encode())


def test_a_query_without_end_is_ended(analyst: str) -> None:
    with psycopg.connect(analyst) as connection, pytest.raises(psycopg.errors.QueryCanceled, match="statement timeout"):
        connection.execute("SELECT pg_sleep(60)")


def test_the_document_tells_every_column(filled: Settings) -> None:
    """Names, types and sentences of docs/analytics.md are those of the database."""
    with psycopg.connect(filled.dsn) as connection:
        rows = connection.execute(
            "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), col_description(c.oid, a.attnum),"
            " obj_description(c.oid) FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid"
            " WHERE c.relnamespace = 'analytics'::regnamespace AND a.attnum > 0 ORDER BY c.relname, a.attnum"
        ).fetchall()
    assert sorted({row[0] for row in rows}) == list(VIEWS)
    parts = re.split(r"^### `analytics\.(\w+)`\n", DOCUMENT.read_text(), flags=re.MULTILINE)
    told = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert sorted(told) == list(VIEWS)
    for view in VIEWS:
        of_view = [row for row in rows if row[0] == view]
        assert of_view[0][4] in told[view]
        table = re.findall(r"^\| `(\w+)` \| ([\w ]+?) +\| (.+?) +\|$", told[view], re.MULTILINE)
        assert table == [(name, kind, comment) for _, name, kind, comment, _ in of_view]


def test_an_analyst_from_first_to_last(filled: Settings) -> None:
    def word(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "sigap", "analyst", *words], cwd=ROOT, env={"DATABASE_URL": filled.dsn},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    made = word("create", "bi_from_first", "--statement-timeout", "7")
    assert made.returncode == 0, made.stderr
    password, parts = made.stdout.strip(), urlsplit(filled.dsn)
    url = f"postgresql://bi_from_first:{password}@{parts.hostname}:{parts.port}{parts.path}"
    assert password not in made.stderr
    with psycopg.connect(url) as open_one:
        assert open_one.execute("SHOW statement_timeout").fetchone() == ("7s",)
        assert open_one.execute("SELECT count(*) FROM decisions").fetchone() == (2,)
        assert "bi_from_first" in {each.name for each in analysts(filled)}
        with pytest.raises(AnalystError, match="already"):
            create_analyst(filled, "bi_from_first")
        gone = word("drop", "bi_from_first")
        assert gone.returncode == 0, gone.stderr
        with pytest.raises(psycopg.OperationalError):
            open_one.execute("SELECT 1")
    again = word("drop", "bi_from_first")
    assert (again.returncode, "./run analyst list" in again.stderr) == (1, True)


@pytest.mark.parametrize("name", ["", "Superset", "a b", 'x"; DROP TABLE y; --', "pg_read_all_data", GROUP, "a" * 41])
def test_a_name_that_can_not_be_one(filled: Settings, name: str) -> None:
    with pytest.raises(AnalystError, match="can't be the name"):
        create_analyst(filled, name)


def test_who_owns_or_rules_is_no_analyst_to_be_dropped(filled: Settings) -> None:
    with psycopg.connect(filled.dsn) as connection:
        me = str(connection.execute("SELECT current_user").fetchone()[0])  # type: ignore[index]
    with pytest.raises(AnalystError, match="no analyst"):
        drop_analyst(filled, me)


def test_a_user_who_may_not_make_roles_is_told_what_to_do(postgres: str) -> None:
    """The schema comes all the same, without rights for a group that nobody could make."""
    url = _make_database(postgres)
    parts = urlsplit(url)
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("CREATE ROLE plain_owner LOGIN PASSWORD 'of-this-test'")
        connection.execute(f"ALTER DATABASE {parts.path[1:]} OWNER TO plain_owner".encode())
    settings = Settings(
        _env_file=None, DATABASE_URL=f"postgresql://plain_owner:of-this-test@{parts.hostname}:{parts.port}{parts.path}"
    )
    try:
        migrate(settings)
        with psycopg.connect(settings.dsn) as connection:
            assert connection.execute("SELECT count(*) FROM analytics.drift").fetchone() == (0,)
        with pytest.raises(ServiceError, match=r"plain_owner.*may not make roles") as refused:
            create_analyst(settings, "bi_of_nobody")
        assert "CREATEROLE" in refused.value.remedy
    finally:
        _drop_database(postgres, url)
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute("DROP ROLE plain_owner")
