"""Follows a registry alias: a new champion is loaded and tested beside the old one, then takes its place at once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from backend.history import Refusal, decisions, refusal
from backend.hold import Held, Hold
from backend.registry_client import NoChampionError, RegistryClient, Target
from backend.requests import Validator
from backend.served import Origin, Served, load
from backend.store import BundleStore
from sigap.catalog import Declaration
from sigap.errors import BundleError, RegistryError, SigapError

log = logging.getLogger("sigap.api")

STEP_SECONDS = 30.0
KEEP_SECONDS = 2.0
REFUSED_RETRY_SECONDS = 20.0
# How often the reason for there being no champion is looked up; a run takes longer.
REASON_SECONDS = 5.0
# How often a version held by another worker of this API is looked for: a look at a file.
HOLD_SECONDS = 0.5
REASON_RUNS = 5


@dataclass(frozen=True)
class Refused:
    """A version that could not be loaded, and when to try it again."""

    key: tuple[str, str]
    fault: str
    until: float


class FollowMetrics(Protocol):
    """Where a follower tells what it did."""

    def loaded(self, model: str, served: Served, seconds: float | None = None) -> None:
        """Notes which version is served from now on, and how long that took where somebody waited for it."""

    def fault(self, model: str, kind: str) -> None:
        """Counts a look at the registry that could not be followed."""


class Follower:
    """Keeps one model served.

    Args:
        declaration: The model.
        alias: The alias it follows.
        seconds: Pause between two looks at the registry.
        registry: Where the alias is looked up.
        store: Where bundles are kept.
        hold: Which version a person put into service in this API alone.
        metrics: Where loads and faults are counted.
    """

    def __init__(
        self,
        declaration: Declaration,
        alias: str,
        seconds: float,
        registry: RegistryClient,
        store: BundleStore,
        metrics: FollowMetrics,
        hold: Hold | None = None,
    ) -> None:
        self.declaration = declaration
        self.alias = alias
        self.served: Served | None = None
        self.fault: str | None = None
        # Why there is no champion, by the decision on the last run; None where there is one, or was no run.
        self.refusal: Refusal | None = None
        # What is served by a person's choice for this API alone.
        self.held: Held | None = None
        # Those that stood on the served version when the registry was last looked at.
        self.aliases: tuple[str, ...] = ()
        self._looked = asyncio.Event()
        self._woken = asyncio.Event()
        self._stepping = asyncio.Lock()
        self._hold = hold
        self._seconds = seconds
        self._registry = registry
        self._store = store
        self._metrics = metrics
        self._validator = Validator(declaration)
        self._refused: Refused | None = None
        self._reason_due = 0.0

    async def run(self) -> None:
        """Looks at the registry until cancelled. No fault ends it."""
        while True:
            self._woken.clear()
            await self.step()
            await self._pause()

    def wake(self) -> None:
        """Has `run` look at the registry now."""
        self._woken.set()

    async def _pause(self) -> None:
        until = time.monotonic() + self._seconds
        while (left := until - time.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), min(left, HOLD_SECONDS))
            if self._woken.is_set() or (self._hold is not None and self._hold.changed()):
                return

    async def started(self, seconds: float) -> None:
        """Returns once something is served or found missing; a registry slower than `seconds` is not waited for."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._looked.wait(), seconds)
        if self.served is None:
            await self._serve_last_good()

    async def step(self) -> None:
        """Looks at the registry once and follows it. Whatever goes wrong, what is served stays served."""
        async with self._stepping:
            await self._step()

    async def tried(self, target: Target) -> Served:
        """A version's bundle, fetched, kept, loaded and tested, without serving it.

        Raises:
            RegistryError: It can't be fetched.
            BundleError: It can't be served.
        """
        async with asyncio.timeout(STEP_SECONDS):
            return await self._fetch(target)

    async def hold(self, held: Held) -> None:
        """Serves a version whatever the alias says, until the alias moves; all workers of this API follow.

        Raises:
            OSError: The state folder can't be written.
        """
        if self._hold is not None:
            await asyncio.to_thread(self._hold.set, held)
        await self.step()

    async def release(self) -> None:
        """Follows the alias again."""
        if self._hold is not None:
            await asyncio.to_thread(self._hold.end)
        await self.step()

    async def _step(self) -> None:
        try:
            async with asyncio.timeout(STEP_SECONDS):
                await self._follow()
            self.refusal = None
            self._noted(None, "")
        except NoChampionError as error:
            await self._look_for_reason()
            self._noted(f"{error.message} {self.refusal.text}" if self.refusal else error.message, "no_champion")
        except RegistryError as error:
            self._noted(str(error), "registry")
        except BundleError as error:
            self._noted(str(error), "bundle")
        except TimeoutError:
            self._noted(f"The registry took longer than {STEP_SECONDS:g} s.", "registry")
        except Exception:  # what is served is served on, and the next look may succeed
            log.exception("Following %s failed in a way that nobody foresaw.", self.declaration.name)
            self._noted("An unforeseen fault; the API's log has it.", "unforeseen")
        if self.served is None:
            await self._serve_last_good()
        self._looked.set()

    async def _look_for_reason(self) -> None:
        if time.monotonic() < self._reason_due:
            return
        self._reason_due = time.monotonic() + REASON_SECONDS
        try:
            async with asyncio.timeout(STEP_SECONDS):
                self.refusal = refusal(await decisions(self._registry, self.declaration.name, REASON_RUNS))
        except (SigapError, TimeoutError) as error:
            log.info("Why %s has no champion can't be told: %s", self.declaration.name, error)
        except Exception:  # the reason is for people: the following goes on without it
            log.exception("Why %s has no champion can't be told.", self.declaration.name)

    async def _follow(self) -> None:
        held = self._hold.read() if self._hold is not None else None
        try:
            found: Target | None = await self._registry.target(self.declaration.name, self.alias)
        except NoChampionError:
            if held is None or held.instead_of is not None:
                self._not_held(held)
                raise
            found = None
        except RegistryError:
            if held is not None:
                # A person's choice needs no alias, and its bundle may lie here.
                await self._serve(held.target)
                self.held = held
            raise
        if held is None or held.instead_of != (found.version if found else None):
            self._not_held(held)
            held = None
        target = held.target if held else found
        if target is not None:
            await self._serve(target)
        self.held = held
        self.aliases = found.aliases if found and self.served_key == found.key else ()

    def _not_held(self, held: Held | None) -> None:
        self.held = None
        if held is not None and self._hold is not None:
            log.info("%s: v%s is held no longer, for the alias moved.", self.declaration.name, held.version)
            self._hold.end()

    async def _serve(self, target: Target) -> None:
        if self.served is not None and self.served_key == target.key:
            self._refused = None
            return
        if self._refused and self._refused.key == target.key and time.monotonic() < self._refused.until:
            raise BundleError(self._refused.fault)
        started = time.perf_counter()
        try:
            served = await self._fetch(target)
        except BundleError as error:
            self._refused = Refused(target.key, str(error), time.monotonic() + REFUSED_RETRY_SECONDS)
            raise
        self._swap(served, time.perf_counter() - started)
        await self._keep(target)

    @property
    def served_key(self) -> tuple[str, str] | None:
        """Version and manifest hash of what is served."""
        return (self.served.version, self.served.manifest_sha256) if self.served else None

    async def _fetch(self, target: Target) -> Served:
        if kept := await asyncio.to_thread(self._store.find, *target.key):
            try:
                return await self._load(kept, *target.key, "registry")
            except BundleError as error:
                log.warning("The kept bundle of %s is fetched anew: %s", self.declaration.name, error)
                await asyncio.to_thread(self._store.drop, *target.key)
        files = await self._registry.bundle(target)
        folder = await asyncio.to_thread(self._store.save, *target.key, files)
        return await self._load(folder, *target.key, "registry")

    async def _load(self, folder: Path, version: str, manifest_sha256: str, origin: Origin) -> Served:
        # In a thread: requests are answered by the old bundle while the new one is read and tested.
        return await asyncio.to_thread(
            load,
            folder,
            self.declaration,
            self._validator,
            version=version,
            manifest_sha256=manifest_sha256,
            origin=origin,
        )

    def _swap(self, served: Served, seconds: float | None = None) -> None:
        before = self.served.model_version if self.served else "nothing"
        self.served = served
        self._refused = None
        self._metrics.loaded(self.declaration.name, served, seconds)
        log.info(
            "%s: now serving %s (data %s, from %s) instead of %s.",
            self.declaration.name,
            served.model_version,
            served.manifest.data.version,
            served.origin,
            before,
            # From the version that stands on a prediction to the run that made it.
            extra={
                "model": self.declaration.name,
                "model_version": served.model_version,
                "run_id": served.manifest.run_id,
                "data_version": served.manifest.data.version,
            },
        )

    async def _keep(self, target: Target) -> None:
        # In a thread, and not for long: a disk that hangs holds up neither predictions nor the next champion.
        try:
            async with asyncio.timeout(KEEP_SECONDS):
                await asyncio.to_thread(self._store.mark_good, *target.key)
        except (SigapError, TimeoutError) as error:
            reason = str(error) or f"the disk took longer than {KEEP_SECONDS:g} s."
            log.warning("%s is served, but could not be remembered as the last good one: %s", target.version, reason)

    async def _serve_last_good(self) -> None:
        try:
            if last := await asyncio.to_thread(self._store.last_good):
                version, manifest_sha256, folder = last
                served = await self._load(folder, version, manifest_sha256, "disk")
                if self.served is None:  # the registry may have answered meanwhile
                    self._swap(served)
        except BundleError as error:
            log.warning("The last good bundle of %s can't be served: %s", self.declaration.name, error)

    def _noted(self, fault: str | None, kind: str) -> None:
        if fault is not None:
            self._metrics.fault(self.declaration.name, kind)
        about = {"model": self.declaration.name}
        if fault != self.fault:
            # Only changes are logged: the registry may be down for hours.
            if fault is None:
                log.info("%s: the registry is followed again.", self.declaration.name, extra=about)
            else:
                log.warning("%s: %s What is served stays.", self.declaration.name, fault, extra=about)
        self.fault = fault
