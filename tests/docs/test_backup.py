"""The documents of backups and of the object store name what there is."""

from __future__ import annotations

import re

import pytest

from sigap.backup.parts import PARTS
from sigap.settings import ROOT, Settings

BACKUP, STORE = ROOT / "docs" / "backup.md", ROOT / "docs" / "object-store.md"


@pytest.mark.parametrize("path", [BACKUP, STORE], ids=lambda path: path.stem)
def test_every_setting_that_is_named_is_one(path) -> None:
    named = set(re.findall(r"SIGAP_([A-Z0-9_]+)", path.read_text()))
    assert named
    assert {name.lower() for name in named} <= {*Settings.model_fields}


def test_every_part_has_its_line() -> None:
    lines = re.findall(r"^\| `(\w+)` \|", BACKUP.read_text(), re.MULTILINE)
    assert lines == [*PARTS]


def test_the_key_goes_to_the_services_and_is_shown_nowhere() -> None:
    from sigap.data.object_store import credentials, mlflow_environment
    from sigap.services.mlflow import mlflow_service
    from sigap.services.service import environment

    settings = Settings(
        _env_file=None,
        s3_endpoint_url="http://127.0.0.1:1",
        artifacts_url="s3://bucket/mlflow",
        AWS_ACCESS_KEY_ID="who",
        AWS_SECRET_ACCESS_KEY="what",
    )
    given = {"AWS_ACCESS_KEY_ID": "who", "AWS_SECRET_ACCESS_KEY": "what"}
    assert credentials(settings) == given
    assert given.items() <= environment(settings).items()
    assert given.items() <= settings.as_environment().items()
    assert mlflow_environment(settings)["MLFLOW_S3_ENDPOINT_URL"] == "http://127.0.0.1:1"
    service = mlflow_service(settings)
    assert service.command[-1] == "s3://bucket/mlflow"
    assert "what" not in " ".join(service.command) + repr(settings)
    assert mlflow_environment(Settings(_env_file=None)) == {}
