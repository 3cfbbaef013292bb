"""Where independent calls are made, and their results put back in order."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from sigap.errors import ClusterError
from sigap.scale import local
from sigap.settings import Settings

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")
# Called with the calls done, the calls in all, and what was done.
Progress = Callable[[int, int, str], None]


def completed(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    settings: Settings,
    processes: int = 1,
    packages: tuple[str, ...] = ("sigap",),
) -> Iterator[tuple[int, Result]]:
    """What the function gives of each item with the item's position, as they are finished.

    Args:
        function: Called once an item, or again where a worker was lost: twice has to be as good as once. It and the
            items have to be picklable.
        items: What it is called with.
        settings: Say whether there is a cluster.
        processes: On this machine, without a cluster: how many of them share the work; 1 is this one itself.
        packages: Folders of the checkout in which a worker's code must be the same as ours.

    Raises:
        ClusterError: The cluster can't be reached, is lost, has no worker, or computes with other code.
        SigapError: Whatever the function raises on purpose.
    """
    left = dict(enumerate(items))
    if not left:
        return
    if settings.dask_address:
        # Half a second to import: only who has a cluster needs it.
        from sigap.scale import cluster

        try:
            for at, value in cluster.completed(function, list(left.items()), settings, packages):
                del left[at]
                yield at, value
        except cluster.LostError as error:
            if not settings.dask_fallback:
                raise
            log.warning("%s %s of %s calls are made on this machine.", error.message, len(left), len(items))
    yield from local.completed(function, list(left.items()), processes)


def spread(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    settings: Settings,
    processes: int = 1,
    packages: tuple[str, ...] = ("sigap",),
    progress: Progress | None = None,
    name: Callable[[Item], str] = str,
) -> list[Result]:
    """What the function gives of each item, in the items' order; see `completed`.

    Args:
        function: See `completed`.
        items: See `completed`.
        settings: See `completed`.
        processes: See `completed`.
        packages: See `completed`.
        progress: Told of each result as it comes.
        name: What progress calls an item.

    Raises:
        ClusterError: See `completed`.
        SigapError: See `completed`.
    """
    found: list[Any] = [None] * len(items)
    done = completed(function, items, settings=settings, processes=processes, packages=packages)
    for count, (at, value) in enumerate(done, 1):
        found[at] = value
        if progress:
            progress(count, len(items), name(items[at]))
    return found


__all__ = ["ClusterError", "Progress", "completed", "spread"]
