"""Bundles on disk when the disk is full, another process is quicker, or many versions came by."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from backend import store as storing
from backend.store import KEPT, BundleStore
from sigap.errors import BundleError

CONTENT = b"{}"
SHA = hashlib.sha256(CONTENT).hexdigest()
FILES = {"manifest.json": CONTENT, "model.onnx": b"model"}


def test_a_bundle_that_is_kept_again_is_replaced_whole(tmp_path: Path) -> None:
    store = BundleStore(tmp_path / "store")
    path = store.save("1", SHA, FILES)
    (path / "model.onnx").write_bytes(b"altered")
    assert store.save("1", SHA, FILES) == path == store.find("1", SHA)
    assert (path / "model.onnx").read_bytes() == b"model"
    store.drop("1", SHA)
    assert store.find("1", SHA) is None


def test_a_full_disk_is_told_and_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store = BundleStore(tmp_path)
    monkeypatch.setattr(storing.os, "fsync", full)
    with pytest.raises(BundleError, match="No space left on device"):
        store.save("1", SHA, FILES)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(BundleError, match="can't be written: No space left on device"):
        store.mark_good("1", SHA)
    assert store.last_good() is None


def test_another_process_that_was_quicker_is_as_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def late(draft: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "rename", rename)
        BundleStore(tmp_path).save("1", SHA, FILES)
        return rename(draft, target)

    monkeypatch.setattr(Path, "rename", late)
    path = BundleStore(tmp_path).save("1", SHA, FILES)
    assert sorted(each.name for each in tmp_path.iterdir()) == [path.name], "no draft is left"


def test_the_oldest_go_and_the_one_in_use_stays(tmp_path: Path) -> None:
    store = BundleStore(tmp_path)
    for version in range(1, KEPT + 3):
        os.utime(store.save(str(version), SHA, FILES), (version, version))
    store.mark_good("1", SHA)
    kept = [version for version in range(1, KEPT + 3) if store.find(str(version), SHA)]
    assert kept == [1, *range(3, KEPT + 3)]
    assert store.last_good() == ("1", SHA, store.find("1", SHA))
