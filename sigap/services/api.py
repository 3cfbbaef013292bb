"""The prediction API as a service."""

from __future__ import annotations

import sys

from sigap.keys import alert_credentials
from sigap.services.service import Service, environment
from sigap.settings import Settings


def api_service(settings: Settings) -> Service:
    """The API; alive counts as ready, since it also serves (and says so) before there is a champion."""
    address = f"http://{settings.host}:{settings.api_port}"
    return Service(
        name="api",
        command=[
            sys.executable,
            *("-m", "backend"),
            *("--host", settings.host, "--port", str(settings.api_port)),
            *("--workers", str(settings.api_workers)),
        ],
        env=environment(settings),
        log=settings.state / "logs" / "api.log",
        prepare=lambda: _make_alert_key(settings),
        host=settings.host,
        port=settings.api_port,
        port_setting="SIGAP_API_PORT",
        address=address,
        ready_url=f"{address}/health/live",
    )


def _make_alert_key(settings: Settings) -> None:
    # In production nothing is made up: without the setting, nobody sends alerts, or by a key of `./run key create`.
    if settings.environment == "development" or settings.alert_key is not None:
        alert_credentials(settings)
