"""Where backups are kept: a folder, or a place in an object store. In either, one without its manifest is none."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sigap.backup.manifest import MANIFEST, NAME, File, Hashing, Manifest, check_file, parse
from sigap.backup.parts import Watcher
from sigap.data import object_store
from sigap.data.object_store import Place, is_s3
from sigap.errors import BackupError
from sigap.settings import Settings

_SPARE_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Found:
    """A backup that is there.

    Attributes:
        name: Of the backup.
        url: Folder, or s3://….
        manifest: None when it can't be read; `fault` then says why.
        fault: Empty when it can.
    """

    name: str
    url: str
    manifest: Manifest | None
    fault: str = ""


@contextmanager
def drafting(settings: Settings, target: str, name: str) -> Iterator[Path]:
    """A folder for a backup that is being written, on the disk of `target` where that is a folder.

    What a killed backup of this state folder left there is deleted; so is this one when the block fails.

    Raises:
        BackupError: It can't be written to.
    """
    place = settings.state / "backup" if is_s3(target) else Path(target)
    owner = hashlib.sha256(f"{socket.gethostname()}:{settings.state.resolve()}".encode()).hexdigest()[:8]
    try:
        place.mkdir(parents=True, exist_ok=True)
        for left in place.glob(f".sigap-*.{owner}.part"):
            shutil.rmtree(left)
        draft = place / f".{name}.{owner}.part"
        draft.mkdir(mode=0o700)
    except OSError as error:
        raise BackupError(
            f"The folder {place} for backups can't be written: {error.strerror}.",
            remedy="Name another one: `./run backup FOLDER`, or SIGAP_BACKUP_URL.",
        ) from error
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def require_space(folder: Path, size: int, what: str) -> None:
    """See that the disk of a folder has room.

    Raises:
        BackupError: It hasn't.
    """
    free = shutil.disk_usage(folder).free
    if free < size + _SPARE_BYTES:
        raise BackupError(
            f"{what} takes up to {size / 2**20:,.0f} MiB, and the disk of {folder} has {free / 2**20:,.0f} MiB free.",
            remedy="Make room there, or name a folder on another disk.",
        )


def publish(settings: Settings, draft: Path, target: str, manifest: Manifest, watcher: Watcher) -> str:
    """Makes a written backup stand under its name, whole, and gives its folder or URL.

    Raises:
        BackupError: The name is taken, or what arrived is not what was sent.
        ServiceError: The object store can't be used.
    """
    text = manifest.model_dump_json(indent=1)
    if not is_s3(target):
        out = Hashing(draft / MANIFEST)
        out.write(text.encode())
        out.close()
        final = Path(target) / manifest.name
        try:
            draft.rename(final)
        except OSError as error:
            raise BackupError(f"{final} can't be written: {error.strerror}.", remedy="Run it again.") from error
        _sync(final.parent)
        return str(final)
    place = Place.of(target)
    watcher.begin("sending", 2 * manifest.size)
    for file in manifest.files:
        object_store.upload(settings, place, f"{manifest.name}/{file.path}", draft / file.path, watcher.moved)
    for file in manifest.files:
        _check_object(settings, place, manifest.name, file, watcher)
    # Last, and in one piece: without it, what was sent is no backup.
    (draft / MANIFEST).write_text(text)
    object_store.upload(settings, place, f"{manifest.name}/{MANIFEST}", draft / MANIFEST)
    watcher.finish(f"{len(manifest.files)} files")
    return f"{target.rstrip('/')}/{manifest.name}"


def _check_object(settings: Settings, place: Place, name: str, file: File, watcher: Watcher) -> None:
    found, size = hashlib.sha256(), 0
    for block in object_store.chunks(settings, place, f"{name}/{file.path}"):
        found.update(block)
        size += len(block)
        watcher.moved(len(block))
    if (size, found.hexdigest()) != (file.size, file.sha256):
        raise BackupError(
            f"{file.path} came back from {place.url} other than it was sent.", remedy="Run it again; this one is void."
        )


def listed(settings: Settings, target: str) -> list[Found]:
    """The backups in a folder or a place, newest first; those without a manifest are none.

    Raises:
        ServiceError: The object store can't be used.
    """
    found = []
    if is_s3(target):
        place = Place.of(target)
        names = [name.partition("/") for name, _ in object_store.names(settings, place)]
        for name in {begin for begin, _, rest in names if rest == MANIFEST and NAME.fullmatch(begin)}:
            text = b"".join(object_store.chunks(settings, place, f"{name}/{MANIFEST}"))
            found.append(_read(name, f"{target.rstrip('/')}/{name}", text))
    else:
        for path in Path(target).glob(f"sigap-*/{MANIFEST}"):
            if NAME.fullmatch(path.parent.name):
                found.append(_read(path.parent.name, str(path.parent), path.read_bytes()))
    return sorted(found, key=lambda one: one.name, reverse=True)


def _read(name: str, url: str, text: bytes) -> Found:
    try:
        return Found(name, url, parse(text, f"{url}/{MANIFEST}"))
    except BackupError as error:
        return Found(name, url, None, error.message)


def delete(settings: Settings, one: Found) -> None:
    """Deletes a backup; interrupted, what is left of it is none.

    Raises:
        ServiceError: The object store can't be used.
    """
    if is_s3(one.url):
        place = Place.of(one.url)
        rest = [name for name, _ in object_store.names(settings, place) if name != MANIFEST]
        object_store.remove(settings, place, [MANIFEST, *rest])
        return
    (Path(one.url) / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(one.url)


def find(settings: Settings, wanted: str) -> Found:
    """The backup that a person names: a folder, s3://…, a name in `./run backup --list`, or `latest`.

    Raises:
        BackupError: There is none, or its manifest can't be used.
        ServiceError: The object store can't be used.
    """
    if is_s3(wanted) or os.sep in wanted or Path(wanted).is_dir():
        above, _, name = wanted.rstrip("/").rpartition("/")
        among, name = (above or ".", name) if NAME.fullmatch(name) else (wanted, "latest")
    else:
        among, name = settings.backups, wanted
    known = listed(settings, among)
    for one in known:
        if name in ("latest", one.name):
            if one.manifest is None:
                raise BackupError(one.fault, remedy="Name another one of `./run backup --list`.")
            return one
    names = ", ".join(one.name for one in known[:5]) or "none"
    raise BackupError(
        f"There is no whole backup {wanted!r}; in {among} there are: {names}.",
        remedy="Give a name of `./run backup --list`, a backup's folder, s3://bucket/prefix/NAME, or `latest`.",
    )


def fetched(settings: Settings, one: Found, into: Path, watcher: Watcher) -> Path:
    """Folder with the backup's files, every one checked; out of an object store they are brought to `into`.

    Raises:
        BackupError: One is missing, damaged, or there is no room for them.
        ServiceError: The object store can't be used.
    """
    assert one.manifest is not None  # noqa: S101 - `find` gives those only
    files = one.manifest.files
    folder = Path(one.url)
    if is_s3(one.url):
        folder = into
        shutil.rmtree(into, ignore_errors=True)
        into.mkdir(parents=True, mode=0o700)
        require_space(into, one.manifest.size, "The backup")
        watcher.begin("fetching", one.manifest.size)
        for file in files:
            out = Hashing(into / file.path, watcher.moved)
            for block in object_store.chunks(settings, Place.of(one.url), file.path):
                out.write(block)
            out.close()
        watcher.finish(one.url)
    watcher.begin("checking", one.manifest.size)
    for file in files:
        check_file(folder, file, watcher.moved)
    watcher.finish(f"{len(files)} files as their manifest says")
    return folder


def _sync(folder: Path) -> None:
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
