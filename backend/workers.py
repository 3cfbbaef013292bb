"""What the workers of one API tell of each other: each keeps its metrics in a file, whoever is asked adds all of them.

A worker that ends leaves its file, so that a counter never falls. One worker alone has no file.
"""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import operator
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.registry import Collector

log = logging.getLogger("sigap.api")

WRITE_SECONDS = 1.0
# A file older than this is of a worker that has ended, or hangs.
ALIVE_SECONDS = 5.0
SLOTS = 64
_COUNTED = ("counter", "histogram", "summary")
# Begins the name of what a worker tells of its own work; its counts are added up, those of ended workers too.
_OWN = "sigap_api_"
# Of these gauges the sum of the living workers is meant; of the others that are of their work, the greatest.
_SUMMED = frozenset({"sigap_api_requests_in_progress", "sigap_api_prediction_log_queue"})
# Begin the names of what is true of one process only; the label `worker` then tells the workers apart.
_EACH = ("process_", "python_")

Family = dict[str, Any]


class Workers:
    """The workers that one process has started, this one among them.

    Args:
        folder: Where workers of any API keep their files.
        registry: This worker's metrics.
    """

    def __init__(self, folder: Path, registry: CollectorRegistry) -> None:
        self._registry = registry
        self.pid = os.getpid()
        # Of two threads the later one's figures have to stay.
        self._writing = threading.Lock()
        parent = multiprocessing.parent_process()
        self._group: Path | None = None
        self._own: Path | None = None
        self._slot: FileLock | None = None
        if parent is not None and parent.pid is not None:
            # With its start: in a container, every supervisor has the same number.
            self._group = folder / f"{parent.pid}-{psutil.Process(parent.pid).create_time():.2f}"
            self._lock = _lock(self._group / "lock")
            self._watch = _lock(self._group / "watch.lock")

    async def run(self) -> None:
        """Keeps this worker's file new, until cancelled; outside the event loop, which has requests to answer."""
        if self._group is None:
            return
        while True:
            try:
                await asyncio.to_thread(self._write)
            except OSError as error:
                log.warning("The worker's metrics can't be written: %s.", error.strerror)
            await asyncio.sleep(WRITE_SECONDS)

    def count(self) -> int:
        """How many workers answer now."""
        return max(1, sum(map(_alive, self._files()))) if self._group else 1

    def watches(self) -> bool:
        """Whether it is this worker that looks at what concerns them all; of several one does, until it ends."""
        if self._group is None or self._watch.is_locked:
            return True
        try:
            self._group.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._watch.acquire(timeout=0)
        except (Timeout, OSError):
            return False
        return True

    def text(self) -> bytes:
        """The metrics of all workers in Prometheus' text format."""
        if self._group is None:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        together.register(_Fixed(self.families()))
        return generate_latest(together)

    def families(self) -> list[Metric]:
        """The metrics of all workers."""
        if self._group is None:
            return list(self._registry.collect())
        try:
            # First: what is told here must still be told when this worker is gone.
            own = self._write()
            with self._lock:
                others = [path for path in self._files() if path != self._own]
                told = [(_worker(path), _alive(path), json.loads(path.read_bytes())) for path in others]
        except OSError as error:
            log.warning("The workers' metrics can't be read: %s.", error.strerror)
            return list(self._registry.collect())
        assert self._own is not None  # noqa: S101 - written
        return list(_added([*told, (_worker(self._own), True, own)]))

    def _files(self) -> list[Path]:
        return sorted(self._group.glob("*.json")) if self._group else []

    def _begin(self) -> None:
        """Removes what other APIs have left, and adds what ended workers of this one have left into one file."""
        assert self._group is not None  # noqa: S101 - `run` ends without one
        self._group.mkdir(parents=True, exist_ok=True, mode=0o700)
        for other in self._group.parent.iterdir():
            if not psutil.pid_exists(int(other.name.partition("-")[0])):
                shutil.rmtree(other, ignore_errors=True)
        with self._lock:
            ended = [path for path in self._files() if path.stem == "0-ended" or not psutil.pid_exists(_pid(path))]
            if len(ended) > 1:
                told = [(_worker(path), False, json.loads(path.read_bytes())) for path in ended]
                _put(self._group / "0-ended.json", [_as_json(metric) for metric in _added(told)])
                for path in ended:
                    if path.stem != "0-ended":
                        path.unlink()
        self._own = self._group / f"{self.pid}-{self._place()}-{uuid.uuid4().hex[:8]}.json"

    def _place(self) -> int:
        """A number that no living worker has; that of one that was killed is free again."""
        assert self._group is not None  # noqa: S101 - `run` ends without one
        for number in range(SLOTS):
            slot = _lock(self._group / f"slot-{number}.lock")
            try:
                slot.acquire(timeout=0)
            except Timeout:
                continue
            self._slot = slot
            return number
        return SLOTS

    def _write(self) -> list[Family]:
        with self._writing:
            if self._own is None:
                self._begin()
            assert self._own is not None  # noqa: S101 - begun
            own = [_as_json(metric) for metric in self._registry.collect()]
            _put(self._own, own)
            return own


class _Fixed(Collector):
    """Metrics that are known already."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _added(told: Iterable[tuple[str, bool, list[Family]]]) -> Iterator[Metric]:
    """The metrics of several workers as one, each by what its name says of it."""
    families: dict[str, tuple[Family, dict[tuple[str, tuple[tuple[str, str], ...]], float]]] = {}
    for worker, alive, metrics in told:
        for metric in metrics:
            together = _together(metric)
            if not (alive or (metric["type"] in _COUNTED and metric["name"].startswith(_OWN))):
                continue
            _, values = families.setdefault(metric["name"], (metric, {}))
            for name, labels, value in metric["samples"]:
                key = name, tuple((labels if together else labels | {"worker": worker}).items())
                if key not in values or together is None:
                    values[key] = value
                else:
                    values[key] = (min if name.endswith("_created") else together)(values[key], value)
    for metric, values in families.values():
        family = Metric(metric["name"], metric["text"], metric["type"])
        for (name, labels), value in values.items():
            family.add_sample(name, dict(labels), value)
        yield family


def _together(metric: Family) -> Callable[[float, float], float] | None:
    """How the figures of two workers become one; None where each keeps its own."""
    name = metric["name"]
    if name.startswith(_EACH):
        return None
    if name in _SUMMED or (metric["type"] in _COUNTED and name.startswith(_OWN)):
        return operator.add
    # What concerns the whole of Sigap one worker alone looks at; two do for a moment when it is replaced.
    return max


def _as_json(metric: Metric) -> Family:
    samples = [(sample.name, dict(sample.labels), sample.value) for sample in metric.samples]
    return {"name": metric.name, "text": metric.documentation, "type": metric.type, "samples": samples}


def _put(path: Path, value: Any) -> None:
    # Aside and into place, so that a reader sees it whole.
    draft = path.with_name(f".{uuid.uuid4().hex}")
    draft.write_text(json.dumps(value))
    draft.replace(path)


def _pid(path: Path) -> int:
    return int(path.stem.partition("-")[0])


def _worker(path: Path) -> str:
    """Its number, which a worker that takes its place has again."""
    return path.stem.split("-")[1]


def _lock(path: Path) -> FileLock:
    # Taken in one thread and left in another; what a killed process held is free.
    return FileLock(path, mode=0o600, thread_local=False)


def _alive(path: Path) -> bool:
    try:
        recent = time.time() - path.stat().st_mtime < ALIVE_SECONDS
        return recent and path.stem != "0-ended" and psutil.pid_exists(_pid(path))
    except FileNotFoundError:
        return False
