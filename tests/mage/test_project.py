"""The project's files: what Mage silently ignores or rewrites is caught here."""

from __future__ import annotations

import ast

import pytest
import yaml

from backend.drift import PERIOD_SECONDS
from sigap.catalog import declarations
from sigap.settings import ROOT

PROJECT = ROOT / "mage_project"
FOLDERS = {
    "data_loader": "data_loaders",
    "transformer": "transformers",
    "custom": "custom",
    "data_exporter": "data_exporters",
}
# The pipeline that watches the models is none of a model.
WATCHING = "monitoring"
PIPELINES = sorted(
    path.parent.name for path in PROJECT.glob("pipelines/*/metadata.yaml") if path.parent.name != WATCHING
)
BLOCKS = sorted(path for folder in FOLDERS.values() for path in (PROJECT / folder).glob("*.py"))


def pipeline(name):
    return yaml.safe_load((PROJECT / "pipelines" / name / "metadata.yaml").read_text())


def test_every_declared_model_has_a_pipeline_of_its_name():
    assert {model.name for model in declarations()} <= set(PIPELINES)
    for name in PIPELINES:
        assert pipeline(name)["uuid"] == pipeline(name)["variables"]["model"] == name


@pytest.mark.parametrize("name", [*PIPELINES, WATCHING])
def test_blocks_stand_in_files_and_know_their_neighbours(name):
    blocks = {block["uuid"]: block for block in pipeline(name)["blocks"]}
    for uuid, block in blocks.items():
        assert (PROJECT / FOLDERS[block["type"]] / f"{uuid}.py").is_file()
        assert block["timeout"] > 0
        assert all(uuid in blocks[above]["downstream_blocks"] for above in block["upstream_blocks"])
        assert all(uuid in blocks[below]["upstream_blocks"] for below in block["downstream_blocks"])
    last = "check_drift" if name == WATCHING else "promote_champion"
    assert list(blocks)[-1] == last, "the client returns what the last block returned"


@pytest.mark.parametrize("path", BLOCKS, ids=lambda path: path.stem)
def test_a_block_is_thin_and_has_its_test(path):
    functions = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
    decorators = [decorator.id for function in functions for decorator in function.decorator_list]
    assert decorators == [next(kind for kind, folder in FOLDERS.items() if folder == path.parent.name), "test"]
    assert functions[0].name == path.stem
    assert functions[0].end_lineno - functions[0].lineno < 10


@pytest.mark.parametrize("path", BLOCKS, ids=lambda path: path.stem)
def test_a_block_hands_on_no_list_of_its_own(path):
    # Of a list Mage gives each item as an argument of its own, to the block's test and to the next block: none of an
    # empty one. Only for the items of a dynamic block is that meant so.
    dynamic = {
        block["uuid"]
        for name in PIPELINES
        for block in pipeline(name)["blocks"]
        if block.get("configuration", {}).get("dynamic")
    }
    function = next(node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef))
    hands_on_list = ast.unparse(function.returns).partition("[")[0] in ("list", "tuple", "Sequence")
    assert hands_on_list == (path.stem in dynamic)


@pytest.mark.parametrize("name", [path.parent.name for path in PROJECT.glob("pipelines/*/triggers.yaml")])
def test_triggers_are_such_that_mage_leaves_the_file_alone_and_hold_no_token(name):
    triggers = yaml.safe_load((PROJECT / "pipelines" / name / "triggers.yaml").read_text())["triggers"]
    assert "api" in {trigger["schedule_type"] for trigger in triggers}
    for trigger in triggers:
        assert trigger["status"] == "inactive" or trigger["last_enabled_at"]
        assert "token" not in trigger


def test_the_api_knows_how_often_drift_is_checked():
    triggers = yaml.safe_load((PROJECT / "pipelines" / WATCHING / "triggers.yaml").read_text())["triggers"]
    (scheduled,) = (each["schedule_interval"] for each in triggers if each["schedule_type"] == "time")
    assert scheduled == f"*/{PERIOD_SECONDS // 60} * * * *"


def test_every_model_is_trained_on_request_and_every_month():
    for model in declarations():
        triggers = yaml.safe_load((PROJECT / "pipelines" / model.name / "triggers.yaml").read_text())["triggers"]
        assert {(each["schedule_type"], each["schedule_interval"], each["status"]) for each in triggers} == {
            ("api", None, "active"),
            ("time", "@monthly", "active"),
        }
        monthly = next(each for each in triggers if each["schedule_type"] == "time")
        assert monthly["variables"] == {"asked_by": "schedule"}


def test_all_models_go_the_same_way():
    for name in PIPELINES:
        assert pipeline(name)["blocks"] == pipeline("education")["blocks"]


def test_a_failing_step_is_tried_again_and_nothing_is_told_to_mages_makers():
    settings = yaml.safe_load((PROJECT / "metadata.yaml").read_text())
    assert settings["retry_config"]["retries"] >= 1
    assert settings["help_improve_mage"] is False
    assert settings["project_uuid"]
