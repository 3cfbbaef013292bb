"""A whole data set scored: its partitions fan out, and what became of them is put together."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from backend.requests import Validator
from backend.scoring.output import Output, opened
from backend.scoring.partition import Job, Part, file_sha256, score
from backend.scoring.partitions import partitions
from backend.served import load
from sigap.bundle import MANIFEST, Manifest
from sigap.catalog import declaration
from sigap.catalog.declaration import Forecasting
from sigap.errors import FileError
from sigap.scale import completed
from sigap.settings import Settings

FORMAT = 1
# Folders whose code decides an answer.
CODE = ("sigap", "backend")
# Called with the partitions done, the partitions in all, and the one that was done last.
Progress = Callable[[int, int, Part], None]


@dataclass(frozen=True)
class Scored:
    """What became of a data set.

    Attributes:
        parts: Its partitions, in order.
        manifest: The file that says so.
        memory: Peak memory of the hungriest process that worked on it, in bytes.
    """

    parts: tuple[Part, ...]
    manifest: Path
    memory: int

    @property
    def failed(self) -> tuple[Part, ...]:
        """Partitions that could not be scored."""
        return tuple(part for part in self.parts if part.failed)

    @property
    def rows(self) -> int:
        """Rows of all scored partitions."""
        return sum(part.rows for part in self.parts)

    @property
    def refused(self) -> int:
        """Rows without an answer."""
        return sum(part.refused for part in self.parts)

    @property
    def kept(self) -> int:
        """Partitions that were finished before."""
        return sum(part.kept for part in self.parts)

    @property
    def reasons(self) -> Counter[str]:
        """How many rows have no answer, by what was wrong first."""
        return sum((Counter(part.reasons) for part in self.parts), Counter())


def score_folder(
    settings: Settings,
    model: str,
    source: Path,
    folder: Path,
    bundle: Path,
    version: str,
    *,
    processes: int = 1,
    progress: Progress | None = None,
) -> Scored:
    """Scores every partition below `source` into `folder`; what an earlier, same run finished there is kept.

    Args:
        settings: Say whether there is a cluster.
        model: Name of a declaration.
        source: The input's folder.
        folder: The output's folder.
        bundle: Folder of the bundle that answers.
        version: The model version's number.
        processes: That share the work where there is no cluster.
        progress: Told of each partition.

    Raises:
        UnknownModelError: There is no such model.
        BundleError: The bundle can't be read, or is of another model.
        FileError: Input or output can't be used, or lack columns everywhere.
        ClusterError: The cluster can't be reached, is lost, or computes with other code.
    """
    declared = declaration(model)
    if isinstance(declared.task, Forecasting):
        raise FileError(
            f"{model} answers series, not rows: there is nothing to score in a table.",
            remedy=f"Ask the API: POST /models/{model}/predict.",
        )
    names = partitions(source)
    sha256 = file_sha256(bundle / MANIFEST)
    # Here, once: a bundle that can't answer fails before anything is written.
    served = load(bundle, declared, Validator(declared), version=version, manifest_sha256=sha256, origin="disk")
    run = {
        "format": FORMAT,
        "model": model,
        "model_version": served.model_version,
        "manifest_sha256": sha256,
        "input": str(source.resolve()),
    }
    with opened(folder, source, names, run) as output:
        output.prepare(bundle)
        job = Job(model, version, sha256, *map(str, (output.bundle.resolve(), source.resolve(), folder.resolve())))
        parts = _parts(job, names, output, settings, processes, progress)
        manifest = output.finish(_manifest(run, served.manifest, parts))
    return Scored(tuple(parts), manifest, max(part.memory for part in parts))


def _parts(
    job: Job, names: Sequence[str], output: Output, settings: Settings, processes: int, progress: Progress | None
) -> list[Part]:
    known = output.known()
    items = [(name, known.get(name)) for name in names]
    found: dict[str, Part] = {}
    work = completed(partial(score, job), items, settings=settings, processes=processes, packages=CODE)
    for at, part in work:
        found[names[at]] = part
        if not part.failed and not part.kept:
            output.note(part)
        if progress:
            progress(len(found), len(names), part)
    return [found[name] for name in names]


def _manifest(run: dict[str, Any], bundle: Manifest, parts: Sequence[Part]) -> dict[str, Any]:
    """What was found: the same for the same input and model, however often and by whom it was scored."""
    whole = [part for part in parts if not part.failed]
    data = hashlib.sha256("".join(f"{part.name}\0{part.input_sha256}\0" for part in whole).encode()).hexdigest()
    reasons = sum((Counter(part.reasons) for part in whole), Counter())
    return {
        **run,
        "trained_on": {"data_version": bundle.data.version, "data_md5": bundle.data.md5},
        "complete": len(whole) == len(parts),
        "input_sha256": data,
        "rows": sum(part.rows for part in whole),
        "answered": sum(part.answered for part in whole),
        "refused": sum(part.refused for part in whole),
        "reasons": dict(sorted(reasons.items())),
        "failed": {part.name: part.failed for part in parts if part.failed},
        "partitions": [part.record() for part in whole],
    }
