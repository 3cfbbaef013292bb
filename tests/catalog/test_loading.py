"""A file of the catalogue that can't be used is told by name, and bars no other model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sigap import catalog
from sigap.catalog import Declaration, declaration, declarations, named
from sigap.catalog.loading import load
from sigap.catalog.names import field_fault, field_name, selected_column
from sigap.cli import summary as lines
from sigap.cli.new_model import written
from sigap.errors import ConfigurationError
from sigap.settings import Settings

GOOD = written(declaration("customer_segments"))
FIRST = declaration("customer_segments").features[0].name
WHOLE = (
    "from sigap.catalog.customer_segments import CUSTOMER_SEGMENTS as ONE\n"
    "BOATS = ONE.model_copy(update={'name': 'boats'})\n"
)


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "shelf"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "boats.py").write_text(WHOLE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "shelf"]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("from nowhere import X\n", "line 1, can't be used: ModuleNotFoundError: No module named 'nowhere'."),
        ("X = (\n", "line 1, can't be used: SyntaxError: "),
        ("ONE = 1\n", "shelf/ships.py holds no declaration named 'ships'."),
        (
            GOOD.replace(f'name="{FIRST}"', 'name="Yearly Income"').replace(f'"{FIRST}":', '"Yearly Income":'),
            "can't be used: Declaration 'customer_segments': the feature 'Yearly Income' can't be called so. A field's",
        ),
        (GOOD.replace("minimum=16.0", "minimum=160"), "Feature 'Age': minimum 160.0 is not below maximum 110.0."),
        (
            GOOD.replace("unit=Text(", "units=Text(", 1),
            f"Feature {FIRST!r}, unit: Field required; Feature, units: Extra",
        ),
    ],
    ids=["import", "syntax", "nothing", "name", "range", "word"],
)
def test_a_file_that_can_not_be_used_is_named_and_bars_no_other(shelf: Path, content: str, told: str) -> None:
    (shelf / "ships.py").write_text(content)
    found, unusable = load("shelf", [str(shelf)])
    assert [*found] == ["boats"]
    assert "shelf/ships.py" in unusable["ships"].message
    assert told in unusable["ships"].message
    assert unusable["ships"].remedy


def test_who_asks_for_it_and_who_lists_models_is_told(
    shelf: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (shelf / "boats.py").write_text("BOATS = boat\n")
    _, unusable = load("shelf", [str(shelf)])
    monkeypatch.setattr(catalog, "_UNUSABLE", unusable)
    for ask in (declaration, named):
        with pytest.raises(ConfigurationError, match=r"shelf/boats.py, line 1, can't be used: NameError"):
            ask("boats")
    assert named("all") == declarations()
    shown = lines.summary(Settings(_env_file=None, MLFLOW_TRACKING_URI="http://127.0.0.1:1"))
    assert [line.model for line in shown] == [*(model.name for model in declarations()), "boats"]
    assert "line 1" in shown[-1].reason
    assert not shown[-1].served


@pytest.mark.parametrize(
    ("column", "taken", "name"),
    [
        ("year", (), "year"),
        ("Engine_HP", (), "Engine_HP"),
        ("Engine Power", (), "Engine_Power"),
        ("Größe (cm)", (), "Groe_cm"),
        ("0-60", (), "column_0_60"),
        ("面積", (), "column"),
        ("_x", (), "x"),
        ("copy", (), "copy_2"),
        ("model_config", (), "model_config_2"),
        ("Price", ("price",), "Price_2"),
        ("a b", ("a_b", "a_b_2"), "a_b_3"),
        ("x" * 63, ("x" * 63,), "x" * 58 + "_2"),
    ],
)
def test_every_column_gets_a_name_that_a_field_can_have(column: str, taken: tuple[str, ...], name: str) -> None:
    assert field_name(column, taken) == name
    assert field_fault(name) == ""


@pytest.mark.parametrize(
    ("expression", "column"),
    [
        ("t.price", "price"),
        ("t.Price", "price"),
        ('t."Price"', "Price"),
        ('t."Engine ""Power"""', 'Engine "Power"'),
        ("t.id::text", "id"),
        ("t.sold::int", None),
        ("t.a + t.b", None),
    ],
)
def test_an_expression_that_is_a_column_is_known_as_postgresql_reads_it(expression: str, column: str | None) -> None:
    assert selected_column(expression) == column


def test_no_target_takes_the_place_of_what_an_answer_says() -> None:
    content = declaration("car_price").model_dump()
    with pytest.raises(ValueError, match=r"the target can't be called 'interval'.*sql='t.interval'"):
        Declaration.model_validate(content | {"target": content["target"] | {"name": "interval"}})
