"""MLflow over its REST interface: from an alias to a version, from a version to its bundle's files and its run.

The `mlflow` package would cost the API's process 4 seconds and 350 MB.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import PurePosixPath
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from pydantic import ValidationError

from backend.lean import httpx
from sigap.bundle import MANIFEST, TAG_BUNDLE_PATH, TAG_BUNDLE_RUN, TAG_MANIFEST_SHA256, Manifest, parse_manifest
from sigap.errors import BundleError, RegistryError

T = TypeVar("T")

MAXIMUM_BYTES = 256 * 2**20
TIMEOUT = httpx.Timeout(5.0, connect=2.0)
_NOT_FOUND = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}
# The tag that a pipeline's own run has, and the runs of its candidates have not.
PIPELINE_RUN = "pipeline_run"
PARENT = "mlflow.parentRunId"
VERSIONS_LISTED = 200
CANDIDATES_LISTED = 500


class NoChampionError(RegistryError):
    """The registry answers, and no version has the alias."""


class NotRegisteredError(RegistryError):
    """The registry answers, and knows no such model, version or experiment."""


class MissingFileError(RegistryError):
    """The registry answers, and keeps no such file of a run."""


@dataclass(frozen=True)
class Target:
    """The model version that the alias points to, and where its bundle lies."""

    version: str
    manifest_sha256: str
    run_id: str
    path: str
    aliases: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """What tells two targets apart."""
        return self.version, self.manifest_sha256


@dataclass(frozen=True)
class VersionEntry:
    """A registered version, as the registry tells it."""

    number: str
    run_id: str
    created_at: datetime
    tags: Mapping[str, str]

    @property
    def name(self) -> str:
        """The version as answered, such as v3."""
        return f"v{self.number}"


@dataclass(frozen=True)
class RunEntry:
    """A run of a pipeline, or of one of its candidates, as the registry tells it."""

    run_id: str
    status: str
    started_at: datetime
    ended_at: datetime | None
    tags: Mapping[str, str]
    name: str = ""
    experiment: str = ""
    root: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass
class RegistryStatus:
    """What the last call to the registry showed."""

    up: bool | None = None
    latency_seconds: float | None = None
    checked_at: float | None = None
    fault: str | None = None


class RegistryClient:
    """Reads MLflow's registry.

    Args:
        uri: The server's address; a user and a password in it are used and never shown.
        transport: Replaces the network in tests.
    """

    def __init__(self, uri: str, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        parts = urlsplit(uri)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        self.address = f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"
        self.status = RegistryStatus()
        # A proxy of the environment is for the world outside, not for a server on this machine.
        self._client = httpx.AsyncClient(
            base_url=f"{uri.rstrip('/')}/",
            timeout=TIMEOUT,
            transport=transport,
            trust_env=not loopback(parts.hostname),
            # Reading the certificates that are trusted takes longer than the rest of the start; HTTP needs none.
            verify=parts.scheme == "https",
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    async def target(self, model: str, alias: str) -> Target:
        """The version of `model` that has `alias`.

        Raises:
            NoChampionError: There is none.
            RegistryError: The registry can't be reached or answers nonsense.
            BundleError: The version was registered without a bundle.
        """
        started = time.perf_counter()
        try:
            answer = await self._json("registered-models/alias", {"name": model, "alias": alias})
        except NoChampionError:
            self._note(started, None)
            raise
        except RegistryError as error:
            self._note(started, error.message)
            raise
        self._note(started, None)
        return _target(model, answer)

    def _note(self, started: float, fault: str | None) -> None:
        self.status = RegistryStatus(fault is None, time.perf_counter() - started, time.monotonic(), fault)

    async def bundle(self, target: Target) -> dict[str, bytes]:
        """Every file of the target's bundle, by name, each found to be what its hash says.

        Raises:
            RegistryError: The registry can't be reached or lacks a file.
            BundleError: A file is not the one that was registered.
        """
        root = await self._root(target)
        content, manifest = await self._manifest(root, target)
        files = {MANIFEST: content}
        for name, entry in manifest.files.items():
            if PurePosixPath(name).name != name:
                raise BundleError(f"The manifest of version {target.version} names {name!r}, no plain file name.")
            if entry.bytes > MAXIMUM_BYTES:
                raise BundleError(f"{name} of version {target.version} has {entry.bytes} bytes, over {MAXIMUM_BYTES}.")
            files[name] = await self._file(root, target, name, entry.bytes)
            if hashlib.sha256(files[name]).hexdigest() != entry.sha256:
                raise BundleError(f"{name} of version {target.version} is not the file that was registered.")
        return files

    async def manifest(self, target: Target) -> Manifest:
        """The manifest of the target's bundle, found to be what its hash says.

        Raises:
            RegistryError: The registry can't be reached or answers nonsense.
            BundleError: The manifest is not the one that was registered.
        """
        return (await self._manifest(await self._root(target), target))[1]

    async def version(self, model: str, number: str) -> VersionEntry:
        """A version of `model`.

        Raises:
            NotRegisteredError: There is none of that number.
            RegistryError: The registry can't be reached or answers nonsense.
        """
        answer = await self._json("model-versions/get", {"name": model, "version": number})
        return _read(lambda: _version(answer["model_version"]), model)

    async def versions(self, model: str) -> list[VersionEntry]:
        """The newest versions of `model`, newest first; none of a model never registered.

        Raises:
            RegistryError: The registry can't be reached or answers nonsense.
        """
        query = {
            "filter": f"name = '{model}'",
            "max_results": str(VERSIONS_LISTED),
            "order_by": "creation_timestamp DESC",
        }
        answer = await self._json("model-versions/search", query)
        return _read(lambda: [_version(entry) for entry in answer.get("model_versions", [])], model)

    async def aliases(self, model: str) -> dict[str, list[str]]:
        """Aliases by version number; none of a model never registered.

        Raises:
            RegistryError: The registry can't be reached or answers nonsense.
        """
        try:
            answer = await self._json("registered-models/get", {"name": model})
        except NotRegisteredError:
            return {}
        found: dict[str, list[str]] = {}
        for entry in _read(lambda: list(answer["registered_model"].get("aliases", [])), model):
            found.setdefault(str(entry["version"]), []).append(str(entry["alias"]))
        return found

    async def run(self, run_id: str) -> RunEntry:
        """A run.

        Raises:
            NotRegisteredError: There is none of that id.
            RegistryError: The registry can't be reached or answers nonsense.
        """
        answer = await self._json("runs/get", {"run_id": run_id})
        return _read(lambda: _run(answer["run"]), run_id)

    async def runs(self, model: str, limit: int) -> list[RunEntry]:
        """The newest runs of the model's pipeline, newest first.

        Raises:
            RegistryError: The registry can't be reached or answers nonsense.
        """
        experiment = await self.experiment(model)
        return await self._search(experiment, f"tags.{PIPELINE_RUN} != ''", limit, "DESC") if experiment else []

    async def experiment(self, model: str) -> str:
        """Id of the model's experiment; empty where it has none yet.

        Raises:
            RegistryError: The registry can't be reached or answers nonsense.
        """
        try:
            answer = await self._json("experiments/get-by-name", {"experiment_name": model})
        except NotRegisteredError:
            return ""
        return _read(lambda: str(answer["experiment"]["experiment_id"]), model)

    async def candidates(self, run: RunEntry) -> list[RunEntry]:
        """The runs of the candidates that a pipeline's run tried, oldest first.

        Raises:
            RegistryError: The registry can't be reached or answers nonsense.
        """
        return await self._search(run.experiment, f"tags.`{PARENT}` = '{run.run_id}'", CANDIDATES_LISTED, "ASC")

    async def _search(self, experiment: str, condition: str, limit: int, order: str) -> list[RunEntry]:
        body = {
            "experiment_ids": [experiment],
            "filter": condition,
            "max_results": limit,
            "order_by": [f"attributes.start_time {order}"],
        }
        answer = await self._json("runs/search", {}, body)
        return _read(lambda: [_run(entry) for entry in answer.get("runs", [])], f"experiment {experiment}")

    async def run_file(self, run: RunEntry, path: str, limit: int) -> bytes:
        """A file that a run has stored, of at most `limit` bytes.

        Raises:
            MissingFileError: It has stored no such file.
            RegistryError: The registry can't be reached or answers nonsense.
            BundleError: The file is longer.
        """
        return await self._stored(run.root, run.run_id, path, limit)

    async def _root(self, target: Target) -> str:
        run = await self._json("runs/get", {"run_id": target.run_id})
        try:
            return str(run["run"]["info"]["artifact_uri"])
        except (KeyError, TypeError) as error:
            raise RegistryError(
                f"The registry at {self.address} does not say where run {target.run_id} lies."
            ) from error

    async def _manifest(self, root: str, target: Target) -> tuple[bytes, Manifest]:
        content = await self._file(root, target, MANIFEST, 2**20)
        if hashlib.sha256(content).hexdigest() != target.manifest_sha256:
            raise BundleError(f"The manifest of version {target.version} is not the one that was registered.")
        try:
            return content, parse_manifest(content)
        except ValidationError as error:
            raise BundleError(f"The manifest of version {target.version} can't be read: {error}.") from error

    async def _file(self, root: str, target: Target, name: str, limit: int) -> bytes:
        return await self._stored(root, target.run_id, f"{target.path.strip('/')}/{name}", limit)

    async def _stored(self, root: str, run_id: str, path: str, limit: int) -> bytes:
        name = PurePosixPath(path).name
        if root.startswith("mlflow-artifacts:"):
            url = f"api/2.0/mlflow-artifacts/artifacts/{quote(urlsplit(root).path.strip('/'))}/{quote(path)}"
            return await self._download(url, {}, limit, name)
        # A server that does not proxy its artefacts still hands out a run's files, from wherever it keeps them.
        return await self._download("get-artifact", {"run_uuid": run_id, "path": path}, limit, name)

    async def _download(self, url: str, query: Mapping[str, str], limit: int, name: str) -> bytes:
        content = bytearray()
        try:
            async with self._client.stream("GET", url, params=query) as response:
                if response.status_code == httpx.codes.NOT_FOUND:
                    raise MissingFileError(f"The registry at {self.address} answers 404 for the bundle's {name}.")
                if response.status_code != httpx.codes.OK:
                    raise RegistryError(
                        f"The registry at {self.address} answers {response.status_code} for the bundle's {name}."
                    )
                async for chunk in response.aiter_bytes():
                    content += chunk
                    if len(content) > limit:
                        raise BundleError(f"The bundle's {name} is longer than the {limit} bytes it should have.")
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        return bytes(content)

    async def _json(self, call: str, query: Mapping[str, str], body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        path = f"api/2.0/mlflow/{call}"
        try:
            if body is None:
                response = await self._client.get(path, params=query)
            else:
                response = await self._client.post(path, json=body)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        try:
            answer = response.json()
        except ValueError as error:
            raise RegistryError(
                f"{self.address} answers {response.status_code} and no JSON to {call}: it may not be an MLflow server.",
                remedy="Check MLFLOW_TRACKING_URI.",
            ) from error
        if isinstance(answer, dict) and response.status_code == httpx.codes.OK:
            return answer
        code = answer.get("error_code") if isinstance(answer, dict) else None
        if call == "registered-models/alias" and code in _NOT_FOUND:
            raise NoChampionError(f"No version of {query['name']} has the alias {query['alias']!r}.")
        if code == "RESOURCE_DOES_NOT_EXIST":
            named = ", ".join(f"{name} {value!r}" for name, value in query.items())
            raise NotRegisteredError(f"The registry has nothing with {named}.")
        raise RegistryError(f"The registry at {self.address} answers {response.status_code} {code or ''} to {call}.")

    def _unreachable(self, error: httpx.HTTPError) -> RegistryError:
        return RegistryError(
            f"The registry at {self.address} can't be reached ({type(error).__name__}).",
            remedy="`./run status` shows whether MLflow runs.",
        )


def _target(model: str, answer: dict[str, Any]) -> Target:
    try:
        found = answer["model_version"]
        version, tags = str(found["version"]), _tags(found)
        aliases = tuple(str(alias) for alias in found.get("aliases", ()))
    except (KeyError, TypeError) as error:
        raise RegistryError(f"The registry's answer for {model} names no version.") from error
    return replace(bundle_of(model, version, tags), aliases=aliases)


def bundle_of(model: str, version: str, tags: Mapping[str, str]) -> Target:
    """Where the bundle of a version with these tags lies.

    Raises:
        BundleError: It has none.
    """
    if missing := [tag for tag in (TAG_BUNDLE_RUN, TAG_BUNDLE_PATH, TAG_MANIFEST_SHA256) if not tags.get(tag)]:
        raise BundleError(
            f"Version {version} of {model} was registered without a serving bundle: it lacks {', '.join(missing)}.",
            remedy=f"Train and register it with `./run pipeline {model}`.",
        )
    return Target(version, tags[TAG_MANIFEST_SHA256], tags[TAG_BUNDLE_RUN], tags[TAG_BUNDLE_PATH])


def _read(read: Callable[[], T], what: str) -> T:
    try:
        return read()
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RegistryError(f"The registry's answer about {what} can't be read.") from error


def _tags(entry: Mapping[str, Any]) -> dict[str, str]:
    return {str(tag["key"]): str(tag["value"]) for tag in entry.get("tags", [])}


def _version(entry: Mapping[str, Any]) -> VersionEntry:
    return VersionEntry(
        number=str(entry["version"]),
        run_id=str(entry.get("run_id") or ""),
        created_at=_moment(entry["creation_timestamp"]),
        tags=_tags(entry),
    )


def _run(entry: Mapping[str, Any]) -> RunEntry:
    info = entry["info"]
    return RunEntry(
        run_id=str(info["run_id"]),
        status=str(info["status"]),
        started_at=_moment(info["start_time"]),
        ended_at=_moment(info["end_time"]) if info.get("end_time") else None,
        tags=_tags(entry["data"]),
        name=str(info.get("run_name") or ""),
        experiment=str(info.get("experiment_id") or ""),
        root=str(info.get("artifact_uri") or ""),
        params={str(each["key"]): str(each["value"]) for each in entry["data"].get("params", [])},
        metrics=_metrics(entry["data"].get("metrics", [])),
    )


def _metrics(entries: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """The finite ones; MLflow writes others as texts such as NaN."""
    found = {str(each["key"]): float(each["value"]) for each in entries}
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _moment(milliseconds: Any) -> datetime:
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)


def loopback(host: str | None) -> bool:
    """Whether `host` is this machine."""
    if host is None or host == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
