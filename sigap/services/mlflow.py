"""The MLflow server: SQLite in the state folder, artefacts there or in an object store, served through its proxy.

Whoever reads or writes an artefact asks the server for it, so that nobody else needs the object store's key.
"""

from __future__ import annotations

import sys

from sigap.data.object_store import mlflow_environment
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
            *("--database", str(store / "mlflow.db"), "--artifacts", settings.artifacts),
        ],
        env=environment(settings)
        | mlflow_environment(settings)
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
