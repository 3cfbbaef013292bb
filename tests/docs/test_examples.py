"""What README.md and docs/serving.md tell a client to type, word for word, against a real server."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openpyxl
import pytest

from sigap.catalog.credit_approval import CREDIT_APPROVAL
from sigap.settings import ROOT
from tests.backend.conftest import free_port, process, wait_for
from tests.backend.task_bundles import FIVE
from tests.backend.test_memory import keep

README, SERVING = ROOT / "README.md", ROOT / "docs" / "serving.md"
CREDIT = dict(CREDIT_APPROVAL.example)
ADDRESS = "127.0.0.1:8000"
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl, which is not installed")
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="needs Node 18 or newer, which is not installed")


def section(document: Path, heading: str) -> str:
    """The text below a heading, to the next one of its level."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", document.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"{document.name} has no section {heading!r}"
    return found[1]


def blocks(text: str, language: str) -> list[str]:
    """The code of the blocks in that language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@dataclass
class Reader:
    """Somebody who types what the documents say, in a folder, with an API at another port than theirs."""

    folder: Path
    port: int
    key: str = ""

    def run(self, command: list[str], code: str = "") -> str:
        """What the command prints."""
        (self.folder / "credits.csv").write_text(blocks(section(SERVING, "Many rows"), "csv")[0])
        env = os.environ | {"SIGAP_STATE_DIR": str(self.folder), "PYTHONPATH": str(ROOT), "SHOP_KEY": self.key}
        done = subprocess.run(
            command, input=code, cwd=self.folder, env=env, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def code(self, block: str) -> str:
        """The block with this API's address in it."""
        assert ADDRESS in block or "./run" in block
        return block.replace(ADDRESS, f"127.0.0.1:{self.port}").replace("./run ", f"{sys.executable} -P -m sigap ")

    def shell(self, block: str) -> str:
        """What the shell prints when the block is typed."""
        return self.run(["sh", "-eu"], self.code(block))

    def ask(self, path: str, **options: Any) -> httpx.Response:
        return httpx.request("POST", f"http://127.0.0.1:{self.port}{path}", trust_env=False, **options)


def serving(folder: Path, models: list[str], **settings: str) -> Iterator[Reader]:
    for model in models:
        keep(folder, model)
    reader = Reader(folder, free_port())
    env = {"SIGAP_STATE_DIR": str(folder), "MLFLOW_TRACKING_URI": "http://127.0.0.1:9", **settings}
    with process([sys.executable, "-m", "backend", "--port", str(reader.port)], folder / "api.log", **env):
        listed = f"http://127.0.0.1:{reader.port}/models"

        def served() -> bool:
            found = httpx.get(listed, trust_env=False).json()["models"]
            return {each["name"] for each in found if each["served"]} == set(models)

        wait_for(served, "The API", 600)
        yield reader


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """All six models as in development."""
    yield from serving(tmp_path_factory.mktemp("desk"), ["education", *(each.name for each in FIVE)])


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Predictions need a token, and the document's own words made a key."""
    for reader in serving(tmp_path_factory.mktemp("shop"), [CREDIT_APPROVAL.name], SIGAP_PROTECT="predict"):
        [export] = [each for each in blocks(section(SERVING, "From your program"), "sh") if "key create" in each]
        reader.key = reader.shell(f'{export}printf %s "$SHOP_KEY"')
        yield reader


@pytest.fixture
def line(shop: Reader) -> str:
    """What the programs print of the example, asked in another way."""
    token = shop.ask("/token", json={"api_key": shop.key}).json()["access_token"]
    headers = {"authorization": f"Bearer {token}"}
    told = shop.ask("/models/credit_approval/predict", json=CREDIT, headers=headers).json()
    assert shop.ask("/models/credit_approval/predict", json=CREDIT).status_code == 401
    return f"{told['prediction']} {told['probability']} {told['model_version']}"


@needs_curl
def test_readme_asks_for_one_prediction(desk: Reader) -> None:
    [block] = blocks(section(README, "Ask it"), "sh")
    assert json.loads(desk.shell(block))["model"] == "education"


def test_readme_names_fields_that_every_model_answers(desk: Reader) -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*\| (.+) \|$", section(README, "Ask it"), re.MULTILINE)
    assert [name for name, _ in rows] == ["education", *(each.name for each in FIVE)]
    for name, fields in rows:
        described = httpx.get(f"http://127.0.0.1:{desk.port}/models/{name}", trust_env=False).json()
        answer = desk.ask(f"/models/{name}/predict", json=described["example"] or {})
        assert set(re.findall(r"`(\w+)`", fields)) <= set(answer.json()), answer.text


@needs_curl
def test_the_open_inference_protocol(desk: Reader) -> None:
    [block] = blocks(section(SERVING, "Calls"), "sh")
    assert json.loads(desk.shell(block))["model_name"] == "education"


@needs_curl
def test_many_rows(desk: Reader) -> None:
    batch, files = blocks(section(SERVING, "Many rows"), "sh")
    told = json.loads(desk.shell(batch))
    assert [each["status"] for each in told["predictions"]] == ["answered", "refused"]
    assert [error["field"] for error in told["predictions"][1]["errors"]] == ["Age"]
    desk.shell(files)
    heading, *rows = (desk.folder / "answers.csv").read_text().splitlines()
    assert heading.startswith("customer,Age,")
    assert [row.split(",")[0] for row in rows] == ["anna", "budi"]
    sheet = openpyxl.load_workbook(desk.folder / "answers.xlsx").active
    assert sheet["A2"].value == "anna"
    assert sheet.max_column == heading.count(",") + 1


@needs_curl
def test_a_shell_script(shop: Reader, line: str) -> None:
    [block] = [each for each in blocks(section(SERVING, "From your program"), "sh") if "curl" in each]
    told = json.loads(shop.shell(block))
    assert f"{told['prediction']} {told['probability']} {told['model_version']}" == line


def test_a_python_program(shop: Reader, line: str) -> None:
    [block] = blocks(section(SERVING, "From your program"), "python")
    code = shop.code(block)
    assert shop.run([sys.executable, "-c", code]).splitlines() == [line, "1 of 2 rows answered"]
    refused = code.replace('"Age": 45', '"Age": "old"')
    with pytest.raises(AssertionError, match=r"Age is old - expected a whole number(.|\n)*422"):
        shop.run([sys.executable, "-c", refused])


@needs_node
def test_a_javascript_program(shop: Reader, line: str) -> None:
    [block] = blocks(section(SERVING, "From your program"), "javascript")
    program = shop.folder / "ask.mjs"
    program.write_text(shop.code(block))
    assert shop.run(["node", program.name]).split() == line.split()
    program.write_text(shop.code(block).replace("Age: 45", 'Age: "old"'))
    with pytest.raises(AssertionError, match=r"422 (.|\n)*Age: expected a whole number"):
        shop.run(["node", program.name])


def test_keys_by_hand(shop: Reader) -> None:
    [block] = blocks(section(SERVING, "Tokens and limits"), "sh")
    assert "operator" in shop.shell(block)
