"""The words of `./run`: what they say, and that no error comes as a traceback."""

from __future__ import annotations

import re

import pytest

from sigap.settings import ROOT, Settings
from tests.cli.conftest import Shell


def test_help_lists_every_word(shell: Shell) -> None:
    result = shell.run("--help")
    assert result.returncode == 0
    running, training = ("status", "stop", "logs", "settings"), ("pipeline", "train", "new-model", "import", "ingest")
    keeping = ("data", "model", "lineage", "key", "backup", "restore", "score", "dask")
    for word in (*running, *training, *keeping, "test", "bench"):
        assert re.search(rf"^│ {word} ", result.stdout, re.MULTILINE), word
    for words in (["pipeline"], ["data", "rollback"], ["model", "rollback"]):
        assert shell.run(*words, "--help").returncode == 0


def test_settings_lists_all_and_shows_no_secret(shell: Shell) -> None:
    result = shell.run("settings", SIGAP_LANGUAGE="en", DATABASE_URL="postgresql://me:hunter2@127.0.0.1:1/x")
    assert result.returncode == 0
    assert "hunter2" not in result.stdout
    for name in Settings.model_fields:
        assert re.search(rf"\b(SIGAP_)?{name.upper()}\b", result.stdout), name
    assert re.search(r"SIGAP_LANGUAGE +en \(given\)", result.stdout)


@pytest.mark.parametrize(
    ("words", "variables", "said"),
    [
        (["status"], {"SIGAP_API_PORT": "http"}, ["SIGAP_API_PORT", "valid integer", "./run settings"]),
        ([], {"SIGAP_API_PORT": "70000"}, ["SIGAP_API_PORT", "65535"]),
        ([], {"DATABASE_URL": "mysql://me:hunter2@host/x"}, ["DATABASE_URL", "postgresql://user:password@host"]),
        ([], {"DATABASE_URL": "postgresql://me:hunter2@127.0.0.1:1/x"}, ["127.0.0.1:1", "refused", "DATABASE_URL"]),
        ([], {"MLFLOW_TRACKING_URI": "http://127.0.0.1:1"}, ["MLFLOW_TRACKING_URI", "http://host:5000"]),
        (["pipeline", "educatoin"], {}, ["'educatoin'", "Choose one of: education"]),
        (["pipeline", "car_price", "--version", "2025 Q1"], {}, ["'2025 Q1'", "v_2025_Q1"]),
        (["pipeline", "car_price", "--version", "x"], {"SIGAP_GIT_COMMIT": "false"}, ["'x'", "SIGAP_GIT_COMMIT=true"]),
        (["data", "versions", "x"], {}, ["'x'", "education"]),
        (["model", "versions", "education"], {}, ["MLflow", "./run"]),
        (["logs", "nginx"], {}, ["nginx"]),
        (["bench", "nothing"], {}, ["nothing"]),
        (["score", "boats", "in", "out"], {}, ["'boats'", "education"]),
        (["status"], {"SIGAP_DASK_ADDRESS": "127.0.0.1:8786"}, ["SIGAP_DASK_ADDRESS", "tcp://127.0.0.1:8786"]),
        (["import", "boats", "boats.csv"], {}, ["'boats'", "education_data"]),
        (["restore", "latest"], {}, ["no whole backup 'latest'", "./run backup --list"]),
        (
            ["backup", "s3://nowhere"],
            {
                "SIGAP_S3_ENDPOINT_URL": "http://127.0.0.1:1",
                "AWS_ACCESS_KEY_ID": "k",
                "AWS_SECRET_ACCESS_KEY": "hunter2",
            },
            ["does not answer", "SIGAP_S3_ENDPOINT_URL"],
        ),
    ],
)
def test_a_mistake_gets_a_message_with_the_way_on(
    shell: Shell, words: list[str], variables: dict[str, str], said: list[str]
) -> None:
    result = shell.run(*words, **variables)
    output = result.stdout + result.stderr
    assert result.returncode == 1, output
    for text in said:
        assert text in output
    assert "Traceback" not in output
    assert "hunter2" not in output
    # What could not be used left nothing running.
    assert shell.run("status").stdout.startswith("Nothing runs")


def test_contradicting_options_are_refused(shell: Shell) -> None:
    result = shell.run("pipeline", "education", "--version", "a", "--data", "b")
    assert result.returncode == 2
    assert "give one" in result.stderr


@pytest.mark.parametrize("words", [["model", "approve"], ["model", "promote"], ["model", "rollback"], ["lineage"]])
def test_a_version_of_a_model_is_written_alike_everywhere(shell: Shell, words: list[str]) -> None:
    wrong = shell.run(*words, "car_price", "newest")
    assert wrong.returncode == 2
    assert "'newest' is no version of a model: expected one such as v3" in re.sub(r"[\s│]+", " ", wrong.stderr)
    for right in ("v3", "3"):
        assert "MLflow, which keeps the versions of car_price" in shell.run(*words, "car_price", right).stderr


def test_run_is_executable_and_the_same_everywhere() -> None:
    assert (ROOT / "run").stat().st_mode & 0o111
    assert (ROOT / "run").read_text().startswith("#!/usr/bin/env python3\n")


def test_test_hands_everything_to_pytest(shell: Shell) -> None:
    result = shell.run("test", "tests/cli/test_words.py", "--collect-only", "-q", "-k", "executable")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "test_run_is_executable_and_the_same_everywhere" in result.stdout
