"""Files and folders that are put in another's place whole, or put back as they were; their hashes as DVC has them."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

FOLDER = ".dir"
"""Ending of the hash of a folder."""


def md5_of(path: Path) -> str:
    """DVC's hash of a file, or of a folder with all its files.

    Raises:
        OSError: It can't be read.
    """
    if path.is_dir():
        return folder_md5(
            {each.relative_to(path).as_posix(): md5_of(each) for each in path.rglob("*") if each.is_file()}
        )
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def folder_md5(files: Mapping[str, str]) -> str:
    """DVC's hash of a folder that holds these files: their hashes by their paths within it."""
    # Imported here: half a second that most words of the CLI need not spend.
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree

    tree = Tree()  # type: ignore[no-untyped-call]  # DVC is typed in parts
    for name, md5 in files.items():
        tree.add(tuple(name.split("/")), None, HashInfo("md5", md5))
    tree.digest()
    return str(tree.oid)


def remove(path: Path) -> None:
    """Removes a file or a folder, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def put(draft: Path, path: Path) -> None:
    """Moves the file or folder `draft` to `path`, in the place of what lies there; both in one file system."""
    if not draft.is_dir() and not path.is_dir():
        draft.replace(path)
        return
    # No folder can be replaced at once. It is moved away whole: `kept` finds it again where this process is killed.
    remove(_aside(path))
    if path.exists():
        path.replace(_aside(path))
    draft.replace(path)
    remove(_aside(path))


def write_whole(path: Path, content: bytes) -> None:
    """Writes the file so that it is there whole or as it was before."""
    draft = path.with_name(f".{path.name}.draft")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def linked(folder: Path, files: Mapping[str, Path]) -> Path:
    """A folder of links to these files by their names; made once, and whole."""
    if all(os.path.realpath(folder / name) == os.path.realpath(path) for name, path in files.items()):
        return folder
    draft = folder.with_name(f"{folder.name}.{os.getpid()}.draft")
    remove(draft)
    draft.mkdir(parents=True)
    for name, path in files.items():
        (draft / name).symlink_to(path.resolve())
    remove(folder)
    # Whoever was quicker has made the same.
    with suppress(OSError):
        draft.replace(folder)
    remove(draft)
    return folder


@contextmanager
def kept(path: Path) -> Iterator[None]:
    """Puts the file or folder back as it was (or away, if there was none) when the block fails."""
    copy = path.with_name(f".{path.name}.kept")
    if copy.exists() and not path.exists():
        # A process was killed between moving the old folder away and the new one in.
        copy.replace(path)
    remove(copy)
    remove(_aside(path))
    existed = path.exists()
    if existed:
        _keep(path, copy)
    try:
        yield
    except BaseException:
        if existed:
            put(copy, path)
        else:
            remove(path)
        raise
    finally:
        remove(copy)


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.old.draft")


def _keep(path: Path, copy: Path) -> None:
    if path.is_dir():
        shutil.copytree(path, copy, copy_function=_link)
    # DVC rewrites a pointer in place, so a second name of the same file would not keep it.
    elif path.suffix == ".dvc":
        shutil.copy2(path, copy)
    else:
        _link(path, copy)


def _link(path: str | Path, copy: str | Path) -> None:
    with suppress(OSError):
        os.link(path, copy)
        return
    shutil.copy2(path, copy)
