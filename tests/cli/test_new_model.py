"""A seventh model: one declaration file and one pipeline file, from an empty start to a served answer."""

from __future__ import annotations

import json
import random
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pyarrow as pa
import pytest
import yaml

from backend.app import create_app
from sigap.catalog import Declaration, declaration, declarations
from sigap.catalog.declaration import Kind
from sigap.cli.new_model import declare, new_model, show_new_model, written
from sigap.data.reading import consistent_reading
from sigap.errors import ConfigurationError, ContractError
from sigap.services.postgres import EmbeddedPostgres
from sigap.settings import ROOT, Settings
from tests.cli.conftest import Shell, wait_until

BOATS = """
    CREATE TABLE boats (
        boat_id bigint PRIMARY KEY, length double precision, year integer, hull text, sold integer,
        price double precision, remark text
    )
"""


def fill(dsn: str, rows: int = 150) -> None:
    generator = random.Random(7)
    with psycopg.connect(dsn) as connection:
        connection.execute(BOATS)
        for number in range(1, rows + 1):
            length, year = round(generator.uniform(4, 20), 1), generator.randint(1990, 2024)
            hull = generator.choice(["steel", "wood", "glass"])
            price = 900 * length + 120 * (year - 1990) + {"steel": 0, "wood": -800, "glass": 500}[hull]
            values = (number, length, year, hull, number % 2, price + generator.gauss(0, 300), f"boat {number}")
            connection.execute("INSERT INTO boats VALUES (%s, %s, %s, %s, %s, %s, %s)", values)


@pytest.fixture
def boats(database: str) -> Settings:
    fill(database)
    return Settings(DATABASE_URL=database)


def table(settings: Settings, columns: str, *rows: str) -> None:
    with psycopg.connect(settings.dsn) as connection:
        connection.execute(f"CREATE TABLE ships ({columns})")  # type: ignore[arg-type]
        for row in rows:
            connection.execute(f"INSERT INTO ships VALUES ({row})")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("columns", "rows", "target", "said"),
    [
        ("id bigint, a int", [], "", "primary key of 0 columns, expected one"),
        ("id bigint, a int, PRIMARY KEY (id, a)", [], "", "primary key of 2 columns, expected one"),
        ("id bigint PRIMARY KEY, a int", [], "", "The table ships is empty"),
        ("id bigint PRIMARY KEY, a int, b text", ["1, 5, 'x'", "2, 5, 'x'"], "", "no column to learn from"),
        ("id bigint PRIMARY KEY, a bytea, b int[]", ["1, 'a', '{1}'", "2, 'b', '{2}'"], "", "no column to learn from"),
        ("id bigint PRIMARY KEY, a int", ["1, 5", "2, 6"], "b", "no column 'b' to learn"),
        ("id bigint PRIMARY KEY, a int", ["1, 5", "2, 6"], "a", "no column to learn from"),
    ],
)
def test_a_table_that_can_not_be_learnt_from_is_named(
    database: str, columns: str, rows: list[str], target: str, said: str
) -> None:
    settings = Settings(DATABASE_URL=database)
    table(settings, columns, *rows)
    with pytest.raises(ConfigurationError, match=said):
        declare(settings, "ships", "ships", target)


def test_what_is_no_finite_number_ends_no_range(database: str) -> None:
    settings = Settings(DATABASE_URL=database)
    odd = ["1, 'NaN', -3", "2, 'Infinity', 4", "3, 2, 5", "4, 6, 6", "5, NULL, NULL"]
    table(settings, "id bigint PRIMARY KEY, a double precision, b numeric", *odd)
    declared = declare(settings, "ships", "ships", "").declared
    ranges = {each.name: (each.minimum, each.maximum) for each in declared.features}
    assert ranges == {"a": (0.0, 8.0), "b": (-8.0, 11.0)}


