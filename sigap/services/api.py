"""The prediction API as a service."""

from __future__ import annotations

import sys

from sigap.services.service import Service, environment
from sigap.settings import Settings


def api_service(settings: Settings) -> Service:
    """The API; alive counts as ready, since it also serves (and says so) before there is a champion."""
    address = f"http://{settings.host}:{settings.api_port}"
    # Uvicorn's parent takes the place of a worker that dies, and ends all of them with itself.
    workers = ["--workers", str(settings.api_workers)] if settings.api_workers > 1 else []
    return Service(
        name="api",
        command=[
            sys.executable,
            *("-m", "uvicorn", "backend.app:app"),
            *("--host", settings.host, "--port", str(settings.api_port)),
            *("--no-server-header", "--timeout-graceful-shutdown", "5"),
            *workers,
        ],
        env=environment(settings),
        log=settings.state / "logs" / "api.log",
        host=settings.host,
        port=settings.api_port,
        port_setting="SIGAP_API_PORT",
        address=address,
        ready_url=f"{address}/health/live",
    )
