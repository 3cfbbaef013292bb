"""PostgreSQL in a backup: `pg_dump` of one moment, and back in one transaction."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.sql import SQL, Identifier
from pydantic import SecretStr

from sigap.backup.manifest import Database, Hashing, Moved, blocks
from sigap.data.analysts import GROUP
from sigap.data.postgres import address, connect, translated
from sigap.errors import BackupError
from sigap.services.postgres import binary_folders
from sigap.settings import Settings

_OURS = "n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'"
_TABLES = f"""
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND {_OURS} ORDER BY 1, 2
"""  # noqa: S608 - two constants of ours
_ROLES = f"""
SELECT DISTINCT r.rolname, r.rolcanlogin FROM (
    SELECT (aclexplode(c.relacl)).grantee FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {_OURS}
    UNION SELECT (aclexplode(n.nspacl)).grantee FROM pg_namespace n WHERE {_OURS}
    UNION SELECT (aclexplode(p.proacl)).grantee FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE {_OURS}
    UNION SELECT (aclexplode(defaclacl)).grantee FROM pg_default_acl
) AS granted JOIN pg_roles r ON r.oid = granted.grantee
WHERE r.rolname <> current_user AND r.rolname NOT LIKE 'pg\\_%' ORDER BY 1
"""  # noqa: S608 - two constants of ours

_MEMBERS = """
SELECT r.rolname, g.rolname
FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles r ON r.oid = m.member
WHERE g.rolname = ANY(%s) AND r.rolcanlogin AND r.rolname <> current_user ORDER BY 1
"""

# Whoever still uses a table keeps it from being replaced: said after so long, instead of waiting for ever.
_LOCK_SECONDS = 10

Connection = psycopg.Connection[tuple[Any, ...]]


PART = "postgres"
"""The part, and the key of Sigap's own database in a manifest; a further one's is `postgres:NAME`."""


def keys(settings: Settings) -> dict[str, Settings]:
    """The databases that go into a backup, each with settings that lead to it."""
    names = filter(None, (name.strip() for name in settings.backup_databases.split(",")))
    return {PART: settings} | {f"{PART}:{name}": of_database(settings, name) for name in names}


def of_database(settings: Settings, name: str) -> Settings:
    """Settings whose database is another one of the same server."""
    return settings.model_copy(update={"database_url": SecretStr(make_conninfo(settings.dsn, dbname=name))})


def target(settings: Settings, key: str, *, make: bool) -> Settings | None:
    """Settings that lead to the database of a key; None when the server has none of that name.

    Args:
        settings: That lead to Sigap's own.
        key: Of the manifest.
        make: Whether to make one that is not there.

    Raises:
        ServiceError: The server can't be reached, or this user may not make it.
    """
    _, _, name = key.partition(":")
    if not name:
        return settings
    with connect(settings) as connection, translated(settings, f"Making the database {name}"):
        connection.autocommit = True
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            if not make:
                return None
            connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
    return of_database(settings, name)


@dataclass(frozen=True)
class Moment:
    """A database as it is at one moment, for as long as the connection is open."""

    connection: Connection
    snapshot: str
    name: str


@contextmanager
def moment(settings: Settings) -> Iterator[Moment]:
    """Holds the database of `settings` as it is now; others read and write on.

    Raises:
        ServiceError: It can't be reached.
    """
    with connect(settings, read_only=True) as connection, translated(settings, "Backing up the database"):
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        yield begin(connection)


def begin(connection: Connection) -> Moment:
    """The moment that a new transaction of the connection holds."""
    row = connection.execute("SELECT pg_export_snapshot(), current_database()").fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM gives a row
    return Moment(connection, str(row[0]), str(row[1]))


def dump(settings: Settings, held: Moment, out: Hashing) -> Database:
    """Writes the database of that moment to `out`.

    Raises:
        BackupError: `pg_dump` is missing or fails.
    """
    command = ["pg_dump", "--format=custom", f"--snapshot={held.snapshot}", "--lock-wait-timeout=60s"]
    with _tool(settings, command) as process:
        assert process.stdout is not None  # noqa: S101 - asked for
        for block in blocks(process.stdout):
            out.write(block)
    return describe(held.connection, out.path.name, held.name)


def describe(connection: Connection, file: str, name: str) -> Database:
    """What the manifest says of a database: rows by table, revision, roles."""
    tables = count(connection)
    revision = ""
    if "public.alembic_version" in tables:
        row = connection.execute("SELECT version_num FROM public.alembic_version").fetchone()
        revision = str(row[0]) if row else ""
    roles = {str(role): bool(signs_in) for role, signs_in in connection.execute(_ROLES)}
    groups = tuple(role for role, signs_in in roles.items() if not signs_in)
    members = {str(member): str(group) for member, group in connection.execute(_MEMBERS, [list(groups)])}
    row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    taken = int(row[0]) if row else 0
    return Database(
        kind="postgres",
        file=file,
        name=name,
        tables=tables,
        revision=revision,
        roles=tuple(roles),
        groups=groups,
        members=members,
        size=taken,
    )


def count(connection: Connection) -> dict[str, int]:
    """Rows of every table of the database, by `schema.table`."""
    found = {}
    for schema, table in connection.execute(_TABLES).fetchall():
        statement = SQL("SELECT count(*) FROM {}").format(Identifier(schema, table))
        row = connection.execute(statement).fetchone()
        found[f"{schema}.{table}"] = int(row[0]) if row else 0
    return found


def check_dump(settings: Settings, path: Path) -> None:
    """See that `pg_restore` can read a dump from its first byte to its last.

    Raises:
        BackupError: It can't.
    """
    with _tool(settings, ["pg_restore", "--file=-", str(path)], connected=False) as process:
        assert process.stdout is not None  # noqa: S101 - asked for
        for _ in blocks(process.stdout):
            pass


def size(settings: Settings) -> int:
    """Bytes that the databases take on the server's disk; their dumps are smaller."""
    total = 0
    for one in keys(settings).values():
        with connect(one) as connection:
            row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
            total += int(row[0]) if row else 0
    return total


