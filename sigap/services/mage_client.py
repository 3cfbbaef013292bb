"""Runs a pipeline in Mage and follows it block by block; no run is waited on for ever."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx

from sigap.errors import PipelineError
from sigap.services.mage_api import Json, MageApi, RefusedError
from sigap.settings import Settings

Event = dict[str, Any]

_POLL_SECONDS = 0.3
_SILENT_SECONDS = 30
"""How long Mage may be away: longer than its supervisor needs to start it again."""
_BUSY_SECONDS = 300
"""How long a Mage that takes connections may be too busy to answer: its steps go on meanwhile."""
_READING_SECONDS = 30
"""How long after its start Mage may take to read the pipelines' files."""
_MAX_DEATHS = 3


class _LostRunError(PipelineError):
    """Nothing ran and nothing was started: Mage has lost the run. Worth another try."""


def run_pipeline(
    settings: Settings, model: str, variables: Json, on_event: Callable[[Event], None] | None = None
) -> Json:
    """Run the pipeline of a model in Mage and wait for its end.

    Args:
        settings: Where Mage is, how long one step may take, and how long nothing may happen.
        model: Name of the model, which is its pipeline's name too.
        variables: Variables of this run, such as `version` or `data_version`; plain JSON.
        on_event: Told what happens: `{"event": "started", "run", "address"}`; for every change of a block
            `{"event": "block", "run", "block", "status", "done", "total"}`; and `{"event": "retry", "reason"}`
            when Mage has lost the run, which is then started once more.

    Returns:
        What the last block returned.

    Raises:
        PipelineError: The run failed (with the block and its cause), stuck, took too long or was cancelled; or Mage
            can't be reached, refused, or has died.
    """
    tell = on_event or (lambda _: None)
    with MageApi(settings) as api:
        try:
            api.sign_in()
            trigger = _trigger(api, model)
            try:
                return _Run(settings, api, model, api.start(trigger, variables), tell).follow()
            except _LostRunError as error:
                tell({"event": "retry", "reason": error.message})
                return _Run(settings, api, model, api.start(trigger, variables), tell).follow()
        except httpx.TransportError as error:
            raise PipelineError(
                f"Mage at {api.address} can't be reached ({type(error).__name__}).",
                remedy="Start it with ./run; its log is .sigap/logs/mage.log.",
            ) from error


def _trigger(api: MageApi, model: str) -> Json:
    limit = time.monotonic() + _READING_SECONDS
    reason = "it has no API trigger"
    while time.monotonic() < limit:
        try:
            return api.trigger(model) or api.make_trigger(model)
        except RefusedError as error:
            reason = error.message
        time.sleep(_POLL_SECONDS)
    raise PipelineError(
        f"Mage at {api.address} can't run a pipeline {model!r}: {reason}.",
        remedy=f"See that mage_project/pipelines/{model}/ holds metadata.yaml.",
    )


