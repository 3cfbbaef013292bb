"""What a failed step leaves in MLflow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sigap.errors import RegistryError, SigapError
from sigap.registry.tracking import Runs
from sigap.settings import Settings
from sigap.workflow.items import Json

# Longest text that is put into a tag of a run.
TAG_LENGTH = 4_000


def end_failed(runs: Runs, parent: str, error: SigapError) -> None:
    """Ends the parent run as failed, with the error."""
    runs.end(parent, metrics={}, tags={"error": str(error)[:TAG_LENGTH]}, failed=True)


@contextmanager
def failing(settings: Settings, item: Json) -> Iterator[None]:
    """Ends the parent run as failed, with the error, when the step fails; a retry that succeeds ends it well."""
    try:
        yield
    except SigapError as error:
        with suppress(RegistryError):
            end_failed(Runs(settings, item["snapshot"]["model"]), item["parent_run_id"], error)
        raise
