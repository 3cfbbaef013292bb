"""Prometheus as a service, with the configuration and the rules of `deploy/prometheus`."""

from __future__ import annotations

from typing import Any

import yaml

from sigap.keys import alert_credentials
from sigap.services.alertmanager import alertmanager_service
from sigap.services.installed import (
    DEPLOY,
    LOOPBACK,
    NODE_EXPORTER,
    PROMETHEUS,
    api_target,
    beside,
    configuration_file,
)
from sigap.services.service import Service
from sigap.settings import Settings

CONFIG = DEPLOY / "prometheus" / "prometheus.yml"
RETENTION_TIME = "30d"
RETENTION_SIZE = "1GB"


def prometheus_service(settings: Settings) -> Service | str:
    """Prometheus; an empty text where it is not installed."""
    program = PROMETHEUS.path
    if program is None:
        return ""
    name, port = "prometheus", settings.prometheus_port
    command = [
        program,
        f"--config.file={configuration_file(settings, name)}",
        f"--storage.tsdb.path={configuration_file(settings, name).parent / 'data'}",
        f"--storage.tsdb.retention.time={RETENTION_TIME}",
        f"--storage.tsdb.retention.size={RETENTION_SIZE}",
        # In alerts, instead of the machine's name.
        f"--web.external-url=http://{LOOPBACK}:{port}/",
    ]
    return beside(settings, name, port, command, config=configuration)


def configuration(settings: Settings) -> dict[str, Any]:
    """What `deploy/prometheus/prometheus.yml` says, with this machine's addresses in the place of its own."""
    config: dict[str, Any] = yaml.safe_load(CONFIG.read_text())
    config["rule_files"] = [str(CONFIG.parent / pattern) for pattern in config["rule_files"]]
    scheme, api = api_target(settings)
    targets = {"sigap-api": api, "prometheus": f"{LOOPBACK}:{settings.prometheus_port}"}
    if isinstance(alertmanager_service(settings), Service):
        targets["alertmanager"] = f"{LOOPBACK}:{settings.alertmanager_port}"
    if NODE_EXPORTER.path is not None:
        targets["node"] = f"{LOOPBACK}:{settings.node_exporter_port}"
    config["scrape_configs"] = [
        job | {"static_configs": [{"targets": [targets[job["job_name"]]]}]}
        for job in config["scrape_configs"]
        if job["job_name"] in targets
    ]
    for job in config["scrape_configs"]:
        if job["job_name"] == "sigap-api":
            job["scheme"] = scheme
            if settings.protected == "all" and "alertmanager" in targets:
                job["authorization"] = {"type": "Bearer", "credentials_file": str(alert_credentials(settings))}
    if "alertmanager" in targets:
        config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [targets["alertmanager"]]}]}]}
    else:
        del config["alerting"]
    return config