class _Run:
    """One run and what has been seen of it."""

    def __init__(self, settings: Settings, api: MageApi, model: str, run: int, tell: Callable[[Event], None]) -> None:
        self.settings = settings
        self.api = api
        self.model = model
        self.run = run
        self.tell = tell
        self.address = f"{api.address}/pipelines/{model}/runs/{run}"
        self.statuses: dict[str, str] = {}
        self.began: dict[str, float] = {}
        self.deaths: Counter[str] = Counter()
        self.moved = self.answered = time.monotonic()

    def follow(self) -> Json:
        """Wait for the end; the last block's result."""
        self.tell({"event": "started", "run": self.run, "address": self.address})
        status = "initial"
        try:
            while True:
                record = self._read()
                if record is not None:
                    self._notice(record["block_runs"])
                    status = record["status"]
                if record is not None and status == "completed":
                    return self._result(record["block_runs"])
                if record is not None and status in {"failed", "cancelled"}:
                    raise self._failure(status, record["block_runs"])
                self._check_limits()
                time.sleep(_POLL_SECONDS)
        finally:
            # Nobody follows it any more, so it may not go on: a step could hang, or promote what nobody awaits.
            if status in {"initial", "running"}:
                with contextlib.suppress(httpx.TransportError, PipelineError):
                    self.api.cancel(self.run)

    def _read(self) -> Json | None:
        try:
            record = self.api.run(self.run)
        except (httpx.TransportError, RefusedError) as error:
            silence = time.monotonic() - self.answered
            # A run that goes on is not given up because a full machine lets Mage answer late.
            busy = isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout)
            patience = _BUSY_SECONDS if busy else min(_SILENT_SECONDS, self.settings.stuck_seconds)
            if silence < patience:
                return None
            raise PipelineError(
                f"Mage at {self.api.address} has not answered for {silence:.0f} s, while run {self.run} of the "
                f"pipeline {self.model} was at {self._position()} ({error}).",
                remedy="See .sigap/logs/mage.log, and run it again: no step doubles anything.",
            ) from error
        self.answered = time.monotonic()
        return record

    def _notice(self, blocks: list[Json]) -> None:
        done = sum(block["status"] == "completed" for block in blocks)
        for block in blocks:
            name, status = block["block_uuid"], block["status"]
            before = self.statuses.get(name)
            if before == status:
                continue
            self.statuses[name] = status
            self.moved = time.monotonic()
            if status == "running":
                self.began.setdefault(name, self.moved)
            elif before == "running" and status in {"initial", "queued"}:
                self.deaths[name] += 1  # its process is gone, and Mage starts it again
            self.tell(
                {"event": "block", "run": self.run, "block": name, "status": status, "done": done, "total": len(blocks)}
            )

    def _check_limits(self) -> None:
        now = time.monotonic()
        running = [name for name, status in self.statuses.items() if status == "running"]
        for name in running:
            if now - self.began[name] > self.settings.step_timeout_seconds:
                raise PipelineError(
                    f"The step {name} of run {self.run} of the pipeline {self.model} took longer than "
                    f"{self.settings.step_timeout_seconds} s and was ended.",
                    remedy=f"See its log at {self.address}, or allow it more by SIGAP_STEP_TIMEOUT_SECONDS.",
                )
        for name, deaths in self.deaths.items():
            if deaths >= _MAX_DEATHS:
                raise PipelineError(
                    f"The process of the step {name} of run {self.run} of the pipeline {self.model} died {deaths} "
                    "times without an error of its own.",
                    remedy="See whether the machine's memory runs out; the system's log names what it killed.",
                )
        if not running and now - self.moved > self.settings.stuck_seconds:
            raise _LostRunError(
                f"Run {self.run} of the pipeline {self.model} stuck at {self._position()}: no step moved for "
                f"{self.settings.stuck_seconds} s, and it was ended.",
                remedy="See .sigap/logs/mage.log, and run it again: no step doubles anything.",
            )

    def _position(self) -> str:
        waiting = [name for name, status in self.statuses.items() if status not in {"completed", "initial"}]
        return f"the step {waiting[0]} ({self.statuses[waiting[0]]})" if waiting else "its beginning, or between steps"

    def _result(self, blocks: list[Json]) -> Json:
        last = self.api.last_block(self.model)
        ids = {block["block_uuid"]: block["id"] for block in blocks}
        if last not in ids:
            # So does a Mage that was killed before it had written down the run's steps.
            raise _LostRunError(
                f"Mage calls run {self.run} of the pipeline {self.model} done, without its step {last}.",
                remedy="See .sigap/logs/mage.log, and run it again: no step doubles anything.",
            )
        return self.api.output(ids[last])

    def _failure(self, status: str, blocks: list[Json]) -> PipelineError:
        failed = next((block for block in blocks if block["status"] == "failed"), None)
        if failed is None:
            return PipelineError(
                f"Run {self.run} of the pipeline {self.model} {'was cancelled' if status == 'cancelled' else status}.",
                remedy=f"See {self.address}.",
            )
        cause = ((failed.get("metrics") or {}).get("error") or {}).get("error")
        # Of a test, and of a block that was fanned out, Mage keeps only that it failed; the log says why.
        if not cause or cause.startswith(("Failed to pass tests", "Failed to execute block")):
            cause = self.api.logged_cause(self.model, failed["id"]) or cause or "it gave no reason."
        return PipelineError(
            f"The step {failed['block_uuid']} of run {self.run} of the pipeline {self.model} failed: {cause}",
            remedy=f"Its whole log is at {self.address}.",
        )
