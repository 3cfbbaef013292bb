"""The Streamlit dashboard as a service."""

from __future__ import annotations

import sys
from pathlib import Path

from sigap.services.service import Service, environment
from sigap.settings import Settings

SCRIPT = Path(__file__).resolve().parents[2] / "frontend" / "server.py"


def dashboard_service(settings: Settings) -> Service:
    """The dashboard, without usage statistics and without opening a browser."""
    address = f"http://{settings.host}:{settings.dashboard_port}"
    return Service(
        name="dashboard",
        command=[
            sys.executable,
            *("-m", "streamlit", "run", str(SCRIPT)),
            f"--server.address={settings.host}",
            f"--server.port={settings.dashboard_port}",
            "--server.headless=true",
            "--server.enableStaticServing=true",
            "--server.fileWatcherType=none",
            "--browser.gatherUsageStats=false",
        ],
        env=environment(settings),
        # Streamlit reads .streamlit/config.toml (the theme) from the folder it runs in.
        cwd=SCRIPT.parent.parent,
        log=settings.state / "logs" / "dashboard.log",
        host=settings.host,
        port=settings.dashboard_port,
        port_setting="SIGAP_DASHBOARD_PORT",
        address=address,
        ready_url=f"{address}/_stcore/health",
    )
