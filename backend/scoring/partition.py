"""One partition scored: what a worker does."""

from __future__ import annotations

import hashlib
import os
import resource
import sys
import uuid
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from backend.columns import Checked
from backend.files.arrow import without_pandas
from backend.files.cells import Cells
from backend.files.headers import Plan, plan
from backend.files.render import PROBLEM, STATUS, answer_names, problem_text
from backend.problems import RequestError
from backend.requests import Validator
from backend.scoring.partitions import told_by_path
from backend.scoring.rows import UnreadableError, batches, cells, schema_of
from backend.served import Served, load
from backend.tasks.predictor import Flat, RowPredictor, Words
from sigap.bundle import MANIFEST
from sigap.catalog import declaration
from sigap.errors import BundleError, FileError

VERSION = "model_version"
DRAFT = ".draft"
# Different reasons that are counted; a data set that is wrong everywhere has no more to tell.
REASONS = 50
OTHER = "other reasons"


class Job(NamedTuple):
    """What all partitions of a run share.

    Attributes:
        model: Name of the declaration.
        version: The model version's number.
        manifest_sha256: Hash of the bundle's manifest, which decides every answer.
        bundle: Folder of the bundle, beside the output, where every worker finds it.
        input: Folder of the input.
        output: Folder of the output.
    """

    model: str
    version: str
    manifest_sha256: str
    bundle: str
    input: str
    output: str


class Part(NamedTuple):
    """What became of a partition.

    Attributes:
        name: Its path below the folder, in the input and in the output.
        rows: Its rows.
        answered: Those with an answer.
        reasons: How many of the others there are by what was wrong first.
        input_sha256: Of the input's file.
        output_sha256: Of the output's; empty where it was not written.
        failed: Why it was not scored at all; empty if it was.
        kept: Whether it was there already.
        memory: Peak memory of the process so far, in bytes.
    """

    name: str
    rows: int = 0
    answered: int = 0
    reasons: dict[str, int] = {}  # noqa: RUF012 - never written to
    input_sha256: str = ""
    output_sha256: str = ""
    failed: str = ""
    kept: bool = False
    memory: int = 0

    @property
    def refused(self) -> int:
        """Rows without an answer."""
        return self.rows - self.answered

    def record(self) -> dict[str, Any]:
        """What is kept of it: nothing that another run would tell otherwise."""
        kept = self._asdict()
        return {name: kept[name] for name in RECORDED}


RECORDED = ("name", "rows", "answered", "reasons", "input_sha256", "output_sha256")


def score(job: Job, item: tuple[str, dict[str, Any] | None]) -> Part:
    """Scores the partition, unless that was done and input and output are what they were.

    Args:
        job: What all partitions share.
        item: Its name, and what was recorded of it before.

    Raises:
        BundleError: The bundle can't be read, or gives no answer that could be told.
        FileError: The output can't be written.
    """
    name, known = item
    without_pandas()
    served = _served(job)
    source, target = Path(job.input, name), Path(job.output, name)
    try:
        found = file_sha256(source)
    except OSError as error:
        return Part(name, failed=f"it can't be read: {error.strerror}")
    if known is not None and known["input_sha256"] == found and _is(target, known["output_sha256"]):
        return Part(**known, kept=True, memory=_memory())
    draft = target.with_name(f".{target.name}.{uuid.uuid4().hex}{DRAFT}")
    try:
        part = _written(served, source, draft, name)
        if file_sha256(source) != found:
            return Part(name, input_sha256=found, failed="it was changed while it was read")
        written = file_sha256(draft)
        draft.replace(target)
    except (UnreadableError, RequestError) as fault:
        told = fault.message if isinstance(fault, RequestError) else str(fault)
        return Part(name, input_sha256=found, failed=told.rstrip("."), memory=_memory())
    except OSError as error:
        raise FileError(
            f"The output partition {target} can't be written: {error.strerror or error}.",
            remedy="Make room or rights there, then run the same command again: finished partitions are kept.",
        ) from error
    finally:
        draft.unlink(missing_ok=True)
    return part._replace(input_sha256=found, output_sha256=written, memory=_memory())


def _written(served: Served, source: Path, draft: Path, name: str) -> Part:
    """Writes the partition's answers to `draft`, as far down as the disk."""
    schema, beside = schema_of(source), told_by_path(name)
    beside = {column: value for column, value in beside.items() if column not in schema.names}
    columns = plan(served.declaration, (*schema.names, *beside))
    predictor = cast(RowPredictor, served.predictor)
    positions = {field: at for at, field in enumerate(columns.fields)}
    check = Cells(served.declaration, served.validator, predictor.needed, positions, decimal_comma=False)
    answers = _Answers(served, predictor, schema, columns)
    rows, answered, reasons = 0, 0, Counter[str]()
    draft.parent.mkdir(parents=True, exist_ok=True)
    with draft.open("wb") as file:
        with pq.ParquetWriter(file, answers.schema) as writer:
            for batch in batches(source):
                checked = check.check(cells(batch, columns.fields, beside, columns.names), {})
                writer.write_batch(answers.of(batch, checked))
                rows, answered = rows + checked.size, answered + len(checked.accepted)
                reasons.update(_reason(errors) for errors in checked.refused.values())
        file.flush()
        os.fsync(file.fileno())
    return Part(name, rows, answered, _few(reasons))


