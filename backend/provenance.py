"""The routes that tell where an answer comes from: lineage, model card, and decisions."""

from __future__ import annotations

import re
from collections.abc import Awaitable
from typing import Annotated, Protocol, TypeVar

from fastapi import APIRouter, Query
from starlette.responses import Response

from backend.documentation import problems
from backend.follower import Follower
from backend.history import DataLineage, Decisions, Lineage, RegisteredVersions, lineage, seen, versions, with_moves
from backend.predict import serving
from backend.problems import RequestError
from backend.registry_client import NotRegisteredError, RegistryClient, bundle_of
from sigap.bundle import Manifest
from sigap.errors import BundleError, RegistryError
from sigap.model_card import model_card

T = TypeVar("T")
Version = Annotated[str, Query(description="A registered version, such as v3; by default the one that is served.")]


class Models(Protocol):
    """What these routes need of the service."""

    registry: RegistryClient

    def follower(self, model: str) -> Follower:
        """The follower of `model`."""


def provenance_routes(service: Models) -> APIRouter:
    """The routes under `/models/{model}`."""
    router = APIRouter(prefix="/models/{model}", tags=["provenance"])

    @router.get("/lineage", summary="From a prediction back to query and rows", responses=problems(404, 503))
    async def model_lineage(model: str, version: Version = "") -> Lineage:
        follower = service.follower(model)
        if version:
            return await asked(_registered_lineage(service.registry, model, number_of(model, version)))
        served = serving(follower)
        try:
            return await _registered_lineage(
                service.registry, model, served.version, served.manifest, served.manifest_sha256
            )
        except RegistryError:
            # What is served tells its own origin, whether or not the registry is there.
            return lineage(served.manifest, number=served.version, manifest_sha256=served.manifest_sha256)

    @router.get(
        "/lineage/data/{data_version}",
        summary="From a data version to every version and run that saw it",
        responses=problems(404, 503),
    )
    async def data_lineage(model: str, data_version: str) -> DataLineage:
        declared = service.follower(model).declaration
        found = await asked(seen(service.registry, declared, data_version))
        if found is None:
            raise RequestError(
                404,
                "unknown-version",
                "There is no such version",
                f"No run of {model} saw a data version {data_version[:80]!r}.",
                remedy=f"`./run data versions {model}` lists them.",
            )
        return found

    @router.get(
        "/card",
        summary="The model card, as Markdown",
        response_class=Response,
        responses={200: {"content": {"text/markdown": {"schema": {"type": "string"}}}}, **problems(404, 503)},
    )
    async def card(model: str, version: Version = "") -> Response:
        follower = service.follower(model)
        if version:
            manifest = await asked(_registered_manifest(service.registry, model, number_of(model, version)))
        else:
            manifest = serving(follower).manifest
        return Response(model_card(follower.declaration, manifest), media_type="text/markdown; charset=utf-8")

    @router.get("/decisions", summary="What was decided, and why", responses=problems(404, 503))
    async def model_decisions(model: str) -> Decisions:
        service.follower(model)
        return Decisions(model=model, decisions=await asked(with_moves(service.registry, model)))

    @router.get("/versions", summary="All registered versions and their aliases", responses=problems(404, 503))
    async def model_versions(model: str) -> RegisteredVersions:
        service.follower(model)
        return RegisteredVersions(model=model, versions=await asked(versions(service.registry, model)))

    return router


async def _registered_lineage(
    registry: RegistryClient,
    model: str,
    number: str,
    manifest: Manifest | None = None,
    manifest_sha256: str = "",
) -> Lineage:
    entry = await registry.version(model, number)
    aliases = await registry.aliases(model)
    if manifest is None:
        target = bundle_of(model, number, entry.tags)
        manifest, manifest_sha256 = await registry.manifest(target), target.manifest_sha256
    run = await registry.run(entry.run_id or manifest.run_id)
    return lineage(
        manifest,
        number=number,
        manifest_sha256=manifest_sha256,
        entry=entry,
        aliases=aliases.get(number, ()),
        run=run,
    )


async def _registered_manifest(registry: RegistryClient, model: str, number: str) -> Manifest:
    entry = await registry.version(model, number)
    return await registry.manifest(bundle_of(model, number, entry.tags))


def number_of(model: str, version: str) -> str:
    """The number that a version as people write it has, such as v3.

    Raises:
        RequestError: 404, it is none.
    """
    if not re.fullmatch("v?[0-9]{1,9}", version):
        raise unknown_version(f"{model} has no version {version[:80]!r}.", model)
    return version.removeprefix("v")


def unknown_version(detail: str, model: str = "MODEL") -> RequestError:
    """The problem of a version that there is not, 404."""
    return RequestError(
        404, "unknown-version", "There is no such version", detail, remedy=f"`./run model versions {model}` lists them."
    )


async def asked(answer: Awaitable[T]) -> T:
    """What the registry was asked for.

    Raises:
        RequestError: 404, it has no such thing; 503, it can't be reached or what it has can't be used.
    """
    try:
        return await answer
    except NotRegisteredError as error:
        raise unknown_version(error.message) from error
    except (RegistryError, BundleError) as error:
        raise RequestError(
            503,
            "registry",
            "The registry can't answer",
            error.message,
            remedy=error.remedy or "`./run status` shows whether MLflow runs.",
            headers={"retry-after": "5"},
        ) from error
