"""The embedded PostgreSQL: password only, loopback only, and no acknowledged row is lost."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import stat
import subprocess
import tempfile
import threading
from pathlib import Path

import psutil
import psycopg
import pytest

from sigap.errors import ServiceError
from sigap.services import postgres
from sigap.services.postgres import EmbeddedPostgres
from sigap.services.service import free_port, recorded
from sigap.services.supervisor import Supervisor
from sigap.settings import Settings
from tests.services.conftest import Events


def test_asks_for_the_password_listens_on_loopback_and_keeps_data(settings: Settings) -> None:
    server = EmbeddedPostgres(settings)
    with server:
        with psycopg.connect(settings.dsn) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
            shown = {
                name: connection.execute(f"SHOW {name}").fetchone()
                for name in ("listen_addresses", "unix_socket_directories", "data_checksums", "server_encoding")
            }
        assert shown == {
            "listen_addresses": ("127.0.0.1",),
            "unix_socket_directories": ("",),
            "data_checksums": ("on",),
            "server_encoding": ("UTF8",),
        }
        wrong = settings.dsn.replace(settings.secret("postgres_password"), "guess")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(wrong)
        rules = (server.data / "pg_hba.conf").read_text()
        assert {line.split()[-1] for line in rules.splitlines() if line and line[0] != "#"} == {"scram-sha-256"}
        assert stat.S_IMODE(server.data.stat().st_mode) == 0o700
    assert recorded(settings.state) == []
    with server, psycopg.connect(settings.dsn) as connection:
        assert connection.execute("SELECT one FROM kept").fetchone() == (1,)


def test_killed_under_load_it_comes_back_with_every_acknowledged_row(settings: Settings, events: Events) -> None:
    acknowledged: list[int] = []
    enough = threading.Event()

    def write() -> None:
        connection = psycopg.connect(settings.dsn, autocommit=True)
        for number in range(1_000_000):
            try:
                connection.execute("INSERT INTO rows VALUES (%s)", [number])
            except psycopg.OperationalError:
                return
            acknowledged.append(number)
            if number == 300:
                enough.set()

    with Supervisor(settings.state, events) as supervisor:
        supervisor.start([EmbeddedPostgres(settings).service()])
        supervisor.wait_ready()
        with psycopg.connect(settings.dsn, autocommit=True) as connection:
            connection.execute("CREATE TABLE rows (number integer)")
        writer = threading.Thread(target=write)
        writer.start()
        assert enough.wait(600)
        os.kill(int(str(recorded(settings.state)[0]["pid"])), signal.SIGKILL)
        events.wait("ready", again=True)
        writer.join()
        with psycopg.connect(settings.dsn) as connection:
            found = {number for (number,) in connection.execute("SELECT number FROM rows")}
    assert set(acknowledged) <= found


def test_a_stale_pid_file_that_names_somebody_else_does_not_stop_it(settings: Settings) -> None:
    server = EmbeddedPostgres(settings)
    with server:
        lines = (server.data / "postmaster.pid").read_text().splitlines()
    owner = server.data.stat()
    user = {"user": owner.st_uid} if os.geteuid() == 0 else {}
    # The same account as the server's: PostgreSQL itself would take it for a running server and refuse.
    with subprocess.Popen(["sleep", "600"], **user) as stranger:  # type: ignore[call-overload]
        try:
            (server.data / "postmaster.pid").write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
            with server, psycopg.connect(settings.dsn) as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_an_orphaned_server_on_our_data_is_stopped_before_a_new_one_starts(settings: Settings) -> None:
    first = EmbeddedPostgres(settings).start()
    pid = int((first.data / "postmaster.pid").read_text().splitlines()[0])
    elsewhere = settings.model_copy(update={"postgres_port": free_port()})
    with EmbeddedPostgres(elsewhere), psycopg.connect(elsewhere.dsn) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    first.stop()


def test_a_taken_port_is_named(settings: Settings) -> None:
    message = f"Port {settings.postgres_port} for postgres"
    with (
        socket.create_server(("127.0.0.1", settings.postgres_port)),
        pytest.raises(ServiceError, match=message) as caught,
    ):
        EmbeddedPostgres(settings).start()
    assert "SIGAP_POSTGRES_PORT=" in caught.value.remedy


def test_data_of_another_major_version_is_left_as_it_is(settings: Settings) -> None:
    server = EmbeddedPostgres(settings)
    server.service()
    (server.data / "PG_VERSION").write_text("15\n")
    with pytest.raises(ServiceError, match=r"is of PostgreSQL 15, the binaries .* of 1[0-9]") as caught:
        server.service()
    assert "PG_BINDIR" in caught.value.remedy


def test_without_binaries_it_says_where_it_looked(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "binary_folders", lambda: [Path("/nowhere/bin")])
    with pytest.raises(ServiceError, match="looked in /nowhere/bin") as caught:
        EmbeddedPostgres(settings).start()
    assert "DATABASE_URL" in caught.value.remedy


def test_an_interrupted_first_start_leaves_nothing_half_made(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = postgres._tool

    def interrupted(command: list[str], *words: object, **options: object) -> None:
        if "--single" in command:
            raise KeyboardInterrupt
        tool(command, *words, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(postgres, "_tool", interrupted)
    server = EmbeddedPostgres(settings)
    with pytest.raises(KeyboardInterrupt):
        server.start()
    assert not server.data.exists()
    assert not (server.home / ".password").exists()
    monkeypatch.undo()
    with server, psycopg.connect(settings.dsn):
        pass


def programs(folder: Path, *, version: str = "echo 'postgres (PostgreSQL) 16.2'", initdb: str = "exit 0") -> Path:
    """A PostgreSQL whose programs are scripts, in its `bin` folder."""
    made = folder / "package" / "pginstall" / "bin"
    made.mkdir(parents=True, exist_ok=True)
    for name, text in (("postgres", version), ("initdb", initdb)):
        (made / name).write_text(f"#!/bin/sh\n{text}\n")
        (made / name).chmod(0o755)
    for each in (folder, *made.parents[:2]):
        each.chmod(0o755)
    return made


def test_a_program_of_another_machine_is_named(
    settings: Settings, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = programs(state.parent / "broken", version="echo 'cannot execute binary file' >&2; exit 126")
    monkeypatch.setenv("PG_BINDIR", str(broken))
    with pytest.raises(ServiceError, match=f"{broken}/postgres does not run on this machine") as caught:
        EmbeddedPostgres(settings).service()
    assert "PG_BINDIR" in caught.value.remedy


def test_a_first_start_that_fails_says_why_and_leaves_no_password(
    settings: Settings, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = programs(state.parent / "full", initdb="echo 'creating directory'; echo 'No space left' >&2; exit 1")
    monkeypatch.setenv("PG_BINDIR", str(full))
    server = EmbeddedPostgres(settings)
    with pytest.raises(ServiceError, match=r"(?s)initdb failed with exit code 1:.*No space left") as caught:
        server.service()
    assert settings.secret("postgres_password") not in str(caught.value)
    assert not server.data.exists()
    assert not (server.home / ".password").exists()
    # What went wrong once is no obstacle later.
    programs(state.parent / "full", initdb='for last; do :; done; echo 16 > "$last/PG_VERSION"')
    assert Path(server.service().command[0]) == full / "postgres"


def test_data_of_checkouts_that_vanished_is_deleted_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "OUTSIDE", tmp_path / "outside")
    standing = tmp_path / "checkout"
    places = {name: tmp_path / "outside" / name for name in ("vanished", "standing", "elsewhere", "unreadable")}
    standing.symlink_to(places["standing"])
    links = {
        "vanished": str(tmp_path / "gone"), "standing": str(standing), "elsewhere": "/no/such/checkout",
    }  # fmt: skip
    for name, place in places.items():
        place.mkdir(parents=True)
        if name in links:
            (place / "checkout").write_text(links[name])
    (places["unreadable"] / "checkout").mkdir()
    postgres._forget_vanished()
    assert {name for name, place in places.items() if place.exists()} == {*places} - {"vanished"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server under another account")
class TestAsRoot:
    def test_the_server_runs_under_an_ordinary_account(self, settings: Settings) -> None:
        with EmbeddedPostgres(settings):
            record = recorded(settings.state)[0]
            assert psutil.Process(int(str(record["pid"]))).uids().real != 0

    def test_a_closed_checkout_keeps_its_rights_and_the_data_lives_outside(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o700)
        rights = {path: path.stat().st_mode for path in (closed, *closed.parents)}
        settings = Settings(root=closed, state_dir=closed / "state", postgres_port=free_port())
        server = EmbeddedPostgres(settings)
        with tempfile.TemporaryDirectory(prefix="sigap-test-outside-") as outside:
            Path(outside).chmod(0o755)
            monkeypatch.setattr(postgres, "OUTSIDE", Path(outside))
            for _ in range(2):
                with server, psycopg.connect(settings.dsn) as connection:
                    assert connection.execute("SELECT 1").fetchone() == (1,)
            assert server.home.is_symlink()
            assert server.home.resolve().is_relative_to(outside)
        assert {path: path.stat().st_mode for path in rights} == rights

    def test_programs_that_the_account_can_not_reach_are_copied_once_with_their_libraries(
        self, settings: Settings, state: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        closed = state.parent / "closed"
        found = programs(closed, initdb='for last; do :; done; echo 16 > "$last/PG_VERSION"')
        (closed / "package.libs").mkdir()
        (closed / "package.libs" / "libpq.so").write_text("a library")
        closed.chmod(0o700)
        monkeypatch.setenv("PG_BINDIR", str(found))
        server = EmbeddedPostgres(settings)
        used = Path(server.service().command[0])
        assert used.is_relative_to(server.home.resolve())
        assert (used.parents[3] / "package.libs" / "libpq.so").read_text() == "a library"
        before = used.stat().st_ino
        assert Path(server.service().command[0]).stat().st_ino == before

    def test_a_link_to_data_that_is_gone_is_made_anew(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with tempfile.TemporaryDirectory(prefix="sigap-test-outside-") as outside:
            Path(outside).chmod(0o755)
            given = programs(Path(outside) / "bin", initdb='for last; do :; done; echo 16 > "$last/PG_VERSION"')
            monkeypatch.setenv("PG_BINDIR", str(given))
            monkeypatch.setattr(postgres, "OUTSIDE", Path(outside) / "data")
            server = EmbeddedPostgres(Settings(root=tmp_path, state_dir=tmp_path / "state"))
            server.home.parent.mkdir(parents=True)
            server.home.symlink_to(tmp_path / "gone")
            server.service()
            assert server.home.resolve().is_relative_to(Path(outside) / "data")
            assert (server.data / "PG_VERSION").read_text() == "16\n"

    def test_who_owns_the_state_folder_runs_the_server(self, settings: Settings, state: Path) -> None:
        entry = pwd.getpwnam("daemon")
        os.chown(state, entry.pw_uid, entry.pw_gid)
        account = EmbeddedPostgres(settings).service().account
        assert account is not None
        assert (account.uid, account.gid) == (entry.pw_uid, entry.pw_gid)
