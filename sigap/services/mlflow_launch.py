"""Starts MLflow's server in one process: `python -m sigap.services.mlflow_launch --port 5000 …`.

`mlflow server` imports all of MLflow, then starts uvicorn, which imports it again: twice the time and twice the
memory. This does what that command does, in the process that serves.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any


def main() -> None:
    """Prepare the store (tables are created or migrated), then serve until a signal ends it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5000)
    # By MLflow's own variables too: a database's password does not belong into a list of processes.
    parser.add_argument("--database", **_given("MLFLOW_BACKEND_STORE_URI"), help="SQLite file, or postgresql://…")
    parser.add_argument("--artifacts", **_given("MLFLOW_ARTIFACTS_DESTINATION"), help="Folder, or s3://bucket/prefix.")
    options = parser.parse_args()
    # A compose file hands on what nobody set as an empty text, which boto3 takes for an address.
    if not os.environ.get("MLFLOW_S3_ENDPOINT_URL"):
        os.environ.pop("MLFLOW_S3_ENDPOINT_URL", None)

    from mlflow.server import constants

    store = _database(options.database)
    destination = options.artifacts if "://" in options.artifacts else str(Path(options.artifacts).resolve())
    artifact_root = "mlflow-artifacts:/"
    # The variables by which `mlflow server` tells its workers.
    os.environ |= {
        constants.BACKEND_STORE_URI_ENV_VAR: store,
        constants.REGISTRY_STORE_URI_ENV_VAR: store,
        constants.ARTIFACT_ROOT_ENV_VAR: artifact_root,
        constants.ARTIFACTS_DESTINATION_ENV_VAR: destination,
        constants.SERVE_ARTIFACTS_ENV_VAR: "true",
        "_MLFLOW_SGI_NAME": "uvicorn",
    }
    import mlflow.server
    import uvicorn
    from mlflow.server.fastapi_app import app
    from mlflow.server.handlers import initialize_backend_stores

    initialize_backend_stores(store, store, artifact_root)
    log_config = Path(mlflow.server.__file__).with_name("uvicorn_log_config.yaml")
    uvicorn.run(app, host=options.host, port=options.port, log_config=str(log_config), timeout_graceful_shutdown=3)


def _given(variable: str) -> dict[str, Any]:
    value = os.environ.get(variable)
    return {"default": value} if value else {"required": True}


def _database(given: str) -> str:
    """What SQLAlchemy calls the database that a file's path, or PostgreSQL's own kind of URL, names."""
    if "://" not in given:
        return f"sqlite:///{Path(given).resolve()}"
    scheme, _, rest = given.partition("://")
    return f"postgresql+psycopg://{rest}" if scheme in ("postgres", "postgresql") else given


if __name__ == "__main__":
    main()
