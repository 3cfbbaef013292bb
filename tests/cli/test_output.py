"""How the command line talks: to a terminal, to a reader that went away, to a program, and of what went wrong."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from rich.console import Console

from sigap.cli import output
from sigap.cli.output import Speaker, Steps, clean_exit, say, show_error, tell_program
from sigap.errors import ServiceError, SigapError


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ServiceError("Mage is away.", remedy="Start it."), 1, "Error: Mage is away.\nStart it.\n"),
        (ServiceError("Mage is away."), 1, "Error: Mage is away.\n"),
        (KeyboardInterrupt(), 130, ""),
        (PermissionError(13, "denied", "/a/file"), 1, "/a/file can't be read or written by this account"),
    ],
)
def test_what_goes_wrong_is_told_without_a_traceback(
    error: BaseException, code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "cli.log"
    with pytest.raises(SystemExit) as ended, clean_exit(lambda: log):
        raise error
    assert ended.value.code == code
    err = capsys.readouterr().err
    assert err == said if said.endswith("\n") or not said else said in err
    assert not log.exists(), "what was foreseen needs no traceback"


def test_of_what_nobody_foresaw_the_traceback_is_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "logs" / "cli.log"
    with pytest.raises(SystemExit) as ended, clean_exit(lambda: log):
        raise KeyError("boats")
    assert ended.value.code == 1
    err = capsys.readouterr().err
    assert "KeyError: 'boats'" in err
    assert str(log) in err
    assert "Traceback" not in err
    assert "Traceback" in log.read_text()

    # Settings that can't be read have no folder for a log either; the error is told all the same.
    with pytest.raises(SystemExit), clean_exit(lambda: Path(log, "below a file")):
        raise KeyError("boats")
    err = capsys.readouterr().err
    assert "KeyError: 'boats'" in err
    assert "details" not in err


def test_a_program_gets_one_line_of_json_and_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    tell_program(lambda: {"rows": 3})
    assert json.loads(capsys.readouterr().out) == {"rows": 3}

    def refused() -> dict[str, object]:
        raise ServiceError("Mage is away.", remedy="Start it.")

    with pytest.raises(SystemExit) as ended:
        tell_program(refused)
    assert ended.value.code == 1
    told = json.loads(capsys.readouterr().out)
    assert told == {"error": "ServiceError", "message": "Mage is away.", "remedy": "Start it."}


@contextlib.contextmanager
def unread() -> Iterator[IO[str]]:
    """A pipe whose reader went away, as of `./run | head`."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as file:
        yield file


def test_a_reader_that_went_away_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with unread() as out, unread() as err:
        monkeypatch.setattr(output, "console", Speaker(file=out))
        monkeypatch.setattr(output, "errors", Speaker(file=err))
        say("ready")
        say(output.table("Service"))
        show_error(SigapError("Away.", remedy="Wait."))
        with Steps("Starting") as steps:
            steps.begin("api")
            steps.finish("api", "ready")


def test_a_disk_that_is_full_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    full = io.TextIOWrapper(io.FileIO("/dev/full", "w"), write_through=True)
    monkeypatch.setattr(output, "console", Speaker(file=full))
    say("ready")
    show_error(SigapError("Away."))
    with pytest.raises(OSError, match="No space left"):
        full.write("so is it")
    full.detach().close()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a person's terminal gets."""
    file = io.StringIO()
    monkeypatch.setattr(output, "console", Console(file=file, force_terminal=True, width=120, highlight=False))
    return file


def test_on_a_terminal_only_what_ended_stays_on_the_screen(terminal: io.StringIO) -> None:
    with Steps("Starting") as steps:
        steps.begin("postgres")
        steps.note("postgres", "makes its folder")
        steps.finish("postgres", "ready", seconds=1.5)
        steps.finish("mage", "failed", "port taken", ok=False)
        steps.begin("mlflow")
        # The last frame is drawn at the end.
    shown = terminal.getvalue()
    assert "makes its folder" in shown, "a detail that was noted stays"
    last = shown[shown.rindex("postgres") :]
    assert "port taken" in last
    assert "mlflow" not in last
    assert "1.5 s" in last


def test_elsewhere_a_finished_step_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Steps("Starting") as steps:
        steps.begin("api")
        steps.finish("api", "ready", "http://127.0.0.1:1", seconds=2)
        steps.finish("mage", "failed", ok=False, seconds=0)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Starting"
    assert lines[1].split() == ["api", "ready", "2.0", "s", "http://127.0.0.1:1"]
    assert lines[2].split() == ["mage", "failed", "0.0", "s"]
