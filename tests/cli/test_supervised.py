"""What a session says of its services while they start, while they run, and when it ends."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from sigap.cli.output import Steps
from sigap.cli.session import Reporter, StopRequested, stop_on_signal, supervised
from sigap.services.supervisor import Event
from sigap.settings import Settings


def said(capsys: pytest.CaptureFixture[str], reporter: Reporter, *events: Event) -> list[str]:
    capsys.readouterr()
    for event in events:
        reporter(event)
    return [line.strip() for line in capsys.readouterr().out.splitlines()]


def test_while_services_start_each_is_a_step(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = Reporter()
    reporter.addresses = {"api": "http://127.0.0.1:1"}
    with Steps("Starting") as reporter.steps:
        lines = said(
            capsys,
            reporter,
            Event("api", "starting"),
            Event("api", "ready", seconds=1.5),
            Event("mage", "starting"),
            Event("mage", "died", "was ended by SIGKILL"),
            Event("mlflow", "failed", "It quotes its log."),
            Event("mlflow", "stopped"),
        )
    assert [line.split()[:2] for line in lines] == [["api", "ready"], ["mage", "died"], ["mlflow", "failed"]]
    assert lines[0].endswith("1.5 s  http://127.0.0.1:1")
    assert lines[1].endswith("was ended by SIGKILL")


def test_later_only_what_changes_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = Reporter()
    lines = said(
        capsys,
        reporter,
        Event("prometheus", "starting"),
        Event("prometheus", "ready", seconds=1),
        Event("api", "died", "was ended by SIGKILL"),
        Event("api", "starting", again=True),
        Event("api", "failed", "No memory.", again=True),
        Event("api", "ready", seconds=2, again=True),
        Event("node", "failed", "No such program."),
    )
    told = [line.partition("  ")[2] or line for line in lines]
    assert told == [
        "api was ended by SIGKILL; starting it again",
        "No memory.",
        "trying again",
        "api is ready again after 2.0 s",
        "No such program.",
    ]
    # A service that is started again while others still start is no step of theirs.
    with Steps("Starting") as reporter.steps:
        assert said(capsys, reporter, Event("api", "ready", seconds=3, again=True))[0].endswith("again after 3.0 s")
        reporter.stopping = True
        assert said(capsys, reporter, Event("api", "died", "ended", again=True)) == []


def test_a_session_without_services_ends_without_a_word_and_a_stop_ends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(_env_file=None, state_dir=tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signal(), supervised(settings) as (supervisor, reporter):
        assert supervisor.names == []
        assert not reporter.stopping
    assert reporter.stopping
    assert capsys.readouterr().out == ""

    def asked_to_end() -> None:
        with stop_on_signal(), supervised(settings):
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(StopRequested):
        asked_to_end()
    assert signal.getsignal(signal.SIGTERM) == before, "afterwards signals do what they did"
    # What was cut off left the folder free.
    with stop_on_signal(), supervised(settings):
        pass
