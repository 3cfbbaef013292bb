"""Alembic's entry: online only, over the connection that `sigap.data.postgres.migrate` hands in."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, NullPool, create_engine, text

from sigap.data.postgres import SCHEMA_LOCK, compatibility, connect
from sigap.settings import get_settings


def run(connection: Connection) -> None:
    """Applies what is missing in one transaction; two starts at once wait for each other."""
    context.configure(connection=connection, transactional_ddl=True)
    with context.begin_transaction():
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": SCHEMA_LOCK})
        context.run_migrations()
        # For a former Sigap that is put back: whether it runs on this schema.
        connection.execute(text(f"COMMENT ON TABLE alembic_version IS '{compatibility()}'"))


if (given := context.config.attributes.get("connection")) is not None:
    run(given)
    given.commit()
else:
    engine = create_engine("postgresql+psycopg://", creator=lambda: connect(get_settings()), poolclass=NullPool)
    with engine.begin() as own:
        run(own)
