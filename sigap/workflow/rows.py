"""The rows of a snapshot: those that are trained on, and all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from sigap.catalog import declaration
from sigap.data import parts
from sigap.data.samples import Sampled, training_sample
from sigap.data.versions import DataVersions
from sigap.settings import Settings
from sigap.training.sweep import read_snapshot
from sigap.training.trainer import Prepared, Trainer, trainer
from sigap.workflow.items import Json


def prepared_rows(snapshot: Json, settings: Settings) -> tuple[Trainer, Prepared]:
    """The rows that are trained on, as the trainer of their model wants them, and that trainer."""
    declared = declaration(snapshot["model"])
    how = trainer(declared)
    return how, how.prepare(declared, read_snapshot(sampled(snapshot, settings).path))


def sampled(snapshot: Json, settings: Settings) -> Sampled:
    """Where the rows that are trained on lie, and how they were drawn."""
    return training_sample(declaration(snapshot["model"]), settings, snapshot["md5"])


def all_rows(snapshot: Json, settings: Settings) -> Iterator[pd.DataFrame]:
    """All rows of the snapshot in the order of its key, some at a time."""
    path = DataVersions(settings).stored(snapshot["model"], snapshot["md5"])
    for batch in parts.batches(path):
        yield batch.to_pandas()
