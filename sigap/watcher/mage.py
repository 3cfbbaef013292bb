"""Mage for a process that lives for weeks: signed in when needed, and away without an end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import httpx

from sigap.errors import PipelineError
from sigap.mage_access import PASSWORD
from sigap.services.mage_api import Json, MageApi, RefusedError
from sigap.settings import Settings

T = TypeVar("T")


class MageAwayError(PipelineError):
    """Mage can't be reached, or was never started."""


class Mage:
    """Mage's API; each call raises `RefusedError` for an error that Mage answers and `MageAwayError` when it doesn't.

    Args:
        settings: Where Mage is and where its owner's password lies.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._api = MageApi(settings)
        self._signed_in = False

    def close(self) -> None:
        """Lets the connection go."""
        self._api.__exit__()

    def runs(self, model: str) -> list[Json]:
        """The newest runs of the model's pipeline, newest first."""
        return self._asked(lambda: self._api.runs(model))

    def going_on(self) -> list[Json]:
        """The runs of all pipelines that have not ended."""
        return self._asked(self._api.going_on)

    def run(self, run: int) -> Json:
        """One run with its blocks."""
        return self._asked(lambda: self._api.run(run))

    def start(self, model: str, variables: Json) -> int:
        """Starts a run; its id."""
        trigger = self._asked(lambda: self._api.trigger(model) or self._api.make_trigger(model))
        return self._asked(lambda: self._api.start(trigger, variables))

    def cancel(self, run: int) -> None:
        """Ends a run and the processes of its blocks."""
        self._asked(lambda: self._api.cancel(run))

    def last_block(self, pipeline: str) -> str:
        """The block that stands last in a pipeline's file."""
        return self._asked(lambda: self._api.last_block(pipeline))

    def result(self, run: Json) -> Json:
        """What the last block of a completed run returned.

        Raises:
            LookupError: It has no such block.
        """
        last = self.last_block(str(run["pipeline_uuid"]))
        block = {each["block_uuid"]: each for each in run["block_runs"]}[last]
        return self._asked(lambda: self._api.output(int(block["id"])))

    def _asked(self, call: Callable[[], T]) -> T:
        # Asked for before it exists, the secret would be made up: nobody's password.
        if not self._settings.has_secret(PASSWORD):
            raise MageAwayError("Mage was never started here.", remedy="`./run` starts it.")
        try:
            fresh = not self._signed_in
            if fresh:
                self._sign_in()
            try:
                return call()
            except RefusedError:
                if fresh:
                    raise
            # The session may have ended.
            self._sign_in()
            return call()
        except httpx.TransportError as error:
            self._signed_in = False
            raise MageAwayError(
                f"Mage at {self._api.address} can't be reached ({type(error).__name__}).",
                remedy="`./run status` shows whether it runs.",
            ) from error

    def _sign_in(self) -> None:
        self._api.sign_in()
        self._signed_in = True
