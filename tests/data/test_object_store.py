"""Data versions in a real object store: there and back, broken off, refused, and not there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sigap.data.object_store import Place, check
from sigap.data.versions import DataVersions
from sigap.errors import ServiceError, VersionError
from sigap.services.service import free_port
from sigap.settings import ROOT, Settings
from tests.conftest import Checkout
from tests.data.conftest import write_snapshot
from tests.stores import BUCKET, KEY, SECRET, ObjectStore, Stalling

POINTER = "data/raw/education_snapshot.parquet.dvc"


def stored(checkout: Checkout, store: ObjectStore, prefix: str, **changes: object) -> Settings:
    return checkout.settings(**({"dvc_remote_url": f"s3://{BUCKET}/{prefix}"} | store.settings() | changes))


def forget_cache(checkout: Checkout) -> None:
    """As in a clone on another machine."""
    shutil.rmtree(checkout.root / ".dvc/cache")


def test_data_goes_there_and_comes_back(checkout: Checkout, object_store: ObjectStore) -> None:
    settings = stored(checkout, object_store, "there/and/back")
    versions = DataVersions(settings)
    path = write_snapshot(settings, b"one")
    first = versions.record("education")
    write_snapshot(settings, b"two")
    versions.record("education", "v_2025_Q1")
    assert len(object_store.objects("there/and/back")) == 2
    assert f"files/md5/{first.md5[:2]}/{first.md5[2:]}" in object_store.objects("there/and/back")

    forget_cache(checkout)
    assert versions.restore("education", "v1").md5 == first.md5
    assert path.read_bytes() == b"one"
    forget_cache(checkout)
    assert versions.stored("education", first.md5).read_bytes() == b"one"

    # Nothing of the key is left anywhere in the checkout.
    for file in filter(Path.is_file, checkout.root.rglob("*")):
        assert SECRET.encode() not in file.read_bytes(), file


def test_damaged_data_in_the_store_is_noticed_and_the_snapshot_stays(
    checkout: Checkout, object_store: ObjectStore
) -> None:
    settings = stored(checkout, object_store, "damaged")
    versions = DataVersions(settings)
    path = write_snapshot(settings, b"one")
    versions.record("education")
    write_snapshot(settings, b"two")
    versions.record("education")
    for found in object_store.objects("damaged").values():
        found.write_bytes(b"other")
    forget_cache(checkout)
    with pytest.raises(VersionError, match="is damaged: its hash is not"):
        versions.restore("education", "v1")
    assert path.read_bytes() == b"two"


def test_a_push_that_is_killed_midway_leaves_nothing_and_is_made_up_for(
    checkout: Checkout, object_store: ObjectStore
) -> None:
    settings = stored(checkout, object_store, "killed")
    content = os.urandom(3 * 2**20)
    write_snapshot(settings, content)
    line = Stalling(object_store.port, 2**20)
    try:
        slow = stored(checkout, object_store, "killed", **object_store.settings(port=line.port))
        script = "from sigap.settings import get_settings; from sigap.data.versions import DataVersions; "
        script += "DataVersions(get_settings()).record('education')"
        process = subprocess.Popen(
            [sys.executable, "-c", script], cwd=ROOT, env=os.environ | slow.as_environment(), stderr=subprocess.PIPE
        )
        assert line.reached.wait(60), process.communicate()
        process.kill()
        process.communicate()
    finally:
        line.close()

    assert checkout.git("tag") == ""
    assert checkout.git("log", "--format=%s") == "Begin"
    versions = DataVersions(settings)
    assert versions.list("education") == []

    recorded = versions.record("education")

    assert (recorded.name, recorded.created) == ("v1", True)
    assert checkout.git("status", "--porcelain") == ""
    forget_cache(checkout)
    assert versions.stored("education", recorded.md5).read_bytes() == content


WRONG = [
    ({"AWS_SECRET_ACCESS_KEY": "wrong-and-secret"}, ["SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"]),
    ({"AWS_ACCESS_KEY_ID": "nobody"}, ["InvalidAccessKeyId", "AWS_ACCESS_KEY_ID"]),
    ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, ["There is no key", "AWS_ACCESS_KEY_ID"]),
    ({"dvc_remote_url": "s3://nowhere/x"}, ["no bucket 'nowhere'", "aws s3 mb s3://nowhere"]),
    ({"s3_endpoint_url": "http://127.0.0.1:{closed}"}, ["does not answer", "SIGAP_S3_ENDPOINT_URL"]),
]


def test_what_is_wrong_is_said_and_nothing_changes(
    checkout: Checkout, object_store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No key of whoever runs this.
    (tmp_path / "aws").touch()
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "aws"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    settings = stored(checkout, object_store, "right")
    write_snapshot(settings, b"one")
    DataVersions(settings).record("education")
    before = checkout.git("rev-parse", "HEAD"), (checkout.root / POINTER).read_bytes()
    draft = checkout.root / "data/raw/.education_snapshot.parquet.draft"

    for changes, said in WRONG:
        changes = {name: value.format(closed=free_port()) for name, value in changes.items()}
        wrong = DataVersions(stored(checkout, object_store, "right", **changes))
        draft.write_bytes(b"two")
        with pytest.raises(VersionError) as error:
            wrong.adopt("education", draft, "9" * 32)

        told = str(error.value)
        assert all(text in told for text in said), told
        for secret in (SECRET, "wrong-and-secret", KEY):
            assert secret not in told
        assert (checkout.git("rev-parse", "HEAD"), (checkout.root / POINTER).read_bytes()) == before
        assert wrong.path("education").read_bytes() == b"one"
        assert checkout.git("status", "--porcelain") == ""


@pytest.mark.parametrize("url", ["s3://", "s3:///x", "s3://key:secret@bucket/x"])
def test_a_url_without_a_bucket_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ServiceError, match=r"Expected s3://bucket/prefix") as error:
        Place.of(url)
    assert "secret" not in str(error.value)


def test_a_folder_is_not_asked_for() -> None:
    check(Settings(), "/no/such/folder", "data")
