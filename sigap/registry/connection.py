"""The way to MLflow's server: a client that fails soon, and errors that say what to do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from sigap.errors import RegistryError, UnreachableError
from sigap.settings import Settings

MISSING = ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND")
EXISTS = ("RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS")


def client(settings: Settings) -> MlflowClient:
    """A client of the registry and of the runs; asks nothing of the server yet."""
    return MlflowClient(settings.tracking_uri, settings.tracking_uri)


@contextmanager
def registry_errors(settings: Settings, doing: str) -> Iterator[None]:
    """Turns MLflow's errors into ours.

    Args:
        settings: Name the server.
        doing: What was being done, to follow "while": `promoting education v3`.

    Raises:
        UnreachableError: The server can't be reached.
        RegistryError: Whatever else MLflow raises inside.
    """
    try:
        yield
    except (requests.RequestException, MlflowException) as error:
        # A server that answers with an error gives a code; one that can't be reached gives INTERNAL_ERROR from here.
        if isinstance(error, requests.ConnectionError | requests.Timeout) or "Max retries exceeded" in str(error):
            raise UnreachableError(
                f"MLflow can't be reached at {public(settings.tracking_uri)} while {doing}.",
                remedy="Start it (`./run`), or set MLFLOW_TRACKING_URI to your own server; then run this again.",
            ) from error
        first_line = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
        raise RegistryError(
            f"MLflow at {public(settings.tracking_uri)} refused while {doing}: {first_line}",
            remedy="See the server's log, .sigap/logs/mlflow.log.",
        ) from error


def wait_for_answer(settings: Settings, seconds: float) -> bool:
    """Whether MLflow answers, or does so within `seconds`."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        with suppress(requests.RequestException):
            if requests.get(f"{settings.tracking_uri}/health", timeout=5).ok:
                return True
        time.sleep(0.5)
    return False


def public(uri: str) -> str:
    """The address without a user name and password that may stand in it."""
    scheme, separator, rest = uri.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
