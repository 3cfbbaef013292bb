"""docs/deployment.md names what the compose file holds."""

from __future__ import annotations

import re

from sigap.settings import ROOT
from tests.deploy.test_compose import services

TEXT = (ROOT / "docs" / "deployment.md").read_text()


def test_every_service_is_told_of_and_no_other_one() -> None:
    everyone = services()
    for name in everyone:
        assert f"`{name}`" in TEXT or f"run --rm {name} " in TEXT, name
    for word, name in re.findall(
        r"docker compose (exec|run --rm|up -d --no-deps --wait|logs(?: -f)?) ([a-z0-9-]+)", TEXT
    ):
        assert name in everyone, f"docker compose {word} {name}"


def test_ports_are_those_of_the_file() -> None:
    published = {
        port.rpartition(":")[0].rpartition(":-")[2].rstrip("}")
        for service in services().values()
        for port in service.get("ports", [])
    }
    # The example of a proxy moves nginx elsewhere.
    published |= set(re.findall(r"SIGAP_HTTP_PORT=(\d+)", TEXT))
    for port in re.findall(r"127\.0\.0\.1:(\d+)", TEXT):
        assert port in published, port
    for port in published - {"80"}:
        assert port in TEXT, port


def test_every_file_that_it_names_exists() -> None:
    for name in re.findall(r"`((?:deploy|tests|scripts)/[A-Za-z0-9_./-]+)`", TEXT):
        assert (ROOT / name).exists(), name
