"""What watches the services is started where it can be, and is never a reason not to start."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from sigap.services.installed import ALERTMANAGER, NODE_EXPORTER, PROMETHEUS, missing
from sigap.services.service import free_port
from sigap.services.stack import WATCHING, watching
from sigap.settings import Settings

PROGRAMS = [program.names[0] for program in (PROMETHEUS, ALERTMANAGER, NODE_EXPORTER)]


def ports() -> dict[str, int]:
    return {f"{name}_port": free_port() for name in WATCHING}


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH, with programs of these names in it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in PROGRAMS:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_all_three_on_loopback_whatever_the_host_is(programs: Path, tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path / "state", host="0.0.0.0", **ports())
    services, lines = watching(settings)
    assert lines == []
    assert {service.name for service in services} == set(WATCHING)
    assert {service.host for service in services} == {"127.0.0.1"}
    for service in services:
        listening = [word for word in service.command if word.startswith("--web.listen-address=")]
        assert listening == [f"--web.listen-address=127.0.0.1:{service.port}"]
    (prometheus,) = [service for service in services if service.name == "prometheus"]
    assert any(word.startswith("--storage.tsdb.retention.size=") for word in prometheus.command)
    assert not (tmp_path / "state").exists(), "nothing is written before the start"


def test_what_is_not_installed_is_told_in_a_line_with_what_is_missing_then(programs: Path, tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path / "state", **ports())
    (programs / ALERTMANAGER.names[0]).unlink()
    services, lines = watching(settings)
    assert [service.name for service in services] == ["node_exporter", "prometheus"]
    assert lines == [
        "Not installed: alertmanager. There are no retrains by alarm, alarms that are sent. "
        "Debian: apt-get install prometheus-alertmanager"
    ]
    for name in PROGRAMS:
        (programs / name).unlink(missing_ok=True)
    services, (line,) = watching(settings)
    assert services == []
    assert line.startswith("Not installed: prometheus, alertmanager, node exporter. There are no figures older than 15")
    assert "\n" not in line
    assert missing() == line


def test_a_port_that_is_taken_leaves_one_out_and_says_which_setting_helps(programs: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = Settings(state_dir=tmp_path, **(ports() | {"prometheus_port": taken.getsockname()[1]}))
        services, (line,) = watching(settings)
    assert {service.name for service in services} == {"alertmanager", "node_exporter"}
    assert line.startswith("Left out: prometheus, for port")
    assert "SIGAP_PROMETHEUS_PORT=" in line


def test_a_setting_leaves_them_out(programs: Path, tmp_path: Path) -> None:
    assert watching(Settings(state_dir=tmp_path, watching=False)) == ([], [])
