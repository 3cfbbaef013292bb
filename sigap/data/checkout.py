"""A Git checkout made of the files that an image brings: `python -m sigap.data.checkout PROGRAM ...`.

Data versions are commits and tags, so the checkout has to outlive a container: it lies on a volume, and so `SIGAP_ROOT`
names another folder than the one that the code runs from. At the first start it is made of the image's files. Each
later start of another image brings the files that are new or different there, in one commit, but for those that
somebody changed here: they stay, and a line says so. Pointers to data are never among an image's files. Then this
process becomes the program.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from sigap import __version__
from sigap.errors import ConfigurationError, SigapError
from sigap.settings import Settings, get_settings

IMAGE = Path(__file__).resolve().parents[2]
"""What the image brings: the folder that this code runs from."""

RECORD = "checkout.json"
"""In the state folder: the hashes of the files that the last image brought."""

_WAIT_SECONDS = 120
_IDENTITY = ("-c", "user.name=Sigap", "-c", "user.email=sigap@localhost", "-c", f"core.hooksPath={os.devnull}")
# What `git commit` says when there is nothing new.
_NOTHING = ("nothing to commit", "no changes added to commit", "nothing added to commit")
# Of the folders that hold state, or are made anew by every program.
_LEFT_OUT = frozenset({".git", ".sigap", "__pycache__", ".ssh_tunnel", ".file_versions", ".cache"})


@dataclass(frozen=True)
class Laid:
    """What a start did.

    Attributes:
        written: Files that the image brought, by path.
        removed: Files that the image no longer has.
        kept: Files that the image has otherwise and somebody changed here.
    """

    written: tuple[str, ...]
    removed: tuple[str, ...]
    kept: tuple[str, ...]


def lay(settings: Settings, image: Path = IMAGE) -> Laid:
    """Brings the checkout `settings.root` to the image's files, as far as nobody changed them there.

    It can be killed at any moment and begun again; of several at once, one does it.

    Args:
        settings: Where the checkout is, and the state folder that remembers what an image brought.
        image: Folder of the image's files.

    Raises:
        ConfigurationError: The checkout is the image's own folder, can't be written, or Git refuses.
    """
    root = settings.root.resolve()
    if root == image.resolve():
        raise ConfigurationError(
            f"SIGAP_ROOT is {root}, where the image's own files are.", remedy="Name a folder on a volume."
        )
    try:
        settings.state.mkdir(parents=True, exist_ok=True)
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(settings.state / "checkout.lock", timeout=_WAIT_SECONDS):
            return _lay(root, settings.state / RECORD, image)
    except Timeout as error:
        raise ConfigurationError(
            f"Another process has been making the checkout for over {_WAIT_SECONDS} s.",
            remedy=f"End it; if there is none, remove {settings.state / 'checkout.lock'}.",
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"The checkout {root} can't be made: {error.strerror or error} ({error.filename}).",
            remedy="The volume has to belong to the account that the container runs under (10001:10001).",
        ) from error


def _lay(root: Path, record: Path, image: Path) -> Laid:
    before = _recorded(record)
    brought = {path.relative_to(image).as_posix(): _hash(path) for path in _files(image)}
    if not (root / ".git").is_dir():
        _git(root, "init", "--quiet", "--initial-branch=main")
    written, removed, kept = [], [], []
    for name in sorted(brought.keys() | before.keys()):
        new, old = brought.get(name), before.get(name)
        here = _hash(root / name)
        if here == new:
            continue
        # Somebody's own: neither as an image brought it, nor missing because no image did.
        if here != old:
            kept += [name] if new != old else []
        elif new is None:
            (root / name).unlink()
            removed.append(name)
        else:
            _copy(image / name, root / name)
            written.append(name)
    _commit(root, [name for name in brought.keys() | before.keys() if _hash(root / name) == brought.get(name)])
    # Last: until here, everything can be done once more.
    draft = record.with_suffix(".part")
    draft.write_text(json.dumps({"version": __version__, "files": brought}, indent=0, sort_keys=True))
    draft.replace(record)
    return Laid(tuple(written), tuple(removed), tuple(kept))


def _recorded(record: Path) -> dict[str, str]:
    try:
        return dict(json.loads(record.read_text())["files"])
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{record} does not hold what an image brought.",
            remedy="Remove it: files that differ from the image's then count as changed by somebody, and stay.",
        ) from error


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name in _LEFT_OUT:
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _files(path)
        elif path.is_file() and not _is_pointer(path):
            yield path


def _is_pointer(path: Path) -> bool:
    """Whether it is a snapshot or DVC's pointer to one: state of an installation, whichever image it runs."""
    return path.parent.name == "raw" and path.parent.parent.name == "data" and path.name != ".gitignore"


def _hash(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.part")
    shutil.copyfile(source, draft)
    draft.chmod(0o755 if os.access(source, os.X_OK) else 0o644)
    draft.replace(target)


def _commit(root: Path, names: list[str]) -> None:
    """Commits these files alone, as they are: what else is staged or changed stays so."""
    files = ("--pathspec-from-file=-", "--pathspec-file-nul")
    _git(root, "add", "--force", *files, stdin=_listed(name for name in names if (root / name).exists()))
    # Of those that are gone, Git knows only what the index or the last commit holds.
    known = set(_git(root, "ls-files", "-z").split("\0")) | set(_tracked(root))
    if listed := _listed(name for name in names if name in known):
        message = f"Bring the files of the image, Sigap {__version__}"
        _git(root, *_IDENTITY, "commit", "--quiet", "--only", "-m", message, *files, stdin=listed, may_be_empty=True)


def _listed(names: Iterable[str]) -> str:
    return "".join(f"{name}\0" for name in sorted(names))


def _tracked(root: Path) -> list[str]:
    """What the last commit holds; nothing before the first."""
    try:
        return _git(root, "ls-tree", "-r", "-z", "--name-only", "HEAD").split("\0")
    except ConfigurationError:
        return []


def _git(root: Path, *words: str, stdin: str = "", may_be_empty: bool = False) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | {"LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", *words], cwd=root, env=environment, input=stdin, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise ConfigurationError("Git can't be started.", remedy="The image for Mage has it.") from error
    empty = may_be_empty and any(words in done.stdout for words in _NOTHING)
    if done.returncode and not empty:
        raise ConfigurationError(
            f"git {words[0]} failed in {root}: {' '.join(done.stderr.split())}.",
            remedy="Finish or abort what was begun there (a merge, a rebase), and start again.",
        )
    return done.stdout


def main() -> None:
    """Makes the checkout, then becomes the program that is named."""
    try:
        laid = lay(get_settings())
    except SigapError as error:
        sys.exit(f"Error: {error}")
    if laid.written or laid.removed:
        sys.stderr.write(f"Checkout: {len(laid.written)} files brought, {len(laid.removed)} removed.\n")
    for name in laid.kept:
        sys.stderr.write(f"Checkout: {name} was changed here and stays; the image has another one.\n")
    if len(sys.argv) > 1:
        os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - becomes the program


if __name__ == "__main__":
    main()
