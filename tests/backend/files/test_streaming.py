"""Long answers over a real connection: memory stays bounded, others are answered, and who goes away ends the work."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from sigap.catalog.car_price import CAR_PRICE
from tests.backend.conftest import free_port, process, wait_for
from tests.backend.files.conftest import CAR, csv_of
from tests.backend.test_memory import keep

ROWS = 150_000


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int, Path]]:
    """An API in a process of its own: its address, process and state folder."""
    state = tmp_path_factory.mktemp("api")
    keep(state, CAR_PRICE.name)
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "backend.app:app", "--host", "127.0.0.1", "--port", str(port)]
    env = {"SIGAP_STATE_DIR": str(state), "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    env |= {
        "SIGAP_MAX_FILE_BYTES": str(2**30),
        "SIGAP_MAX_FILE_ROWS": "10000000",
        "SIGAP_FILE_JOBS": "1",
        "SIGAP_DEFAULT_MODEL": "car_price",
    }
    with process(command, state / "api.log", **env) as started:
        api = f"http://127.0.0.1:{port}"
        wait_for(lambda: httpx.post(f"{api}/models/car_price/predict", json=CAR).status_code == 200, "The API", 600)
        yield api, started.pid, state


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file whose answer is too long to hold back."""
    path = tmp_path_factory.mktemp("large") / "cars.csv"
    header, rows = csv_of([CAR] * 1000).split(b"\n", 1)
    with path.open("wb") as file:
        file.write(header + b"\n")
        for _ in range(ROWS // 1000):
            file.write(rows)
    return path


def test_a_long_answer_streams_in_bounded_memory(served: tuple[str, int, Path], large: Path) -> None:
    api, pid, _ = served
    lines, most = 0, 0.0
    with (
        large.open("rb") as file,
        httpx.stream("POST", f"{api}/predict-file", files={"file": ("c.csv", file)}, timeout=120) as got,
    ):
        assert got.status_code == 200
        assert "x-rows" not in got.headers
        for part in got.iter_raw():
            lines += part.count(b"\n")
            most = max(most, psutil.Process(pid).memory_info().rss / 2**20)
    assert lines == ROWS + 1
    assert most < 400


def test_who_goes_away_ends_the_work(served: tuple[str, int, Path], large: Path) -> None:
    api, _, state = served
    url = f"{api}/models/car_price/predict-file"
    with large.open("rb") as file, httpx.stream("POST", url, files={"file": ("c.csv", file)}, timeout=120) as answer:
        assert answer.status_code == 200
        next(answer.iter_raw())
    # The only place is free again, and nothing lies about.
    small = {"file": ("c.csv", csv_of([CAR]))}
    wait_for(lambda: httpx.post(url, files=small).status_code == 200, "The place for files", 600)
    wait_for(lambda: not os.listdir(state / "api" / "files"), "An empty folder", 30)  # noqa: PTH208


def test_who_goes_away_before_the_head_ends_the_work(served: tuple[str, int, Path], large: Path) -> None:
    api, _, state = served
    url = f"{api}/models/car_price/predict-file"
    with large.open("rb") as file, pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{url}?format=xlsx", files={"file": ("c.csv", file)}, timeout=httpx.Timeout(120, read=1))
    started = time.monotonic()
    wait_for(lambda: httpx.post(url, files={"file": ("c.csv", csv_of([CAR]))}).status_code == 200, "The place", 600)
    wait_for(lambda: not os.listdir(state / "api" / "files"), "An empty folder", 30)  # noqa: PTH208
    assert time.monotonic() - started < 60
