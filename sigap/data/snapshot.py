"""The snapshot: a model's table as of one moment, as one parquet file or a folder of them, whose bytes repeat."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from sigap.catalog import Declaration, named
from sigap.data.content import counted_now
from sigap.data.draft import Draft
from sigap.data.keeping import put
from sigap.data.reading import Reading, consistent_reading
from sigap.data.versions import DataVersions
from sigap.settings import Settings

_WAITING = 2

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Snapshot:
    """A snapshot that was taken and recorded.

    Attributes:
        model: Whose table.
        path: The parquet file, or the folder of partitions where there are more rows than `SIGAP_PARTITION_ROWS`,
            relative to the checkout.
        md5: Its hash, by which DVC knows it.
        version: Name of the data version.
        rows: Its rows.
        rejected: Rows that were set aside.
        created: Whether this is a new version; False when the data is that of a version there was.
        git_commit: Commit of the version's tag; empty when committing is off.
        query: The SELECT that gave the rows.
        rejects_path: CSV with the reasons, relative to the checkout where it lies in it; empty when `rejected` is 0.
        origin: Where the rows are from, in one word; see `sigap.data.origin.origin_of`.
        content: What the tables held, as `sigap.data.content.Content` with its time as text; empty of restored data.
            Its digest is empty where changed rows start no training.
    """

    model: str
    path: str
    md5: str
    version: str
    rows: int
    rejected: int
    created: bool
    git_commit: str
    query: str
    rejects_path: str
    origin: str = ""
    content: dict[str, str] = field(default_factory=dict)


def take_snapshot(
    declaration: Declaration, settings: Settings, *, version: str | None = None, progress: Progress | None = None
) -> Snapshot:
    """Reads the model's table as of now, sets aside rows that break the contract, and records the rest as a version.

    Identical rows give an identical file and therefore the version there is. Anything that fails leaves the last
    snapshot, its pointer and its version as they were.

    Args:
        declaration: Whose table, and what its rows have to be.
        settings: Where the database, the checkout and the state folder are.
        version: Name of the new version; by default the next of v1, v2, …
        progress: Called with the rows read so far and the rows there are, of a large table about.

    Raises:
        ContractError: The table can't be read as declared, is empty, or no row of it keeps the contract.
        ServiceError: PostgreSQL can't be reached, or went away meanwhile.
        UnknownModelError: The setting `retrain_on_change` names a model that there is not.
        VersionError: The file can't be written (disk full), the version's name is taken, or DVC or Git fails.
    """
    versions = DataVersions(settings)
    versions.check_name(declaration.name, version)
    path = versions.path(declaration.name)
    rejects = settings.state / "rejects" / declaration.name
    counted = counted_now(settings, declaration)
    # A digest takes long of a large table, and tells nobody anything where changed rows start no training.
    watched = declaration.name in {each.name for each in named(settings.retrain_on_change)}
    with versions.lock(), consistent_reading(declaration, settings) as reading:
        draft = Draft(path.with_name(f".{path.name}.draft"), rejects / ".draft.csv", declaration, reading, settings)
        with draft:
            _stream(reading, draft, progress)
            draft.finish()
            recorded = versions.adopt(declaration.name, draft.path, draft.md5, version)
            final = draft.keep_rejects(rejects / f"{recorded.name}.csv")
        held = reading.digest() if watched else ""
    return Snapshot(
        model=declaration.name,
        path=path.relative_to(settings.root).as_posix(),
        md5=recorded.md5,
        version=recorded.name,
        rows=draft.rows,
        rejected=draft.rejected,
        created=recorded.created,
        git_commit=recorded.commit,
        query=reading.query,
        rejects_path=_relative(final, settings.root) if final else "",
        origin=reading.origin,
        content={**counted, "digest": held} if counted and (held or not watched) else {},
    )


def write_file(declaration: Declaration, settings: Settings, path: Path, rejects: Path) -> int:
    """Writes what a snapshot taken now would hold to `path`, and the reasons of rows set aside to `rejects`.

    Of a large table, `path` becomes a folder of partitions. Nothing is recorded: this is for looking and measuring.

    Returns:
        Rows written.

    Raises:
        ContractError: See `take_snapshot`.
        ServiceError: See `take_snapshot`.
        VersionError: The file can't be written.
    """
    with consistent_reading(declaration, settings) as reading:
        draft = Draft(
            path.with_name(f".{path.name}.draft"), rejects.with_suffix(".draft"), declaration, reading, settings
        )
        with draft:
            _stream(reading, draft, None)
            draft.finish()
            put(draft.path, path)
            draft.keep_rejects(rejects)
    return draft.rows


def _stream(reading: Reading, draft: Draft, progress: Progress | None) -> None:
    """Checks and writes each batch on a second thread while the next one is read."""
    read = 0
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="snapshot") as writer:
        writing: deque[Future[None]] = deque()
        for batch in reading.batches():
            # Few enough to bound the memory, enough that neither thread waits for the other's slow moment.
            if len(writing) == _WAITING:
                writing.popleft().result()
            writing.append(writer.submit(draft.add, batch))
            read += batch.num_rows
            if progress is not None:
                progress(read, max(read, reading.rows))
        for each in writing:
            each.result()


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
