"""Mage's REST API, as far as running a pipeline needs it."""

from __future__ import annotations

import json
from typing import Any

import httpx

from sigap.errors import PipelineError
from sigap.mage_access import CLIENT_ID, OWNER, PASSWORD
from sigap.settings import Settings

Json = dict[str, Any]

_ERROR_LEVELS = frozenset({"ERROR", "EXCEPTION", "CRITICAL"})


class RefusedError(PipelineError):
    """Mage answered, but with an error."""


class MageApi:
    """Mage's API, signed in as the owner; a context manager.

    Every call raises `RefusedError` for an error that Mage answers, and `httpx.TransportError` when it doesn't answer.

    Args:
        settings: Where Mage is and where its owner's password lies.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.address = settings.mage_address
        # No proxy, whatever the environment says: Mage is on this machine.
        self._http = httpx.Client(
            base_url=f"{self.address}/api/", headers={"X-API-KEY": CLIENT_ID}, timeout=60, trust_env=False
        )

    def __enter__(self) -> MageApi:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def sign_in(self) -> None:
        """Open a session.

        Raises:
            PipelineError: Mage doesn't know the password.
        """
        session = {"email": OWNER, "password": self._settings.secret(PASSWORD)}
        # Who is signed in already, as an old session of a Mage that was started anew may be, is refused another one.
        self._http.cookies.clear()
        try:
            answer = self._call("POST", "sessions", {"session": session})
        except RefusedError as error:
            raise PipelineError(
                f"Mage at {self.address} refused the sign-in of {OWNER}: {error.message}",
                remedy=f"If its data is older than the password that was generated, delete {self._settings.state}/mage "
                "and start Sigap again; past runs are lost, nothing else.",
            ) from error
        self._http.cookies.set("oauth_token", answer["session"]["token"])

    def trigger(self, pipeline: str) -> Json | None:
        """The pipeline's API trigger (`id`, `token`), or None while Mage hasn't read its files yet."""
        schedules = self._call("GET", f"pipelines/{pipeline}/pipeline_schedules")["pipeline_schedules"]
        return next((schedule for schedule in schedules if schedule["schedule_type"] == "api"), None)

    def make_trigger(self, pipeline: str) -> Json:
        """Give the pipeline an API trigger, which a pipeline whose folder holds no triggers.yaml has not."""
        wanted = {"name": "on_request", "schedule_type": "api", "status": "active"}
        made = self._call("POST", f"pipelines/{pipeline}/pipeline_schedules", {"pipeline_schedule": wanted})
        return dict(made["pipeline_schedule"])

    def start(self, trigger: Json, variables: Json) -> int:
        """Start a run; its id."""
        path = f"pipeline_schedules/{trigger['id']}/pipeline_runs/{trigger['token']}"
        try:
            return int(self._call("POST", path, {"pipeline_run": {"variables": variables}})["pipeline_run"]["id"])
        except RefusedError as error:
            raise RefusedError(f"Mage at {self.address} refused to start a run: {error.message}") from error

    def run(self, run: int) -> Json:
        """A run: `status` and `block_runs`, each with `id`, `block_uuid`, `status` and `metrics`."""
        return dict(self._call("GET", f"pipeline_runs/{run}")["pipeline_run"])

    def runs(self, pipeline: str, limit: int = 20) -> list[Json]:
        """The newest runs of a pipeline with their blocks, newest first."""
        return self._runs(f"pipeline_uuid={pipeline}", limit)

    def going_on(self, limit: int = 100) -> list[Json]:
        """The runs of all pipelines that have not ended, with their blocks."""
        return self._runs("status[]=initial,running", limit)

    def _runs(self, chosen: str, limit: int) -> list[Json]:
        asked = f"pipeline_runs?{chosen}&_limit={limit}&disable_retries_grouping=1&order_by[]=id%20desc"
        return list(self._call("GET", asked)["pipeline_runs"])[:limit]

    def cancel(self, run: int) -> None:
        """End a run and the processes of its blocks."""
        self._call("PUT", f"pipeline_runs/{run}", {"pipeline_run": {"status": "cancelled"}})

    def last_block(self, pipeline: str) -> str:
        """The block that stands last in the pipeline's file."""
        return str(self._call("GET", f"pipelines/{pipeline}")["pipeline"]["blocks"][-1]["uuid"])

    def output(self, block_run: int) -> Json:
        """The dictionary that a block returned, which Mage hands over as a table of one row."""
        outputs = self._call("GET", f"block_runs/{block_run}/outputs")["outputs"]
        table = outputs[0]["sample_data"]
        return dict(zip(table["columns"], table["rows"][0], strict=True))

    def logged_cause(self, pipeline: str, block_run: int) -> str:
        """Why a block failed, by its log: a failed assertion of its test, or the last error; empty when neither."""
        errors, assertions = [""], [""]
        for line in self._log_lines(pipeline, block_run):
            try:
                entry = json.loads(line[line.index("{") :])
            except ValueError:
                continue
            message = str(entry.get("message", "")).strip()
            if message.startswith("AssertionError"):
                assertions.append(message.removeprefix("AssertionError").lstrip(": ") or "an assertion without words")
            elif entry.get("level") in _ERROR_LEVELS:
                errors.append(message)
        return assertions[-1] or errors[-1]

    def _log_lines(self, pipeline: str, block_run: int) -> list[str]:
        # NOTE: Mage's own address for one block's log, block_runs/<id>/logs, answers without any content.
        answer = self._call("GET", f"pipelines/{pipeline}/logs?block_run_id[]={block_run}")
        logs = [log for part in answer["logs"] for log in part["block_run_logs"]]
        return [line for log in logs for line in (log.get("content") or "").splitlines()]

    def _call(self, method: str, path: str, body: Json | None = None) -> Json:
        response = self._http.request(method, path, json=body)
        try:
            answer = response.json()
        except ValueError:
            answer = {}
        # NOTE: an error comes with status 200 too, and a wrong trigger token with an empty body.
        answer = answer if isinstance(answer, dict) else {}
        if response.is_success and answer and "error" not in answer:
            return answer
        error = answer.get("error") or {}
        told = error.get("exception") or error.get("message") if isinstance(error, dict) else error
        raise RefusedError(str(told or f"status {response.status_code}"))
