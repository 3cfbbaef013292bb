from __future__ import annotations

from pathlib import Path

import pytest

from sigap.errors import RegistryError
from sigap.locks import writer
from sigap.settings import Settings
from tests.registry.conftest import make_settings


def test_one_writer_at_a_time_in_one_state_folder(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, "http://127.0.0.1:1")
    with writer(settings, "education"):
        with (
            pytest.raises(RegistryError, match=r"'education' for over 0\.2 seconds"),
            writer(settings, "education", wait=0.2),
        ):
            pass
        with writer(settings, "car_price", wait=0.2):
            pass
    with writer(settings, "education", wait=0.2):
        pass


def test_one_writer_at_a_time_for_machines_that_share_a_postgresql(tmp_path: Path, database: str) -> None:
    here, there = (Settings(root=tmp_path, state_dir=tmp_path / name, DATABASE_URL=database) for name in "ab")
    with writer(here, "education"):
        with pytest.raises(RegistryError, match="Another process"), writer(there, "education", wait=0.2):
            pass
        with writer(there, "car_price", wait=0.2):
            pass
    with writer(there, "education", wait=0.2):
        pass
