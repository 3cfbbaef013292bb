"""Calls that outlast a service that is away for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from sigap.data.postgres import answers_within
from sigap.errors import ServiceError, UnreachableError
from sigap.registry.connection import wait_for_answer
from sigap.settings import Settings

Result = TypeVar("Result")


def patiently(settings: Settings, call: Callable[[], Result]) -> Result:
    """What `call` gives, called again when MLflow was away meanwhile: whoever supervises it starts it again.

    Everything that is called so may be called twice.
    """
    limit = time.monotonic() + settings.registry_wait_seconds
    while True:
        try:
            return call()
        except UnreachableError:
            if not wait_for_answer(settings, limit - time.monotonic()):
                raise


def read_patiently(settings: Settings, call: Callable[[], Result]) -> Result:
    """What `call` reads from PostgreSQL, read again when that was away meanwhile; it may be called thrice."""
    limit = time.monotonic() + settings.registry_wait_seconds
    for again in (True, True, False):
        try:
            return call()
        except ServiceError:
            if not (again and answers_within(settings, limit - time.monotonic())):
                raise
    raise AssertionError("The last try has returned or raised.")
