"""What the registry may answer, and what the API makes of it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend.registry_client import NoChampionError, RegistryClient, Target, bundle_of, loopback
from sigap.bundle import MANIFEST, MEMBERS, MODEL
from sigap.errors import BundleError, RegistryError
from tests.backend.bundles import write_bundle

Answer = Callable[[httpx.Request], httpx.Response]


def ask(answer: Answer, target: Target | None = None, uri: str = "http://me:hidden@registry.test:5000/base") -> Any:
    """What the client makes of `answer`: the alias' target, or a target's bundle."""

    async def run() -> Any:
        client = RegistryClient(uri, transport=httpx.MockTransport(answer))
        try:
            return await (client.bundle(target) if target else client.target("education", "champion"))
        finally:
            await client.close()

    return asyncio.run(run())


def fixed(status: int, **options: Any) -> Answer:
    return lambda _request: httpx.Response(status, **options)


@pytest.mark.parametrize(
    "answer",
    [
        fixed(500, json={"error_code": "INTERNAL_ERROR"}),
        fixed(403, text="Forbidden"),
        fixed(200, text="<html>"),
        fixed(200, json=[]),
        fixed(200, json={}),
        fixed(200, json={"model_version": None}),
        fixed(302, headers={"location": "http://elsewhere.test"}),
    ],
)
def test_nonsense_is_a_registry_error_that_shows_no_password(answer: Answer) -> None:
    with pytest.raises(RegistryError) as error:
        ask(answer)
    assert not isinstance(error.value, NoChampionError)
    assert "hidden" not in str(error.value)


def test_an_address_keeps_its_path_and_loses_its_password() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(404, json={"error_code": "RESOURCE_DOES_NOT_EXIST"})

    with pytest.raises(NoChampionError, match="No version of education has the alias 'champion'"):
        ask(answer)
    assert seen[0].url.path == "/base/api/2.0/mlflow/registered-models/alias"
    assert seen[0].headers["authorization"].startswith("Basic ")
    assert RegistryClient("http://me:hidden@registry.test:5000/base").address == "http://registry.test:5000/base"


class Store:
    """Answers for a run and its files."""

    def __init__(self, folder: Path, root: str) -> None:
        self.folder = folder
        self.root = root
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.raw_path.decode())
        if request.url.path.endswith("/runs/get"):
            return httpx.Response(200, json={"run": {"info": {"artifact_uri": self.root}}})
        name = (request.url.params.get("path") or request.url.path).rsplit("/", 1)[-1]
        path = self.folder / name
        return httpx.Response(200, content=path.read_bytes()) if path.exists() else httpx.Response(404)


def test_files_come_through_the_artefact_proxy(tmp_path: Path) -> None:
    sha256 = write_bundle(tmp_path / "b")
    store = Store(tmp_path / "b", "mlflow-artifacts:/3/run/artifacts")
    files = ask(store, Target("1", sha256, "run", "bundle"))
    assert set(files) == {MANIFEST, MODEL, MEMBERS}
    assert hashlib.sha256(files[MANIFEST]).hexdigest() == sha256
    assert "/base/api/2.0/mlflow-artifacts/artifacts/3/run/artifacts/bundle/model.onnx" in store.asked


def test_files_come_from_a_server_that_proxies_nothing(tmp_path: Path) -> None:
    sha256 = write_bundle(tmp_path / "b")
    store = Store(tmp_path / "b", "s3://bucket/3/run/artifacts")
    assert MODEL in ask(store, Target("1", sha256, "run", "bundle"))
    assert "/base/get-artifact?run_uuid=run&path=bundle%2Fmodel.onnx" in store.asked


def test_a_file_that_is_longer_than_registered_is_not_read_to_its_end(tmp_path: Path) -> None:
    sha256 = write_bundle(tmp_path / "b")
    with (tmp_path / "b" / MODEL).open("ab") as file:
        file.write(b"x" * 10)
    with pytest.raises(BundleError, match=r"model.onnx is longer than the \d+ bytes"):
        ask(Store(tmp_path / "b", "mlflow-artifacts:/3/run/artifacts"), Target("1", sha256, "run", "bundle"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    sha256 = write_bundle(tmp_path / "b")
    (tmp_path / "b" / MEMBERS).unlink()
    with pytest.raises(RegistryError, match=r"answers 404 for the bundle's members.json"):
        ask(Store(tmp_path / "b", "mlflow-artifacts:/3/run/artifacts"), Target("1", sha256, "run", "bundle"))


def test_a_name_that_leads_out_of_the_bundle_is_refused(tmp_path: Path) -> None:
    entry = {"sha256": "0" * 64, "bytes": 1}
    sha256 = write_bundle(tmp_path / "b", files={"../../evil": entry, MODEL: entry, MEMBERS: entry})
    with pytest.raises(BundleError, match="no plain file name"):
        ask(Store(tmp_path / "b", "mlflow-artifacts:/3/run/artifacts"), Target("1", sha256, "run", "bundle"))


@pytest.mark.parametrize(
    ("entry", "said"),
    [({"sha256": "0" * 64, "bytes": 2**40}, "has 1099511627776 bytes, over"),
     ({"sha256": "0" * 64, "bytes": 10**6}, "is not the file that was registered")],
)  # fmt: skip
def test_a_file_that_is_too_large_or_another_is_refused(tmp_path: Path, entry: dict[str, Any], said: str) -> None:
    sha256 = write_bundle(tmp_path / "b", files={MODEL: entry, MEMBERS: entry})
    with pytest.raises(BundleError, match=said):
        ask(Store(tmp_path / "b", "mlflow-artifacts:/3/run/artifacts"), Target("1", sha256, "run", "bundle"))


@pytest.mark.parametrize(("sha256", "said"), [("1" * 64, "not the one that was registered"), ("", "can't be read")])
def test_a_manifest_that_is_another_or_none_is_refused(tmp_path: Path, sha256: str, said: str) -> None:
    write_bundle(tmp_path / "b")
    if not sha256:
        (tmp_path / "b" / MANIFEST).write_text("{}")
        sha256 = hashlib.sha256(b"{}").hexdigest()
    with pytest.raises(BundleError, match=said):
        ask(Store(tmp_path / "b", "mlflow-artifacts:/3/run/artifacts"), Target("1", sha256, "run", "bundle"))


def test_a_server_that_fails_in_the_middle_is_told_with_its_status(tmp_path: Path) -> None:
    sha256 = write_bundle(tmp_path / "b")
    store = Store(tmp_path / "b", "mlflow-artifacts:/3/run/artifacts")

    def failing(request: httpx.Request) -> httpx.Response:
        return httpx.Response(502) if request.url.path.endswith(MODEL) else store(request)

    with pytest.raises(RegistryError, match=r"answers 502 for the bundle's model.onnx"):
        ask(failing, Target("1", sha256, "run", "bundle"))


def test_a_version_without_a_bundle_says_what_it_lacks() -> None:
    with pytest.raises(BundleError, match=r"Version 3 of education was registered without.*run pipeline education"):
        bundle_of("education", "3", {"other": "tag"})


@pytest.mark.parametrize(
    ("host", "own"),
    [(None, True), ("localhost", True), ("127.0.0.9", True), ("::1", True), ("0.0.0.0", True), ("10.0.0.1", False),
     ("mlflow", False)],
)  # fmt: skip
def test_a_proxy_is_for_the_world_outside(host: str | None, own: bool) -> None:
    assert loopback(host) is own
