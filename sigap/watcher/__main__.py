"""The watcher: `python -m sigap.watcher`, until a signal ends it."""

from __future__ import annotations

import logging
import time

import psycopg

from sigap.catalog import declarations, named
from sigap.data.postgres import Connection
from sigap.errors import PipelineError, ServiceError, SigapError
from sigap.logs import set_up
from sigap.retrains import Ask, request
from sigap.settings import Settings, get_settings
from sigap.watcher.champions import ChampionSensor
from sigap.watcher.changes import ChangeSensor
from sigap.watcher.mage import Mage
from sigap.watcher.runs import RunKeeper

log = logging.getLogger("sigap.watcher")

_AGAIN_SECONDS = 60.0
"""How soon a request is made again that was decided already."""


class Watcher:
    """Looks at runs, tables and champions in turn.

    Args:
        settings: What is watched, and how often.

    Raises:
        UnknownModelError: The setting `retrain_on_change` names a model that there is not.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._mage = Mage(settings)
        self._sensor = ChangeSensor(named(settings.retrain_on_change))
        names = frozenset(model.name for model in declarations())
        self._runs = RunKeeper(settings, self._mage, names)
        self._champions = ChampionSensor(self._mage, names)
        self._connection: Connection | None = None
        self._known: dict[str, float] = {}
        self._fault = ""

    def close(self) -> None:
        """Lets the connections go."""
        self._disconnect()
        self._mage.close()

    def look(self) -> None:
        """Looks once. No fault ends the watcher; each is told when it begins."""
        try:
            connection = self._connected()
            busy = self._runs.look(connection)
            for ask in self._sensor.look(connection, busy):
                self._ask(ask)
            self._champions.look(connection, busy)
        except (PipelineError, ServiceError) as error:
            self._told(error.message)
        except psycopg.Error as error:
            self._disconnect()
            # libpq's own messages may quote the URL.
            self._told(f"PostgreSQL does not answer as expected ({type(error).__name__}).")
        except Exception as error:
            self._disconnect()
            if f"{type(error).__name__}: {error}" != self._fault:
                log.exception("Something unforeseen happened; it is tried again.")
            self._fault = f"{type(error).__name__}: {error}"
        else:
            self._told("")

    def _ask(self, ask: Ask) -> None:
        now = time.monotonic()
        self._known = {known: until for known, until in self._known.items() if until > now}
        if ask.fingerprint in self._known:
            return
        if request(self._settings, ask, self._mage).known:
            self._known[ask.fingerprint] = now + _AGAIN_SECONDS

    def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            # Asked of a database that was never started, the settings would make up its password.
            if not self._settings.has_database:
                raise ServiceError("No database was started yet.")
            self._connection = psycopg.connect(
                self._settings.dsn, connect_timeout=5, application_name="sigap-watcher", autocommit=True
            )
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _told(self, fault: str) -> None:
        if fault != self._fault:
            if fault:
                log.warning("%s It is tried again.", fault)
            else:
                log.info("All is seen again.")
        self._fault = fault


def main() -> None:
    """Looks again and again."""
    try:
        settings = get_settings()
    except SigapError as error:
        raise SystemExit(str(error)) from None
    set_up(settings.log_format, whole=True)
    try:
        watcher = Watcher(settings)
    except SigapError as error:
        log.critical("%s", error)
        raise SystemExit(1) from None
    log.info("Watching runs, and changes of the tables of: %s.", settings.retrain_on_change)
    while True:
        watcher.look()
        time.sleep(settings.sensor_seconds)


if __name__ == "__main__":
    main()
