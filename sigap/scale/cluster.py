"""Calls as tasks of a Dask cluster.

Native futures, not joblib's Dask backend, which fails as a whole when a worker dies. A lost worker's tasks are done by
another; a lost scheduler ends the work with an error; leaving early, by Ctrl-C too, cancels what is not done yet.
"""

from __future__ import annotations

import logging
import queue
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

import dask
from distributed import Client, Future, KilledWorker
from distributed.security import Security

from sigap.errors import ClusterError, ConfigurationError
from sigap.scale.fingerprint import differences, fingerprint
from sigap.scale.task import Outcome, perform
from sigap.settings import Settings

Item = TypeVar("Item")
Result = TypeVar("Result")

# Until somebody listens there; until Dask has shaken hands, and handed over a result, which takes a busy machine long.
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0
RESULT_SECONDS = 10.0
CLOSE_SECONDS = 5
# How often somebody looks whether there still is a worker.
LOOK_SECONDS = 0.5
# After which a result that was lost with its worker is asked for again.
AGAIN_SECONDS = 0.05
# A call that fails unforeseen, as by a disk that is full on one machine, is tried again, perhaps on another.
RETRIES = 2
HOW_TO_START = "Start one with `./run dask scheduler` and `./run dask worker`, or unset SIGAP_DASK_ADDRESS."


class LostError(ClusterError):
    """The cluster can't be reached, has no worker, or went away: the same work can be done elsewhere."""


def completed(
    function: Callable[[Item], Result],
    items: Sequence[tuple[int, Item]],
    settings: Settings,
    packages: tuple[str, ...],
) -> Iterator[tuple[int, Result]]:
    """Positions and results, as they are finished; see `sigap.scale.completed`.

    Raises:
        LostError: The cluster can't be reached, has no worker, or went away in the middle.
        ClusterError: A worker has other code, other libraries or several threads, or a task ends every worker.
        SigapError: Whatever the function raises on purpose.
    """
    expected = fingerprint(packages)
    with _connected(settings) as client:
        _check_workers(client, settings, packages, expected)
        call = partial(perform, function, packages, dict(expected))
        name = f"sigap-{getattr(function, '__name__', 'call')}"
        mapped: list[Future[Outcome]] = client.map(
            call, [item for _, item in items], pure=False, retries=RETRIES, key=name
        )
        positions = {str(future.key): at for future, (at, _) in zip(mapped, items, strict=True)}
        futures = {str(future.key): future for future in mapped}
        del mapped  # a cluster keeps a result for as long as somebody holds its future
        try:
            for key, outcome in _outcomes(client, futures, settings):
                yield positions[key], _value(outcome, settings)
        finally:
            if futures:
                with suppress(Exception):  # of a scheduler that is gone nothing can be cancelled
                    client.cancel(list(futures.values()), force=True)


