"""A seventh model: one declaration file and one pipeline file, from an empty start to a served answer."""

from __future__ import annotations

import json
import random
import re
import shutil
import signal
import subprocess
from pathlib import Path

import httpx
import psycopg
import pytest
import yaml

from sigap.catalog import declarations
from sigap.catalog.declaration import Kind
from sigap.cli.new_model import declare, new_model, show_new_model, written
from sigap.errors import ConfigurationError
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
        ("id bigint PRIMARY KEY, a int", [], "", "no column to learn from"),
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
    declared = declare(settings, "ships", "ships", "")
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
    assert len(said) == 5
    assert all((tmp_path / line.removeprefix("Written: ")).is_file() for line in said[:3])
    with pytest.raises(ConfigurationError, match="There is a model 'boats' already"):
        show_new_model(boats.model_copy(update={"root": tmp_path}), "boats", "", "price")


def test_what_the_table_says_is_filled_in(boats: Settings) -> None:
    declared = declare(boats, "boats", "boats", "price")
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

    assert declare(boats, "boats", "boats", "sold").task.kind == "classification"
    assert declare(boats, "boats", "boats", "").task.kind == "clustering"


@pytest.mark.parametrize("target", ["price", "sold", ""])
def test_the_file_that_is_written_declares_the_same(boats: Settings, target: str) -> None:
    declared = declare(boats, "boats", "boats", target)
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
    ],
)
def test_what_can_not_be_a_model_is_said_and_nothing_is_written(
    boats: Settings, tmp_path: Path, name: str, table: str, target: str, complaint: str
) -> None:
    settings = boats.model_copy(update={"root": tmp_path})
    with pytest.raises(ConfigurationError, match=re.escape(complaint)):
        new_model(settings, name, table, target)
    assert list(tmp_path.iterdir()) == []


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
