"""Data versions: snapshots under DVC, their pointers and tags in Git.

A version is a tag `<model>/<name>` on a commit whose pointer file names the snapshot's md5. Every step of recording
one can be repeated: whatever a killed process left undone, the next `record` finishes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from filelock import FileLock, Timeout

from sigap.data.git import Git
from sigap.data.keeping import FOLDER, kept, linked, md5_of, put, remove, write_whole
from sigap.data.object_store import check, dvc_options
from sigap.errors import ServiceError, VersionError
from sigap.settings import Settings

if TYPE_CHECKING:
    from dvc.repo import Repo

RAW = Path("data/raw")
REMOTE = "sigap"
UNCOMMITTED = "uncommitted-"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*")


@dataclass(frozen=True)
class DataVersion:
    """A version of a model's data.

    Attributes:
        model: Whose data.
        name: `v1`, `v_2025_Q1`; `uncommitted-<md5>` while it is not in Git.
        md5: DVC's hash of the snapshot.
        commit: Commit that its tag points to; empty while it is not in Git.
        tag: `<model>/<name>`; empty while it is not in Git.
        created_at: When it was tagged, ISO 8601, UTC; empty while it is not in Git.
        created: Whether the call that gave it made it.
    """

    model: str
    name: str
    md5: str
    commit: str
    tag: str
    created_at: str
    created: bool = False


class DataVersions:
    """The data versions of one checkout."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._git = Git(settings.root)
        # One object for all calls of a thread, so that a caller who holds the lock may call on.
        self._lock = FileLock(settings.state / "locks" / "data.lock")

    def path(self, model: str) -> Path:
        """Absolute path of the model's snapshot in the work tree."""
        return self._settings.root / RAW / f"{model}_snapshot.parquet"

    def pointer(self, model: str) -> Path:
        """Absolute path of DVC's pointer to the snapshot, the file that Git holds."""
        path = self.path(model)
        return path.with_name(f"{path.name}.dvc")

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps every other process from changing snapshots and versions of this checkout; may be nested.

        Raises:
            VersionError: Another process holds it for longer than a pipeline step may take.
        """
        try:
            Path(self._lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=self._settings.step_timeout_seconds)
        except Timeout as error:
            raise VersionError(
                f"Another process has been changing data versions for over {self._settings.step_timeout_seconds} s "
                f"(it holds {self._lock.lock_file}).",
                remedy="Wait for it or end it, then run this again.",
            ) from error
        except OSError as error:
            raise VersionError(
                f"The lock {self._lock.lock_file} can't be taken: {error.strerror or error}.",
                remedy="The state folder has to belong to the user who runs this.",
            ) from error
        try:
            yield
        finally:
            self._lock.release()

    def list(self, model: str) -> list[DataVersion]:
        """The model's versions, newest first; none outside of Git.

        Raises:
            VersionError: Git fails.
        """
        if not self._git.available():
            return []
        tags = self._git.tags(model)
        pointers = self._git.contents([tag.commit for tag in tags], self._relative_pointer(model))
        versions = []
        for tag, pointer in zip(tags, pointers, strict=True):
            # A tag that somebody made by hand elsewhere is none of ours.
            if pointer is not None and (md5 := _pointed_md5(pointer)):
                versions.append(DataVersion(model, tag.name, md5, tag.commit, f"{model}/{tag.name}", tag.created_at))
        return versions

    def current(self, model: str) -> DataVersion | None:
        """The version that the work tree's pointer names; None when there is no pointer."""
        try:
            md5 = _pointed_md5(self.pointer(model).read_bytes())
        except FileNotFoundError:
            return None
        if not md5:
            return None
        return self._known(model, md5) or _uncommitted(model, md5)

    def check_name(self, model: str, version: str | None, md5: str | None = None) -> None:
        """Makes sure that a version of that name can be recorded, before anything is written.

        Args:
            model: Whose data.
            version: The wanted name; None for the next automatic one.
            md5: Of the data to be recorded, when known already.

        Raises:
            VersionError: The name can't be a tag's, is used for other data, or Git can't take a commit now.
        """
        if self._settings.git_commit:
            self._git.require()
        if version is None:
            return
        if not self._settings.git_commit:
            raise VersionError(
                f"The data version can't be named {version!r} while SIGAP_GIT_COMMIT is off: its name is a Git tag.",
                remedy="Leave the name out, or set SIGAP_GIT_COMMIT=true.",
            )
        if not _NAME.fullmatch(version) or version.startswith(UNCOMMITTED) or version.endswith(".lock"):
            raise VersionError(
                f"{version!r} can't be the name of a data version.",
                remedy="Use letters, digits, _ and -, with single dots between them, such as v_2025_Q1.",
            )
        if md5 is None:
            return
        for known in self.list(model):
            if known.name == version and known.md5 != md5:
                raise VersionError(
                    f"The data version {known.tag} exists already and holds other data (md5 {known.md5}, not {md5}).",
                    remedy="Choose another name, or leave it out for the next automatic one.",
                )

    def adopt(self, model: str, draft: Path, md5: str, version: str | None = None) -> DataVersion:
        """Puts the file or folder `draft` in the snapshot's place and records it; on failure all is as it was.

        Args:
            model: Whose data.
            draft: A whole snapshot in the snapshot's own folder; it is moved.
            md5: Its hash.
            version: See `record`.

        Raises:
            VersionError: See `record`.
        """
        with self.lock():
            self.check_name(model, version, md5)
            path = self.path(model)
            with kept(path), kept(self.pointer(model)):
                put(draft, path)
                self._store(model)
                recorded = self._commit(model, md5, version)
            self._settle(model)
            return recorded

    def record(self, model: str, version: str | None = None) -> DataVersion:
        """Puts the snapshot under DVC, pushes it to the remote, and commits and tags its pointer alone.

        Data that a version holds already gives that version. With `git_commit` off nothing is written to Git.

        Args:
            model: Whose snapshot.
            version: Name of the version; by default the next of v1, v2, …

        Raises:
            VersionError: There is no snapshot, the name is used for other data, or DVC or Git fails.
        """
        with self.lock():
            path = self.path(model)
            if not path.exists():
                raise VersionError(
                    f"There is no snapshot {RAW / path.name} to record.",
                    remedy=f"Take one (`./run pipeline {model}`), or get the recorded one back with `dvc pull`.",
                )
            md5 = md5_of(path)
            self.check_name(model, version, md5)
            self._store(model)
            recorded = self._commit(model, md5, version)
            self._settle(model)
            return recorded

    def restore(self, model: str, version: str, *, asked_by: str = "") -> DataVersion:
        """Brings the snapshot of a version back into the work tree: the rollback.

        The data is fetched and its hash checked before anything changes. The pointer is committed alone, unless
        `git_commit` is off; its message says who asked, where that is not the account that commits.

        Raises:
            VersionError: There is no such version, or its data is neither in the cache nor in the remote, or damaged.
        """
        with self.lock():
            wanted = self._named(model, version)
            if self._settings.git_commit:
                self._git.require()
            pointer = self.pointer(model)
            content = self._git.contents([wanted.commit], self._relative_pointer(model))[0]
            assert content is not None  # noqa: S101 - `list` gives versions with a pointer only
            with self._dvc() as repo:
                self._fetch(repo, wanted)
                with kept(pointer), kept(self.path(model)):
                    write_whole(pointer, content)
                    self._check_out(repo, model, wanted.md5)
                    if md5_of(self.path(model)) != wanted.md5:
                        raise VersionError(
                            f"DVC checked out {RAW / self.path(model).name} with another hash than {wanted.tag} names.",
                            remedy="Run `dvc checkout` by hand and see what it says.",
                        )
            if self._settings.git_commit:
                message = f"Return {model} data to {version}" + (f"\n\nAsked for by {asked_by}." if asked_by else "")
                self._git.commit_file(self._relative_pointer(model), message, None)
            self._settle(model)
            return wanted

    def reinstate(self, model: str, pointer: bytes, message: str) -> None:
        """Checks out the snapshot that a pointer from elsewhere (a backup) names, and commits that pointer alone.

        Raises:
            VersionError: Its data is neither in the cache nor in the remote, or damaged, or Git can't take a commit.
        """
        with self.lock():
            if self._settings.git_commit:
                self._git.require()
            md5 = _pointed_md5(pointer)
            path = self.pointer(model)
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._dvc() as repo:
                self._fetch(repo, self._known(model, md5) or _uncommitted(model, md5))
                with kept(path), kept(self.path(model)):
                    write_whole(path, pointer)
                    self._check_out(repo, model, md5)
            if self._settings.git_commit:
                self._git.commit_file(self._relative_pointer(model), message, None)
            self._settle(model)

    def stored(self, model: str, md5: str) -> Path:
        """The snapshot of that hash in DVC's cache, fetched from the remote if need be; for reading only.

        It stays what it is while another run puts other data into the work tree. Of a folder, the cache holds the files
        under their hashes; so this gives a folder of links to them.

        Raises:
            VersionError: Its data is neither in the cache nor in the remote, or damaged.
        """
        with self._dvc() as repo:
            # DVC moves a file into its cache whole, so that reading there has to wait for nobody.
            if _damaged(repo, md5):
                with self.lock():
                    self._fetch(repo, self._known(model, md5) or _uncommitted(model, md5))
            cached = _cached(repo, md5)
            if not md5.endswith(FOLDER):
                return cached
            return linked(
                self._settings.state / "snapshots" / md5,
                {name: _cached(repo, each) for name, each in _listed(cached).items()},
            )

    def _check_out(self, repo: Repo, model: str, md5: str) -> None:
        if self.path(model).is_dir() or md5.endswith(FOLDER):
            # DVC puts no file where a folder is, and no folder where a file is.
            remove(self.path(model))
        repo.checkout([str(self.pointer(model))], force=True)

    def _store(self, model: str) -> None:
        """`dvc add` and `dvc push`, as far as they are not done yet."""
        pointer = self.pointer(model)
        if pointer.exists() and not _pointed_md5(pointer.read_bytes()):
            # DVC rewrites it in place, so a process killed there leaves half a pointer, which DVC then refuses to read.
            pointer.unlink()
        self._check_remote()
        with self._dvc() as repo:
            repo.add(str(self.path(model)))
            repo.push([str(self.pointer(model))], remote=REMOTE)

    def _commit(self, model: str, md5: str, version: str | None) -> DataVersion:
        if not self._settings.git_commit:
            return self._known(model, md5) or _uncommitted(model, md5)
        pointer = self._relative_pointer(model)
        known = self._known(model, md5)
        if known is not None:
            self._git.commit_file(pointer, f"Return {model} data to {known.name}", None)
            return known
        name = version or self._next_name(model)
        self._git.commit_file(pointer, f"Record {model} data {name}", f"{model}/{name}")
        return replace(self._named(model, name), created=True)

    def _settle(self, model: str) -> None:
        """Brings Git's index to the commit; from here on the version stands, and a failure takes nothing back."""
        if self._settings.git_commit:
            self._git.refresh_index(self._relative_pointer(model))

    def _known(self, model: str, md5: str) -> DataVersion | None:
        # The oldest: a tag that somebody adds to the same data later is a second name of it.
        same = [version for version in self.list(model) if version.md5 == md5]
        return same[-1] if same else None

    def _named(self, model: str, name: str) -> DataVersion:
        versions = self.list(model)
        for version in versions:
            if version.name == name:
                return version
        known = ", ".join(version.name for version in versions) or "none yet"
        raise VersionError(f"There is no data version {model}/{name}.", remedy=f"Versions of {model}: {known}.")

    def _next_name(self, model: str) -> str:
        # Tags count whatever they hold: their names are taken.
        numbers = [int(tag.name[1:]) for tag in self._git.tags(model) if re.fullmatch(r"v[1-9]\d*", tag.name)]
        return f"v{max(numbers, default=0) + 1}"

    def _relative_pointer(self, model: str) -> Path:
        return self.pointer(model).relative_to(self._settings.root)

    def _fetch(self, repo: Repo, version: DataVersion) -> None:
        """Makes sure that the version's data is in DVC's cache, whole."""
        from dvc_data.hashfile.hash_info import HashInfo

        # Of a folder, first the list of its files, and then those that are not there.
        for _ in range(2 if version.md5.endswith(FOLDER) else 1):
            lacking = _damaged(repo, version.md5)
            for md5 in lacking:
                # DVC trusts what is in its cache, so a damaged file has to go before the remote is asked.
                _cached(repo, md5).unlink(missing_ok=True)
            if not lacking:
                return
            self._check_remote()
            repo.cloud.pull([HashInfo("md5", md5) for md5 in lacking], remote=REMOTE)
            for md5 in lacking:
                self._check_fetched(repo, version, md5)

    def _check_fetched(self, repo: Repo, version: DataVersion, md5: str) -> None:
        cached = _cached(repo, md5)
        of = f"The data of {version.tag}" if md5 == version.md5 else f"A part of the data of {version.tag}"
        if not cached.is_file():
            raise VersionError(
                f"{of} (md5 {md5}) is neither in DVC's cache nor whole in the remote {self._settings.dvc_remote}.",
                remedy="Set SIGAP_DVC_REMOTE_URL to the remote it was pushed to, or bring that file back there.",
            )
        if not _is_whole(cached, md5):
            cached.unlink()
            raise VersionError(
                f"{of} in the remote {self._settings.dvc_remote} is damaged: its hash is not {md5}.",
                remedy="Restore that file of the remote from a backup; the snapshot in use was not touched.",
            )

    def _check_remote(self) -> None:
        """See that the remote can be used; DVC itself tries for minutes and then says that files failed.

        Raises:
            VersionError: It can't.
        """
        try:
            check(self._settings, self._settings.dvc_remote, "data versions (SIGAP_DVC_REMOTE_URL)")
        except ServiceError as error:
            raise VersionError(error.message, remedy=error.remedy) from error

    @contextmanager
    def _dvc(self) -> Iterator[Repo]:
        """DVC's repository of the checkout, with our remote; whatever goes wrong inside becomes a `VersionError`."""
        # Imported here: half a second that most words of the CLI need not spend.
        from dvc.repo import Repo

        config: dict[str, Any] = {
            "core": {
                "autostage": False,
                "no_scm": not self._git.available(),
                "site_cache_dir": str(self._settings.state / "dvc"),
            },
            "remote": {REMOTE: {"url": self._settings.dvc_remote, **dvc_options(self._settings)}},
        }
        try:
            with Repo(str(self._settings.root), config=config) as repo:
                repo.scm_context.quiet = True
                yield repo
        except VersionError:
            raise
        except Exception as error:
            # Where the object store went away meanwhile, DVC says no more than that a file failed.
            self._check_remote()
            # Not DvcException alone: each kind of remote has errors of its own.
            cause = " ".join(str(error).split()).rstrip(".") or type(error).__name__
            raise VersionError(
                f"DVC can't do its part in {self._settings.root}: {cause}.",
                remedy="The last version is as it was; once the cause is gone, run it again.",
            ) from error


