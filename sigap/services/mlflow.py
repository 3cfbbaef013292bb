"""The MLflow server: SQLite and artefacts in the state folder, artefacts served through its proxy."""

from __future__ import annotations

import sys

from sigap.services.service import Service, environment
from sigap.settings import Settings


def mlflow_service(settings: Settings) -> Service:
    """The MLflow server that Sigap starts, one process."""
    store = settings.state / "mlflow"
    return Service(
        name="mlflow",
        command=[
            sys.executable,
            *("-m", "sigap.services.mlflow_launch"),
            *("--host", settings.host, "--port", str(settings.mlflow_port)),
            *("--database", str(store / "mlflow.db"), "--artifacts", str(store / "artifacts")),
        ],
        env=environment(settings)
        | {
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
            # Meant for clients; the server would take it for its own store.
            "MLFLOW_TRACKING_URI": "",
        },
        log=settings.state / "logs" / "mlflow.log",
        host=settings.host,
        port=settings.mlflow_port,
        port_setting="SIGAP_MLFLOW_PORT",
        address=settings.tracking_uri,
        ready_url=f"{settings.tracking_uri}/health",
        prepare=lambda: store.mkdir(parents=True, exist_ok=True),
        start_seconds=120,
        store=True,
    )
