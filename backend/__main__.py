"""`python -m backend`: the API behind uvicorn, with connections that don't wait without end."""

from __future__ import annotations

import argparse
import sys

from backend.lean import uvicorn
from sigap.errors import SigapError
from sigap.logs import configuration
from sigap.production import require_secrets
from sigap.settings import get_settings

GRACE_SECONDS = 5


def main() -> None:
    """Serves until asked to stop; a setting that can't be used is told without a traceback."""
    try:
        settings = get_settings()
        options = argparse.ArgumentParser(prog="python -m backend", description=__doc__)
        options.add_argument("--host", default=settings.host)
        options.add_argument("--port", type=int, default=settings.api_port)
        options.add_argument("--workers", type=int, default=settings.api_workers)
        # Off: a line a request costs half as much as its answer; metrics and the prediction log say more.
        options.add_argument("--access-log", action=argparse.BooleanOptionalAction, default=False)
        given = options.parse_args()
        # Here too, before any worker: uvicorn would start a worker that ends with an error again and again.
        require_secrets(settings)
        uvicorn.run(
            "backend.app:app",
            host=given.host,
            port=given.port,
            workers=given.workers,
            access_log=given.access_log,
            http="backend.security.connection:Connection",
            server_header=False,
            log_config=configuration(settings.log_format),
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
    except SigapError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
