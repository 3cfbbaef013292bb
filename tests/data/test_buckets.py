"""The one-shot job that makes buckets, against a real S3 server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sigap.data.buckets import make
from sigap.data.object_store import check
from sigap.errors import ServiceError
from sigap.services.service import free_port
from sigap.settings import ROOT, Settings
from tests.stores import ObjectStore


def settings(folder: Path, store: ObjectStore, **changes: object) -> Settings:
    return Settings(**({"_env_file": None, "state_dir": folder} | store.settings() | changes))


def test_a_bucket_is_made_once_and_can_be_used_then(tmp_path: Path, object_store: ObjectStore) -> None:
    given = settings(tmp_path, object_store)
    with pytest.raises(ServiceError, match="no bucket 'fresh'"):
        check(given, "s3://fresh/dvc", "data")
    assert make(given, "fresh")
    check(given, "s3://fresh/dvc", "data")
    assert not make(given, "fresh")


def test_faults_are_told_without_a_secret(tmp_path: Path, object_store: ObjectStore) -> None:
    with pytest.raises(ServiceError, match="AWS_ACCESS_KEY_ID") as caught:
        make(
            settings(tmp_path, object_store, AWS_ACCESS_KEY_ID="nobody", AWS_SECRET_ACCESS_KEY="hunter2hunter2"), "x1x"
        )
    assert "hunter2" not in str(caught.value)
    away = settings(tmp_path, object_store, s3_endpoint_url=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ServiceError, match="does not answer"):
        make(away, "x1x")
    env = {"PATH": os.environ["PATH"], "SIGAP_STATE_DIR": str(tmp_path), "AWS_ACCESS_KEY_ID": "a",
           "AWS_SECRET_ACCESS_KEY": "hunter2hunter2", "SIGAP_S3_ENDPOINT_URL": str(away.s3_endpoint_url)}  # fmt: skip
    command = [sys.executable, "-m", "sigap.data.buckets", "x1x"]
    ended = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: The object store at")
    assert "hunter2" not in ended.stderr
