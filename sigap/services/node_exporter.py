"""Prometheus' node exporter as a service: the figures of this machine."""

from __future__ import annotations

from sigap.services.installed import LOOPBACK, NODE_EXPORTER
from sigap.services.service import Service
from sigap.settings import Settings


def node_exporter_service(settings: Settings) -> Service | str:
    """Node exporter; an empty text where it is not installed."""
    program = NODE_EXPORTER.path
    if program is None:
        return ""
    address = f"http://{LOOPBACK}:{settings.node_exporter_port}"
    return Service(
        name="node_exporter",
        command=[
            program,
            f"--web.listen-address={LOOPBACK}:{settings.node_exporter_port}",
            "--web.disable-exporter-metrics",
            # On in Debian's build; it complains at every look where there is no systemd.
            "--no-collector.systemd",
            "--log.level=warn",
        ],
        log=settings.state / "logs" / "node_exporter.log",
        host=LOOPBACK,
        port=settings.node_exporter_port,
        port_setting="SIGAP_NODE_EXPORTER_PORT",
        address=address,
        ready_url=f"{address}/",
    )
