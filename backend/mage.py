"""Mage over its REST interface, as far as pipelines are started and looked at."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from backend.lean import httpx
from sigap.errors import ConfigurationError, PipelineError
from sigap.mage_access import CLIENT_ID, OWNER, PASSWORD
from sigap.settings import Settings

Json = dict[str, Any]

TIMEOUT = httpx.Timeout(8.0, connect=2.0)
# Mage checks a password by bcrypt, on purpose slowly; its sessions last for days.
SESSION_SECONDS = 1800.0
RUNS_LISTED = 20


class MageAwayError(PipelineError):
    """Mage can't be reached, was never started, or doesn't know its password."""


class MageRefusedError(PipelineError):
    """Mage answers, but with an error."""


class Mage:
    """Mage, signed in as its owner when first asked.

    Every call raises `MageAwayError` or `MageRefusedError`.

    Args:
        settings: Where Mage is and where its owner's password lies.
        transport: Of tests.
    """

    def __init__(self, settings: Settings, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._settings = settings
        self.address = settings.mage_address
        self._transport = transport
        self._client: httpx.AsyncClient | None = None
        self._signed_in = 0.0
        self._turn = asyncio.Lock()

    async def close(self) -> None:
        """Lets the connection go."""
        if self._client is not None:
            await self._client.aclose()

    async def start(self, pipeline: str, variables: Json) -> int:
        """Starts a run; its id."""
        trigger = await self._trigger(pipeline)
        path = f"pipeline_schedules/{trigger['id']}/pipeline_runs/{trigger['token']}"
        started = await self._call("POST", path, {"pipeline_run": {"variables": variables}})
        return int(started["pipeline_run"]["id"])

    async def runs(self, pipeline: str, limit: int = RUNS_LISTED) -> list[Json]:
        """The newest runs with their blocks, newest first."""
        asked = f"pipeline_runs?pipeline_uuid={pipeline}&_limit={limit}&disable_retries_grouping=1&order_by[]=id%20desc"
        return list((await self._call("GET", asked))["pipeline_runs"])[:limit]

    async def recent(self, limit: int, offset: int = 0) -> list[Json]:
        """Runs of all pipelines with their blocks, newest first."""
        asked = f"pipeline_runs?_limit={limit}&_offset={offset}&disable_retries_grouping=1&order_by[]=id%20desc"
        return list((await self._call("GET", asked))["pipeline_runs"])[:limit]

    async def run(self, run: int) -> Json | None:
        """One run with its blocks; None if there is none."""
        try:
            return dict((await self._call("GET", f"pipeline_runs/{run}"))["pipeline_run"])
        except MageRefusedError:
            return None

    async def cancel(self, run: int) -> None:
        """Ends a run and the processes of its blocks."""
        await self._call("PUT", f"pipeline_runs/{run}", {"pipeline_run": {"status": "cancelled"}})

    async def _trigger(self, pipeline: str) -> Json:
        path = f"pipelines/{pipeline}/pipeline_schedules"
        known = (await self._call("GET", path))["pipeline_schedules"]
        found = next((each for each in known if each["schedule_type"] == "api"), None)
        if found is None:
            wanted = {"name": "on_request", "schedule_type": "api", "status": "active"}
            found = (await self._call("POST", path, {"pipeline_schedule": wanted}))["pipeline_schedule"]
        return dict(found)

    async def _call(self, method: str, path: str, body: Json | None = None) -> Json:
        client = await self._session()
        try:
            return await self._answer(client, method, path, body)
        except MageRefusedError:
            if self._signed_in:
                raise
        # The session had ended.
        return await self._answer(await self._session(), method, path, body)

    async def _session(self) -> httpx.AsyncClient:
        async with self._turn:
            if self._client is None:
                # No proxy, whatever the environment says: Mage is on this machine.
                self._client = httpx.AsyncClient(
                    base_url=f"{self.address}/api/",
                    headers={"X-API-KEY": CLIENT_ID},
                    timeout=TIMEOUT,
                    trust_env=False,
                    transport=self._transport,
                )
            if not self._signed_in or time.monotonic() - self._signed_in > SESSION_SECONDS:
                await self._sign_in(self._client)
            return self._client

    async def _sign_in(self, client: httpx.AsyncClient) -> None:
        # Asked for before it exists, the secret would be made up: nobody's password.
        if not self._settings.has_secret(PASSWORD):
            raise MageAwayError("Mage was never started here.", remedy="`./run` starts it.")
        # Who is signed in already, as an old session of a Mage that was started anew may be, is refused another one.
        client.cookies.clear()
        try:
            session = {"email": OWNER, "password": self._settings.secret(PASSWORD)}
            answer = await self._answer(client, "POST", "sessions", {"session": session})
        except (MageRefusedError, ConfigurationError) as error:
            raise MageAwayError(
                f"Mage at {self.address} refused the sign-in of {OWNER}.",
                remedy="Its data may be older than the password that was generated.",
            ) from error
        client.cookies.set("oauth_token", answer["session"]["token"])
        self._signed_in = time.monotonic()

    async def _answer(self, client: httpx.AsyncClient, method: str, path: str, body: Json | None) -> Json:
        try:
            response = await client.request(method, path, json=body)
        except httpx.ReadTimeout as error:
            raise MageAwayError(
                f"Mage at {self.address} did not answer in time; it may be busy.", remedy="Try again in a minute."
            ) from error
        except httpx.HTTPError as error:
            raise MageAwayError(
                f"Mage at {self.address} can't be reached ({type(error).__name__}).",
                remedy="`./run status` shows whether it runs.",
            ) from error
        try:
            answer = response.json()
        except ValueError:
            answer = {}
        # An error comes with status 200 too, and a wrong trigger token with an empty body.
        if response.is_success and isinstance(answer, dict) and answer and "error" not in answer:
            return answer
        fault = answer.get("error") if isinstance(answer, dict) else None
        told: Json = fault if isinstance(fault, dict) else {}
        if told.get("code") in (401, 403) or response.status_code in (401, 403):
            self._signed_in = 0.0
        said = told.get("exception") or told.get("message") or f"status {response.status_code}"
        raise MageRefusedError(f"Mage at {self.address} refused: {str(said)[:200]}")
