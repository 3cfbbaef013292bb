"""Runs in MLflow: one parent a pipeline run, one child a candidate of the sweep.

Runs are written with `create_run`, `log_batch` and `set_terminated`, three requests a run; one request a value takes
five times as long.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag, ViewType
from mlflow.exceptions import MlflowException

from sigap.bundle import CodeEntry
from sigap.locks import writer
from sigap.registry.code import code, unchanged_since
from sigap.registry.connection import MISSING, client, registry_errors
from sigap.registry.owner import is_gone
from sigap.settings import Settings

PARENT = "mlflow.parentRunId"
COMMIT = "mlflow.source.git.commit"
PIPELINE_RUN = "pipeline_run"
CANDIDATE = "candidate"
OWNER = "owner"
"""Tag of a parent run: the process that waits for its end."""
REPEATS = "repeats_run"
"""Tag of a run that trained nothing, because an earlier one had refused every candidate on the same data."""
DECISION = "decision.json"
MAXIMUM_PARAM = 6000
"""Longest value of a parameter that MLflow takes."""
MAXIMUM_PARAMS = 100
"""Most parameters that it takes at once."""


@dataclass(frozen=True)
class Data:
    """The snapshot that a run was trained on.

    Attributes:
        version: Name of the data version.
        md5: DVC's hash.
        path: Where the snapshot lies, relative to the checkout.
        rows: Its number of rows.
    """

    version: str
    md5: str
    path: str
    rows: int


@dataclass(frozen=True)
class Logged:
    """One fitted candidate as it is written down.

    Attributes:
        name: Its name within the sweep, and its run's name.
        params: What makes it different from the others.
        metrics: Finite values by name.
        seconds: How long fitting and scoring took.
    """

    name: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    seconds: float


@dataclass(frozen=True)
class RunEntry:
    """A run as it stands in MLflow.

    Attributes:
        run_id: Its id.
        name: Its name.
        status: `RUNNING`, `FINISHED`, `FAILED` or `KILLED`.
        started_at: When it began, seconds since 1970.
        tags: Ours: data, code, duration, and what was decided; MLflow's own are left out.
        metrics: Its last metrics.
    """

    run_id: str
    name: str
    status: str
    started_at: float
    tags: Mapping[str, str]
    metrics: Mapping[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        moment = datetime.fromtimestamp(self.started_at, UTC).isoformat(timespec="seconds")
        return {**asdict(self), "started_at": moment}


class Runs:
    """The runs of one model's experiment, which carries the model's name."""

    def __init__(self, settings: Settings, model: str) -> None:
        self.settings = settings
        self.model = model
        self.client = client(settings)

    def parent(
        self, pipeline_run: str, data: Data, params: Mapping[str, Any], *, repeats: str = "", owner: str = ""
    ) -> str:
        """The parent run of a pipeline run: started, or found when it already was.

        What a killed process left running is marked as killed.

        Args:
            pipeline_run: Key of the pipeline run.
            data: The snapshot.
            params: What the sweep tries, logged as parameters.
            repeats: The run whose refusal is said again, if nothing is trained.
            owner: The process that waits for the run, by `sigap.registry.owner.this_process`.

        Returns:
            The run's id.

        Raises:
            RegistryError: MLflow can't be reached or refuses.
        """
        with writer(self.settings, self.model), self._errors(f"starting the run of {self.model}"):
            experiment = self._experiment()
            if found := self._find(experiment, {PIPELINE_RUN: pipeline_run}):
                return str(found.info.run_id)
            self._end_abandoned(experiment)
            tags = {PIPELINE_RUN: pipeline_run, OWNER: owner, REPEATS: repeats}
            tags = {**{name: value for name, value in tags.items() if value}, **self._tags(data)}
            run_id = self._start(experiment, f"{self.model} {data.version}", tags)
            self._log(run_id, data, params, {})
            return run_id

    def candidates(self, parent: str, data: Data, logged: Sequence[Logged]) -> dict[str, str]:
        """Logs fitted candidates under their parent, each once; run id by candidate name.

        Args:
            parent: The parent's id.
            data: The snapshot.
            logged: What to write down of each.

        Raises:
            RegistryError: MLflow can't be reached or refuses.
        """
        names = ", ".join(each.name for each in logged)
        with writer(self.settings, self.model), self._errors(f"logging {names} of {self.model}"):
            experiment, shared = self._experiment(), {PARENT: parent, **self._tags(data)}
            there = {run.data.tags.get(CANDIDATE, ""): run for run in self._all(experiment, {PARENT: parent})}
            return {each.name: self._candidate(experiment, there.get(each.name), data, each, shared) for each in logged}

    def _candidate(
        self, experiment: str, found: Run | None, data: Data, each: Logged, shared: Mapping[str, str]
    ) -> str:
        if found and found.info.status == "FINISHED":
            return str(found.info.run_id)
        # A run that a killed process left behind is filled in again: the values are the same to the last digit.
        tags = {**shared, CANDIDATE: each.name, "duration_seconds": f"{each.seconds:.3f}"}
        run_id = str(found.info.run_id) if found else self._start(experiment, each.name, tags)
        self._log(run_id, data, each.params, each.metrics)
        self.client.set_terminated(run_id)
        return run_id

    def refused(self, data: Data, params: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
        """The run that refused every candidate on this data, with these parameters, this code and environment.

        Returns:
            The run's id and the decision that it wrote down; None if there is no such run.

        Raises:
            RegistryError: MLflow can't be reached or refuses.
        """
        with self._errors(f"reading the runs of {self.model}"):
            experiment = self.client.get_experiment_by_name(self.model)
            if experiment is None:
                return None
            environment = self._tags(data)["lock_sha256"]
            tags = {"data_md5": data.md5, "rule": "inadmissible", "lock_sha256": environment}
            wanted = {param.key: param.value for param in _params(params)}
            for run in self._all(str(experiment.experiment_id), tags):
                same = run.info.status == "FINISHED" and REPEATS not in run.data.tags and run.data.params == wanted
                if same and unchanged_since(self.settings.root, run.data.tags.get(COMMIT, "")):
                    return str(run.info.run_id), self._read_json(run.info.run_id, DECISION)
        return None

    def _read_json(self, run_id: str, name: str) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            content = Path(self.client.download_artifacts(run_id, name, folder)).read_text(encoding="utf-8")
        read: dict[str, Any] = json.loads(content)
        return read

    def entry(self, run_id: str) -> RunEntry | None:
        """The run, or None if there is none of that id."""
        with self._errors(f"reading run {run_id}"):
            try:
                return _entry(self.client.get_run(run_id))
            except MlflowException as error:
                if error.error_code not in MISSING:
                    raise
                return None

    def children(self, parent: str) -> list[RunEntry]:
        """The candidates' runs under a parent, oldest first."""
        return self._entries({PARENT: parent})[::-1]

    def on_data(self, md5: str) -> list[RunEntry]:
        """The pipeline runs that saw the data of this hash, newest first."""
        return [run for run in self._entries({"data_md5": md5}) if PIPELINE_RUN in run.tags]

    def _entries(self, tags: Mapping[str, str]) -> list[RunEntry]:
        with self._errors(f"reading the runs of {self.model}"):
            experiment = self.client.get_experiment_by_name(self.model)
            return [_entry(run) for run in self._all(str(experiment.experiment_id), tags)] if experiment else []

    def code(self, run_id: str) -> CodeEntry:
        """The code that the run was started with: what a version that it makes is said to be trained by."""
        with self._errors(f"reading run {run_id}"):
            tags = self.client.get_run(run_id).data.tags
        return CodeEntry(git_commit=tags.get(COMMIT, ""), lock_sha256=tags.get("lock_sha256", ""))

    def started_at(self, run_id: str) -> int:
        """When the run was started, in milliseconds since 1970."""
        with self._errors(f"reading run {run_id}"):
            return int(self.client.get_run(run_id).info.start_time)

    def log_files(self, run_id: str, folder: Path, artifact_path: str | None = None) -> None:
        """Copies a folder's files, and those in its folders, into the run's artefacts."""
        with self._errors(f"storing {artifact_path or 'files'} of {self.model}"):
            self.client.log_artifacts(run_id, str(folder), artifact_path)

    def log_json(self, run_id: str, name: str, content: Mapping[str, Any]) -> None:
        """Writes `content` as JSON into the run's artefacts."""
        with tempfile.TemporaryDirectory() as folder, self._errors(f"storing {name} of {self.model}"):
            path = Path(folder) / name
            path.write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False), encoding="utf-8")
            self.client.log_artifact(run_id, str(path))

    def log_metrics(self, run_id: str, metrics: Mapping[str, float]) -> None:
        """Writes metrics of a run that goes on or has ended."""
        with self._errors(f"writing metrics of run {run_id}"):
            self.client.log_batch(run_id, metrics=_metrics(metrics))

    def end(self, run_id: str, *, metrics: Mapping[str, float], tags: Mapping[str, str], failed: bool = False) -> None:
        """Ends the run with its last metrics and tags, and writes down how long it took."""
        with self._errors(f"ending run {run_id}"):
            run = self.client.get_run(run_id)
            seconds = time.time() - run.info.start_time / 1000
            everything = {**tags, "duration_seconds": f"{seconds:.3f}"}
            self.client.log_batch(
                run_id, metrics=_metrics(metrics), tags=[RunTag(name, value) for name, value in everything.items()]
            )
            self.client.set_terminated(run_id, "FAILED" if failed else "FINISHED")

    def _experiment(self) -> str:
        experiment = self.client.get_experiment_by_name(self.model)
        if experiment is None:
            return str(self.client.create_experiment(self.model))
        if experiment.lifecycle_stage != "active":
            # Somebody deleted it in MLflow's page; its name stays taken until it is restored.
            self.client.restore_experiment(experiment.experiment_id)
        return str(experiment.experiment_id)

    def _find(self, experiment: str, tags: Mapping[str, str]) -> Run | None:
        found = self._all(experiment, tags)
        return found[0] if found else None

    def _all(self, experiment: str, tags: Mapping[str, str]) -> list[Run]:
        conditions = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        return list(self.client.search_runs([experiment], conditions, ViewType.ACTIVE_ONLY, max_results=1000))

    def _end_abandoned(self, experiment: str) -> None:
        """Marks runs as killed that nobody waits for any more, or that have run for longer than any run may."""
        oldest = (time.time() - 10 * self.settings.step_timeout_seconds) * 1000
        running = self.client.search_runs([experiment], "attributes.status = 'RUNNING'")
        left = {
            run.info.run_id for run in running if run.info.start_time < oldest or is_gone(run.data.tags.get(OWNER, ""))
        }
        for run in running:
            if run.info.run_id in left or run.data.tags.get(PARENT) in left:
                self.client.set_terminated(run.info.run_id, "KILLED")

    def _tags(self, data: Data) -> dict[str, str]:
        source = code(self.settings.root)
        return {
            "data_version": data.version,
            "data_md5": data.md5,
            "lock_sha256": source.lock_sha256,
            COMMIT: source.git_commit,
            "mlflow.source.name": "sigap",
        }

    def _start(self, experiment: str, name: str, tags: Mapping[str, str]) -> str:
        return str(self.client.create_run(experiment, tags=dict(tags), run_name=name).info.run_id)

    def _log(self, run_id: str, data: Data, params: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        self.client.log_inputs(run_id, [_dataset(self.model, data)])
        flat = _params(params)
        self.client.log_batch(run_id, metrics=_metrics(metrics), params=flat[:MAXIMUM_PARAMS])
        for start in range(MAXIMUM_PARAMS, len(flat), MAXIMUM_PARAMS):
            self.client.log_batch(run_id, params=flat[start : start + MAXIMUM_PARAMS])

    def _errors(self, doing: str) -> Any:
        return registry_errors(self.settings, doing)


def _entry(run: Run) -> RunEntry:
    return RunEntry(
        run_id=str(run.info.run_id),
        name=str(run.info.run_name),
        status=str(run.info.status),
        started_at=run.info.start_time / 1000,
        tags={name: value for name, value in run.data.tags.items() if not name.startswith("mlflow.")},
        metrics=dict(run.data.metrics),
    )


def _params(params: Mapping[str, Any]) -> list[Param]:
    """Flat, as MLflow's page compares them: what stands inside another gets its name in front."""
    flat: dict[str, str] = {}
    for name, value in params.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{param.key}": param.value for param in _params(value)}
        else:
            flat[name] = str(value)
    return [Param(name, value[:MAXIMUM_PARAM]) for name, value in flat.items()]


def _metrics(metrics: Mapping[str, float]) -> list[Metric]:
    now = int(time.time() * 1000)
    return [Metric(name, value, now, 0) for name, value in metrics.items()]


def _dataset(model: str, data: Data) -> DatasetInput:
    dataset = Dataset(
        name=f"{model} {data.version}",
        digest=data.md5,
        source_type="dvc",
        source=json.dumps({"path": data.path, "tag": f"{model}/{data.version}", "md5": data.md5}),
        profile=json.dumps({"rows": data.rows}),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])
