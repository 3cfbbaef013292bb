"""Logins for BI tools: they read the views of the schema `analytics` and nothing else of Sigap's.

The group role `sigap_analyst` holds the rights; it can't log in. A login is a member of it, with limits of its own.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

from psycopg import sql

from sigap.data.postgres import Connection, connect, migrate, translated
from sigap.errors import ServiceError, SigapError
from sigap.settings import Settings

GROUP = "sigap_analyst"
SCHEMA = "analytics"
CONNECTIONS = 10
"""Most connections of one login: a BI tool's pool, and no more."""
LONGEST_SECONDS = 3600
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_RIGHTS = (
    sql.SQL("GRANT USAGE ON SCHEMA {schema} TO {group}"),
    sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {group}"),
)


class AnalystError(SigapError):
    """A login can't be made or dropped."""


@dataclass(frozen=True)
class Analyst:
    """A login that may read the views.

    Attributes:
        name: Of the role.
        limits: What is set for its sessions: `statement_timeout=60s` and so on.
    """

    name: str
    limits: tuple[str, ...]


def create_analyst(settings: Settings, name: str, seconds: int = 60) -> str:
    """Makes a login that reads the views, and returns its password: the only time that it is seen.

    Args:
        settings: Whose database.
        name: Of the role: small letters, digits and underscores.
        seconds: Longest that one of its statements may take, 1 to 3600.

    Raises:
        AnalystError: The name can't be used or is taken, or the time is not one.
        ServiceError: The server can't be reached, or our user may not make roles.
    """
    if not _NAME.fullmatch(name) or name == GROUP or name.startswith("pg_"):
        raise AnalystError(
            f"{name[:60]!r} can't be the name of an analyst.",
            remedy="Use up to 40 small letters, digits and underscores, a letter first, such as superset.",
        )
    if not 1 <= seconds <= LONGEST_SECONDS:
        raise AnalystError(f"{seconds} seconds is no limit for a statement: expected 1 to {LONGEST_SECONDS}.")
    migrate(settings)
    password = secrets.token_urlsafe(24)
    role = sql.Identifier(name)
    with connect(settings) as connection, translated(settings, f"Making the login {name}"):
        _require_right(connection)
        if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone():
            raise AnalystError(
                f"There is a role named {name!r} on this server already.",
                remedy=f"Choose another name, or `./run analyst drop {name}` first if it is an analyst's.",
            )
        _grant(connection)
        # Only a hash goes to the server, which may write statements into its log.
        kept = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
        connection.execute(
            sql.SQL(
                "CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION INHERIT"
                " CONNECTION LIMIT {} PASSWORD {} IN ROLE {}"
            ).format(role, CONNECTIONS, kept, sql.Identifier(GROUP))
        )
        for setting, value in (
            ("default_transaction_read_only", "on"),
            ("statement_timeout", f"{seconds}s"),
            ("idle_in_transaction_session_timeout", "60s"),
            ("search_path", SCHEMA),
        ):
            connection.execute(sql.SQL("ALTER ROLE {} SET {} = {}").format(role, sql.Identifier(setting), value))
    return password


def analysts(settings: Settings) -> list[Analyst]:
    """The logins that may read the views, by name.

    Raises:
        ServiceError: The server can't be reached.
    """
    with connect(settings, read_only=True) as connection, translated(settings, "Listing the analysts"):
        rows = connection.execute(
            "SELECT r.rolname, COALESCE(s.setconfig, '{}') FROM pg_auth_members AS m"
            " JOIN pg_roles AS g ON g.oid = m.roleid JOIN pg_roles AS r ON r.oid = m.member"
            " LEFT JOIN pg_db_role_setting AS s ON s.setrole = r.oid AND s.setdatabase = 0"
            " WHERE g.rolname = %s AND r.rolcanlogin AND NOT r.rolcreaterole AND NOT r.rolsuper ORDER BY 1",
            [GROUP],
        ).fetchall()
    return [Analyst(str(name), tuple(map(str, limits))) for name, limits in rows]


def drop_analyst(settings: Settings, name: str) -> None:
    """Drops a login; its open sessions are ended.

    Raises:
        AnalystError: There is no such analyst.
        ServiceError: The server can't be reached, or our user may not drop it.
    """
    if name not in {each.name for each in analysts(settings)}:
        raise AnalystError(f"There is no analyst named {name[:60]!r}.", remedy="`./run analyst list` shows all.")
    with connect(settings) as connection, translated(settings, f"Dropping the login {name}"):
        _require_right(connection)
        role = sql.Identifier(name)
        connection.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(role))
        connection.commit()
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [name])
        connection.execute(sql.SQL("DROP ROLE {}").format(role))


def _require_right(connection: Connection) -> None:
    found = connection.execute(
        "SELECT current_user, rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user"
    ).fetchone()
    if found is not None and not found[1]:
        raise ServiceError(
            f"The user {found[0]!r} of DATABASE_URL may not make roles.",
            remedy=f"Have an administrator of the server run `ALTER ROLE {found[0]} CREATEROLE`, or set DATABASE_URL "
            "for this one command to a user who may and who owns Sigap's tables or is a member of their owner.",
        )


def _grant(connection: Connection) -> None:
    if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [GROUP]).fetchone():
        connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(GROUP)))
    for statement in _RIGHTS:
        connection.execute(statement.format(schema=sql.Identifier(SCHEMA), group=sql.Identifier(GROUP)))
