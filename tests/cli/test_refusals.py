"""Words that are refused before anything is done, in this process: what stands in the message and in the JSON."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner, Result

from sigap.cli.main import app
from sigap.errors import SigapError
from sigap.settings import get_settings
from tests.conftest import Checkout
from tests.registry.conftest import free_port


@pytest.fixture(autouse=True)
def _nothing_runs(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = free_port()
    given = {
        "SIGAP_ROOT": str(checkout.root),
        "SIGAP_STATE_DIR": str(checkout.root / ".sigap"),
        "DATABASE_URL": f"postgresql://me:hunter2@127.0.0.1:{nowhere}/x",
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{nowhere}",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()


def run(*words: str) -> Result:
    result = CliRunner().invoke(app, list(words))
    assert "hunter2" not in result.output + str(result.exception or "")
    return result


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["simulate-drift", "education", "--into", "sky"], "'sky' is neither live nor table"),
        (["simulate-drift", "education", "--rows", "0"], "--rows"),
        (["ingest", "--step", "5m"], "'5m' is none of 1m, 1h, 1d"),
        (["ingest", "--since", "yesterday"], "yesterday"),
        (["import", "cars", "cars.csv", "--map", "price"], "--map takes NAME=VALUE"),
        (["import", "cars", "cars.csv", "--unit", "=1"], "--unit takes NAME=VALUE"),
        (["pipeline", "education", "--version", "a", "--data", "b"], "give one of them"),
        (["model", "replay", "education", "best"], "'best' is no version of a model"),
        (["score", "education", "in", "out", "--version", "v"], "'v' is no version of a model"),
        (["drift", "show", "education", "-n", "0"], "-n"),
    ],
)
def test_a_word_that_means_nothing_is_refused_with_its_option(words: list[str], said: str) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert said in " ".join(result.output.replace("│", " ").split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["drift", "check", "boats"], "'boats'"),
        (["drift", "check", "education", "--subject", "sky"], "no subject 'sky' of drift"),
        (["drift", "show", "education"], "PostgreSQL at 127.0.0.1"),
        (["live-score", "education"], "education groups rows and has no target"),
        (["live-score", "boats"], "'boats'"),
        (["model", "decisions", "education"], "PostgreSQL at 127.0.0.1"),
        (["model", "decisions", "boats"], "'boats'"),
        (["model", "versions", "education"], "does not answer at MLFLOW_TRACKING_URI"),
        (["model", "card", "education"], "does not answer at MLFLOW_TRACKING_URI"),
        (["model", "replay", "education", "v1"], "does not answer at MLFLOW_TRACKING_URI"),
        (["lineage", "education"], "does not answer at MLFLOW_TRACKING_URI"),
        (["lineage", "boats"], "'boats'"),
        (["simulate-drift", "education", "--undo"], "No simulated shift"),
        (["import", "boats", "boats.csv"], "no table 'boats'"),
        (["train", "boats"], "'boats'"),
        (["new-model", "Boats!"], "Boats!"),
        (["bench", "nothing"], "no benchmark 'nothing'"),
        (["logs", "nginx"], "no log of 'nginx'"),
        (["key", "revoke", "nobody"], "nobody"),
        (["data", "rollback", "education", "v9"], "v9"),
    ],
)
def test_what_there_is_not_or_what_is_away_is_named(words: list[str], said: str) -> None:
    result = run(*words)
    assert isinstance(result.exception, SigapError)
    assert said in result.exception.message


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["simulate-drift", "boats"], "UnknownModelError"),
        (["simulate-drift", "education", "--undo"], "ConfigurationError"),
        (["import", "boats", "boats.csv"], "FileError"),
        (["data", "versions", "boats"], "UnknownModelError"),
        (["data", "rollback", "education", "v9"], "VersionError"),
    ],
)
def test_a_program_gets_the_same_as_json(words: list[str], error: str) -> None:
    result = run(*words, "--json", *([] if words[1] == "versions" else ["--asked-by", "a test"]))
    assert result.exit_code == 1
    told = json.loads(result.output.splitlines()[-1])
    assert told["error"] == error
    assert told["message"]


def test_of_a_model_without_data_versions_a_program_is_told_of_none() -> None:
    told = json.loads(run("data", "versions", "education", "--json").output.splitlines()[-1])
    assert told == {"model": "education", "current": None, "versions": []}


def test_in_production_no_shift_is_made_unless_somebody_says_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGAP_ENVIRONMENT", "production")
    get_settings.cache_clear()
    refused = run("simulate-drift", "education", "--undo")
    assert isinstance(refused.exception, SigapError)
    assert "This is production" in refused.exception.message
    allowed = run("simulate-drift", "education", "--undo", "--yes")
    assert isinstance(allowed.exception, SigapError)
    assert "No simulated shift" in allowed.exception.message


def test_words_that_only_look_need_nothing_that_runs() -> None:
    assert run("status").exit_code == 1
    assert run("stop").exit_code == 0
    assert run("logs").exit_code == 0
    assert "hidden (given)" in run("settings").output
    assert run("key", "list").exit_code == 0
    assert run("model", "--help").exit_code == 0
