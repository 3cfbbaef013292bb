"""Restoring a backup: everything is checked, then prepared beside, then put into its place."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sigap.backup import postgres, trees
from sigap.backup.create import BUNDLE, alone
from sigap.backup.manifest import Manifest
from sigap.backup.parts import PARTS, Watcher, local_artifacts, local_data, mlflow_database, state_files
from sigap.backup.prepare import Restoring, databases, load, prepared
from sigap.backup.shelf import Found, fetched, require_space
from sigap.backup.swap import Exchange
from sigap.catalog import declarations
from sigap.data import object_store
from sigap.data.git import Git
from sigap.data.postgres import address, connect, newest_revision
from sigap.data.versions import RAW, DataVersions
from sigap.errors import BackupError, VersionError
from sigap.services.supervisor import AlreadyRunningError, Supervisor, supervisor_record
from sigap.settings import Settings


@dataclass
class Restored:
    """What a restore did.

    Attributes:
        manifest: Of the backup.
        parts: Those that were restored.
        notes: What a person should know, in sentences.
    """

    manifest: Manifest
    parts: tuple[str, ...]
    notes: list[str] = field(default_factory=list)


def occupied(settings: Settings, manifest: Manifest, skip: tuple[str, ...] = ()) -> list[str]:
    """What a restore would replace, in words; nothing in a new checkout.

    Raises:
        ServiceError: A PostgreSQL server of one's own can't be asked.
    """
    parts, state, found = _parts(manifest, skip), settings.state, []
    if "postgres" in parts:
        if not settings.embedded_postgres:
            for key in databases(manifest):
                one = postgres.target(settings, key, make=False)
                if one is None:
                    continue
                with connect(one) as connection:
                    if tables := postgres.count(connection):
                        rows = sum(tables.values())
                        found.append(f"all {len(tables)} tables ({rows:,} rows) at {address(one)}")
        elif (state / "postgres" / "data").exists():
            found.append("the embedded PostgreSQL")
    artifacts = local_artifacts(settings)
    if ("mlflow" in parts and mlflow_database(settings).exists()) or (
        "artifacts" in parts and artifacts is not None and artifacts.exists()
    ):
        found.append("MLflow's runs, versions and artefacts")
    if "mage" in parts and (state / "mage").exists():
        found.append("Mage's runs")
    if "state" in parts and (held := state_files(settings)):
        found.append(", ".join(path.name for path in held))
    if "secrets" in parts and (state / "secrets").exists():
        found.append("the state folder's secrets")
    if "git" in parts and manifest.git is not None and Git(settings.root).available():
        standing = Git(settings.root).all_tags()
        if other := [name for name, to in manifest.git.tags.items() if standing.get(name, to) != to]:
            found.append(f"the tags {', '.join(sorted(other)[:5])}, which stand elsewhere")
    return found


def restore(
    settings: Settings,
    one: Found,
    *,
    replace: bool = False,
    skip: tuple[str, ...] = (),
    watcher: Watcher | None = None,
) -> Restored:
    """Brings the system of `settings` to what a backup holds.

    Everything is checked before anything is touched. Killed midway, called again with the same backup, it finishes.

    Args:
        settings: Of the system.
        one: The backup, as `sigap.backup.shelf.find` gives it.
        replace: Whether what is there may be replaced.
        skip: Parts to be left as they are.
        watcher: Told how far it is.

    Raises:
        BackupError: The backup is not whole or of a newer Sigap, the system runs, is not empty, or has no room.
        ServiceError: PostgreSQL or the object store can't be used.
        VersionError: Git or DVC can't do its part.
    """
    watcher = watcher or Watcher()
    manifest = one.manifest
    assert manifest is not None  # noqa: S101 - `find` gives those only
    with alone(settings):
        exchange = Exchange(settings)
        begun = exchange.begun
        if begun is not None and begun["name"] != manifest.name:
            raise BackupError(
                f"A restore of {begun['name']} was broken off when it had begun to change this system.",
                remedy=f"Finish it first: ./run restore {begun['url']}",
            )
        _check(settings, manifest, skip)
        if begun is None and not replace and (found := occupied(settings, manifest, skip)):
            raise BackupError(
                f"This system is not empty. A restore would replace {'; '.join(found)}.",
                remedy="`--replace` does so; `./run backup` first keeps what is there now.",
            )
        local = settings.state / "restore"
        folder = fetched(settings, one, local, watcher)
        under_way = Restoring(settings, manifest, folder, _parts(manifest, skip), watcher)
        with _stopped(settings):
            if begun is None:
                entries = prepared(under_way)
                exchange.begin(entries, {"name": manifest.name, "url": one.url, "parts": under_way.parts})
            else:
                under_way.parts = tuple(begun["parts"])
            _put(under_way, exchange, anew=begun is None)
        shutil.rmtree(local, ignore_errors=True)
    return Restored(manifest, under_way.parts, under_way.notes)


def verify(settings: Settings, one: Found, watcher: Watcher | None = None) -> None:
    """Checks every file of a backup, and changes nothing.

    Raises:
        BackupError: One is missing or damaged.
        ServiceError: The object store can't be used.
    """
    with alone(settings):
        local = settings.state / "restore"
        try:
            fetched(settings, one, local, watcher or Watcher())
        finally:
            shutil.rmtree(local, ignore_errors=True)


def _parts(manifest: Manifest, skip: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(part for part in manifest.parts if part not in skip)


def _check(settings: Settings, manifest: Manifest, skip: tuple[str, ...]) -> None:
    """Whatever can be known before the backup's files are read.

    Raises:
        BackupError: The restore can't succeed here.
    """
    if unknown := sorted({*skip} - {*PARTS}):
        raise BackupError(f"There is no part {unknown[0]!r} of a backup.", remedy=f"Parts: {', '.join(PARTS)}.")
    if record := supervisor_record(settings.state):
        raise _running(f" (pid {record['pid']})")
    parts = _parts(manifest, skip)
    revision = manifest.databases["postgres"].revision if "postgres" in parts else ""
    if revision and revision > newest_revision():
        raise BackupError(
            f"The backup's tables are of revision {revision}; this Sigap knows up to {newest_revision()}.",
            remedy=f"Restore it with Sigap {manifest.sigap} or a newer one.",
        )
    if settings.mlflow_tracking_uri is not None and "mlflow" in parts:
        raise BackupError(
            "The backup holds MLflow's database, and MLFLOW_TRACKING_URI names a server of your own.",
            remedy="Leave that setting out to restore it here, or `--skip mlflow --skip artifacts`.",
        )
    if "git" in parts and settings.git_commit:
        Git(settings.root).require()
    if manifest.pointers:
        object_store.check(settings, settings.dvc_remote, "data versions (SIGAP_DVC_REMOTE_URL)")
    settings.state.mkdir(parents=True, exist_ok=True)
    need = sum(each.size for key, each in manifest.databases.items() if key.partition(":")[0] in parts)
    need += sum(file.size for file in manifest.files if file.path.removesuffix(".tar") in parts)
    require_space(settings.state, need, "What the backup restores")


@contextmanager
def _stopped(settings: Settings) -> Iterator[None]:
    """Keeps everybody else from starting the system; ends what a killed `./run` left."""
    try:
        with Supervisor(settings.state, restoring=True):
            yield
    except AlreadyRunningError:
        raise _running("") from None


def _running(pid: str) -> BackupError:
    return BackupError(f"Sigap runs from this folder{pid}.", remedy="Stop it (`./run stop`), then restore.")


def _put(under_way: Restoring, exchange: Exchange, *, anew: bool) -> None:
    """The part that changes the system, in an order in which it can be taken up again anywhere."""
    settings = under_way.settings
    if "postgres" in under_way.parts and not settings.embedded_postgres:
        for number, key in enumerate(databases(under_way.manifest)):
            try:
                load(under_way, settings, key)
            except BaseException:
                if anew and number == 0:
                    exchange.give_up()  # in one transaction: nothing was changed
                raise
    _data(under_way)
    _repository(under_way)
    exchange.move()
    _note_place(settings.state / "postgres")
    exchange.finish()


def _data(under_way: Restoring) -> None:
    if "data" not in under_way.parts:
        return
    settings, watcher = under_way.settings, under_way.watcher
    remote = local_data(settings)
    if remote is None:
        under_way.notes.append(
            "The data versions' content went into DVC's cache; `dvc push --all-tags` takes it to "
            f"{settings.dvc_remote}."
        )
    watcher.begin("data", under_way.file("data").stat().st_size)
    added = trees.merge(under_way.file("data"), remote or settings.root / ".dvc" / "cache", watcher.moved)
    watcher.finish(f"{added} files added")


def _repository(under_way: Restoring) -> None:
    """Tags of the data versions, and the snapshots that were checked out."""
    settings, manifest = under_way.settings, under_way.manifest
    git = Git(settings.root)
    under_way.watcher.begin("data versions")
    if "git" in under_way.parts and manifest.git is not None:
        if git.available():
            git.fetch_bundle(under_way.folder / BUNDLE, f"refs/sigap/{manifest.name}", manifest.git.tags)
            under_way.notes += _other_code(git, manifest, manifest.git.head)
        else:
            under_way.notes.append("There is no Git checkout here: the data versions' tags were not restored.")
    versions = DataVersions(settings)
    for model, pointer in manifest.pointers.items():
        message = f"Return {model} data to {pointer.version}\n\nRestored from the backup {manifest.name}."
        versions.reinstate(model, pointer.content.encode(), message)
    tags = len(manifest.git.tags) if manifest.git else 0
    under_way.watcher.finish(f"{tags} tags, {len(manifest.pointers)} snapshots")


def _other_code(git: Git, manifest: Manifest, head: str) -> list[str]:
    """What a person should know where the code here lacks what the backup's code had."""
    declared = {one.name for one in declarations()}
    strangers = [f"{model} {version}" for model, version in manifest.served.items() if model not in declared]
    notes = [f"Not declared here, so nobody will serve it: {', '.join(strangers)}."] if strangers else []
    try:
        lacking = git.lacking(head, RAW)
    except VersionError:
        return [*notes, f"The code here has no history in common with the backup's, {head[:12]}."]
    if lacking:
        told = ", ".join(lacking[:3]) + (f" and {len(lacking) - 3} more" if len(lacking) > 3 else "")
        notes.append(f"Code of the backup that this checkout has not: {told}. `git merge {head[:12]}` brings it in.")
    return notes


def _note_place(link: Path) -> None:
    """Tells data that had to be put outside the checkout where its link is now."""
    if link.is_symlink():
        (link.resolve() / "checkout").write_text(str(link))
