"""The output's folder: whose it is, what is finished in it, and what was found.

Beside the partitions it holds `_sigap/`, which readers of such data sets pass over: the bundle that answers, the record
of finished partitions, the manifest, and a lock.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

from backend.scoring.partition import DRAFT, RECORDED, Part
from backend.scoring.partitions import partition_names
from sigap.errors import FileError

OWN = "_sigap"
RUN, PARTS, MANIFEST, BUNDLE, LOCK = "run.json", "parts.jsonl", "manifest.json", "bundle", "lock"


class Output:
    """The folder of one run, held by this process; made by `opened`."""

    def __init__(self, folder: Path, run: Mapping[str, Any]) -> None:
        self.folder = folder
        self.own = folder / OWN
        self.run = dict(run)
        self._record: IO[str] | None = None

    @property
    def bundle(self) -> Path:
        """Where workers find the bundle."""
        return self.own / BUNDLE

    def known(self) -> dict[str, dict[str, Any]]:
        """What is recorded of finished partitions, by name; a line that was cut off is none."""
        found = {}
        with suppress(FileNotFoundError):
            for line in (self.own / PARTS).read_text(encoding="utf-8").splitlines():
                with suppress(ValueError):
                    entry = json.loads(line)
                    if isinstance(entry, dict) and set(entry) == set(RECORDED):
                        found[entry["name"]] = entry
        return found

    def note(self, part: Part) -> None:
        """Records a finished partition, as far down as the disk."""
        if self._record is None:
            # A line that a killed process began ends here.
            self._record = (self.own / PARTS).open("a", encoding="utf-8")
            self._record.write("\n")
        self._record.write(json.dumps(part.record()) + "\n")
        self._record.flush()
        os.fsync(self._record.fileno())

    def close(self) -> None:
        """Ends the record, and takes away what killed workers left half written."""
        if self._record is not None:
            self._record.close()
            self._record = None
        self.clean()

    def clean(self) -> None:
        """Takes away what nobody finished writing."""
        for path in self.folder.rglob(f".*{DRAFT}"):
            path.unlink(missing_ok=True)

    def prepare(self, bundle: Path) -> None:
        """Puts the bundle there, and what this run is of, unless an earlier process did."""
        if not (self.own / RUN).is_file():
            shutil.rmtree(self.bundle, ignore_errors=True)
            shutil.copytree(bundle, self.bundle, copy_function=shutil.copyfile)
            write_json(self.own / RUN, self.run)
        self.clean()

    def finish(self, manifest: Mapping[str, Any]) -> Path:
        """Writes what was found."""
        path = self.own / MANIFEST
        write_json(path, manifest)
        return path


@contextmanager
def opened(folder: Path, source: Path, names: Sequence[str], run: Mapping[str, Any]) -> Iterator[Output]:
    """The output's folder, with nobody else at it.

    Args:
        folder: It; made if need be.
        source: The input's folder.
        names: The input's partitions.
        run: What decides every byte of the output; an earlier process's has to be the same.

    Raises:
        FileError: The folder is no folder, holds something else, lies in the input's, or another process is at it.
    """
    _require_apart(folder, source)
    own = folder / OWN
    try:
        if folder.is_dir() and not own.is_dir() and any(folder.iterdir()):
            raise FileError(
                f"The output folder {folder} is not empty, and what is in it is not of an earlier run of this.",
                remedy="Give an empty folder, or a new one.",
            )
        own.mkdir(parents=True, exist_ok=True)
        lock = FileLock(own / LOCK)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise FileError(
            f"Another process is scoring into {folder}.", remedy="Wait until it has ended, or give another folder."
        ) from error
    except OSError as error:
        raise FileError(f"The output folder {folder} can't be used: {error.strerror}.") from error
    output = Output(folder, run)
    try:
        _require_same(output, names)
        yield output
    finally:
        output.close()
        lock.release()


def _require_apart(folder: Path, source: Path) -> None:
    ours, theirs = folder.resolve(), source.resolve()
    if ours == theirs or ours in theirs.parents or theirs in ours.parents:
        raise FileError(
            f"The output folder {folder} and the input folder {source} lie in one another.",
            remedy="Give a folder beside the input.",
        )


def _require_same(output: Output, names: Sequence[str]) -> None:
    try:
        former = json.loads((output.own / RUN).read_text(encoding="utf-8"))
    except FileNotFoundError:
        others = [path.name for path in output.folder.iterdir() if path.name != OWN]
        if others:
            raise FileError(
                f"The output folder {output.folder} is not empty: it holds {others[0]}.",
                remedy="Give an empty folder, or a new one.",
            ) from None
        return
    except (OSError, ValueError) as error:
        raise FileError(f"{output.own / RUN} can't be read: {error}.", remedy="Give a new folder.") from error
    for name, value in output.run.items():
        if former.get(name) != value:
            raise FileError(
                f"The output folder {output.folder} holds an earlier run whose {name.replace('_', ' ')} is "
                f"{former.get(name)}, not {value}.",
                remedy="Give a new folder; or `--version` to go on with the version that it was begun with.",
            )
    written = partition_names(output.folder)
    if gone := sorted(set(written) - set(names)):
        raise FileError(
            f"The output folder {output.folder} holds {len(gone)} partitions that the input no longer has, first "
            f"{gone[0]}.",
            remedy="Give a new folder, or delete them there.",
        )


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes the file whole or not at all."""
    draft = path.with_name(f".{path.name}{DRAFT}")
    with draft.open("w", encoding="utf-8") as file:
        file.write(json.dumps(value, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