def _uncommitted(model: str, md5: str) -> DataVersion:
    return DataVersion(model, f"{UNCOMMITTED}{md5[:8]}", md5, "", "", "")


def _pointed_md5(pointer: bytes) -> str:
    """The md5 in a DVC pointer; empty when it is no whole pointer to one file or folder."""
    try:
        out = yaml.safe_load(pointer)["outs"][0]
        whole = bool(out["path"]) and re.fullmatch(r"[0-9a-f]{32}(\.dir)?", out["md5"]) is not None
    except (yaml.YAMLError, KeyError, IndexError, TypeError):
        return ""
    return str(out["md5"]) if whole else ""


def _cached(repo: Repo, md5: str) -> Path:
    return Path(repo.cache.local.oid_to_path(md5))


def _is_whole(path: Path, md5: str) -> bool:
    return path.is_file() and md5_of(path) == md5.removesuffix(FOLDER)


def _damaged(repo: Repo, md5: str) -> list[str]:
    """Hashes of what is missing or damaged in DVC's cache: of a folder, its list of files, or else some of these."""
    if not _is_whole(_cached(repo, md5), md5):
        return [md5]
    if not md5.endswith(FOLDER):
        return []
    return [each for each in _listed(_cached(repo, md5)).values() if not _is_whole(_cached(repo, each), each)]


def _listed(path: Path) -> dict[str, str]:
    """Hash by name of each file of a folder, as DVC keeps the list in its cache."""
    return {entry["relpath"]: entry["md5"] for entry in json.loads(path.read_bytes())}
