"""PostgreSQL: connections with errors that say what to do, and the schema by Alembic migrations."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from sigap.errors import ConfigurationError, ServiceError
from sigap.settings import Settings

MIGRATIONS = Path(__file__).parent / "migrations"
# Any fixed number will do; it keeps two starts at once from migrating or seeding side by side.
SCHEMA_LOCK = 7_401_893

_HOST = re.compile(r"[\w.,\-]+|[0-9a-fA-F:.%]+|/[^@:]*")
_PORT = re.compile(r"[\d,]+")
# Alembic keeps its context in module variables.
_MIGRATING = Lock()

_PAUSE_SECONDS = 0.5

Connection = psycopg.Connection[tuple[Any, ...]]


def connect(settings: Settings, *, read_only: bool = False) -> Connection:
    """Opens a connection to the database of `settings`; close it, or use it in a `with`.

    Args:
        settings: Whose `dsn` is connected to.
        read_only: Whether its transactions may only read.

    Raises:
        ConfigurationError: `DATABASE_URL` can't be parsed.
        ServiceError: The server can't be reached or refuses; names host, port and database, never the password.
    """
    place = address(settings)
    try:
        connection = psycopg.connect(settings.dsn, connect_timeout=5, application_name="sigap")
    except psycopg.OperationalError as error:
        # The server's own sentence names the user and the database at most; the URL itself is never repeated.
        cause = " ".join(str(error).split()).rstrip(".?")
        raise ServiceError(f"PostgreSQL at {place} can't be used: {cause}.", remedy=_remedy(settings)) from None
    connection.read_only = read_only
    return connection


def answers_within(settings: Settings, seconds: float) -> bool:
    """Whether the database of `settings` can be used, now or within so many seconds.

    Args:
        settings: Whose `dsn` is connected to.
        seconds: How long one that is away is waited for; not at all where it is not positive.
    """
    limit = time.monotonic() + seconds
    while True:
        try:
            connect(settings).close()
        except ServiceError:
            if time.monotonic() >= limit:
                return False
            time.sleep(_PAUSE_SECONDS)
        else:
            return True


@contextmanager
def translated(settings: Settings, doing: str) -> Iterator[None]:
    """Makes a `ServiceError` of whatever PostgreSQL reports inside.

    Args:
        settings: Whose database it is.
        doing: What fails, for the message: `Reading education_data`.
    """
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        raise ServiceError(
            f"{doing} at {address(settings)} is not allowed to this user: {error.diag.message_primary}.",
            remedy="GRANT the right to the user of DATABASE_URL.",
        ) from error
    except psycopg.Error as error:
        cause = " ".join(str(error).split()).rstrip(".?")
        raise ServiceError(f"{doing} at {address(settings)} failed: {cause}.", remedy=_remedy(settings)) from error


def address(settings: Settings) -> str:
    """Host, port and database that `settings` point to, for messages.

    Raises:
        ConfigurationError: `DATABASE_URL` can't be parsed.
    """
    try:
        parts = conninfo_to_dict(settings.dsn)
    except psycopg.ProgrammingError:
        # libpq's message quotes the URL, password included.
        raise _unreadable_url() from None
    host, port = str(parts.get("host") or "localhost"), str(parts.get("port") or 5432)
    name = str(parts.get("dbname") or parts.get("user") or "")
    # An unescaped @ or / in the password moves its rest into these, where a message would show it.
    if not _HOST.fullmatch(host) or not _PORT.fullmatch(port) or "@" in name:
        raise _unreadable_url()
    return f"{host}:{port}, database {name!r}"


def _unreadable_url() -> ConfigurationError:
    return ConfigurationError(
        "DATABASE_URL can't be parsed.",
        remedy="Expected postgresql://user:password@host:5432/name; "
        "characters such as @ : / in the password are written %40 %3A %2F.",
    )


def _remedy(settings: Settings) -> str:
    if settings.embedded_postgres:
        return "`./run` starts it; `./run status` shows whether it runs and where its log is."
    return "Check that the server runs, and host, port, name, user and password in DATABASE_URL."


def migrate(settings: Settings) -> None:
    """Brings the schema to the newest revision; does nothing when it is there already.

    Nor when a newer Sigap brought it further by migrations that only add, so that a deployment can be taken back.

    Raises:
        ServiceError: The server can't be reached, or may not be changed by this user.
    """
    with connect(settings) as connection, translated(settings, "Reading the schema's revision"):
        found = _revision(connection)
        if found is not None and _oldest_code(connection, found) <= newest_revision() <= found:
            return
    _upgrade(settings)


def newest_revision() -> str:
    """Name of the newest migration; they are numbered, so no import of Alembic is needed to know it."""
    return max(path.stem for path in (MIGRATIONS / "versions").glob("[0-9]*.py")).split("_", 1)[0]


def compatibility() -> str:
    """What is written down beside the newest schema: the revision of the oldest Sigap that runs on it.

    A migration that only adds says so by a line `additive = True`: code of the revision before runs on its schema too.
    """
    steps = sorted((MIGRATIONS / "versions").glob("[0-9]*.py"))
    while len(steps) > 1 and re.search(r"^additive = True\b", steps[-1].read_text(), re.MULTILINE):
        steps.pop()
    return f"Schema {newest_revision()} runs Sigap from {steps[-1].stem.split('_', 1)[0]} on"


def _oldest_code(connection: Connection, revision: str) -> str:
    """Revision of the oldest Sigap that runs on the schema `revision`; that one where nothing is written down of it."""
    row = connection.execute("SELECT obj_description('alembic_version'::regclass)").fetchone()
    told = re.fullmatch(rf"Schema {revision} runs Sigap from (\w+) on", str(row[0])) if row is not None else None
    return told[1] if told else revision


def _revision(connection: Connection) -> str | None:
    row = connection.execute("SELECT to_regclass('alembic_version') IS NOT NULL").fetchone()
    if row is None or not row[0]:
        return None
    found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if found is None else str(found[0])


def _upgrade(settings: Settings) -> None:
    # Imported here: half a second that a warm start need not spend.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError
    from sqlalchemy import create_engine
    from sqlalchemy.exc import DBAPIError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    engine = create_engine("postgresql+psycopg://", creator=lambda: connect(settings))
    try:
        with _MIGRATING, engine.connect() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except DBAPIError as error:
        raise ServiceError(
            f"The schema at {address(settings)} can't be brought to revision {newest_revision()}: {error.orig}.",
            remedy="The user needs the right to create tables in this database.",
        ) from error
    except CommandError as error:
        raise ServiceError(
            f"The schema at {address(settings)} is not one that this version of Sigap knows: {error}.",
            remedy="Use the newer Sigap that wrote it, or another database.",
        ) from error
    finally:
        engine.dispose()
