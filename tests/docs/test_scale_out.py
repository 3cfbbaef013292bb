"""What docs/scale-out.md says of settings, words and files is so."""

from __future__ import annotations

import re

from backend.files.render import PROBLEM, STATUS
from backend.scoring.output import MANIFEST, OWN
from backend.scoring.partition import VERSION
from backend.scoring.rows import BATCH
from sigap.cli.main import app
from sigap.cli.words.dask import dask
from sigap.settings import ROOT, Settings
from sigap.training.clustering import BOOTSTRAPS

DOCUMENT = (ROOT / "docs" / "scale-out.md").read_text()


def test_settings_are_there_with_their_defaults() -> None:
    named = set(re.findall(r"SIGAP_([A-Z_]+)", DOCUMENT))
    assert {name.lower() for name in named} <= set(Settings.model_fields)
    assert {name for name in Settings.model_fields if name.startswith("dask_")} <= {name.lower() for name in named}
    assert f"`SIGAP_DASK_WAIT_SECONDS` ({Settings.model_fields['dask_wait_seconds'].default:g})" in DOCUMENT


def test_words_are_there() -> None:
    known = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    known |= {group.name for group in app.registered_groups}
    assert set(re.findall(r"\./run ([a-z]+)", DOCUMENT)) <= known
    assert set(re.findall(r"\./run dask ([a-z]+)", DOCUMENT)) == {command.name for command in dask.registered_commands}


def test_numbers_and_names_are_those_of_the_code() -> None:
    assert BOOTSTRAPS == 10
    assert "ten bootstraps of a candidate" in DOCUMENT
    assert 10_000 < BATCH < 100_000
    for name in (VERSION, STATUS, PROBLEM, f"{OWN}/", MANIFEST):
        assert f"`{name}`" in DOCUMENT