def champions(connection: Connection) -> dict[str, str]:
    """Versions with the alias `champion`, such as v3, where the database is that of an MLflow server."""
    row = connection.execute("SELECT to_regclass('public.registered_model_aliases') IS NOT NULL").fetchone()
    if row is None or not row[0]:
        return {}
    statement = "SELECT name, version FROM public.registered_model_aliases WHERE alias = 'champion' ORDER BY 1"
    return {str(name): f"v{version}" for name, version in connection.execute(statement)}


def load(settings: Settings, path: Path, expected: Database, moved: Moved = lambda _: None) -> list[str]:
    """Puts a dump in the place of all that is in the database of `settings`, or changes nothing.

    Args:
        settings: Whose database it becomes.
        path: The dump.
        expected: What has to be in it afterwards.
        moved: Told of the statements' bytes as they go in.

    Returns:
        What could not be done as it was, in sentences.

    Raises:
        BackupError: PostgreSQL refuses, or has other rows afterwards.
        ServiceError: It can't be reached.
    """
    made, lacking = _make_roles(settings, expected.roles)
    options = ["--no-privileges"] if lacking else []
    with (
        _tool(settings, ["pg_restore", "--no-owner", *options, "--file=-", str(path)], connected=False) as source,
        _tool(
            settings, ["psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file=-"], feeding=True
        ) as server,
    ):
        assert source.stdout is not None  # noqa: S101 - asked for
        assert server.stdin is not None  # noqa: S101 - asked for
        try:
            server.stdin.write(_preamble(settings).encode())
            for block in blocks(source.stdout):
                server.stdin.write(block)
                moved(len(block))
            # NOTE: only what was read whole is made to stand; a source that dies leaves the transaction open, and
            # its end takes everything back.
            if source.wait() == 0:
                server.stdin.write(b"\nCOMMIT;\n")
            server.stdin.close()
        except BrokenPipeError:
            source.kill()  # psql has said why
            server.wait()
    with connect(settings) as connection:
        found = count(connection)
    if found != expected.tables:
        odd = sorted(name for name in {*found, *expected.tables} if found.get(name) != expected.tables.get(name))
        raise BackupError(
            f"{address(settings)} has other rows after the restore than the backup: {', '.join(odd[:5])}.",
            remedy="See that nobody else writes to that database, and restore again.",
        )
    told = [
        f"The role {role} was made again, without its password: ALTER ROLE {role} LOGIN PASSWORD …"
        for role in made
        if role not in expected.groups
    ]
    with connect(settings) as connection:
        there = {str(row[0]) for row in connection.execute("SELECT rolname FROM pg_roles")}
    told += [
        f"The login {member}, a member of {group}, is not on this server: ./run analyst create {member}"
        if group == GROUP
        else f"The login {member} is not on this server: CREATE ROLE {member} LOGIN PASSWORD … IN ROLE {group}"
        for member, group in expected.members.items()
        if member not in there
    ]
    if lacking:
        told.append(
            f"This user may not make roles: what {', '.join(lacking)} may do has to be granted again (GRANT SELECT …)."
        )
    return told


