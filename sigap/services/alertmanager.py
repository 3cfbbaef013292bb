"""Alertmanager as a service, with the configuration of `deploy/alertmanager`: it tells the API of alarms."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml
from pydantic import SecretStr

from sigap.errors import ConfigurationError
from sigap.services.installed import ALERTMANAGER, DEPLOY, LOOPBACK, api_target
from sigap.services.service import Service
from sigap.settings import Settings

CONFIG = DEPLOY / "alertmanager" / "alertmanager.yml"
KEY_FILE = Path("alertmanager") / "key"
"""Within the state folder: what Alertmanager shows the API."""
RETENTION = "120h"
_SECRET = "alert_key"  # noqa: S105 - its name, not itself


def alertmanager_service(settings: Settings) -> Service | str:
    """Alertmanager; in a line why there is none, empty where it is not installed."""
    program = ALERTMANAGER.path
    if program is None:
        return ""
    made = settings.environment == "development" or (settings.state / "secrets" / _SECRET).exists()
    if not made and _given(settings) is None:
        return f"Left out: alertmanager, for production needs a key in {settings.state / 'secrets' / _SECRET}."
    folder = settings.state / "alertmanager"
    address = f"http://{LOOPBACK}:{settings.alertmanager_port}"

    def prepare() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        write_key(settings)
        (folder / "alertmanager.yml").write_text(yaml.safe_dump(configuration(settings), sort_keys=False))

    return Service(
        name="alertmanager",
        command=[
            program,
            f"--config.file={folder / 'alertmanager.yml'}",
            f"--storage.path={folder / 'data'}",
            f"--data.retention={RETENTION}",
            f"--web.listen-address={LOOPBACK}:{settings.alertmanager_port}",
            f"--web.external-url={address}/",
            # Alone: it neither looks for others nor listens to them.
            "--cluster.listen-address=",
            "--log.level=warn",
        ],
        log=settings.state / "logs" / "alertmanager.log",
        host=LOOPBACK,
        port=settings.alertmanager_port,
        port_setting="SIGAP_ALERTMANAGER_PORT",
        address=address,
        ready_url=f"{address}/-/ready",
        prepare=prepare,
    )


def configuration(settings: Settings) -> dict[str, Any]:
    """What `deploy/alertmanager/alertmanager.yml` says, with this machine's API and key in the place of its own."""
    config: dict[str, Any] = yaml.safe_load(CONFIG.read_text())
    scheme, api = api_target(settings)
    for receiver in config["receivers"]:
        for hook in receiver.get("webhook_configs", ()):
            hook["url"] = f"{scheme}://{api}/alerts"
            hook["http_config"]["authorization"]["credentials_file"] = str(settings.state / KEY_FILE)
    return config


def write_key(settings: Settings) -> None:
    """Puts the key where Alertmanager reads it, for this account alone.

    Raises:
        ConfigurationError: In production it is given, and was not.
    """
    path = settings.state / KEY_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    key = _given(settings) or settings.secret(_SECRET)
    if not key:
        raise ConfigurationError(f"The key in {settings.state / 'secrets' / _SECRET} is empty.")
    draft = path.with_suffix(".part")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(key)
    draft.replace(path)


def _given(settings: Settings) -> str | None:
    given: SecretStr | None = getattr(settings, "alert_key", None)
    return given.get_secret_value() if given is not None else None
