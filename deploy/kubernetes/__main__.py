"""`python -m deploy.kubernetes`: makes the secrets of the minikube overlay, random ones, for this checkout alone.

With Python's own library, so that it runs wherever the repository is. What is there stays: a database keeps the
password that it was made with.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from pathlib import Path

SECRETS = Path(__file__).parent / "overlays" / "minikube" / "secrets"


def values() -> dict[str, dict[str, str]]:
    """Every secret with its keys; those that have to agree do."""
    password, mlflow_key, mlflow_secret = (secrets.token_urlsafe(24) for _ in range(3))
    dashboard, operator = (f"sigap_{secrets.token_urlsafe(32)}" for _ in range(2))
    server = f"postgresql://sigap:{password}@postgres:5432"
    return {
        "postgres": {"POSTGRES_USER": "sigap", "POSTGRES_PASSWORD": password},
        "sigap-database": {"DATABASE_URL": f"{server}/sigap"},
        "sigap-mlflow": {"MLFLOW_BACKEND_STORE_URI": f"{server}/mlflow"},
        "minio": {"MINIO_ROOT_USER": mlflow_key, "MINIO_ROOT_PASSWORD": mlflow_secret},
        "sigap-object-store": {"AWS_ACCESS_KEY_ID": mlflow_key, "AWS_SECRET_ACCESS_KEY": mlflow_secret},
        "sigap-api": {
            "SECRET_KEY": secrets.token_urlsafe(48),
            "SIGAP_API_KEYS": f"dashboard:predict:{dashboard},operator:predict+admin:{operator}",
            "SIGAP_ALERT_KEY": f"sigap_{secrets.token_urlsafe(32)}",
        },
        "sigap-dashboard": {"SIGAP_DASHBOARD_KEY": dashboard},
        "sigap-mage": {
            "SIGAP_MAGE_PASSWORD": secrets.token_urlsafe(24),
            "SIGAP_MAGE_JWT": secrets.token_urlsafe(48),
        },
    }


def write(folder: Path) -> list[Path]:
    """Writes a file a secret, readable by its owner only.

    Returns:
        The files.

    Raises:
        FileExistsError: There are some already; nothing was written.
    """
    made = values()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if there := sorted(path.name for path in folder.iterdir() if path.suffix == ".env"):
        raise FileExistsError(f"{folder} holds {', '.join(there)} already.")
    written = []
    for name, pairs in made.items():
        path = folder / f"{name}.env"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.writelines(f"{key}={value}\n" for key, value in pairs.items())
        written.append(path)
    return written


def main() -> None:
    """Writes them and says where."""
    argparse.ArgumentParser(
        prog="python -m deploy.kubernetes",
        description=f"Makes the secrets of the minikube overlay, random ones, in {SECRETS}. What is there stays.",
    ).parse_args()
    try:
        written = write(SECRETS)
    except FileExistsError as error:
        sys.exit(
            f"Error: {error} Nothing was changed. Databases keep the passwords that they were made with: remove these "
            "files only with the cluster."
        )
    except OSError as error:
        sys.exit(f"Error: the secrets can't be written: {error}.")
    sys.stdout.write(f"{len(written)} secrets are in {SECRETS}; Git ignores them.\n")


if __name__ == "__main__":
    main()
