"""What the fault tests share: a registry that may be stopped, an API with two workers, and load that counts."""

from __future__ import annotations

import contextlib
import http.client
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from sigap.catalog import declarations
from sigap.keys import Keys
from sigap.settings import Settings
from tests.backend.bundles import BODY, CENTERS, expected, write_bundle
from tests.backend.conftest import MODEL, START_SECONDS, Api, MlflowServer, Relay, free_port, process, wait_for
from tests.backend.task_bundles import write_task_bundle

# Versions of education whose answers differ from each other.
OFFSETS = (0.0, 0.25, -0.6)


@pytest.fixture(scope="package")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """A registry with every model, three versions of education among them."""
    server = MlflowServer(tmp_path_factory.mktemp("faults"), free_port())
    with server.running():
        folder = tmp_path_factory.mktemp("bundles")
        for number, offset in enumerate(OFFSETS, 1):
            sha256 = write_bundle(folder / str(number), CENTERS + offset, data_version=f"d{number}")
            server.register(folder / str(number), sha256, MODEL, f"d{number}")
        for each in declarations():
            if each.name != MODEL:
                sha256 = write_task_bundle(folder / each.name, each)
                server.register(folder / each.name, sha256, each.name)
        yield server


def aliased(server: MlflowServer, alias: str) -> None:
    """Puts the alias on the first version of every model."""
    for each in declarations():
        server.client.set_registered_model_alias(each.name, alias, "1")


def right(answer: dict[str, Any], body: dict[str, Any] = BODY) -> bool:
    """Whether an answer is the one that its stated version gives, in every part of it."""
    number = int(answer["model_version"][1:])
    cluster, distance = expected(body, CENTERS + OFFSETS[number - 1])
    same = answer["cluster"] == cluster and bool(np.isclose(answer["distance_to_center"], distance, rtol=1e-9))
    return same and answer["data_version"] == f"d{number}"


@dataclass
class Workers(Api):
    """An API of several worker processes."""

    log: Path = field(default_factory=Path)
    key: str = ""

    @property
    def workers(self) -> list[psutil.Process]:
        """The processes that answer."""
        found = []
        for child in psutil.Process(self.pid).children():
            with contextlib.suppress(psutil.Error):
                if "spawn_main" in " ".join(child.cmdline()):
                    found.append(child)
        return found

    def figure(self, name: str) -> float:
        """Sum of a metric of the worker that happens to answer."""
        lines = self.get("/metrics").text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    def reads(self, dependency: str) -> set[str]:
        """What the workers say of a dependency."""
        return {self.get("/health").json()["dependencies"][dependency]["status"] for _ in range(12)}

    def serving(self) -> set[str]:
        """Which versions the workers answer with."""
        return {answer["model_version"] for answer in self.answers()}

    def token(self) -> str:
        """A token with all scopes."""
        answer = httpx.post(f"{self.url}/token", json={"api_key": self.key}, trust_env=False)
        return str(answer.json()["access_token"])

    def answers(self) -> list[dict[str, Any]]:
        """Several answers over connections of their own, so that they come from all workers."""
        return [self.predict(BODY).json() for _ in range(12)]


@pytest.fixture
def start_workers(tmp_path: Path) -> Iterator[Callable[..., Workers]]:
    """Starts an API with worker processes that follows `alias` in the registry at `uri`."""
    with contextlib.ExitStack() as stack:

        def start(uri: str, alias: str, *, workers: int = 2, state: Path | None = None, **env: str) -> Workers:
            port = free_port()
            state = state or tmp_path / "state"
            command = [sys.executable, "-m", "backend", "--host", "127.0.0.1", "--port", str(port)]
            command += ["--workers", str(workers), "--no-access-log"]
            settings = {
                "MLFLOW_TRACKING_URI": uri,
                "SIGAP_SERVED_ALIAS": alias,
                "SIGAP_STATE_DIR": str(state),
                "SIGAP_FOLLOW_SECONDS": "0.2",
            }
            key = Keys(Settings(state_dir=state)).create(f"test-{port}", ("predict", "admin"))
            log = tmp_path / f"api-{port}.log"
            started = stack.enter_context(process(command, log, **{**settings, **env}))
            api = Workers(f"http://127.0.0.1:{port}", started.pid, state, alias, log, key)
            wait_for(lambda: api.get("/health/live").status_code == 200, f"The API ({log.read_text()})", START_SECONDS)
            return api

        yield start


@pytest.fixture
def line(request: pytest.FixtureRequest) -> Iterator[Callable[[int], Relay]]:
    """Makes lines to a port that can be cut, silenced and slowed."""
    with contextlib.ExitStack() as stack:

        def make(port: int) -> Relay:
            relay = Relay(port)
            relay.start()
            stack.callback(relay.cut)
            return relay

        yield make


class Load:
    """Asks for predictions from threads of its own, as programs do, and counts what comes back.

    Args:
        url: Of the API.
        threads: How many ask at once.
        retries: How often a request whose connection fails is sent again, as a load balancer does.
        pause: Seconds between two requests of a thread.
    """

    def __init__(self, url: str, threads: int = 4, retries: int = 0, pause: float = 0.002) -> None:
        self._address = url.removeprefix("http://")
        self._retries = retries
        self._pause = pause
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(threads)]
        self.statuses: Counter[int | str] = Counter()
        self.retried = 0
        self.versions: Counter[str] = Counter()
        self.mixed: list[dict[str, Any]] = []

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(600)

    @property
    def failed(self) -> dict[int | str, int]:
        """Everything but answers."""
        return {status: count for status, count in self.statuses.items() if status != 200}

    @property
    def answered(self) -> int:
        return self.statuses[200]

    def _ask(self) -> None:
        body = json.dumps(BODY).encode()
        connection = http.client.HTTPConnection(self._address, timeout=20)
        while not self._end.is_set():
            for attempt in range(self._retries + 1):
                try:
                    connection.request("POST", "/predict", body, {"content-type": "application/json"})
                    response = connection.getresponse()
                    content = response.read()
                except (OSError, http.client.HTTPException) as error:
                    connection.close()
                    if attempt == self._retries:
                        self.statuses[type(error).__name__] += 1
                    else:
                        self.retried += 1
                    continue
                self.statuses[response.status] += 1
                if response.status == 200:
                    answer = json.loads(content)
                    self.versions[answer["model_version"]] += 1
                    if not right(answer):
                        self.mixed.append(answer)
                break
            time.sleep(self._pause)
        connection.close()
