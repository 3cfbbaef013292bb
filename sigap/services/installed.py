"""Programs that Sigap uses where somebody installed them, and does without where nobody did."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from sigap.services.service import Service, free_port, port_holder, port_is_free
from sigap.settings import ROOT, Settings

DEPLOY = ROOT / "deploy"
LOOPBACK = "127.0.0.1"
"""Where they listen, whatever the setting `host` says: none of them asks who is there."""


@dataclass(frozen=True)
class Program:
    """A program, where it comes from, and what is missing without it.

    Attributes:
        names: What it may be called, the usual name first.
        package: Debian's package.
        without: What there isn't without it, as the end of a sentence.
    """

    names: tuple[str, ...]
    package: str
    without: str

    @property
    def path(self) -> str | None:
        """Where it is; None where it is not installed."""
        return next(filter(None, map(shutil.which, self.names)), None)


PROMETHEUS = Program(("prometheus",), "prometheus", "figures older than 15 minutes, alarms and retrains by alarm")
ALERTMANAGER = Program(
    ("prometheus-alertmanager", "alertmanager"), "prometheus-alertmanager", "retrains by alarm, alarms that are sent"
)
NODE_EXPORTER = Program(
    ("prometheus-node-exporter", "node_exporter"), "prometheus-node-exporter", "figures of the machine"
)


def missing() -> str:
    """What is not installed and what that means, in a line; empty when everything is."""
    lacking = [each for each in (PROMETHEUS, ALERTMANAGER, NODE_EXPORTER) if each.path is None]
    if not lacking:
        return ""
    # Without Prometheus nobody asks the others.
    meant = lacking[0].without if PROMETHEUS in lacking else ", ".join(each.without for each in lacking)
    names = ", ".join(each.names[-1].replace("_", " ") for each in lacking)
    packages = " ".join(each.package for each in lacking)
    return f"Not installed: {names}. There are no {meant}. Debian: apt-get install {packages}"


def startable(services: Iterable[Service | str]) -> tuple[list[Service], list[str]]:
    """Those that can have their port, and in a line each why the others are left out."""
    able: list[Service] = []
    lines = [line] if (line := missing()) else []
    for service in services:
        if isinstance(service, str):
            lines += [service] if service else []
        elif port_is_free(service.host, service.port):
            able.append(service)
        else:
            free = free_port(service.host, service.port + 1)
            lines.append(
                f"Left out: {service.name}, for port {service.port} is used by {port_holder(service.port)}. "
                f"{service.port_setting}={free} ./run gives it another."
            )
    return able, lines


def beside(
    settings: Settings,
    name: str,
    port: int,
    command: Sequence[str],
    *,
    ready: str = "/-/ready",
    config: Callable[[Settings], dict[str, Any]] | None = None,
) -> Service:
    """One of these programs as a service of this machine alone.

    Args:
        settings: Say where state lies.
        name: Of the service; its port is the setting `<name>_port`.
        port: What that setting says.
        command: Program and arguments, without where it listens and what it logs.
        ready: Path that answers once it is ready.
        config: Makes what stands in `configuration_file` at every start; None where it reads none.
    """

    def prepare() -> None:
        if config is not None:
            file = configuration_file(settings, name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(yaml.safe_dump(config(settings), sort_keys=False))

    return Service(
        name=name,
        command=[*command, f"--web.listen-address={LOOPBACK}:{port}", "--log.level=warn"],
        log=settings.state / "logs" / f"{name}.log",
        host=LOOPBACK,
        port=port,
        port_setting=f"SIGAP_{name.upper()}_PORT",
        address=f"http://{LOOPBACK}:{port}",
        ready_url=f"http://{LOOPBACK}:{port}{ready}",
        prepare=prepare,
    )


def configuration_file(settings: Settings, name: str) -> Path:
    """The configuration that the service `name` reads, in its own folder."""
    return settings.state / name / f"{name}.yml"


def api_target(settings: Settings) -> tuple[str, str]:
    """Scheme, and host with port, at which the API answers this machine."""
    parts = urlsplit(settings.api_address)
    host = LOOPBACK if parts.hostname in (None, "0.0.0.0", "::") else parts.hostname  # noqa: S104 - compared only
    shown = f"[{host}]" if ":" in str(host) else host
    return parts.scheme, f"{shown}:{parts.port}" if parts.port else str(shown)