class _Answers:
    """The output's columns: the input's as they are, then the answer's, with status and problem."""

    def __init__(self, served: Served, predictor: RowPredictor, schema: pa.Schema, columns: Plan) -> None:
        self._version = served.model_version
        self._predictor = predictor
        self._flat = {name: _array(column) for name, column in self._none(served).items()}
        added = [*((name, each.type) for name, each in self._flat.items())]
        added += [(VERSION, pa.string()), (STATUS, pa.string()), (PROBLEM, pa.string())]
        names = answer_names(columns.names, [name for name, _ in added])
        fields = [pa.field(name, kind) for name, (_, kind) in zip(names, added, strict=True)]
        self.schema = pa.schema([*schema.remove_metadata(), *fields]).with_metadata(
            {"sigap.model": served.manifest.model, "sigap.model_version": self._version}
            | {"sigap.manifest_sha256": served.manifest_sha256}
        )

    def _none(self, served: Served) -> dict[str, Flat]:
        """The answer's columns, from the bundle's own example."""
        from backend.columns import Columns

        example = served.validator(dict(served.manifest.example.request), self._predictor.needed)
        return self._predictor.flat(Columns.of(served.declaration, [example]))

    def of(self, batch: pa.RecordBatch, checked: Checked) -> pa.RecordBatch:
        """The batch with its answers; of a refused row they are null."""
        flat = self._predictor.flat(checked.columns) if len(checked.accepted) else {}
        place = np.full(checked.size, -1, np.int64)
        place[checked.accepted] = np.arange(len(checked.accepted))
        there = pa.array(place, mask=place < 0)
        found = [
            _array(flat[name]).take(there) if name in flat else pa.nulls(checked.size, each.type)
            for name, each in self._flat.items()
        ]
        problems = [None] * checked.size
        for at, errors in checked.refused.items():
            problems[at] = problem_text(errors)  # type: ignore[call-overload]
        status = pa.array(["refused", "answered"]).take(pa.array((place >= 0).astype(np.int32)))
        version = pa.array([self._version]).take(pa.array(np.zeros(checked.size, np.int32)))
        texts = pa.array(problems, pa.string())
        return pa.RecordBatch.from_arrays([*batch.columns, *found, version, status, texts], schema=self.schema)


def _array(column: Flat) -> pa.Array:
    """A column of the answer with its own type; a number that is none is null."""
    if isinstance(column, Words):
        return pa.array(list(column.texts), pa.string()).take(pa.array(np.asarray(column.codes, np.int32)))
    if column.dtype.kind == "f":
        return pa.array(column, mask=np.isnan(column))
    return pa.array(column)


def _reason(errors: Sequence[Any]) -> str:
    first = errors[0]
    return f"{first.field}: expected {first.expected}" if first.field else f"expected {first.expected}"


def _few(reasons: Counter[str]) -> dict[str, int]:
    """The reasons in an order of their own; beyond so many, the rarest are one."""
    ordered = sorted(reasons.items(), key=lambda each: (-each[1], each[0]))
    found = dict(sorted(ordered[:REASONS]))
    if rest := sum(times for _, times in ordered[REASONS:]):
        found[OTHER] = rest
    return found


def _served(job: Job) -> Served:
    return _loaded(job.bundle, job.model, job.version, job.manifest_sha256)


@lru_cache(maxsize=2)
def _loaded(bundle: str, model: str, version: str, manifest_sha256: str) -> Served:
    """The bundle, loaded and tested once a process."""
    declared, folder = declaration(model), Path(bundle)
    try:
        found = file_sha256(folder / MANIFEST)
    except OSError as error:
        raise BundleError(
            f"A worker can't read the bundle in {folder}: {error.strerror}.",
            remedy="All machines need the output folder, and the input folder, under the same path.",
        ) from error
    if found != manifest_sha256:
        raise BundleError(f"The bundle in {folder} is not the one that this run began with.")
    validator = Validator(declared)
    return load(folder, declared, validator, version=version, manifest_sha256=manifest_sha256, origin="disk")


def _is(path: Path, sha256: str) -> bool:
    try:
        return bool(sha256) and file_sha256(path) == sha256
    except OSError:
        return False


def file_sha256(path: Path) -> str:
    """Of the file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _memory() -> int:
    # Linux tells kilobytes, macOS bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
