"""Mage: its page and its scheduler, as a service that Sigap starts.

`python -m sigap.services.mage` becomes Mage's server, with the settings of this process: where something else watches
over it, as in a container.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from sigap.errors import SigapError
from sigap.mage_access import JWT, PASSWORD
from sigap.mage_access import OWNER as OWNER
from sigap.production import require_secrets
from sigap.services.service import Service, environment
from sigap.settings import Settings, get_settings

_CODE = Path(__file__).resolve().parents[2]


def mage_service(settings: Settings) -> Service:
    """Mage with the project `mage_project/` of the checkout, its state in the state folder."""
    return Service(
        name="mage",
        command=[sys.executable, "-m", "sigap.services.mage_launch", settings.host, str(settings.mage_port)],
        log=settings.state / "logs" / "mage.log",
        port=settings.mage_port,
        address=settings.mage_address,
        env=_environment(settings),
        ready_url=f"{settings.mage_address}/api/status",
        host=settings.host,
        port_setting="SIGAP_MAGE_PORT",
        cwd=settings.root,
        prepare=lambda: (settings.state / "mage").mkdir(parents=True, exist_ok=True),
    )


def _environment(settings: Settings) -> dict[str, str]:
    return environment(settings) | {
        # The project is found by its path, so the code of Sigap has to be found by the environment.
        "PYTHONPATH": str(_CODE),
        # In the environment and no argument, because Mage opens its database as soon as it is imported.
        "MAGE_REPO_PATH": str(settings.root / "mage_project"),
        "MAGE_DATA_DIR": str(settings.state / "mage"),
        "REQUIRE_USER_AUTHENTICATION": "1",
        "DEFAULT_OWNER_EMAIL": OWNER,
        "DEFAULT_OWNER_USERNAME": OWNER.partition("@")[0],
        "DEFAULT_OWNER_PASSWORD": settings.secret(PASSWORD),
        # Mage's own default is a public constant, with which anybody could sign a session.
        "JWT_SECRET": settings.secret(JWT),
        "DISABLE_TERMINAL": "1",
        # A disabled terminal still starts its shell for whoever connects: let it be one that ends at once.
        "SHELL_COMMAND": "true",
        # Blocks are edited in Git, not in the page, which would rewrite the project's files.
        "DISABLE_NOTEBOOK_EDIT_ACCESS": "1",
        "DISABLE_AUTO_BROWSER_OPEN": "1",
        "ENABLE_OPEN_AI": "0",
        "ENABLE_HUGGING_FACE": "0",
        # One layer of blocks a tick: at the default of 10 s a run would mostly wait.
        "SCHEDULER_TRIGGER_INTERVAL": "1",
        # At `info` the scheduler writes a line every tick for ever.
        "SERVER_VERBOSITY": "warning",
        "PYTHONUNBUFFERED": "1",
    }


def main() -> None:
    """Becomes Mage's server.

    Raises:
        SystemExit: A setting can't be used, or a secret that production needs is missing.
    """
    try:
        settings = get_settings()
        require_secrets(settings)
        service = mage_service(settings)
    except SigapError as error:
        sys.exit(f"Error: {error}")
    if service.prepare is not None:
        service.prepare()
    os.chdir(settings.root)
    os.execve(service.command[0], service.command, os.environ | service.env)  # noqa: S606 - becomes the program


if __name__ == "__main__":
    main()
