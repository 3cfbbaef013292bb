"""A version that a person put into service in this API alone, whatever the registry's alias says.

It is written into the state folder, so that all workers of this API serve it, and after a new start too. It ends when
the alias moves: then somebody has decided anew.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from backend.registry_client import Target

log = logging.getLogger("sigap.api")


@dataclass(frozen=True)
class Held:
    """What is held, and since when.

    Attributes:
        version: Number of the version.
        manifest_sha256: Hash of its bundle's manifest.
        run_id: The run that holds its bundle.
        path: Where in the run's artefacts the bundle lies.
        instead_of: Number of the version that the alias stood on; None if there was none.
        asked_by: Who asked for it.
        at: When, ISO 8601.
    """

    version: str
    manifest_sha256: str
    run_id: str
    path: str
    instead_of: str | None
    asked_by: str
    at: str

    @property
    def target(self) -> Target:
        """Where its bundle lies."""
        return Target(self.version, self.manifest_sha256, self.run_id, self.path)


class Hold:
    """The held version of one model, shared by the workers of an API.

    Args:
        path: The file; its folder is made when needed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = 0

    def read(self) -> Held | None:
        """What is held, if anything; remembers that it was looked at."""
        self._seen = self._stamp()
        try:
            return Held(**json.loads(self._path.read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            log.warning("%s can't be read, the registry's alias is followed: %s", self._path, error)
            return None

    def changed(self) -> bool:
        """Whether somebody wrote or took away the file since it was last read."""
        return self._stamp() != self._seen

    def set(self, held: Held) -> None:
        """Holds a version, whole or not at all.

        Raises:
            OSError: The state folder can't be written.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        draft.write_text(json.dumps(asdict(held)))
        draft.replace(self._path)

    def end(self) -> None:
        """Follows the alias again."""
        self._path.unlink(missing_ok=True)

    def _stamp(self) -> int:
        try:
            status = self._path.stat()
        except OSError:
            return 0
        # Replaced within one tick of the clock, a file still has another inode.
        return hash((status.st_mtime_ns, status.st_ino))
