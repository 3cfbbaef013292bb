"""The way to MLflow's server: a client that fails soon, and errors that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from sigap.errors import RegistryError
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
