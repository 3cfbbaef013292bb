"""The candidates of a sweep scored: one after another here, or by the workers of a Dask cluster.

A worker reads the snapshot itself, once a process. What takes longest in a clustering, the bootstraps of its stability,
is shared out too.
"""

from __future__ import annotations

import hashlib
import pickle
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from sigap import catalog
from sigap.catalog import Declaration
from sigap.data.parts import parts
from sigap.data.samples import sample_of, training_sample
from sigap.data.versions import DataVersions
from sigap.errors import TrainingError, VersionError
from sigap.scale import Progress, spread
from sigap.settings import Settings, get_settings
from sigap.training.sweep import read_snapshot
from sigap.training.trainer import Candidate, Params, Prepared, Trained, Trainer, trainer

# Snapshots that a worker keeps ready: those of two sweeps that run beside each other.
KEPT = 2


class Scored(NamedTuple):
    """A candidate with what it took.

    Attributes:
        candidate: Its scores.
        seconds: Time of its own call; that of bootstraps which were shared out is not in it.
    """

    candidate: Candidate
    seconds: float


@dataclass(frozen=True)
class Source:
    """Where a snapshot is found by whoever is to read it.

    Attributes:
        model: Whose snapshot.
        path: Of the file on the machine that asks; the same elsewhere where the folder is shared.
        sha256: Of the file; of a folder of partitions, of their hashes.
        md5: DVC's hash, by which a worker without that folder gets it from the remote; empty outside of DVC.
        limit: Most rows of the sample that is trained on; 0 where all rows are.
    """

    model: str
    path: str
    sha256: str
    md5: str = ""
    limit: int = 0

    @classmethod
    def of(cls, model: str, path: Path, md5: str = "", limit: int = 0) -> Source:
        """The source of a file, or of a folder of partitions, that is here.

        Raises:
            TrainingError: It can't be read.
        """
        try:
            return cls(model, str(path.resolve()), _sha256(path), md5, limit)
        except OSError as error:
            raise TrainingError(
                f"The snapshot {path} can't be read: {error.strerror}.",
                remedy="Fetch it again with `dvc checkout --force`.",
            ) from error

    def file(self) -> Path:
        """The file, here, with the right content.

        Raises:
            TrainingError: Neither the folder nor the DVC remote has it.
        """
        path = Path(self.path)
        if _holds(path, self.sha256):
            return path
        cause = f"{path} is not there, or holds something else"
        if self.md5:
            try:
                path = self._fetched(get_settings())
            except VersionError as error:
                cause = f"{cause}; {error.message.rstrip('.')}"
            else:
                if _holds(path, self.sha256):
                    return path
        raise TrainingError(
            f"A worker can't read the snapshot of {self.model} (sha256 {self.sha256[:12]}): {cause}.",
            remedy="Share the folder among all machines, or set SIGAP_DVC_REMOTE_URL on the workers too.",
        )

    def _fetched(self, settings: Settings) -> Path:
        if not self.limit:
            return DataVersions(settings).stored(self.model, self.md5)
        # As many as where it was asked for, whatever this machine's own setting is.
        limited = settings.model_copy(update={"training_rows": self.limit})
        return training_sample(catalog.declaration(self.model), limited, self.md5).path


@dataclass(frozen=True)
class Sweep:
    """What candidates are scored on.

    Attributes:
        declaration: The model.
        params: What the sweep tries.
        snapshot: The file, or the folder of partitions; of a large snapshot the sample.
        md5: DVC's hash of the snapshot; empty outside of DVC.
        limit: Most rows of the sample; 0 where all rows are trained on.
    """

    declaration: Declaration
    params: Params
    snapshot: Path
    md5: str = ""
    limit: int = 0


class _There(NamedTuple):
    """A sweep as workers get it; `key` is the same for equal declarations and snapshots of one process that asks."""

    declaration: Declaration
    params: Params
    source: Source
    key: str


