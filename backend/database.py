"""A question to PostgreSQL that a client waits for: bounded in time, and a problem when there is no answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from backend.prediction_log import CONNECT_SECONDS, PredictionLog
from backend.problems import RequestError
from sigap.settings import Settings

if TYPE_CHECKING:
    from psycopg import AsyncConnection

log = logging.getLogger("sigap.api")

# What was found, and what to do about it, as a problem.
Away = Callable[[str, str], RequestError]


def away(kind: str, title: str) -> Away:
    """Makes the 503 of a kind of question."""

    def problem(found: str, remedy: str) -> RequestError:
        return RequestError(503, kind, title, found, remedy=remedy, headers={"retry-after": "5"})

    return problem


@asynccontextmanager
async def asking(
    settings: Settings, kept: PredictionLog, problem: Away, seconds: float
) -> AsyncIterator[AsyncConnection[Any]]:
    """A connection whose transaction is committed at the end of the block.

    Args:
        settings: Where the database is.
        kept: Knows whether there is one.
        problem: Makes the problem that is raised where there is none, or it does not answer.
        seconds: Longest time of the block.

    Raises:
        RequestError: 503, as `problem` makes it.
    """
    if not kept.enabled:
        raise problem("Predictions are not kept here.", "Set DATABASE_URL, and SIGAP_PREDICTION_LOG to true.")
    # Here, not above: an API without a database needs no driver.
    from psycopg import AsyncConnection
    from psycopg.errors import UndefinedColumn, UndefinedTable

    try:
        async with (
            asyncio.timeout(seconds),
            await AsyncConnection.connect(
                settings.dsn, connect_timeout=CONNECT_SECONDS, application_name="sigap-api"
            ) as connection,
        ):
            yield connection
    except RequestError:
        raise
    except (UndefinedTable, UndefinedColumn) as error:
        raise problem("PostgreSQL lacks the tables for it.", "`./run` makes them when it starts.") from error
    except Exception as error:  # a driver's errors and the time-out mean the same here
        log.warning("%s: %s", problem("", "").title, type(error).__name__)
        raise problem("PostgreSQL does not answer.", "`./run status` shows whether it runs.") from error
