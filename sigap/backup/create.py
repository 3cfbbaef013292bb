"""Making a backup, while the system runs: databases, Git and aliases of one moment, then all that these refer to.

What is referred to is written before what refers to it, everywhere in Sigap: a bundle before its version, a snapshot's
content before its pointer. So whatever the moment's databases and commits name is there when it is copied afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from sigap import __version__
from sigap.backup import postgres, sqlite, trees
from sigap.backup.manifest import (
    FORMAT,
    Database,
    File,
    Hashing,
    Manifest,
    Pointer,
    Repository,
    blocks,
    check_file,
    new_name,
)
from sigap.backup.parts import (
    PARTS,
    Watcher,
    kept_of_mage,
    left_out,
    local_artifacts,
    local_data,
    mage_database,
    mlflow_database,
    size_of,
    state_files,
)
from sigap.backup.shelf import Found, delete, drafting, listed, publish, require_space
from sigap.backup.swap import Exchange
from sigap.catalog import declarations
from sigap.data import object_store
from sigap.data.git import Git
from sigap.data.versions import DataVersions
from sigap.errors import BackupError
from sigap.locks import writer
from sigap.settings import Settings

BUNDLE = "git.bundle"
MLFLOW, MAGE = "mlflow.db", "mage.db"


@dataclass
class _Writing:
    """A backup that is being written."""

    settings: Settings
    draft: Path
    watcher: Watcher
    why_not: dict[str, str]
    files: list[File] = field(default_factory=list)
    databases: dict[str, Database] = field(default_factory=dict)
    pointers: dict[str, Pointer] = field(default_factory=dict)
    git: Repository | None = None
    served: dict[str, str] = field(default_factory=dict)

    def wants(self, part: str) -> bool:
        """Whether the part is to be in it."""
        return part not in self.why_not


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """Keeps a second backup or restore of this system away.

    Raises:
        BackupError: One runs.
    """
    folder = settings.state / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(folder / "backup.lock").acquire(timeout=0)
    except Timeout as error:
        raise BackupError("Another backup or restore of this system runs.", remedy="Wait for its end.") from error
    with lock:
        yield


def back_up(
    settings: Settings, target: str, *, with_secrets: bool = False, keep: int = 0, watcher: Watcher | None = None
) -> tuple[Found, list[str]]:
    """Writes a backup, reads it again, and lets it stand under its name.

    Args:
        settings: Of the system.
        target: Folder, or s3://bucket/prefix.
        with_secrets: Whether the generated secrets of the state folder go in.
        keep: How many backups are left in `target`, the newest; 0 for all.
        watcher: Told how far it is.

    Returns:
        The backup, and the names of those that were deleted.

    Raises:
        BackupError: It can't be written, or what was read again is not what was written.
        ServiceError: PostgreSQL or the object store can't be used.
        VersionError: Git fails.
    """
    watcher = watcher or Watcher()
    with alone(settings):
        if (begun := Exchange(settings).begun) is not None:
            raise BackupError(
                f"A restore of {begun['name']} was broken off: this system is half of it, half of what was before.",
                remedy=f"Finish it first: ./run restore {begun['url']}",
            )
        object_store.check(settings, target, "backups (SIGAP_BACKUP_URL)")
        name = _free_name(settings, target)
        with drafting(settings, target, name) as draft:
            writing = _Writing(settings, draft, watcher, left_out(settings, with_secrets=with_secrets))
            require_space(draft, _size(writing), "A backup of this system")
            created_at = datetime.now(UTC).isoformat(timespec="seconds")
            _databases(writing)
            _folders(writing)
            _read_again(writing)
            manifest = _manifest(writing, name, created_at)
            url = publish(settings, draft, target, manifest, watcher)
        made = Found(name, url, manifest)
        return made, _thin_out(settings, target, keep)


def _free_name(settings: Settings, target: str) -> str:
    name = new_name()
    if any(one.name == name for one in listed(settings, target)):
        raise BackupError(f"There is a backup {name} already.", remedy="Run it again: names go by the second.")
    return name


def _size(writing: _Writing) -> int:
    """At most so many bytes will be written; dumps are smaller than their databases."""
    settings, total = writing.settings, 0
    for part, path in (
        ("mlflow", mlflow_database(settings)),
        ("mage", settings.state / "mage"),
        ("artifacts", local_artifacts(settings)),
        ("data", local_data(settings)),
    ):
        if writing.wants(part) and path is not None:
            total += size_of(path)
    return total + (postgres.size(settings) if writing.wants("postgres") else 0)


def _databases(writing: _Writing) -> None:
    """Everything of one moment; pipelines wait meanwhile, but not for PostgreSQL's dump, which holds its own."""
    settings, draft = writing.settings, writing.draft
    with ExitStack() as held:
        wanted = postgres.keys(settings) if writing.wants(postgres.PART) else {}
        moments = {key: held.enter_context(postgres.moment(one)) for key, one in wanted.items()}
        writing.watcher.begin("one moment")
        with ExitStack() as quiet:
            quiet.enter_context(DataVersions(settings).lock())
            for declared in declarations():
                quiet.enter_context(writer(settings, declared.name))
            for key, moment in moments.items():
                # Anew, now that nobody records a version or moves an alias: a transaction sees the moment of its
                # first statement.
                moment.connection.rollback()
                moments[key] = postgres.begin(moment.connection)
            for part, source, file in (
                ("mlflow", mlflow_database(settings), MLFLOW),
                ("mage", mage_database(settings), MAGE),
            ):
                if writing.wants(part):
                    inside = source.relative_to(settings.state / part).as_posix()
                    whole, writing.databases[part] = sqlite.copy(source, draft / file, inside)
                    writing.files.append(whole)
            _git(writing)
        writing.watcher.finish("databases of MLflow and Mage, Git")
        for key, moment in moments.items():
            writing.watcher.begin(key)
            out = Hashing(draft / f"{key.replace(':', '-')}.dump", writing.watcher.moved)
            writing.databases[key] = postgres.dump(wanted[key], moment, out)
            writing.files.append(out.close())
            writing.served |= postgres.champions(moment.connection)
            writing.watcher.finish(f"{sum(writing.databases[key].tables.values()):,} rows")


