"""Bundles on disk: what was served last can be served again when the registry is gone."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from sigap.bundle import MANIFEST
from sigap.errors import BundleError

KEPT = 5
_LAST_GOOD = "last_good.json"


class BundleStore:
    """The bundles of one model.

    Args:
        folder: Where they are kept; made when needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, version: str, manifest_sha256: str) -> Path | None:
        """The folder of a kept bundle whose manifest is unaltered, or None."""
        path = self._path(version, manifest_sha256)
        try:
            content = (path / MANIFEST).read_bytes()
        except OSError:
            return None
        return path if hashlib.sha256(content).hexdigest() == manifest_sha256 else None

    def save(self, version: str, manifest_sha256: str, files: Mapping[str, bytes]) -> Path:
        """Keeps a bundle; it appears whole or not at all.

        Raises:
            BundleError: The folder can't be written.
        """
        path = self._path(version, manifest_sha256)
        draft = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=self._folder))
            for name, content in files.items():
                _write(draft / name, content)
            shutil.rmtree(path, ignore_errors=True)
            draft.rename(path)
        except OSError as error:
            if draft is not None:
                shutil.rmtree(draft, ignore_errors=True)
            if kept := self.find(version, manifest_sha256):
                return kept  # another process of this API was quicker
            raise BundleError(
                f"The bundle of version {version} can't be kept in {self._folder}: {error.strerror}.",
                remedy="Make room or rights there, or set SIGAP_STATE_DIR to another folder.",
            ) from error
        return path

    def drop(self, version: str, manifest_sha256: str) -> None:
        """Forgets a kept bundle that turned out to be altered."""
        shutil.rmtree(self._path(version, manifest_sha256), ignore_errors=True)

    def mark_good(self, version: str, manifest_sha256: str) -> None:
        """Remembers the bundle as the one to start with when the registry is down, and forgets the oldest others.

        Raises:
            BundleError: The folder can't be written.
        """
        draft = self._folder / f".{_LAST_GOOD}.{os.getpid()}"
        try:
            _write(draft, json.dumps({"version": version, "manifest_sha256": manifest_sha256}).encode())
            draft.replace(self._folder / _LAST_GOOD)
        except OSError as error:
            raise BundleError(f"{self._folder} can't be written: {error.strerror}.") from error
        self._prune(self._path(version, manifest_sha256))

    def last_good(self) -> tuple[str, str, Path] | None:
        """Version, manifest's sha256 and folder of the bundle that was served last, or None."""
        try:
            entry = json.loads((self._folder / _LAST_GOOD).read_bytes())
            version, manifest_sha256 = str(entry["version"]), str(entry["manifest_sha256"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        path = self.find(version, manifest_sha256)
        return (version, manifest_sha256, path) if path else None

    def _path(self, version: str, manifest_sha256: str) -> Path:
        if not re.fullmatch(r"[0-9]+", version) or not re.fullmatch(r"[0-9a-f]{64}", manifest_sha256):
            raise BundleError(
                f"Version {version!r} with the manifest hash {manifest_sha256!r} is not a registered one."
            )
        return self._folder / f"v{version}-{manifest_sha256[:16]}"

    def _prune(self, current: Path) -> None:
        kept = sorted(self._folder.glob("v*-*"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in kept[KEPT:]:
            if path != current:
                shutil.rmtree(path, ignore_errors=True)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
