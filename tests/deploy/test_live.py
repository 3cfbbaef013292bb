"""A live Prometheus that scrapes the live API: every panel has data, and an alarm goes its whole way."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import yaml

from sigap.services.service import Service, free_port, recorded
from sigap.services.stack import watching
from sigap.services.supervisor import Supervisor
from sigap.settings import Settings
from tests.backend.bundles import BODY
from tests.backend.conftest import process, wait_for
from tests.backend.mage import mage_standin
from tests.backend.observed.test_observed import ROWS, TABLES
from tests.backend.task_bundles import FIVE
from tests.backend.test_memory import keep
from tests.deploy.conftest import tool
from tests.deploy.test_grafana import BOARDS, panels

# Of panels by their title, why they have no data here.
ALLOWED = {
    "Processor by container": "cAdvisor runs beside Docker only",
    "Memory by container": "cAdvisor runs beside Docker only",
    "Disk traffic by container": "cAdvisor runs beside Docker only",
    "Network by container": "cAdvisor runs beside Docker only",
    "Uptime by container": "cAdvisor runs beside Docker only",
    "The challenger in the shadow": "only with SIGAP_SHADOW_ALIAS and a challenger in the registry",
    "Network": "a machine of the CI may have loopback alone",
    "Disk traffic": "a machine of the CI may have no drive of its own",
}
CHOICES = {"$route": ".*", "$model": ".*", "$pipeline": ".*", "$instance": ".*"}
SPANS = {"$__rate_interval": "1m", "$__range": "5m"}


@dataclass
class Hook:
    """Takes what Alertmanager sends, and hands it on to the API."""

    port: int
    answers: list[int] = field(default_factory=list)
    received: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def alerts(self, status: str) -> list[dict[str, Any]]:
        return [alert for _, body in self.received for alert in body["alerts"] if alert["status"] == status]


@contextmanager
def hook(api: str) -> Iterator[Hook]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            taken.received.append((self.headers.get("authorization", ""), body))
            headers = {"authorization": self.headers.get("authorization", "")}
            taken.answers.append(httpx.post(f"{api}/alerts", json=body, headers=headers, timeout=120).status_code)
            self.send_response(taken.answers[-1])
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing is written."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    taken = Hook(server.server_address[1])
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield taken
    finally:
        server.shutdown()
        server.server_close()


def hurried(service: Service, state: Path, change: Callable[[dict[str, Any]], None]) -> Service:
    """The same service with a configuration that waits less."""
    path = state / service.name / f"{service.name}.yml"

    def prepare() -> None:
        assert service.prepare is not None
        service.prepare()
        config = yaml.safe_load(path.read_text())
        change(config)
        path.write_text(yaml.safe_dump(config))

    return replace(service, prepare=prepare)


def each_second(config: dict[str, Any]) -> None:
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}


def ask(prometheus: str, query: str) -> list[Any]:
    # Just started, it answers 503.
    answer = httpx.post(f"{prometheus}/api/v1/query", data={"query": query}).raise_for_status().json()
    assert answer["status"] == "success", (query, answer)
    return list(answer["data"]["result"])


def traffic(api: str) -> None:
    for body, model in ((BODY, "education"), *((each.example, each.name) for each in FIVE)):
        assert httpx.post(f"{api}/models/{model}/predict", json=body).status_code == 200
    assert httpx.post(f"{api}/predict", json={}).status_code == 422
    assert httpx.get(f"{api}/nowhere").status_code == 404
    assert httpx.post(f"{api}/models/education/pipeline", json={}).status_code == 401
    outcome = {"request_id": "nobody-asked", "outcome": 9000, "observed_at": "2026-01-31T09:30:00Z"}
    assert httpx.post(f"{api}/models/car_price/outcomes", json={"outcomes": [outcome]}).status_code == 200


def queries() -> Iterator[tuple[str, str]]:
    """Every query of every panel, with what Grafana would put in the place of its variables."""
    for board in BOARDS.values():
        for panel in panels(board):
            for target in panel["targets"]:
                query = target["expr"]
                for name, value in (CHOICES | SPANS).items():
                    query = query.replace(name, value)
                assert "$" not in query, (panel["title"], query)
                yield panel["title"], query


@pytest.mark.timeout(300)
def test_every_panel_has_data_and_an_alarm_goes_its_whole_way(seeded_database: str, tmp_path: Path) -> None:
    for name in ("prometheus", "prometheus-alertmanager", "prometheus-node-exporter"):
        tool(name)
    with psycopg.connect(seeded_database) as connection:
        connection.execute(TABLES)
        connection.execute(ROWS)
        connection.execute("UPDATE drift_checks SET checked_at = now() - make_interval(mins => 10 - id::int)")
        connection.execute("UPDATE live_scores SET alarm = false")
        connection.execute("UPDATE live_scores SET low = 1, high = 2")
    for model in ("education", *(each.name for each in FIVE)):
        keep(tmp_path, model)
    ports = {f"{name}_port": free_port() for name in ("api", "mage", "prometheus", "alertmanager", "node_exporter")}
    settings = Settings(state_dir=tmp_path, DATABASE_URL=seeded_database, **ports)
    api, prometheus = settings.api_address, f"http://127.0.0.1:{settings.prometheus_port}"
    variables = {
        "SIGAP_STATE_DIR": str(tmp_path),
        "SIGAP_MAGE_PORT": str(settings.mage_port),
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
        "DATABASE_URL": seeded_database,
    }
    with ExitStack() as stack:
        taken = stack.enter_context(hook(api))
        mage = stack.enter_context(mage_standin(settings))
        run = mage.start("education", {}, age=60)
        run |= {"status": "completed", "completed_at": run["created_at"]}
        mage.start("car_price", {})
        command = [sys.executable, "-m", "backend", "--port", str(settings.api_port), "--workers", "2"]
        stack.enter_context(process(command, tmp_path / "api.log", **variables))
        wait_for(lambda: httpx.get(f"{api}/health").json()["workers"] == 2, "The API", 600)
        traffic(api)

        def to_hook(config: dict[str, Any]) -> None:
            (route,) = config["route"]["routes"]
            route["group_interval"] = "1s"
            (receiver,) = config["receivers"][1]["webhook_configs"]
            assert receiver["url"] == f"{api}/alerts"
            receiver["url"] = f"http://127.0.0.1:{taken.port}/alerts"

        wanted, lacking = watching(settings)
        assert lacking == []
        assert {service.host for service in wanted} == {"127.0.0.1"}
        changes = {"prometheus": each_second, "alertmanager": to_hook}
        supervisor = stack.enter_context(Supervisor(tmp_path))
        supervisor.start(
            [hurried(each, tmp_path, changes[each.name]) if each.name in changes else each for each in wanted]
        )
        supervisor.wait_ready()

        wait_for(lambda: bool(taken.answers and taken.alerts("firing")), "The alarm", 600)
        authorization, body = taken.received[0]
        assert authorization == f"Bearer {settings.secret('alert_key')}"
        assert (body["version"], body["status"]) == ("4", "firing")
        labels = body["alerts"][0]["labels"]
        assert labels == {"alertname": "SigapDrift", "model": "car_price", "subject": "live", "action": "retrain",
                          "cause": "drift", "severity": "warning"}  # fmt: skip
        assert str(settings.prometheus_port) in body["alerts"][0]["generatorURL"], "not the machine's name"
        with psycopg.connect(seeded_database) as connection:
            query = "SELECT cause FROM retrains WHERE model = 'car_price' AND asked_at > now() - interval '10 minutes'"
            assert ("drift",) in connection.execute(query).fetchall(), "the API has decided on it"
            connection.execute("UPDATE drift_checks SET alarm = false")

        traffic(api)
        empty: dict[str, str] = {}

        def all_have_data() -> bool:
            empty.clear()
            empty.update({title: query for title, query in queries() if not ask(prometheus, query)})
            return not empty.keys() - ALLOWED

        until = time.monotonic() + 600
        while not all_have_data() and time.monotonic() < until:
            traffic(api)
            time.sleep(1)
        assert {title: query for title, query in empty.items() if title not in ALLOWED} == {}

        wait_for(lambda: bool(taken.alerts("resolved")), "The end of the alarm", 600)
        assert {alert["labels"]["alertname"] for alert in taken.alerts("resolved")} == {"SigapDrift"}
        assert all(200 <= status < 300 for status in taken.answers), taken.answers
        scraped = 'count_over_time(up{job="sigap-api"}[1h])'
        before = float(ask(prometheus, scraped)[0]["value"][1])
        (killed,) = [each for each in recorded(tmp_path) if each["name"] == "prometheus"]
        os.kill(int(str(killed["pid"])), signal.SIGKILL)

        def goes_on() -> bool:
            found = ask(prometheus, scraped)
            return bool(found) and float(found[0]["value"][1]) > before

        wait_for(goes_on, "Prometheus with what it had seen", 600)
        for name in ("prometheus", "alertmanager"):
            assert (tmp_path / name / "data").is_dir()