def _git(writing: _Writing) -> None:
    settings = writing.settings
    versions, git = DataVersions(settings), Git(settings.root)
    for declared in declarations():
        if (version := versions.current(declared.name)) is not None:
            content = versions.pointer(declared.name).read_text()
            writing.pointers[declared.name] = Pointer(version=version.name, md5=version.md5, content=content)
    if not git.available():
        writing.why_not["git"] = "there is no Git checkout here"
        return
    head, branch = git.head()
    if not head or git.is_shallow():
        why = "it has no commit yet" if not head else "its history is cut off: `git fetch --unshallow` brings it whole"
        writing.why_not["git"] = why
        return
    names = [declared.name for declared in declarations()]
    tags = {name: to for name, to in git.all_tags().items() if name.partition("/")[0] in names}
    raw = writing.draft / f".{BUNDLE}"
    git.bundle(raw)
    out = Hashing(writing.draft / BUNDLE)
    with raw.open("rb") as file:
        for block in blocks(file):
            out.write(block)
    raw.unlink()
    writing.files.append(out.close())
    writing.git = Repository(head=head, branch=branch, tags=tags)


def _folders(writing: _Writing) -> None:
    """What the databases and commits refer to."""
    settings = writing.settings
    mage = settings.state / "mage"
    if writing.wants("mage"):
        _pack(writing, "mage", [(path, path.name) for path in sorted(mage.iterdir())])
    for part, folder in (("artifacts", local_artifacts(settings)), ("data", local_data(settings))):
        if writing.wants(part) and folder is not None:
            _pack(writing, part, [(path, path.name) for path in sorted(folder.iterdir())])
    held = state_files(settings)
    _pack(writing, "state", [(path, path.relative_to(settings.state).as_posix()) for path in held])
    if writing.wants("secrets"):
        secrets = settings.state / "secrets"
        _pack(writing, "secrets", [(path, path.name) for path in sorted(secrets.iterdir())])


def _pack(writing: _Writing, part: str, entries: list[tuple[Path, str]]) -> None:
    keep = kept_of_mage if part == "mage" else lambda _: True
    writing.watcher.begin(part, sum(size_of(path, keep) for path, _ in entries))
    file = trees.pack(entries, writing.draft / f"{part}.tar", writing.watcher.moved, keep)
    writing.files.append(file)
    writing.watcher.finish(f"{file.size / 2**20:,.1f} MiB")


def _read_again(writing: _Writing) -> None:
    """What was written is read as a restore reads it."""
    writing.watcher.begin("reading again", sum(file.size for file in writing.files))
    for file in writing.files:
        check_file(writing.draft, file, writing.watcher.moved)
    for database in writing.databases.values():
        if database.kind == "postgres":
            postgres.check_dump(writing.settings, writing.draft / database.file)
    if writing.git is not None:
        Git(writing.settings.root).verify_bundle(writing.draft / BUNDLE)
    writing.watcher.finish(f"{len(writing.files)} files as they were written")


def _manifest(writing: _Writing, name: str, created_at: str) -> Manifest:
    served = sqlite.champions(writing.draft / MLFLOW) if writing.wants("mlflow") else writing.served
    return Manifest(
        format=FORMAT,
        sigap=__version__,
        name=name,
        created_at=created_at,
        root=str(writing.settings.root),
        parts=tuple(part for part in PARTS if writing.wants(part)),
        left_out=writing.why_not,
        files=tuple(sorted(writing.files, key=lambda file: file.path)),
        databases=writing.databases,
        pointers=writing.pointers,
        served=served,
        git=writing.git,
    )


def _thin_out(settings: Settings, target: str, keep: int) -> list[str]:
    """Deletes all but the newest `keep` backups; what can't be read is left for a person to look at."""
    if not keep:
        return []
    old = [one for one in listed(settings, target) if one.manifest is not None][keep:]
    for one in old:
        delete(settings, one)
    return [one.name for one in old]
