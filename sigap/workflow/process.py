"""All steps in one process."""

from __future__ import annotations

from collections.abc import Callable

from sigap.catalog import declarations
from sigap.registry.owner import this_process
from sigap.settings import Settings
from sigap.training.trainer import trainer
from sigap.workflow.challenger import register
from sigap.workflow.data import clean, snapshot
from sigap.workflow.decision import decide
from sigap.workflow.items import Json
from sigap.workflow.sweep import fit, plan

Progress = Callable[[str], None]


def warm() -> None:
    """Imports what the steps of all tasks import later: for a process whose forks shall have it at hand."""
    for declared in declarations():
        trainer(declared)


def run(
    model: str,
    version: str | None = None,
    data_version: str | None = None,
    *,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> Json:
    """Takes all steps in this process; the result of `decide`.

    Args:
        model: Name of a declaration.
        version: See `snapshot`.
        data_version: See `snapshot`.
        settings: Those of this process if not given.
        progress: Called with the name of each step before it is taken.

    Raises:
        SigapError: Whatever a step raises.
    """

    def say(step: str) -> None:
        if progress:
            progress(step)

    say("snapshot")
    taken = snapshot(model, version, data_version, owner=this_process(), settings=settings)
    say("clean")
    cleaned = clean(taken, settings=settings)
    say("plan")
    fits = []
    for item in plan(cleaned, settings=settings):
        say(f"fit {item['name']}")
        fits.append(fit(item, settings=settings))
    say("register")
    registered = register(fits, settings=settings)
    say("decide")
    return decide(registered, settings=settings)