def test_the_word_says_what_it_wrote_and_what_comes_next(
    boats: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = Path("mage_project") / "pipelines" / declarations()[0].name
    shutil.copytree(ROOT / first, tmp_path / first)
    show_new_model(boats.model_copy(update={"root": tmp_path}), "boats", "", "price")
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "Written: sigap/catalog/boats.py"
    assert said[3] == "Left out: remark (more than 50 different texts)."
    assert len(said) == 6
    assert all((tmp_path / line.removeprefix("Written: ")).is_file() for line in said[:3])
    with pytest.raises(ConfigurationError, match="There is a model 'boats' already"):
        show_new_model(boats.model_copy(update={"root": tmp_path}), "boats", "", "price")


def test_what_the_table_says_is_filled_in(boats: Settings) -> None:
    draft = declare(boats, "boats", "boats", "price")
    declared = draft.declared
    assert draft.left_out == {"remark": "more than 50 different texts"}
    assert draft.renamed == {}
    assert declared.task.kind == "regression"
    assert declared.source.key == ("boat_id",)
    # A text with a value a row tells rows apart and says nothing of the next one.
    assert declared.feature_names == ("length", "year", "hull", "sold")
    hull, length, sold = (declared.feature(name) for name in ("hull", "length", "sold"))
    assert hull.categories == ("glass", "steel", "wood")
    assert length.minimum is not None
    assert length.maximum is not None
    assert length.minimum < 4.5 < 19.5 < length.maximum
    assert (sold.kind, sold.minimum, sold.maximum) == (Kind.INTEGER, 0, 1)
    assert set(declared.example) == set(declared.feature_names)

    assert declare(boats, "boats", "boats", "sold").declared.task.kind == "classification"
    assert declare(boats, "boats", "boats", "").declared.task.kind == "clustering"


@pytest.mark.parametrize("target", ["price", "sold", ""])
def test_the_file_that_is_written_declares_the_same(boats: Settings, target: str) -> None:
    declared = declare(boats, "boats", "boats", target).declared
    scope: dict[str, object] = {}
    exec(compile(written(declared), "boats.py", "exec"), scope)
    assert scope["BOATS"] == declared


@pytest.mark.parametrize(
    ("name", "table", "target", "complaint"),
    [
        ("Boats!", "boats", "", "can't be a model's name"),
        ("education", "boats", "", "There is a model 'education' already"),
        ("boats", "ships", "", "no table 'ships'"),
        ("boats", "boats", "prise", "no column 'prise'"),
        ("boats", "boats", "hull", "3 different texts"),
        ("boats", "boats", "remark", "'remark' of boats can't be learnt: more than 50 different texts"),
        ("boats", "boats", "boat_id", "boat_id is the key of boats"),
        ("boats", "Boats", "", "no table 'Boats'"),
    ],
)
def test_what_can_not_be_a_model_is_said_and_nothing_is_written(
    boats: Settings, tmp_path: Path, name: str, table: str, target: str, complaint: str
) -> None:
    settings = boats.model_copy(update={"root": tmp_path})
    with pytest.raises(ConfigurationError, match=re.escape(complaint)):
        new_model(settings, name, table, target)
    assert list(tmp_path.iterdir()) == []


ODD = """
    CREATE TYPE sail AS ENUM ('gaff', 'lug');
    CREATE TABLE "user" (
        "Boat ID" uuid PRIMARY KEY DEFAULT gen_random_uuid(), "Engine Power" real, "Engine_HP" integer, "order" integer,
        "a ""b"" %%s" numeric, copy integer, engine_hp real, rig sail, is_new boolean,
        "interval" double precision, built date, nothing integer, same text, updated_at timestamptz
    );
    INSERT INTO "user" SELECT gen_random_uuid(), n * 1.5, n %% 7, n %% 3,
        CASE n WHEN 3 THEN 'NaN' ELSE n::numeric END, n, n, CASE n %% 2 WHEN 0 THEN 'gaff'::sail ELSE 'lug' END,
        n %% 3 = 0, n * 2, now(), NULL, 'x'
    FROM generate_series(1, %s) AS n
"""


def whole(declared: Declaration, settings: Settings) -> pa.Table:
    with consistent_reading(declared, settings) as reading:
        return pa.Table.from_batches(reading.batches())


def odd(database: str, rows: int = 40) -> Settings:
    with psycopg.connect(database, cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute(ODD, [rows])
    return Settings(_env_file=None, DATABASE_URL=database)


def test_columns_of_any_name_are_read_and_served(database: str, tmp_path: Path) -> None:
    draft = declare(odd(database), "user", "user", "interval")
    assert draft.renamed == {
        "Boat ID": "Boat_ID",
        "Engine Power": "Engine_Power",
        'a "b" %s': "a_b_s",
        "copy": "copy_2",
        "engine_hp": "engine_hp_2",
        "interval": "interval_2",
    }
    assert draft.left_out == {
        "built": "of type date; learnt from are numbers, choices, and true or false",
        "nothing": "no row has a number there",
        "same": "every row has the same text there",
        "updated_at": "Sigap notes in a column of that name where a row is from and when it came",
    }
    scope: dict[str, Any] = {}
    exec(compile(written(draft.declared), "user.py", "exec"), scope)
    declared = scope["USER"]
    assert declared == draft.declared
    assert declared.feature("is_new").flag
    assert declared.feature("is_new").sql == "t.is_new::int"
    settings = Settings(_env_file=None, DATABASE_URL=database, state_dir=tmp_path)
    batches = whole(declared, settings)
    assert batches.num_rows == 40
    assert set(batches.column_names) == {"Boat_ID", "interval_2", *declared.feature_names}
    assert sorted(batches["Engine_Power"].to_pylist())[:2] == [1.5, 3.0]
    assert set(batches["is_new"].to_pylist()) == {0, 1}
    app = create_app(settings, (declaration("education"), declared))
    assert set(app.openapi()["components"]["schemas"]["UserRequest"]["properties"]) == set(declared.feature_names)
    assert declare(settings, "user", "user", "is_new").declared.task.kind == "classification"
    with pytest.raises(ConfigurationError, match="'built' of user can't be learnt: of type date"):
        declare(settings, "user", "user", "built")


def test_an_empty_table_and_one_whose_name_needs_quotes_are_told(database: str) -> None:
    settings = odd(database, rows=0)
    with pytest.raises(ConfigurationError, match="The table user is empty"):
        declare(settings, "user", "user", "")
    with psycopg.connect(database) as connection:
        connection.execute('CREATE TABLE "My Boats" (id integer PRIMARY KEY)')
    with pytest.raises(ConfigurationError, match='"My Boats" RENAME TO'):
        declare(settings, "boats", "My Boats", "")


@pytest.mark.parametrize("key", ["", ", PRIMARY KEY (harbour, id)"])
def test_the_advice_for_a_key_is_what_postgresql_takes(database: str, key: str) -> None:
    settings = Settings(_env_file=None, DATABASE_URL=database)
    with psycopg.connect(database) as connection:
        connection.execute(f"CREATE TABLE berths (harbour text, id integer, depth real{key})")
        connection.execute("INSERT INTO berths SELECT 'a', n, n FROM generate_series(1, 9) AS n")
    with pytest.raises(ConfigurationError, match=f"a primary key of {2 if key else 0} columns") as refused:
        declare(settings, "berths", "berths", "")
    with psycopg.connect(database) as connection:
        connection.execute(refused.value.remedy.split("`")[1])
    assert declare(settings, "berths", "berths", "").declared.source.key == ("row_id",)


def test_a_table_of_ones_own_that_is_gone_is_not_said_to_come_back(boats: Settings) -> None:
    declared = declare(boats, "boats", "boats", "price").declared
    with psycopg.connect(boats.dsn) as connection:
        connection.execute('ALTER TABLE boats RENAME COLUMN length TO "Length"')
    with pytest.raises(ContractError, match=r'no column .length.; it has .Length.*Write t."Length" for it in'):
        whole(declared, boats)
    with psycopg.connect(boats.dsn) as connection:
        connection.execute("DROP TABLE boats")
    with pytest.raises(
        ContractError, match=r"no table boats.*Bring it back, or correct .table. in sigap/catalog/boats"
    ):
        _ = consistent_reading(declared, boats).__enter__()


@pytest.mark.system
def test_from_a_table_to_a_served_answer(shell: Shell, tmp_path: Path) -> None:
    settings = Settings(
        _env_file=None, root=shell.root, state_dir=Path(".sigap"), postgres_port=int(shell.env["SIGAP_POSTGRES_PORT"])
    )
    before = git(shell.root, "status", "--porcelain")
    with EmbeddedPostgres(settings):
        fill(settings.dsn)
        made = shell.run("new-model", "boats", "--target", "price")
    assert made.returncode == 0, made.stderr
    new = set(git(shell.root, "status", "--porcelain", "-uall").splitlines()) - set(before.splitlines())
    pipeline = "mage_project/pipelines/boats"
    assert new == {"?? sigap/catalog/boats.py", f"?? {pipeline}/metadata.yaml", f"?? {pipeline}/triggers.yaml"}
    pipeline = yaml.safe_load((shell.root / "mage_project/pipelines/boats/metadata.yaml").read_text())
    assert pipeline["uuid"] == pipeline["variables"]["model"] == "boats"
    first = declarations()[0].name
    template = yaml.safe_load((ROOT / "mage_project" / "pipelines" / first / "metadata.yaml").read_text())
    assert pipeline["blocks"] == template["blocks"]

    # The others have tests of their own: here nothing shall be waited for but the new one.
    shell.env["SIGAP_TRAIN_AT_START"] = "boats"
    log = tmp_path / "log"
    process = shell.start(log)
    wait_until(lambda: "Ready after" in log.read_text() or process.poll() is not None, log.read_text)
    said = log.read_text()
    assert re.search(r"boats\s+150\s+v1\s+v1\s+rmse [\d,.]+ ± [\d,.]+\s+[\d,.]+ \(median\)", said), said

    address = f"http://127.0.0.1:{shell.env['SIGAP_API_PORT']}"
    request = {"length": 12.0, "year": 2010, "hull": "wood", "sold": 1}
    answer = httpx.post(f"{address}/models/boats/predict", json=request, timeout=10).json()
    value = next(answer[name] for name in ("price", "value", "prediction") if name in answer)
    assert value == pytest.approx(900 * 12 + 120 * 20 - 800, rel=0.2)
    assert answer["model_version"] == "v1"
    assert httpx.post(f"{address}/models/boats/predict", json={**request, "hull": "paper"}).status_code == 422

    lineage = json.loads(shell.run("lineage", "boats", "--json").stdout)
    assert (lineage["data"]["rows"], lineage["data"]["source_table"]) == (150, "boats")
    assert "FROM boats AS t" in lineage["data"]["query"]
    process.send_signal(signal.SIGINT)
    assert process.wait(600) == 0


def git(root: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=root, check=True, capture_output=True, text=True).stdout
