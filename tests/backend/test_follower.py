"""The follower step by step, beside a registry made of plain answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from backend import follower as following
from backend.follower import Follower
from backend.hold import Held, Hold
from backend.metrics import Metrics
from backend.registry_client import RegistryClient
from backend.store import BundleStore
from sigap.bundle import MANIFEST, TAG_BUNDLE_PATH, TAG_BUNDLE_RUN, TAG_MANIFEST_SHA256
from tests.backend.bundles import BODY, CENTERS, EDUCATION, expected, write_bundle


class FakeRegistry:
    """Answers as MLflow does, and as it does on a bad day."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hashes: dict[str, str] = {}
        self.version = ""
        self.downloads = 0
        self.failure: Callable[[httpx.Request], httpx.Response] | None = None

    def add(self, version: str, centers: np.ndarray) -> None:
        self.hashes[version] = write_bundle(self.folder / version, centers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.failure:
            return self.failure(request)
        path = request.url.path
        if path.endswith("/alias"):
            tags = {
                TAG_BUNDLE_RUN: self.version,
                TAG_BUNDLE_PATH: "bundle",
                TAG_MANIFEST_SHA256: self.hashes[self.version],
            }
            listed = [{"key": key, "value": value} for key, value in tags.items()]
            return httpx.Response(200, json={"model_version": {"version": self.version, "tags": listed}})
        if path.endswith("/runs/get"):
            root = f"mlflow-artifacts:/{request.url.params['run_id']}"
            return httpx.Response(200, json={"run": {"info": {"artifact_uri": root}}})
        self.downloads += 1
        version, _bundle, name = path.split("/")[-3:]
        return httpx.Response(200, content=(self.folder / version / name).read_bytes())


@pytest.fixture
def registry(tmp_path: Path) -> FakeRegistry:
    fake = FakeRegistry(tmp_path / "registry")
    fake.add("1", CENTERS)
    fake.add("2", CENTERS + 0.3)
    fake.version = "1"
    return fake


class Steps:
    """A follower and the loop that it runs in."""

    def __init__(self, runner: asyncio.Runner, registry: FakeRegistry, state: Path) -> None:
        client = RegistryClient("http://registry.test", transport=httpx.MockTransport(registry))
        self.follower = Follower(EDUCATION, "champion", 0.01, client, BundleStore(state), Metrics())
        self._runner = runner

    def step(self) -> str | None:
        self._runner.run(self.follower.step())
        return self.follower.served.version if self.follower.served else None


@pytest.fixture
def steps(registry: FakeRegistry, tmp_path: Path) -> Iterator[Steps]:
    with asyncio.Runner() as runner:
        yield Steps(runner, registry, tmp_path / "state")


def test_one_look_at_the_registry_is_enough_to_follow(registry: FakeRegistry, steps: Steps) -> None:
    for version in ("1", "2", "1"):
        registry.version = version
        assert steps.step() == version
    assert registry.downloads == 6, "a bundle that is kept is not fetched again"
    assert steps.follower.served is not None
    assert steps.follower.served.predict(BODY)["distance_to_center"] == pytest.approx(expected(BODY)[1])


def test_a_refused_version_is_not_fetched_again_and_again(registry: FakeRegistry, steps: Steps) -> None:
    steps.step()
    (registry.folder / "2" / MANIFEST).write_text("{}")
    registry.version = "2"
    before = registry.downloads
    for _ in range(5):
        assert steps.step() == "1"
        assert steps.follower.fault is not None
        assert "not the one that was registered" in steps.follower.fault
    assert registry.downloads == before + 1


def test_a_refused_version_that_was_mended_is_served_after_a_while(
    registry: FakeRegistry, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "REFUSED_RETRY_SECONDS", 0.0)
    good = (registry.folder / "1" / MANIFEST).read_bytes()
    (registry.folder / "1" / MANIFEST).write_text("{}")
    assert steps.step() is None
    (registry.folder / "1" / MANIFEST).write_bytes(good)
    assert steps.step() == "1"
    assert steps.follower.fault is None


def test_no_fault_of_the_registry_ends_the_following(registry: FakeRegistry, steps: Steps) -> None:
    steps.step()

    def unforeseen(_request: httpx.Request) -> httpx.Response:
        raise ZeroDivisionError

    def refusing(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    for failure in (unforeseen, refusing, lambda _request: httpx.Response(500, text="no")):
        registry.failure = failure
        registry.version = "2"
        assert steps.step() == "1"
        assert steps.follower.fault
    registry.failure = None
    assert steps.step() == "2"
    assert steps.follower.fault is None


def test_a_registry_that_takes_too_long_is_left_alone(
    registry: FakeRegistry, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps.step()
    monkeypatch.setattr(following, "STEP_SECONDS", 0.01)

    async def slow(*_: object) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(RegistryClient, "target", slow)
    assert steps.step() == "1"
    assert steps.follower.fault == "The registry took longer than 0.01 s."


def test_a_full_disk_keeps_the_old_champion_and_says_so(registry: FakeRegistry, steps: Steps, tmp_path: Path) -> None:
    steps.step()
    kept = tmp_path / "state"
    kept.rename(tmp_path / "moved")
    kept.write_text("in the way")
    registry.version = "2"
    assert steps.step() == "1"
    assert steps.follower.fault is not None
    assert "can't be kept in" in steps.follower.fault


def test_the_last_good_bundle_is_served_while_the_registry_is_away(
    registry: FakeRegistry, steps: Steps, tmp_path: Path
) -> None:
    steps.step()
    registry.failure = lambda _request: httpx.Response(503, text="")
    with asyncio.Runner() as runner:
        later = Steps(runner, registry, tmp_path / "state")
        assert later.step() == "1"
        assert later.follower.served is not None
        assert later.follower.served.origin == "disk"


def without_alias(registry: FakeRegistry, status: int) -> Callable[[httpx.Request], httpx.Response]:
    """The registry, which answers questions for the alias with this status."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/alias"):
            return httpx.Response(status, json={"error_code": "RESOURCE_DOES_NOT_EXIST" if status == 404 else "ODD"})
        registry.failure = None
        try:
            return registry(request)
        finally:
            registry.failure = answer

    return answer


def held(registry: FakeRegistry, version: str, instead_of: str | None) -> Held:
    return Held(version, registry.hashes[version], version, "bundle", instead_of, "sari", "2026-11-20T06:12:00Z")


@pytest.fixture
def hold(steps: Steps, tmp_path: Path) -> Hold:
    """What a person chose, of the follower in `steps`."""
    found = Hold(tmp_path / "held.json")
    steps.follower._hold = found
    return found


def test_a_choice_made_where_no_alias_stood_is_served_until_one_does(
    registry: FakeRegistry, steps: Steps, hold: Hold
) -> None:
    registry.failure = without_alias(registry, 404)
    hold.set(held(registry, "2", None))
    assert steps.step() == "2"
    assert (steps.follower.fault, steps.follower.held) == (None, held(registry, "2", None))
    registry.failure = None
    assert steps.step() == "1"
    assert (steps.follower.held, hold.read()) == (None, None)


def test_a_choice_is_served_while_the_registry_is_away_and_the_fault_is_told(
    registry: FakeRegistry, steps: Steps, hold: Hold
) -> None:
    assert steps.step() == "1"
    hold.set(held(registry, "2", "1"))
    registry.failure = without_alias(registry, 500)
    assert steps.step() == "2"
    assert steps.follower.held == held(registry, "2", "1")
    assert "answers 500 ODD" in (steps.follower.fault or "")


def test_an_alias_that_is_taken_away_ends_a_choice_made_instead_of_it(
    registry: FakeRegistry, steps: Steps, hold: Hold
) -> None:
    hold.set(held(registry, "2", "1"))
    assert steps.step() == "2"
    registry.failure = without_alias(registry, 404)
    assert steps.step() == "2", "what is served stays, also where the reason is looked for and nothing makes sense"
    assert (steps.follower.held, hold.read()) == (None, None)
    assert "No version of education has the alias" in (steps.follower.fault or "")


def test_where_nobody_can_choose_the_alias_is_followed(registry: FakeRegistry, steps: Steps) -> None:
    steps._runner.run(steps.follower.hold(held(registry, "2", "1")))
    assert steps.step() == "1"
    steps._runner.run(steps.follower.release())
    assert steps.follower.held is None