def score(
    sweep: Sweep,
    names: Sequence[str],
    settings: Settings,
    prepared: Callable[[], Prepared],
    progress: Progress | None = None,
) -> list[Scored]:
    """Scores candidates; the same ones wherever that is done, to the last digit.

    Args:
        sweep: What they are scored on.
        names: Theirs; the results come in this order.
        settings: Say whether there is a cluster.
        prepared: Gives the prepared rows, where they are scored in this process.
        progress: Told of each candidate.

    Raises:
        ClusterError: The cluster can't be reached, is lost, or computes with other code.
        TrainingError: There are too few rows, or a worker does not find the snapshot.
    """
    if not settings.dask_address:
        here = partial(_score, sweep.declaration, sweep.params, prepared())
        return spread(here, [(name, None) for name in names], settings=settings, progress=progress, name=_name)
    source = Source.of(sweep.declaration.name, sweep.snapshot, sweep.md5, sweep.limit)
    key = hashlib.sha256(pickle.dumps((sweep.declaration, source))).hexdigest()
    there = _There(sweep.declaration, sweep.params, source, key)
    pieces = [(name, at) for name in names for at in range(trainer(sweep.declaration).parts(sweep.params, name))]
    told = spread(partial(_part_there, there), pieces, settings=settings)
    found = [
        (name, [value for (other, _), values in zip(pieces, told, strict=True) if other == name for value in values])
        for name in names
    ]
    shared = [(name, values or None) for name, values in found]
    return spread(partial(_score_there, there), shared, settings=settings, progress=progress, name=_name)


def train(
    declaration: Declaration,
    snapshot_path: Path,
    params: Params,
    settings: Settings,
    progress: Progress | None = None,
) -> tuple[Trainer, Trained]:
    """The whole training on a snapshot, or on a sample of a large one, without MLflow; scored as the settings say.

    Raises:
        ClusterError: See `score`.
        TrainingError: The snapshot can't be read or trained on, or no candidate is admissible.
    """
    how = trainer(declaration)
    rows = sample_of(declaration, settings, snapshot_path)
    prepared = how.prepare(declaration, read_snapshot(rows))
    sweep = Sweep(declaration, params, rows)
    names = [spec.name for spec in how.candidates(params)]
    scored = score(sweep, names, settings, lambda: prepared, progress)
    return how, how.choose(declaration, prepared, params, [each.candidate for each in scored])


def _name(item: tuple[str, Any]) -> str:
    return item[0]


def _score(
    declaration: Declaration, params: Params, prepared: Prepared, item: tuple[str, Sequence[float] | None]
) -> Scored:
    started = time.perf_counter()
    name, told = item
    candidate = trainer(declaration).fit(prepared, declaration, params, name, told)
    return Scored(candidate, time.perf_counter() - started)


def _score_there(sweep: _There, item: tuple[str, Sequence[float] | None]) -> Scored:
    """What `_score` gives, without the model: whoever chooses fits the chosen one again."""
    scored = _score(sweep.declaration, sweep.params, _prepared(sweep), item)
    return scored._replace(candidate=scored.candidate.without_model())


def _part_there(sweep: _There, item: tuple[str, int]) -> list[float]:
    name, at = item
    return trainer(sweep.declaration).part(_prepared(sweep), sweep.declaration, sweep.params, name, at)


_ready: OrderedDict[str, Prepared] = OrderedDict()


def _prepared(sweep: _There) -> Prepared:
    """The rows made ready, read once a process."""
    key = sweep.key
    if key not in _ready:
        _ready[key] = trainer(sweep.declaration).prepare(sweep.declaration, read_snapshot(sweep.source.file()))
        while len(_ready) > KEPT:
            _ready.popitem(last=False)
    _ready.move_to_end(key)
    return _ready[key]


def _holds(path: Path, sha256: str) -> bool:
    try:
        return _sha256(path) == sha256
    except OSError:
        return False


def _sha256(path: Path) -> str:
    if path.is_dir():
        return hashlib.sha256("".join(map(_sha256, parts(path))).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
