"""The way to MLflow's server: a client that fails soon, and errors that say what to do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

# MLflow reads these when it is imported or called. By default it reports usage to its makers, prints a line a run, and
# tries for minutes before it says that nobody is there.
for _name, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}.items():
    os.environ.setdefault(_name, _value)

import requests  # noqa: E402
from mlflow import MlflowClient  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402

from sigap.errors import RegistryError  # noqa: E402
from sigap.settings import Settings  # noqa: E402

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
        RegistryError: Whatever MLflow raises inside; the message says whether the server was reached.
    """
    try:
        yield
    except (requests.RequestException, MlflowException) as error:
        # A server that answers with an error gives a code; one that can't be reached gives INTERNAL_ERROR from here.
        if isinstance(error, requests.ConnectionError | requests.Timeout) or "Max retries exceeded" in str(error):
            raise RegistryError(
                f"MLflow can't be reached at {public(settings.tracking_uri)} while {doing}.",
                remedy="Start it (`./run`), or set MLFLOW_TRACKING_URI to your own server; then run this again.",
            ) from error
        first_line = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
        raise RegistryError(
            f"MLflow at {public(settings.tracking_uri)} refused while {doing}: {first_line}",
            remedy="See the server's log, .sigap/logs/mlflow.log.",
        ) from error


def public(uri: str) -> str:
    """The address without a user name and password that may stand in it."""
    scheme, separator, rest = uri.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
