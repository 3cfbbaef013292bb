"""Alertmanager as a service, with the configuration of `deploy/alertmanager`: it tells the API of alarms."""

from __future__ import annotations

from typing import Any

import yaml

from sigap.keys import alert_credentials
from sigap.services.installed import ALERTMANAGER, DEPLOY, LOOPBACK, api_target, beside, configuration_file
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
    name, port = "alertmanager", settings.alertmanager_port
    command = [
        program,
        f"--config.file={configuration_file(settings, name)}",
        f"--storage.path={configuration_file(settings, name).parent / 'data'}",
        f"--data.retention={RETENTION}",
        f"--web.external-url=http://{LOOPBACK}:{port}/",
        # Alone: it neither looks for others nor listens to them.
        "--cluster.listen-address=",
    ]
    return beside(settings, name, port, command, config=configuration)


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
