"""Prometheus as a service, with the configuration and the rules of `deploy/prometheus`."""

from __future__ import annotations

from typing import Any

import yaml

from sigap.keys import alert_credentials
from sigap.services.alertmanager import alertmanager_service
from sigap.services.installed import DEPLOY, LOOPBACK, NODE_EXPORTER, PROMETHEUS, api_target
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
    folder = settings.state / "prometheus"
    address = f"http://{LOOPBACK}:{settings.prometheus_port}"

    def prepare() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration(settings), sort_keys=False))

    return Service(
        name="prometheus",
        command=[
            program,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--storage.tsdb.retention.time={RETENTION_TIME}",
            f"--storage.tsdb.retention.size={RETENTION_SIZE}",
            f"--web.listen-address={LOOPBACK}:{settings.prometheus_port}",
            # In alerts, instead of the machine's name.
            f"--web.external-url={address}/",
            "--log.level=warn",
        ],
        log=settings.state / "logs" / "prometheus.log",
        host=LOOPBACK,
        port=settings.prometheus_port,
        port_setting="SIGAP_PROMETHEUS_PORT",
        address=address,
        ready_url=f"{address}/-/ready",
        prepare=prepare,
    )


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