def _preamble(settings: Settings) -> str:
    with connect(settings) as connection:
        schemas = [row[0] for row in connection.execute(f"SELECT n.nspname FROM pg_namespace n WHERE {_OURS}")]  # noqa: S608
        drops = [SQL("DROP SCHEMA {} CASCADE;").format(Identifier(name)).as_string(connection) for name in schemas]
    return "\n".join(
        [
            "BEGIN;",
            "SET client_min_messages = warning;",
            f"SET lock_timeout = '{_LOCK_SECONDS}s';",
            *drops,
            "CREATE SCHEMA public;",
            "GRANT USAGE ON SCHEMA public TO PUBLIC;",
            "",
        ]
    )


def _make_roles(settings: Settings, roles: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Makes the roles that are missing, without a right to sign in; those made, and those that can't be."""
    made, lacking = [], []
    with connect(settings) as connection:
        connection.autocommit = True
        for role in roles:
            if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone():
                continue
            try:
                connection.execute(SQL("CREATE ROLE {} NOLOGIN").format(Identifier(role)))
                made.append(role)
            except psycopg.errors.InsufficientPrivilege:
                lacking.append(role)
    return made, lacking


@contextmanager
def _tool(
    settings: Settings, command: list[str], *, connected: bool = True, feeding: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """A program of PostgreSQL, ended with the block.

    Raises:
        BackupError: It is missing, or fails; with its own last words.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}
    if connected or feeding:
        parts = conninfo_to_dict(settings.dsn)
        # Not among the arguments, which every account of the machine may read.
        environment["PGPASSWORD"] = str(parts.pop("password", "") or "")
        command = [*command, f"--dbname={make_conninfo(**parts)}"]  # type: ignore[arg-type]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [str(_program(command[0])), *command[1:]],
            stdin=subprocess.PIPE if feeding else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if feeding else subprocess.PIPE,
            stderr=said,
            env=environment,
        )
        try:
            yield process
            code = process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            for pipe in (process.stdin, process.stdout):
                _close(pipe)
        if code:
            said.seek(0)
            words = " ".join(said.read().decode(errors="replace").split())[-600:]
            raise BackupError(
                f"{command[0]} failed with exit code {code}: {words}.",
                remedy="Is somebody else still using the database? Stop what does, and try again."
                if "lock timeout" in words
                else "Nothing was changed.",
            )


def _close(pipe: IO[bytes] | None) -> None:
    if pipe is not None:
        try:
            pipe.close()
        except BrokenPipeError:
            return


def _program(name: str) -> Path:
    for folder in binary_folders():
        if (folder / name).exists():
            return folder / name
    raise BackupError(
        f"The program {name} was not found (looked in {', '.join(map(str, binary_folders()))}).",
        remedy="Install PostgreSQL's client programs and set PG_BINDIR to their folder.",
    )
