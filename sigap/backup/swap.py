"""Putting restored files in the place of others: what is replaced stays beside until all is well.

A restored file or folder is prepared beside its place, on the same disk. Then a note says that the exchange has begun,
each is renamed into its place, and the note goes. A process that is killed in between left either no note (nothing was
exchanged) or one that says how to go on.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sigap.errors import BackupError
from sigap.services.supervisor import RESTORING
from sigap.settings import Settings

_NEW, _OLD = "restored", "replaced"


@dataclass(frozen=True)
class Entry:
    """A file or folder that is put into its place.

    Attributes:
        place: Where it belongs.
        prepared: Where it was prepared; nothing there means that nothing is to be at `place`.
    """

    place: Path
    prepared: Path

    @property
    def aside(self) -> Path:
        """Where what was at `place` is meanwhile."""
        return self.place.with_name(f".{self.place.name}.{_OLD}")


def beside(place: Path) -> Path:
    """Where what belongs to `place` is prepared."""
    return place.with_name(f".{place.name}.{_NEW}")


class Exchange:
    """The exchange of one restore.

    Args:
        settings: Whose state folder holds the note.
    """

    def __init__(self, settings: Settings) -> None:
        self._note = settings.state / RESTORING

    @property
    def begun(self) -> dict[str, Any] | None:
        """What the note of an exchange that was broken off says; None when there is none."""
        try:
            told: dict[str, Any] = json.loads(self._note.read_text())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise BackupError(
                f"{self._note}, the note of a restore that was broken off, is damaged.",
                remedy="Beside each file of the state folder there may be a .replaced one: put these back, delete the "
                "note, and restore again.",
            ) from error
        return told

    def begin(self, entries: list[Entry], about: dict[str, Any]) -> None:
        """Writes the note; from here on the exchange is finished rather than begun anew."""
        for one in entries:
            discard(one.aside)
        listed = [
            {"place": str(one.place), "prepared": str(one.prepared), "filled": _there(one.prepared)} for one in entries
        ]
        draft = self._note.with_suffix(".part")
        with draft.open("w") as file:
            json.dump(about | {"entries": listed}, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._note)

    def move(self) -> None:
        """Puts everything into its place, as far as that is not done yet."""
        for told in self._told():
            one = Entry(Path(told["place"]), Path(told["prepared"]))
            if told["filled"] and not _there(one.prepared):
                continue  # done before this process was killed
            if _there(one.place) and not _there(one.aside):
                one.place.rename(one.aside)
            if _there(one.prepared):
                one.place.parent.mkdir(parents=True, exist_ok=True)
                one.prepared.rename(one.place)

    def finish(self) -> None:
        """Deletes what was replaced and what was left of preparing, then the note."""
        for told in self._told():
            one = Entry(Path(told["place"]), Path(told["prepared"]))
            discard(one.aside)
            discard(beside(one.place))
        self._note.unlink(missing_ok=True)

    def give_up(self) -> None:
        """Deletes what was prepared, then the note; nothing may have been moved yet."""
        for told in self._told():
            discard(beside(Path(told["place"])))
        self._note.unlink(missing_ok=True)

    def _told(self) -> list[dict[str, Any]]:
        return list((self.begun or {}).get("entries", []))


def _there(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def discard(path: Path) -> None:
    """Deletes a file or folder; of PostgreSQL's folder that lies elsewhere, the link and what it leads to."""
    if path.is_symlink():
        target = path.resolve()
        if target.is_dir() and (target / "checkout").is_file():
            shutil.rmtree(target)
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
