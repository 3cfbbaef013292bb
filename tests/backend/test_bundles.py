"""Bundles that must not be served, though every hash is right, and the store that keeps the good ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from backend.requests import Validator
from backend.served import Served, load
from backend.store import BundleStore
from sigap.bundle import MEMBERS, digest
from sigap.bundle import MODEL as MODEL_FILE
from sigap.errors import BundleError
from tests.backend.bundles import BODY, CENTERS, EDUCATION, USED, members, write_bundle

SHA = "a" * 64


def loaded(folder: Path) -> Served:
    return load(folder, EDUCATION, Validator(EDUCATION), version="1", manifest_sha256=SHA, origin="registry")


def with_file(folder: Path, name: str, content: bytes) -> Path:
    """A bundle whose manifest vouches for other content of a file."""
    write_bundle(folder / "first")
    (folder / "first" / name).write_bytes(content)
    files = {each: digest(folder / "first" / each).model_dump() for each in (MODEL_FILE, MEMBERS)}
    write_bundle(folder / "second", files=files)
    (folder / "second" / name).write_bytes(content)
    return folder / "second"


def level(rank: int, **changes: Any) -> dict[str, Any]:
    center = dict(zip(USED, map(float, CENTERS[rank]), strict=True))
    text = {"id": "x", "en": "x"}
    return {"cluster": rank, "label": text, "text": "x", "size": 1, "center": center, **changes}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": "other"}, "of the model 'other'"),
        ({"features_used": ("unknown", *USED[1:])}, "not those of the declaration: unknown"),
        ({"features_used": ()}, "not those of the declaration: none"),
        ({"features_used": USED[:2]}, "takes 3 features, its manifest names 2"),
        ({"training_range": {}}, "training range lacks"),
        ({"levels": [level(0), level(1, center={}), level(2)]}, "level 1 is out of order or lacks"),
        ({"levels": [level(1), level(0), level(2)]}, "level 0 is out of order"),
        ({"levels": [level(0), level(1)]}, "there are 2"),
        ({"example": {"request": {}, "cluster": 0, "distance_to_center": 0.0}}, "not a valid request"),
        ({"example": {"request": BODY, "cluster": 1, "distance_to_center": 9.0}}, "its manifest says 1 at 9"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    write_bundle(tmp_path / "bundle", **changes)
    with pytest.raises(BundleError, match=reason):
        loaded(tmp_path / "bundle")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (MODEL_FILE, b"", "can't be loaded by ONNX Runtime"),
        (MODEL_FILE, b"not onnx", "can't be loaded by ONNX Runtime"),
        (MEMBERS, b"{}", "members.json can't be read"),
        (MEMBERS, b"[]", "members.json can't be read"),
        (MEMBERS, json.dumps(members(CENTERS) | {"period": float("nan")}).encode(), "members.json can't be read"),
    ],
)
def test_a_file_that_says_nothing_is_refused(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    with pytest.raises(BundleError, match=reason):
        loaded(with_file(tmp_path, name, content))


def test_a_store_that_was_never_written_or_is_broken_has_no_last_good(tmp_path: Path) -> None:
    store = BundleStore(tmp_path / "store")
    assert store.last_good() is None
    store.save("1", SHA, {"manifest.json": b"{}"})
    store.mark_good("1", SHA)
    assert store.last_good() is None, "the manifest is not the one with that hash"
    for content in (b"", b"[]", b"{}", b'{"version": 1}', b"\xff"):
        (tmp_path / "store" / "last_good.json").write_bytes(content)
        assert store.last_good() is None


@pytest.mark.parametrize(("version", "sha256"), [("../1", SHA), ("1", "../" + SHA), ("", SHA), ("1", "")])
def test_a_version_can_name_no_folder_outside_the_store(tmp_path: Path, version: str, sha256: str) -> None:
    with pytest.raises(BundleError):
        BundleStore(tmp_path).find(version, sha256)


def test_a_store_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match=r"can't be kept in .*file.*SIGAP_STATE_DIR"):
        BundleStore(tmp_path / "file").save("1", SHA, {"manifest.json": b"{}"})
