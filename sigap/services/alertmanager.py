"""Alertmanager as a service, with the configuration of `deploy/alertmanager`: it tells the API of alarms."""

from __future__ import annotations

from typing import Any

import yaml

from sigap.keys import alert_credentials
from sigap.services.installed import ALERTMANAGER, DEPLOY, LOOPBACK, api_target
from sigap.services.service import Service
from sigap.settings import Settings

CONFIG = DEPLOY / "alertmanager" / "alertmanager.yml"
RETENTION = "120h"


def alertmanager_service(settings: Settings) -> Service | str:
    """Alertmanager; in a line why there is none, empty where it is not installed."""
    program = ALERTMANAGER.path
    if program is None:
        return ""
    if settings.environment == "production" and settings.alert_key is None:
        return "Left out: alertmanager, for production needs SIGAP_ALERT_KEY."
    folder = settings.state / "alertmanager"
    address = f"http://{LOOPBACK}:{settings.alertmanager_port}"

    def prepare() -> None:
        folder.mkdir(parents=True, exist_ok=True)
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
    """What `deploy/alertmanager/alertmanager.yml` says, with this machine's API and key in the place of its own.

    Raises:
        ConfigurationError: The key has to be given, and was not.
    """
    config: dict[str, Any] = yaml.safe_load(CONFIG.read_text())
    scheme, api = api_target(settings)
    for receiver in config["receivers"]:
        for hook in receiver.get("webhook_configs", ()):
            hook["url"] = f"{scheme}://{api}/alerts"
            hook["http_config"]["authorization"]["credentials_file"] = str(alert_credentials(settings))
    return config
