"""Git plumbing: commits one file and a tag, and leaves everything else in the checkout exactly as it is.

Neither the index nor the work tree takes part in making the commit, and no hook runs: what somebody has staged,
changed or not yet added stays so.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from sigap.errors import VersionError

_ATTEMPTS = 20
_PAUSE_SECONDS = 0.25
# What an operation that has stopped midway leaves in Git's folder; a commit from us would get into it.
_UNFINISHED = {
    "MERGE_HEAD": "merge",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
    "BISECT_LOG": "bisect",
}
# Set when Git itself has started us (a hook, an alias); they would point our commands at another index or repository.
_INHERITED = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE")


@dataclass(frozen=True)
class Tag:
    """A tag: its name below the prefix asked for, its commit, and when it was made (ISO 8601, UTC)."""

    name: str
    commit: str
    created_at: str


class Git:
    """The Git checkout whose work tree holds `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def available(self) -> bool:
        """Whether `root` lies in a work tree of Git, and Git is installed."""
        try:
            return self._run("rev-parse", "--is-inside-work-tree").strip() == "true"
        except VersionError:
            return False

    def require(self) -> None:
        """Makes sure that a commit can be made here now.

        Raises:
            VersionError: No Git, no repository, or a merge, rebase or the like that is not finished.
        """
        way_on = "or set SIGAP_GIT_COMMIT=false to keep data versions out of Git."
        try:
            inside = self._run("rev-parse", "--is-inside-work-tree").strip() == "true"
        except VersionError as error:
            raise VersionError(
                f"{self._root} is no Git checkout that can be used: {error.message}",
                remedy=f"Run it in a clone (or `git init` there), {way_on}",
            ) from error
        if not inside:
            raise VersionError(f"{self._root} has no Git work tree.", remedy=f"Run it in a clone, {way_on}")
        folder = Path(self._run("rev-parse", "--absolute-git-dir").strip())
        for name, operation in _UNFINISHED.items():
            if (folder / name).exists():
                raise VersionError(
                    f"A {operation} is not finished in {self._root}; a commit now would get into it.",
                    remedy=f"Finish or abort it (`git {operation} {'reset' if operation == 'bisect' else '--abort'}`), "
                    f"{way_on}",
                )

    def tags(self, prefix: str) -> list[Tag]:
        """Tags named `prefix/…`, newest first."""
        form = "%(refname)%09%(if)%(*objectname)%(then)%(*objectname)%(else)%(objectname)%(end)%09%(creatordate:unix)"
        lines = self._run("for-each-ref", f"--format={form}", f"refs/tags/{prefix}/").splitlines()
        found = []
        for line in lines:
            ref, commit, created = line.split("\t")
            moment = datetime.fromtimestamp(int(created or 0), UTC)
            found.append(Tag(ref.removeprefix(f"refs/tags/{prefix}/"), commit, moment.isoformat()))
        return sorted(found, key=lambda tag: (tag.created_at, _natural(tag.name)), reverse=True)

    def contents(self, commits: Iterable[str], path: Path) -> list[bytes | None]:
        """The file `path` (relative to root) as it is in each of the commits; None where it is not."""
        name = self._in_tree(path)
        wanted = "".join(f"{commit}:{name}\n" for commit in commits)
        if not wanted:
            return []
        answer = self._run_bytes("cat-file", "--batch", stdin=wanted.encode())
        found: list[bytes | None] = []
        while answer:
            head, _, rest = answer.partition(b"\n")
            if head.endswith(b" missing"):
                found.append(None)
                answer = rest
            else:
                size = int(head.rsplit(b" ", 1)[1])
                found.append(rest[:size])
                answer = rest[size + 1 :]
        return found

    def commit_file(self, path: Path, message: str, tag: str | None) -> str:
        """Commits the file as it is in the work tree, alone, on top of HEAD, and tags it.

        HEAD and the tag move in one transaction that fails when somebody else has moved HEAD meanwhile; then it is
        tried again on the new HEAD. When HEAD already holds the file so, only the tag is made.

        Args:
            path: The file, relative to root.
            message: The commit's message.
            tag: Full name of the tag to make, without `refs/tags/`; None for no tag.

        Returns:
            Hash of the commit that holds the file.

        Raises:
            VersionError: The tag stands already, or Git refuses.
        """
        self.require()
        blob = self._run("hash-object", "-w", f"--path={path.as_posix()}", "--", path.as_posix()).strip()
        for attempt in range(_ATTEMPTS):
            head = self._head()
            standing = self._standing(head, path, blob)
            commit = standing or self._new_commit(head, path, blob, message)
            if self._move(head, "" if standing else commit, commit, tag):
                return commit
            if tag is not None and self._exists(f"refs/tags/{tag}"):
                break
            time.sleep(_PAUSE_SECONDS * (attempt > 0))
        raise VersionError(
            f"Git could not record {path} under {tag or 'HEAD'}: the tag stands already, or HEAD keeps moving.",
            remedy="Run it again; the data itself is kept.",
        )

    def refresh_index(self, path: Path) -> None:
        """Brings the index's entry of this one file to the work tree's, as it was committed.

        Raises:
            VersionError: Another Git process holds the index for longer than some seconds.
        """
        for _ in range(_ATTEMPTS):
            try:
                self._run("update-index", "--add", "--", path.as_posix())
            except VersionError as error:
                last = error
                time.sleep(_PAUSE_SECONDS)
            else:
                return
        raise VersionError(
            f"{path} is committed, but Git's index could not be brought to it: {last.message}",
            remedy="When no other Git process runs, remove the lock file it names; then run this again.",
        )

    def head(self) -> tuple[str, str]:
        """Commit and branch that are checked out; the commit is empty before the first, the branch when detached."""
        try:
            branch = self._run("symbolic-ref", "--quiet", "--short", "HEAD").strip()
        except VersionError:
            branch = ""
        return self._head() or "", branch

    def all_tags(self) -> dict[str, str]:
        """What every tag points to (a commit, or the tag's own object where it has one), by name."""
        lines = self._run("for-each-ref", "--format=%(refname)%09%(objectname)", "refs/tags/").splitlines()
        return {ref.removeprefix("refs/tags/"): made for ref, made in (line.split("\t") for line in lines)}

    def is_shallow(self) -> bool:
        """Whether the checkout lacks the beginning of its history."""
        return self._run("rev-parse", "--is-shallow-repository").strip() == "true"

    def bundle(self, path: Path) -> None:
        """Writes HEAD, branches and tags with their whole history into a bundle.

        Raises:
            VersionError: Git fails.
        """
        self._run("bundle", "create", "--quiet", str(path), "HEAD", "--branches", "--tags")

    def verify_bundle(self, path: Path) -> None:
        """See that a bundle is whole.

        Raises:
            VersionError: It isn't.
        """
        self._run("bundle", "verify", "--quiet", str(path))

    def fetch_bundle(self, path: Path, below: str, tags: dict[str, str]) -> None:
        """Takes in a bundle: its refs below `below`, and these of its tags as tags, moved where they stand elsewhere.

        Args:
            path: The bundle.
            below: Such as `refs/sigap/restored/NAME`.
            tags: What each tag is to point to, by name.

        Raises:
            VersionError: Git fails; no tag was moved then.
        """
        refs = [f"+refs/{kind}/*:{below}/{kind}/*" for kind in ("heads", "tags")]
        # HEAD too: a detached one may be all there is.
        self._run("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", str(path), f"+HEAD:{below}/HEAD", *refs)
        standing = self.all_tags()
        lines = [f"update refs/tags/{name} {to}" for name, to in tags.items() if standing.get(name) != to]
        if lines:
            self._run("update-ref", "--stdin", stdin="\n".join(lines) + "\n", env=self._identity())

    def lacking(self, commit: str, but: Path) -> list[str]:
        """Files outside the folder `but` that the history of `commit` changed after it and HEAD parted.

        Raises:
            VersionError: Git fails, as where the two have no history in common.
        """
        return self._run("diff", "--name-only", f"HEAD...{commit}", "--", ".", f":(exclude){but}").splitlines()

    def _head(self) -> str | None:
        try:
            return self._run("rev-parse", "--verify", "--quiet", "HEAD^{commit}").strip()
        except VersionError:
            return None

    def _exists(self, ref: str) -> bool:
        return bool(self._run("for-each-ref", "--format=%(objectname)", ref).strip())

    def _in_tree(self, path: Path) -> str:
        return self._run("rev-parse", "--show-prefix").strip() + path.as_posix()

    def _standing(self, head: str | None, path: Path, blob: str) -> str | None:
        """The newest commit below `head` that brought the file to what it is; None when HEAD has another one."""
        if head is None:
            return None
        try:
            if self._run("rev-parse", "--verify", "--quiet", f"{head}:{self._in_tree(path)}").strip() != blob:
                return None
        except VersionError:
            return None
        return self._run("rev-list", "-1", head, "--", path.as_posix()).strip() or head

    def _new_commit(self, head: str | None, path: Path, blob: str, message: str) -> str:
        """A commit like `head` but for the file; nothing points to it yet."""
        with tempfile.TemporaryDirectory(prefix="sigap-git-") as folder:
            index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
            self._run("read-tree", head or "--empty", env=index)
            self._run("update-index", "--add", "--cacheinfo", f"100644,{blob},{self._in_tree(path)}", env=index)
            tree = self._run("write-tree", env=index).strip()
        parent = ("-p", head) if head else ()
        return self._run("commit-tree", tree, *parent, "-m", message, env=self._identity()).strip()

    def _move(self, head: str | None, new_head: str, tagged: str, tag: str | None) -> bool:
        """Moves HEAD (when `new_head` is given) and makes the tag, both or none; False when somebody was faster."""
        lines = []
        if new_head:
            lines.append(f"update HEAD {new_head} {head}" if head else f"create HEAD {new_head}")
        if tag is not None:
            lines.append(f"create refs/tags/{tag} {tagged}")
        if not lines:
            return True
        script = "\n".join(lines) + "\n"
        try:
            self._run("update-ref", "-m", "sigap: data version", "--stdin", stdin=script, env=self._identity())
        except VersionError:
            if self._head() != head or (tag is not None and self._exists(f"refs/tags/{tag}")):
                return False
            raise
        return True

    def _identity(self) -> dict[str, str]:
        """Name and e-mail for a commit, where neither Git's settings nor the environment have them."""
        given = {}
        for role in ("AUTHOR", "COMMITTER"):
            for what, fallback in (("name", "Sigap"), ("email", "sigap@localhost")):
                variable = f"GIT_{role}_{what.upper()}"
                if not os.environ.get(variable) and not self._configured(f"user.{what}", f"{role.lower()}.{what}"):
                    given[variable] = fallback
        return given

    def _configured(self, *names: str) -> bool:
        for name in names:
            try:
                if self._run("config", "--get", name).strip():
                    return True
            except VersionError:
                continue
        return False

    def _run(self, *words: str, stdin: str | None = None, env: dict[str, str] | None = None) -> str:
        return self._run_bytes(*words, stdin=None if stdin is None else stdin.encode(), env=env).decode(
            "utf-8", "surrogateescape"
        )

    def _run_bytes(self, *words: str, stdin: bytes | None = None, env: dict[str, str] | None = None) -> bytes:
        environment = {name: value for name, value in os.environ.items() if name not in _INHERITED}
        environment |= {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", **(env or {})}
        command = ["git", "-c", f"core.hooksPath={os.devnull}", "-c", "gc.auto=0", *words]
        try:
            done = subprocess.run(
                command, cwd=self._root, env=environment, input=stdin or b"", capture_output=True, check=False
            )
        except FileNotFoundError as error:
            raise VersionError("Git can't be started.", remedy="Install Git and put it on the PATH.") from error
        if done.returncode:
            cause = " ".join(done.stderr.decode("utf-8", "replace").split()) or f"exit code {done.returncode}"
            raise VersionError(f"git {words[0]} failed in {self._root}: {cause}.")
        return done.stdout


def _natural(name: str) -> list[tuple[Literal[0, 1], int, str]]:
    """Sort key in which v10 comes after v9."""
    parts: list[tuple[Literal[0, 1], int, str]] = []
    digits = ""
    for character in [*name, ""]:
        if character.isdigit():
            digits += character
            continue
        if digits:
            parts.append((0, int(digits), ""))
            digits = ""
        if character:
            parts.append((1, 0, character))
    return parts
