"""What a person changes about a model: which version is served, in the registry or in this API alone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Protocol, TypeVar

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from starlette.requests import Request

from backend.alias_store import AliasStore
from backend.decode import decode
from backend.describe import detail
from backend.documentation import json_body, problems
from backend.follower import Follower
from backend.hold import Held
from backend.predict import read_body
from backend.problems import FieldProblem, RequestError, shown
from backend.provenance import number_of, unknown_version
from backend.registry_client import NoChampionError, NotRegisteredError, RegistryClient, Target, bundle_of
from backend.requests import refused
from backend.schemas import ModelDetail, SegmentsDetail, SupervisedDetail
from backend.security.tokens import PRINCIPAL
from sigap.errors import AliasMovedError, BundleError, ConfigurationError, RegistryError
from sigap.locks import BusyError
from sigap.promotion import CHALLENGER, PREVIOUS, ModelVersion, NothingBeforeError, Promotion, decision_of
from sigap.settings import Settings

log = logging.getLogger("sigap.api")

T = TypeVar("T")
# Shorter than a pipeline would wait: here somebody waits for the answer.
WAIT_SECONDS = 10.0
MOVED_STEPS = 3
_EXPECTED = {"version": "a version such as v3", "alias": "an alias such as challenger"}


class Wanted(BaseModel):
    """Which version: by its name, or by an alias that stands on it now."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        json_schema_extra={
            "oneOf": [{"required": [name], "properties": {name: {"type": "string"}}} for name in ("version", "alias")]
        },
    )

    version: str | None = Field(None, pattern=r"^v?[0-9]{1,9}$", description="A registered version, such as v3.")
    alias: str | None = Field(
        None, pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="The served alias ends what is held by hand."
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Wanted:
        if (self.version is None) == (self.alias is None):
            raise ValueError("expected either a version or an alias")
        return self


class WantedVersion(BaseModel):
    """Which version; by default the one served before."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    version: str | None = Field(None, pattern=r"^v?[0-9]{1,9}$", description="A registered version, such as v3.")


class Nothing(BaseModel):
    """No field at all."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Changed(BaseModel):
    """What was asked for, and what this worker serves now; the others follow within two seconds."""

    model_config = ConfigDict(protected_namespaces=())

    model: str
    action: Literal["load", "update", "rollback"]
    model_version: str = Field(description="The version that was asked for.")
    instead_of: str | None = Field(description="The version that this worker served before.")
    serving: str | None = Field(description="The version that this worker serves now.")
    changed: bool = Field(description="False if it was so already.")
    alias: str
    alias_version: str | None = Field(description="The version that the alias stands on in the registry.")
    held: bool = Field(description="Whether the version is served by hand, in this API alone, until the alias moves.")
    asked_by: str
    reason: str | None = Field(description="Why another version is served than was asked for; null if none is.")


Body = TypeVar("Body", bound=BaseModel)


class Service(Protocol):
    """What these routes need of the service."""

    settings: Settings
    registry: RegistryClient
    default: str

    def follower(self, model: str) -> Follower:
        """The follower of `model`."""


@dataclass(frozen=True)
class Acts:
    """The three acts, on any model.

    Args:
        service: Its followers serve.
    """

    service: Service

    async def load(self, follower: Follower, wanted: Wanted, asked_by: str) -> Changed:
        """Serves a named version in this API, the registry unchanged; the served alias ends that.

        Raises:
            RequestError: 404, there is no such version; 409, it can't be served; 503, the registry is away.
        """
        model, before = follower.declaration.name, _serving(follower)
        champion = await self._target(model, follower.alias)
        target = await self._named(model, wanted)
        if champion is not None and target.key == champion.key:
            await follower.release()
        else:
            await _fits(follower, target)
            held = Held(
                version=target.version,
                manifest_sha256=target.manifest_sha256,
                run_id=target.run_id,
                path=target.path,
                instead_of=champion.version if champion else None,
                asked_by=asked_by,
                at=datetime.now(UTC).isoformat(timespec="seconds"),
            )
            with told():
                await follower.hold(held)
        log.info("%s: %s asked to load v%s.", model, asked_by, target.version)
        return _changed(
            "load", follower, f"v{target.version}", before, champion.version if champion else None, asked_by
        )

    async def update(self, follower: Follower, asked_by: str) -> Changed:
        """Puts the challenger into service.

        Raises:
            RequestError: 409, there is none, it can't be served, or somebody moved the alias meanwhile; 503, the
                registry is away or somebody else writes to it.
        """
        model = follower.declaration.name
        current, challenger = await asyncio.gather(self._stored(model, follower.alias), self._stored(model, CHALLENGER))
        if challenger is None:
            raise RequestError(
                409,
                "no-challenger",
                "There is no challenger",
                f"No version of {model} has the alias {CHALLENGER!r}.",
                remedy=f"`./run pipeline {model}` trains one; `POST /models/{model}/load` serves a version by name.",
            )
        number = current.number if current else None
        waits = decision_of(challenger.tags).get("rule") == "waiting"

        def move(promotion: Promotion) -> ModelVersion:
            if waits:
                return promotion.approve(model, challenger.number, asked_by=asked_by)
            return promotion.promote(model, challenger.number, number, asked_by=asked_by)

        return await self._moved(
            "update",
            follower,
            challenger,
            asked_by,
            move,
        )

    async def rollback(self, follower: Follower, to: str | None, asked_by: str) -> Changed:
        """Serves an earlier version again, by default the one served before.

        Raises:
            RequestError: 404, there is no such version; 409, none was served before, or it can't be served; 503, the
                registry is away or somebody else writes to it.
        """
        model = follower.declaration.name
        if to is not None:
            target: ModelVersion | None = await self._in_store(lambda store: store.version(model, int(to)))
        else:
            target = await self._stored(model, PREVIOUS)
        if target is None:
            raise RequestError(
                409,
                "nothing-before",
                "There is nothing to go back to",
                f"{model} has no version that was served before.",
                remedy=f'`GET /models/{model}/versions` lists what can be named, as in {{"version": "v1"}}.',
            )
        return await self._moved(
            "rollback",
            follower,
            target,
            asked_by,
            # By number, so that what was tested is what is served, whatever `previous` stands on by then.
            lambda promotion: promotion.rollback(model, target.number, asked_by=asked_by),
        )

    async def _moved(
        self,
        action: Literal["update", "rollback"],
        follower: Follower,
        target: ModelVersion,
        asked_by: str,
        move: Callable[[Promotion], ModelVersion],
    ) -> Changed:
        model, before = follower.declaration.name, _serving(follower)
        # Before the alias moves: what can't be served here would be served nowhere.
        await _fits(follower, _bundle_of(model, target.number, target.tags))
        settings = self.service.settings
        moved = await self._in_store(lambda store: move(Promotion(settings, store, wait=WAIT_SECONDS)))
        log.info("%s: %s by %s to %s.", model, action, asked_by, moved.name)
        for _ in range(MOVED_STEPS):
            await follower.release()
            if _serving(follower) == moved.name:
                break
        return _changed(action, follower, moved.name, before, str(moved.number), asked_by)

    async def _named(self, model: str, wanted: Wanted) -> Target:
        if wanted.alias is not None:
            target = await self._target(model, wanted.alias)
            if target is None:
                raise RequestError(
                    404,
                    "unknown-alias",
                    "There is no such alias",
                    f"No version of {model} has the alias {wanted.alias!r}.",
                    remedy=f"`./run model versions {model}` lists them.",
                )
            return target
        number = number_of(model, str(wanted.version))
        with told():
            entry = await self.service.registry.version(model, number)
        return _bundle_of(model, number, entry.tags)

    async def _target(self, model: str, alias: str) -> Target | None:
        with told():
            try:
                return await self.service.registry.target(model, alias)
            except NoChampionError:
                return None

    async def _stored(self, model: str, alias: str) -> ModelVersion | None:
        return await self._in_store(lambda store: store.alias(model, alias))

    async def _in_store(self, call: Callable[[AliasStore], T]) -> T:
        def run() -> T:
            store = AliasStore(self.service.settings.tracking_uri)
            try:
                with store.errors("moving its aliases"):
                    return call(store)
            finally:
                store.close()

        with told():
            return await asyncio.to_thread(run)


def admin_routes(service: Service) -> APIRouter:
    """The routes that change what is served, for any model and for the default one, and the default one's metadata."""
    router = APIRouter()
    acts = Acts(service)
    answers = problems(400, 404, 408, 409, 413, 422, 503)

    def act(
        path: str, summary: str, body: type[BaseModel], answer: Callable[[str, Any, str], Awaitable[Changed]]
    ) -> None:
        documented = json_body(body, required=body is Wanted)
        told: dict[str, Any] = {"tags": ["admin"], "responses": answers, "openapi_extra": documented}

        async def on_model(model: str, request: Request) -> Changed:
            service.follower(model)
            return await answer(model, await fields_of(request, body), asker_of(request))

        async def on_default(request: Request) -> Changed:
            return await answer(service.default, await fields_of(request, body), asker_of(request))

        router.post(f"/models/{{model}}/{path}", summary=summary, operation_id=f"{path}_model", **told)(on_model)
        router.post(f"/model/{path}", summary=f"{summary} (the default model)", operation_id=f"{path}_default", **told)(
            on_default
        )

    act(
        "load",
        "Serve a named version in this API, the registry unchanged",
        Wanted,
        lambda model, wanted, asker: acts.load(service.follower(model), wanted, asker),
    )
    act(
        "update",
        "Put the challenger into service",
        Nothing,
        lambda model, _, asker: acts.update(service.follower(model), asker),
    )
    act(
        "rollback",
        "Serve the version before again, or an earlier one by name",
        WantedVersion,
        lambda model, wanted, asker: acts.rollback(
            service.follower(model), number_of(model, wanted.version) if wanted.version else None, asker
        ),
    )

    @router.get(
        "/model/metadata",
        tags=["models"],
        summary="The default model: its declaration and what is served",
        response_model=SupervisedDetail | SegmentsDetail | ModelDetail,
    )
    async def metadata() -> ModelDetail | SupervisedDetail:
        return detail(service.follower(service.default))

    return router


async def fields_of(request: Request, kind: type[Body]) -> Body:
    """The request's body; an empty one has no fields.

    Raises:
        RequestError: 400 or 422, it is no such body.
    """
    content = await read_body(request, 4096)
    fields = decode(content) if content.strip() else {}
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise refused([_problem(kind, entry) for entry in error.errors()]) from None


def _problem(kind: type[BaseModel], entry: Any) -> FieldProblem:
    name = ".".join(str(part) for part in entry["loc"])
    known = ", ".join(kind.model_fields) or "no field"
    return FieldProblem(
        field=str(shown(name)),
        value=shown(entry["input"]) if name else None,
        expected=_EXPECTED.get(name) or (entry["msg"] if name in kind.model_fields else known),
        remedy="Send one of them." if not name else "Correct it, or leave it out.",
    )


def asker_of(request: Request) -> str:
    """Who asks, as it is written down."""
    principal = request.scope.get(PRINCIPAL)
    return f"api: {principal.name}" if principal is not None else "api: anonymous"


def _bundle_of(model: str, number: int | str, tags: Mapping[str, str]) -> Target:
    with told():
        return bundle_of(model, str(number), tags)


def _serving(follower: Follower) -> str | None:
    return follower.served.model_version if follower.served else None


def _changed(
    action: Literal["load", "update", "rollback"],
    follower: Follower,
    wanted: str,
    before: str | None,
    alias_version: str | None,
    asked_by: str,
) -> Changed:
    serving = _serving(follower)
    return Changed(
        model=follower.declaration.name,
        action=action,
        model_version=wanted,
        instead_of=before,
        serving=serving,
        changed=serving != before,
        alias=follower.alias,
        alias_version=f"v{alias_version}" if alias_version else None,
        held=follower.held is not None,
        asked_by=asked_by,
        reason=None if serving == wanted else follower.fault or "Somebody moved the alias meanwhile.",
    )


async def _fits(follower: Follower, target: Target) -> None:
    with told():
        await follower.tried(target)


@contextmanager
def told() -> Iterator[None]:
    """Tells a client what went wrong inside.

    Raises:
        RequestError: 404, there is no such version; 409, the registry's state does not allow it; 503, the registry is
            away or somebody else writes to it.
    """
    try:
        yield
    except NotRegisteredError as error:
        raise unknown_version(error.message) from error
    except BundleError as error:
        raise _not_servable(error) from error
    except NothingBeforeError as error:
        raise RequestError(
            409, "nothing-before", "There is nothing to go back to", error.message, remedy=error.remedy
        ) from error
    except AliasMovedError as error:
        raise RequestError(
            409, "alias-moved", "The alias moved meanwhile", error.message, remedy="Look, and ask again."
        ) from error
    except BusyError as error:
        raise RequestError(
            503, "busy", "Somebody else moves the aliases", error.message, headers={"retry-after": "5"}
        ) from error
    except ConfigurationError as error:
        raise RequestError(
            503, "configuration", "A setting is in the way", error.message, remedy=error.remedy
        ) from error
    except RegistryError as error:
        raise _away(error.message, error.remedy) from error
    except TimeoutError as error:
        raise _away("The registry took too long.") from error
    except OSError as error:
        raise RequestError(
            503,
            "state-folder",
            "The state folder can't be written",
            f"What is to be served can't be written down: {error.strerror}.",
            remedy="Make room or rights in SIGAP_STATE_DIR.",
        ) from error


def _not_servable(error: BundleError) -> RequestError:
    return RequestError(
        409,
        "not-servable",
        "The version can't be served",
        error.message,
        remedy=error.remedy or "What was served is served on. Choose another version.",
    )


def _away(message: str, remedy: str = "") -> RequestError:
    return RequestError(
        503,
        "registry",
        "The registry can't answer",
        message,
        remedy=remedy or "`./run status` shows whether MLflow runs.",
        headers={"retry-after": "5"},
    )
