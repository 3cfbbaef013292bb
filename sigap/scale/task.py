"""What a worker does with one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from threadpoolctl import threadpool_limits

from sigap.errors import SigapError
from sigap.scale.fingerprint import differences, fingerprint


class Outcome(NamedTuple):
    """What came of a call.

    Attributes:
        value: What it gave.
        fault: The error that it raised on purpose: a second try would raise it again.
        other: How the worker's code or libraries differ from those of the process that asked; then nothing was done.
    """

    value: Any = None
    fault: SigapError | None = None
    other: tuple[str, ...] = ()


def perform(
    function: Callable[[Any], Any], packages: tuple[str, ...], expected: Mapping[str, str], item: Any
) -> Outcome:
    """Calls the function, on one thread, if this process computes with what was asked for.

    A worker may join at any time, so that looking at all of them beforehand is not enough.
    """
    if other := differences(expected, fingerprint(packages)):
        return Outcome(other=tuple(other))
    try:
        with threadpool_limits(limits=1):
            return Outcome(function(item))
    except SigapError as error:
        return Outcome(fault=error)
