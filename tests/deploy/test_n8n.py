"""The workflow for n8n: its form, its requests against the API's contract, and the whole of it against a running API.

n8n itself is no part of the environment. What runs here walks the workflow's own nodes and connections, and gives their
expressions to a real JavaScript engine.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import psycopg
import pytest

from backend.app import create_app
from sigap import decisions
from sigap.catalog import declarations
from sigap.keys import Keys
from sigap.settings import ROOT, Settings
from tests.backend.conftest import free_port, process, wait_for
from tests.backend.mage import FakeMage, mage_standin

FILE = ROOT / "deploy" / "n8n" / "retrain.json"
WORKFLOW: dict[str, Any] = json.loads(FILE.read_text())
NODES: dict[str, dict[str, Any]] = {node["name"]: node for node in WORKFLOW["nodes"]}
REQUESTS = [node for node in WORKFLOW["nodes"] if node["type"] == "n8n-nodes-base.httpRequest"]
# The nodes that are used, with the version whose parameters are written.
KNOWN = {"scheduleTrigger": 1.2, "set": 3.4, "httpRequest": 4.2, "splitOut": 1, "filter": 2.2, "if": 2.2, "noOp": 1,
         "stopAndError": 1}  # fmt: skip

# A parameter's parts between {{ and }} are JavaScript; what n8n calls $json and $('node') is handed in.
EVALUATE = """
const told = JSON.parse(require('fs').readFileSync(0)), $json = told.item;
const $ = (name) => {
  const all = told.items[name][0];
  return { item: { json: all[Math.min(told.at, all.length - 1)] }, first: () => ({ json: all[0] }) };
};
const parts = told.text.split(/\\{\\{([\\s\\S]*?)\\}\\}(?!\\})/);
const values = parts.map((part, at) => at % 2 ? eval(part) : part).filter((part) => part !== '');
process.stdout.write(JSON.stringify(values.length === 1 ? values[0] : values.join('')));
"""


def after(name: str) -> list[list[str]]:
    """The nodes behind each output of a node."""
    outputs = WORKFLOW["connections"].get(name, {}).get("main", [])
    return [[each["node"] for each in output] for output in outputs]


def test_the_form_of_the_workflow() -> None:
    for key in ("id", "type", "typeVersion", "position", "parameters"):
        assert all(key in node for node in NODES.values())
    assert len({node["id"] for node in NODES.values()}) == len(NODES) == len(WORKFLOW["nodes"])
    assert {node["type"].removeprefix("n8n-nodes-base."): node["typeVersion"] for node in NODES.values()} == KNOWN
    for name, outputs in WORKFLOW["connections"].items():
        assert name in NODES
        assert outputs.keys() == {"main"}
        for each in (each for output in outputs["main"] for each in output):
            assert each == {"node": each["node"], "type": "main", "index": 0}
    # Every node but the trigger is reached, from the one trigger.
    [trigger] = [name for name, node in NODES.items() if node["type"].endswith("Trigger")]
    reached, new = set(), {trigger}
    while new:
        reached |= new
        new = {name for each in new for output in after(each) for name in output} - reached
    assert reached == set(NODES)
    for name in re.findall(r"\$\('([^']+)'\)", json.dumps(WORKFLOW)):
        assert name in NODES
    assert WORKFLOW["active"] is False


def test_nothing_secret_stands_in_it() -> None:
    text = FILE.read_text()
    assert not re.search(r"sigap_[A-Za-z0-9_-]{40,}|eyJ[A-Za-z0-9_-]+\.|password|Bearer [A-Za-z0-9]", text)
    given = [node["credentials"] for node in NODES.values() if "credentials" in node]
    # A reference: n8n keeps the key itself, encrypted.
    assert given == [{"httpCustomAuth": {"id": "sigap-api-key", "name": "Sigap API key"}}]


def test_it_looks_after_every_model() -> None:
    assert json.loads(NODES["Settings"]["parameters"]["jsonOutput"])["models"] == [each.name for each in declarations()]


@pytest.mark.parametrize("node", REQUESTS, ids=[node["name"] for node in REQUESTS])
def test_each_request_is_one_that_the_api_documents(node: dict[str, Any]) -> None:
    document = create_app(Settings(_env_file=None, state_dir=Path("/nonexistent"))).openapi()
    asked = node["parameters"]
    path = re.sub(r"\{\{.*?json\.model \}\}", "{model}", re.sub(r"^=\{\{.*?json\.api \}\}", "", asked["url"]))
    operation = document["paths"][path][asked["method"].lower()]
    headers = {each["name"].lower() for each in asked.get("headerParameters", {}).get("parameters", ())}
    assert ("authorization" in headers) == bool(operation.get("security"))
    if "requestBody" not in operation:
        assert "jsonBody" not in asked
        return
    body = json.loads(asked["jsonBody"])
    if node.get("credentials"):
        body |= {"api_key": "what the credential adds"}
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    jsonschema.Draft202012Validator(schema | {"components": document["components"]}).validate(body)


@dataclass
class Walk:
    """One execution of the workflow.

    Attributes:
        api: Address of the API, in place of the one that the workflow has.
        credential: What n8n's credential adds to the body.
        items: What each node put out, by output.
        sent: Requests and their status.
    """

    api: str
    credential: dict[str, str]
    items: dict[str, list[list[Any]]] = field(default_factory=dict)
    sent: list[tuple[str, int]] = field(default_factory=list)

    def run(self) -> None:
        [trigger] = [name for name, node in NODES.items() if node["type"].endswith("Trigger")]
        waiting: list[tuple[str, list[Any]]] = [(trigger, [{}])]
        while waiting:
            name, items = waiting.pop(0)
            # As n8n: what gets no item is not executed.
            if items:
                self.items[name] = self.node(NODES[name], items)
                waiting += [
                    (each, given) for given, names in zip(self.items[name], after(name), strict=False) for each in names
                ]

    def node(self, node: dict[str, Any], items: list[Any]) -> list[list[Any]]:
        kind, asked = node["type"].removeprefix("n8n-nodes-base."), node["parameters"]
        if kind == "set" and asked.get("mode") == "raw":
            return [[json.loads(asked["jsonOutput"]) | {"api": self.api}]]
        if kind == "set":
            values = asked["assignments"]["assignments"]
            return [[{each["name"]: self.value(each["value"], item, at) for each in values}
                     for at, item in enumerate(items)]]  # fmt: skip
        if kind == "splitOut":
            name = asked["fieldToSplitOut"]
            return [[{name: each} for item in items for each in item[name]]]
        if kind in ("filter", "if"):
            [condition] = asked["conditions"]["conditions"]
            assert condition["operator"]["operation"] == "true"
            told = [self.value(condition["leftValue"], item, at) for at, item in enumerate(items)]
            assert all(isinstance(each, bool) for each in told)
            passed = [item for item, yes in zip(items, told, strict=True) if yes]
            return [passed, [item for item, yes in zip(items, told, strict=True) if not yes]]
        if kind == "httpRequest":
            return [[self.request(node, item, at) for at, item in enumerate(items)]]
        if kind == "stopAndError":
            raise AssertionError(self.value(asked["errorMessage"], items[0], 0))
        return [items]

    def request(self, node: dict[str, Any], item: Any, at: int) -> Any:
        asked = node["parameters"]
        pairs = asked.get("headerParameters", {}).get("parameters", ())
        headers = {each["name"]: self.value(each["value"], item, at) for each in pairs}
        body = json.loads(asked["jsonBody"]) if asked.get("sendBody") else None
        if node.get("credentials"):
            body |= self.credential
        url = self.value(asked["url"], item, at)
        answer = httpx.request(asked["method"], url, headers=headers, json=body, timeout=30, trust_env=False)
        self.sent.append((f"{asked['method']} {url.removeprefix(self.api)}", answer.status_code))
        how = asked["options"].get("response", {}).get("response", {})
        assert how.get("neverError") or answer.is_success, answer.text
        if how.get("responseFormat") == "text":
            return {how["outputPropertyName"]: answer.text}
        return {"statusCode": answer.status_code, "body": answer.json()} if how.get("fullResponse") else answer.json()

    def value(self, text: Any, item: Any, at: int) -> Any:
        """A parameter's value; those that begin with = are expressions."""
        if not (isinstance(text, str) and text.startswith("=")):
            return text
        given = {"text": text[1:], "item": item, "items": self.items, "at": at}
        done = subprocess.run(
            [_node(), "-e", EVALUATE], input=json.dumps(given), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def _node() -> str:
    """The JavaScript engine that comes with the browser's driver."""
    from playwright._impl._driver import compute_driver_executable

    return str(compute_driver_executable()[0])


@pytest.fixture
def service(tmp_path: Path, seeded_database: str) -> Iterator[tuple[Walk, FakeMage, Settings]]:
    """A running API with a database in which cars were loaded after the last decision, and Mage's stand-in."""
    settings = Settings(
        _env_file=None, state_dir=tmp_path / ".sigap", mage_port=free_port(), DATABASE_URL=seeded_database
    )
    key = Keys(settings).create("n8n", ["admin"])
    for model in declarations():
        decide(settings, model.name)
    with psycopg.connect(seeded_database) as connection:
        connection.execute("UPDATE data_origin SET at = now() + interval '1 second' WHERE table_name = 'cars'")
    port = free_port()
    env = {
        "SIGAP_STATE_DIR": str(settings.state), "SIGAP_MAGE_PORT": str(settings.mage_port),
        "DATABASE_URL": seeded_database, "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
    }  # fmt: skip
    server = [sys.executable, "-m", "backend", "--port", str(port)]
    with mage_standin(settings) as mage, process(server, tmp_path / "api.log", **env):
        api = f"http://127.0.0.1:{port}"
        loaded(api, "sigap_gate_last_decision_timestamp_seconds")
        yield Walk(api, {"api_key": key}), mage, settings


def decide(settings: Settings, model: str, run: str = "r1") -> None:
    assert decisions.write(settings, decisions.Record(model, run, "v1", None, "v1", True, "first", "The first."))


def loaded(api: str, series: str, after: float = 0.0) -> None:
    """Waits until the API has seen in PostgreSQL what the workflow asks it for."""

    def seen() -> bool:
        found = re.search(rf'^{series}{{model="car_price"}} (\S+)$', metrics(api), re.MULTILINE)
        return found is not None and float(found[1]) > after

    wait_for(seen, series, 60)


def metrics(api: str) -> str:
    return httpx.get(f"{api}/metrics", trust_env=False).text


def test_it_trains_what_was_loaded_and_nothing_twice(service: tuple[Walk, FakeMage, Settings]) -> None:
    walk, mage, settings = service
    walk.run()
    asked = [("GET /metrics", 200), ("POST /token", 200)]
    assert walk.sent == [*asked, ("POST /models/car_price/pipeline", 200)]
    assert [run["variables"] for run in mage.runs] == [{"asked_by": "api: n8n"}]
    assert "Done" in walk.items

    # While the run goes on, a second look is refused, which is no fault.
    again = Walk(walk.api, walk.credential)
    again.run()
    assert again.sent == [*asked, ("POST /models/car_price/pipeline", 409)]
    assert "Done" in again.items
    assert len(mage.runs) == 1

    # Once decided, nothing is asked for: not even a token.
    with psycopg.connect(settings.dsn) as connection:
        connection.execute("UPDATE data_origin SET at = now() - interval '1 second' WHERE table_name = 'cars'")
    decide(settings, "car_price", "r2")
    wait_for(lambda: not _behind(metrics(walk.api)), "the decision", 60)
    idle = Walk(walk.api, walk.credential)
    idle.run()
    assert idle.sent == [("GET /metrics", 200)]


def _behind(text: str) -> bool:
    at = {
        name: float(re.search(rf'^{name}{{model="car_price"}} (\S+)$', text, re.MULTILINE)[1])  # type: ignore[index]
        for name in ("sigap_data_loaded_timestamp_seconds", "sigap_gate_last_decision_timestamp_seconds")
    }
    return at["sigap_data_loaded_timestamp_seconds"] > at["sigap_gate_last_decision_timestamp_seconds"]


def test_a_refusal_ends_the_execution_with_its_reason(service: tuple[Walk, FakeMage, Settings]) -> None:
    walk, mage, _ = service
    mage.broken = True
    with pytest.raises(AssertionError, match=r"The API answered 503: .*Mage"):
        walk.run()
    wrong = Walk(walk.api, {"api_key": "sigap_wrong"})
    with pytest.raises(AssertionError, match="key"):
        wrong.run()
