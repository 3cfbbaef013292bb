"""A small JSON file in the state folder that several processes read and change."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

from sigap.errors import ConfigurationError

Stamp = tuple[int, int, int]


class StateFile:
    """A JSON object in a file that only its owner may read; a reader sees it whole, before or after a change.

    Args:
        path: The file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def stamp(self) -> Stamp | None:
        """What tells one state of the file from another without reading it; None when there is no file."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        # A change puts a new file in place: the inode tells two changes within one tick of the clock apart.
        return (found.st_ino, found.st_mtime_ns, found.st_size)

    def read(self) -> dict[str, Any]:
        """The file's object; empty when there is no file.

        Raises:
            ConfigurationError: It holds something else.
        """
        try:
            value = json.loads(self.path.read_text())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise self._unusable() from error
        if not isinstance(value, dict):
            raise self._unusable()
        return value

    def change(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Lets `change` alter the object in place and writes it; one process at a time.

        Raises:
            ConfigurationError: The file holds something else than an object.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_suffix(".lock"), mode=0o600):
            value = self.read()
            change(value)
            draft = self.path.with_name(f".{self.path.name}.{os.getpid()}")
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                json.dump(value, file, indent=1)
            draft.replace(self.path)

    def _unusable(self) -> ConfigurationError:
        return ConfigurationError(
            f"{self.path} does not hold a JSON object.", remedy="Restore it from a backup, or remove it."
        )
