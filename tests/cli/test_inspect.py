"""`./run settings`, `./run credentials` and `./run logs`, in this process."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from sigap.cli import inspect
from sigap.cli.inspect import show_credentials, show_logs, show_settings
from sigap.errors import ServiceError
from sigap.settings import Settings


def settings(folder: Path, **given: Any) -> Settings:
    return Settings(_env_file=None, state_dir=folder, **given)


def test_a_setting_that_was_given_is_marked_and_a_secret_hidden(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show_settings(settings(tmp_path, language="en", DATABASE_URL="postgresql://me:hunter2@127.0.0.1:1/x"))
    said = capsys.readouterr().out
    assert "hunter2" not in said
    assert "hidden (given)" in said
    assert "en (given)" in said
    assert " - " in said, "what has no value"


def test_a_database_of_ones_own_has_no_password_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_credentials(settings(tmp_path / "one", mage_password="for-mage"))
    said = capsys.readouterr().out
    assert "for-mage" in said
    assert (tmp_path / "one" / "secrets" / "postgres_password").read_text().strip() in said
    show_credentials(settings(tmp_path / "two", mage_password="for-mage", DATABASE_URL="postgresql://me:pw@h/x"))
    said = capsys.readouterr().out
    assert "PostgreSQL" not in said
    assert "pw" not in said


def written(folder: Path, **logs: str) -> Settings:
    (folder / "logs").mkdir(exist_ok=True)
    for name, text in logs.items():
        (folder / "logs" / f"{name}.log").write_bytes(text.encode("latin-1"))
    return settings(folder)


def test_the_last_lines_of_one_log_or_of_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ServiceError, match="no log of 'api'") as caught:
        show_logs(written(tmp_path), "api", 5, follow=False)
    assert caught.value.remedy == "Nothing has been started yet."
    show_logs(written(tmp_path), "", 5, follow=False)
    assert capsys.readouterr().out == ""

    given = written(tmp_path, api="one\ntwo\nthree", mage="caf\xe9 [red]\n")
    show_logs(given, "api", 2, follow=False)
    assert capsys.readouterr().out == "two\nthree\n", "one log needs no name"
    show_logs(given, "", 1, follow=False)
    # A byte that is no text, and what looks like markup, are shown and break nothing.
    assert capsys.readouterr().out == "api\nthree\nmage\ncaf\ufffd [red]\n"
    with pytest.raises(ServiceError) as caught:
        show_logs(given, "nginx", 5, follow=False)
    assert caught.value.remedy == "There are api, mage."


@pytest.mark.parametrize(("service", "expected"), [("", "mage: new"), ("mage", "new")])
def test_following_shows_new_lines_until_it_is_ended(
    service: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = written(tmp_path, api="one\n", mage="old\n")
    seen: list[str] = []

    def read(text: str = "", style: str = "") -> None:
        # Somebody who reads what is said, and presses Ctrl-C when the new line has come.
        seen.append(text)
        if text.endswith("new"):
            raise KeyboardInterrupt

    monkeypatch.setattr(inspect, "say", read)
    done = threading.Event()

    def write() -> None:
        while not done.wait(0.05):
            with (tmp_path / "logs" / "mage.log").open("a") as file:
                file.write("new\n")

    def begin_once_shown() -> None:
        while "old" not in seen and not done.is_set():
            time.sleep(0.01)
        write()

    writer = threading.Thread(target=begin_once_shown)
    writer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            show_logs(given, service, 5, follow=True)
    finally:
        done.set()
        writer.join(60)
    assert seen[-1] == expected
    assert seen.count("old") == 1
