"""Models, runs and answers made by hand, and a page and an API in this process, for pieces asked by themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from frontend import api, parts
from frontend.api import Clusters
from frontend.catalogue import Detail
from frontend.results import read
from frontend.runs import Judged, Run, Runs, Trial, Tried
from frontend.words import Words
from tests.frontend.conftest import clear_caches

EN, ID = Words("en"), Words("id")


PLAIN = {"id": "Harga mobil", "en": "Car price"}


Answer = Callable[[httpx.Request], httpx.Response]


def both(text: str) -> dict[str, str]:
    return {"id": text, "en": text}


FEATURES = (
    {"name": "horsepower", "title": both("Power"), "unit": both("hp"), "meaning": both("m"), "minimum": 40,
     "maximum": 300, "kind": "integer"},
    {"name": "fueltype", "title": both("Fuel"), "unit": both(""), "meaning": both("m"), "minimum": None,
     "maximum": None, "kind": "category", "categories": ("gas", "diesel"),
     "category_labels": (both("petrol"), both("diesel oil"))},
    {"name": "turbo", "title": both("Turbo"), "unit": both(""), "meaning": both("m"), "minimum": 0, "maximum": 1,
     "flag": True},
)  # fmt: skip


def detail(**changes: Any) -> Detail:
    fields = {"name": "car_price", "title": PLAIN, "question": PLAIN, "task": "regression", "data_source": PLAIN,
              "features": FEATURES, "model_version": "v3", "served": True}  # fmt: skip
    return Detail.model_validate(fields | changes)


LABELS = ({"id": "Murah", "en": "Cheap"}, {"id": "Mahal", "en": "Dear"})


GROUPS = tuple({"cluster": at, "label": label, "size": 10 * at, "center": {"horsepower": 90.0 + at}}
               for at, label in enumerate(LABELS))  # fmt: skip


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    clear_caches()
    yield
    clear_caches()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is put on the page."""
    found: list[str] = []
    monkeypatch.setattr(parts, "html", found.append)
    return found


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Answer], None]]:
    """Has the API answer with what a function makes of a request."""
    made: list[httpx.Client] = []

    def answer(how: Answer) -> None:
        made.append(httpx.Client(base_url="http://api.test", transport=httpx.MockTransport(how)))
        monkeypatch.setattr(api, "_client", lambda _address: made[-1])

    yield answer
    for client in made:
        client.close()


def away(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


def fixed(status: int, **options: Any) -> Answer:
    return lambda _request: httpx.Response(status, **options)


Answering = Callable[[Answer], None]


def run(**changes: Any) -> Run:
    fields = {"run_id": "r", "name": "n", "outcome": "refused", "started_at": "2026-11-20T06:12:00Z"}
    return Run.model_validate(fields | changes)


def tried(*trials: Trial, **changes: Any) -> Tried:
    fields = {**run().model_dump(), "model": "car_price", "task": "regression", "metric": "rmse",
              "less_is_better": True, "candidates": trials}  # fmt: skip
    return Tried.model_validate(fields | changes)


def decided(at: int = 0, **changes: Any) -> Judged:
    fields = {"outcome": "promoted", "model_version": f"v{at}", "decided_at": "2026-11-20T06:12:00Z"}
    return Judged.model_validate(fields | changes)


def _runs() -> Runs:
    return Runs(model="car_price", task="regression", metric="rmse", less_is_better=True, runs=(run(),))


def answers_csv(tmp_path: Any, *rows: str) -> Any:
    path = tmp_path / "answers.csv"
    path.write_text("\n".join(("horsepower,colour,price,model_version,status,problem", *rows)) + "\n")
    return read(path, ",")


def job(tmp_path: Any, **changes: Any) -> Any:
    preview = SimpleNamespace(size=2**20, headings=("horsepower", "colour"), kind="CSV", delimiter=",")
    fields = {"name": "cars.csv", "model": "car_price", "version": "v3", "state": "done", "running": False, "sent": 0,
              "rows": 3, "share": 0.5, "preview": preview, "taken": {"horsepower"}, "result": None, "trouble": None,
              "stop": lambda: None}  # fmt: skip
    return SimpleNamespace(**(fields | changes))


def clusters(**changes: Any) -> Clusters:
    return Clusters.model_validate({"model_version": "v3", "members": ()} | changes)