@contextmanager
def _connected(settings: Settings) -> Iterator[Client]:
    address = settings.dask_address or ""
    _require_answer(address, settings)
    options = {"distributed.comm.timeouts.connect": f"{ANSWER_SECONDS:g}s"}
    security = _security(settings)
    with _quiet(), dask.config.set(options):
        try:
            client = Client(address, timeout=ANSWER_SECONDS, security=security, set_as_default=False, name="sigap")
        except (OSError, TimeoutError, ValueError) as error:
            raise _not_there(address, str(error)) from error
        try:
            yield client
        finally:
            client.close(timeout=CLOSE_SECONDS)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Dask from telling of lost connections with tracebacks: we tell of them once, and what to do."""
    names = [name for name in list(logging.root.manager.loggerDict) if name.partition(".")[0] == "distributed"]
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _require_answer(address: str, settings: Settings) -> None:
    """Fails at once where nothing listens: Dask itself goes on trying until its time is up."""
    parts = urlsplit(address)
    try:
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if parts.scheme not in ("tcp", "tls") or not host or port is None:
        raise ConfigurationError(
            f"SIGAP_DASK_ADDRESS is {address!r}, expected tcp://host:port or tls://host:port.",
            remedy="`./run dask scheduler` prints the address of a scheduler.",
        )
    if parts.scheme == "tls" and settings.dask_tls_ca is None:
        raise ConfigurationError(
            f"SIGAP_DASK_ADDRESS is {address}, which needs certificates.",
            remedy="Set SIGAP_DASK_TLS_CA, SIGAP_DASK_TLS_CERT and SIGAP_DASK_TLS_KEY to their PEM files.",
        )
    try:
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise _not_there(address, error.strerror or str(error)) from error


def _security(settings: Settings) -> Security | None:
    files = {
        "tls_ca_file": settings.dask_tls_ca,
        "tls_client_cert": settings.dask_tls_cert,
        "tls_client_key": settings.dask_tls_key,
    }
    given = {name: str(path) for name, path in files.items() if path is not None}
    if not given:
        return None
    for path in given.values():
        try:
            with open(path, "rb"):  # noqa: PTH123 - only whether it can be read
                pass
        except OSError as error:
            raise ConfigurationError(
                f"The certificate or key {path} can't be read: {error.strerror}.",
                remedy="Correct SIGAP_DASK_TLS_CA, SIGAP_DASK_TLS_CERT and SIGAP_DASK_TLS_KEY.",
            ) from error
    return Security(require_encryption=True, **given)


def _not_there(address: str, cause: str) -> LostError:
    return LostError(f"No Dask scheduler answers at {address} ({cause.rstrip('.')}).", remedy=HOW_TO_START)


def _workers(client: Client) -> Mapping[str, Mapping[str, Any]]:
    found: Mapping[str, Mapping[str, Any]] = client.scheduler_info(n_workers=-1)["workers"]
    return found


def _check_workers(client: Client, settings: Settings, packages: tuple[str, ...], expected: Mapping[str, str]) -> None:
    limit = time.monotonic() + settings.dask_wait_seconds
    while not (workers := _workers(client)):
        if time.monotonic() > limit:
            raise _no_worker(settings)
        time.sleep(LOOK_SECONDS / 2)
    if many := [address for address, each in workers.items() if each["nthreads"] != 1]:
        raise ClusterError(
            f"The Dask worker {many[0]} has {workers[many[0]]['nthreads']} threads, expected 1: threads of one process "
            "share the settings of its numerical libraries, and the last digits would change.",
            remedy="Start as many workers as there are cores, each with `--nthreads 1`, as `./run dask worker` does.",
        )
    try:
        found = client.run(fingerprint, packages, on_error="return")
    except (OSError, TimeoutError) as error:
        raise _lost(settings, 0, 0) from error
    for address, theirs in found.items():
        if isinstance(theirs, OSError):
            continue  # it has left meanwhile
        if not isinstance(theirs, dict):
            raise _refused(address, [f"Sigap can't be used there: {type(theirs).__name__}: {theirs}"])
        if other := differences(expected, theirs):
            raise _refused(address, other)


def _refused(worker: str, other: Sequence[str]) -> ClusterError:
    return ClusterError(
        f"The Dask worker {worker} computes with other code or libraries: {'; '.join(other[:3])}.",
        remedy="Bring it to the same checkout and the same lock (`./run dask worker` from there), or stop it.",
    )


def _no_worker(settings: Settings) -> LostError:
    return LostError(
        f"The Dask scheduler at {settings.dask_address} has had no worker for {settings.dask_wait_seconds:g} s.",
        remedy="Start workers with `./run dask worker`; SIGAP_DASK_WAIT_SECONDS says how long to wait for them.",
    )


def _lost(settings: Settings, done: int, total: int) -> LostError:
    return LostError(
        f"The connection to the Dask scheduler at {settings.dask_address} was lost after {done} of {total} tasks.",
        remedy="Once it answers again, run this again: what was written stays whole, and the result is the same.",
    )


def _outcomes(client: Client, futures: dict[str, Future[Outcome]], settings: Settings) -> Iterator[tuple[str, Outcome]]:
    """Keys and outcomes as they come; each future leaves `futures` with its outcome."""
    ended: queue.SimpleQueue[str] = queue.SimpleQueue()
    for key, future in futures.items():
        future.add_done_callback(lambda _, key=key: ended.put(key))
    total = len(futures)
    alone_since: float | None = None
    while futures:
        try:
            key = ended.get(timeout=LOOK_SECONDS)
        except queue.Empty:
            key = ""
        outcome = _outcome(futures[key], settings, total - len(futures), total) if key else None
        if outcome is not None:
            alone_since = None
            del futures[key]
            yield key, outcome
            continue
        if key:
            ended.put(key)
            time.sleep(AGAIN_SECONDS)
        if client.scheduler_info(n_workers=0)["n_workers"]:
            alone_since = None
        else:
            alone_since = alone_since or time.monotonic()
            if time.monotonic() - alone_since > settings.dask_wait_seconds:
                raise _no_worker(settings)


def _outcome(future: Future[Outcome], settings: Settings, done: int, total: int) -> Outcome | None:
    """What came of an ended future; None where its worker died with the result, and another computes it again."""
    if not future.done():
        return None
    try:
        outcome: Outcome = future.result(timeout=RESULT_SECONDS)
    except KilledWorker as error:
        raise ClusterError(
            f"A task has ended {error.allowed_failures + 1} Dask workers, one after another.",
            remedy="Perhaps it needs more memory than a worker may use: see `--memory-limit` of `./run dask worker`.",
        ) from error
    except Exception:
        if future.status == "error":
            raise
        if future.cancelled():
            raise _lost(settings, done, total) from None
        return None
    return outcome


def _value(outcome: Outcome, settings: Settings) -> Any:
    if outcome.other:
        raise _refused(f"that joined {settings.dask_address}", outcome.other)
    if outcome.fault is not None:
        raise outcome.fault
    return outcome.value
