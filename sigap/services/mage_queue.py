"""A queue for Mage's scheduler that neither loses a job nor runs one twice, and runs that have each step once.

Mage 0.9.80 keeps its jobs in `ProcessQueue`: the scheduler enqueues, a pool process starts a worker for each job, and a
table says what became of it. Its four faults, in runs of a few seconds, met one job in ten to fifty:

- The pool ends when it sees neither worker nor job. A job that is enqueued while it ends finds it alive, so no other
  one is started, and the job stays `queued` for ever. Here the pool ends with its scheduler and not before.
- A job is put into the queue before the table, so a quick worker's entry is overwritten. Here the table comes first.
- Between the moment a worker takes a job and the moment it enters its pid, the job counts as crashed and is queued
  again. Here a queued job counts as queued as long as there is a pool.
- A job that ends after the scheduler has read its block's status, and before it looks into the table, counts as crashed
  too, and is run again. Here a worker stays for a moment, so that the next look at the status comes first.

A fifth fault lies before the queue: server and scheduler each make the steps of a run that is asked for over the API.
On a busy machine the scheduler finds the run before the server has made its first step, and every step is there twice.
Here the scheduler makes them, which holds a lock while it does.

A sixth: the steps are written down one by one, and a Mage that is killed in between and started again calls the run
done when those that it had written down are. Here all are written down at once.
"""

from __future__ import annotations

import importlib
import logging
import multiprocessing
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from mage_ai.orchestration.db.models.schedules import PipelineRun
from mage_ai.orchestration.db.process import start_session_and_run
from mage_ai.orchestration.queue import process_queue
from mage_ai.orchestration.queue.process_queue import JobStatus, ProcessQueue, QueueStatus, Worker

from sigap.errors import SigapError
from sigap.logs import set_up
from sigap.settings import get_settings

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.2
_SETTLE_SECONDS = 1.0


def install() -> None:
    """Makes Mage use this queue, and make each step once; called before Mage makes a queue of its own."""
    process_queue.ProcessQueue = SteadyQueue
    create = PipelineRun.create

    def create_without_steps(**values: Any) -> Any:
        return create(**{**values, "create_block_runs": False})

    PipelineRun.create = staticmethod(create_without_steps)
    PipelineRun.create_block_runs = _in_one_commit(PipelineRun.create_block_runs)


def _in_one_commit(create_steps: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def create_all(run: Any) -> Any:
        create_step = run.create_block_run
        run.create_block_run = partial(create_step, commit=False)
        try:
            steps = create_steps(run)
            run.session.commit()
        except BaseException:
            run.session.rollback()
            raise
        finally:
            del run.create_block_run
        return steps

    return create_all


class SteadyQueue(ProcessQueue):  # type: ignore[misc]
    """Mage's queue of jobs with the faults above mended."""

    def enqueue(self, job_id: str, target: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Queue a job unless it is queued or running already."""
        if self.status != QueueStatus.ACTIVE or self.has_job(job_id):
            return
        self.job_dict[job_id] = JobStatus.QUEUED
        self.queue.put([job_id, target, args, kwargs])
        if not self.is_worker_pool_alive():
            self.start_worker_pool()

    def has_job(self, job_id: str, logger: Any = None, logging_tags: dict[str, Any] | None = None) -> bool:
        """Whether a job is queued or running."""
        if self.job_dict.get(job_id) == JobStatus.QUEUED and self.is_worker_pool_alive():
            return True
        return bool(super().has_job(job_id, logger=logger, logging_tags=logging_tags))

    def start_worker_pool(self) -> None:
        """Start the process that starts the workers."""
        arguments = (self.queue, self.size, self.job_dict)
        self.worker_pool_proc = multiprocessing.Process(target=_serve_jobs, args=arguments)
        self.worker_pool_proc.start()


class _SteadyWorker(Worker):  # type: ignore[misc]
    """One job in a process of its own."""

    def __init__(self, queue: Any, job_dict: Any, job: list[Any]) -> None:
        super().__init__(queue, job_dict)
        self.job = job

    def run(self) -> None:
        """Run the job; an error of its block is recorded by Mage, in the block's run."""
        job_id, target, args, kwargs = self.job
        # Mage hands the run's number over before all else, to a block's job as to a pipeline's.
        number = args[0] if args and isinstance(args[0], int) else None
        _log(pipeline_run=number)
        try:
            start_session_and_run(target, *args, **kwargs)
        finally:
            time.sleep(_SETTLE_SECONDS)
            self.job_dict[job_id] = JobStatus.COMPLETED


def _serve_jobs(queue: Any, size: int, job_dict: Any) -> None:
    _log()
    _import_steps()
    scheduler = multiprocessing.parent_process()
    workers: list[_SteadyWorker] = []
    while scheduler is not None and scheduler.is_alive():
        workers = [worker for worker in workers if worker.is_alive()]
        while len(workers) < size and not queue.empty():
            job = queue.get()
            if job_dict.get(job[0]) != JobStatus.QUEUED:
                continue  # cancelled meanwhile
            worker = _SteadyWorker(queue, job_dict, job)
            worker.start()
            job_dict[job[0]] = worker.pid
            workers.append(worker)
        time.sleep(_POLL_SECONDS)


def _log(**ids: Any) -> None:
    """Has our lines written as the other processes' are; a setting that can't be used is the block's to tell."""
    with suppress(SigapError):
        set_up(get_settings().log_format, **ids)


def _import_steps() -> None:
    """Imports the blocks' libraries once, so that a forked worker has them at hand instead of seconds later."""
    try:
        importlib.import_module("sigap.workflow").warm()
    except Exception:  # the block that needs it says so, in its own run
        log.exception("The libraries of the pipelines' steps can't be imported.")
