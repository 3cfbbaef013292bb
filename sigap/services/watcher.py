"""The watcher as a service: it starts the pipelines of changed tables and looks after runs that nobody follows."""

from __future__ import annotations

import sys

from sigap.services.service import Service, environment
from sigap.settings import Settings


def watcher_service(settings: Settings) -> Service:
    """The watcher; it listens on no port, so it is ready as soon as it runs."""
    return Service(
        name="watcher",
        command=[sys.executable, "-m", "sigap.watcher"],
        env=environment(settings),
        log=settings.state / "logs" / "watcher.log",
        port=0,
        address="",
        cwd=settings.root,
    )
