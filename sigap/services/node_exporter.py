"""Prometheus' node exporter as a service: the figures of this machine."""

from __future__ import annotations

from sigap.services.installed import NODE_EXPORTER, beside
from sigap.services.service import Service
from sigap.settings import Settings


def node_exporter_service(settings: Settings) -> Service | str:
    """Node exporter; an empty text where it is not installed."""
    program = NODE_EXPORTER.path
    if program is None:
        return ""
    command = [
        program,
        "--web.disable-exporter-metrics",
        # On in Debian's build; it complains at every look where there is no systemd.
        "--no-collector.systemd",
    ]
    return beside(settings, "node_exporter", settings.node_exporter_port, command, ready="/")
