"""A stand-in API, the dashboard on it, and a browser that may reach nothing else."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from sigap.settings import get_settings
from tests.frontend.standin import make_app

ROOT = Path(__file__).resolve().parents[2]
# A machine that others share may be twenty times slower than a desk's. Nothing is waited for longer than it takes.
SECONDS = 120
SLOW = 1000 * SECONDS
expect.set_options(timeout=SLOW)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class StandIn:
    """The stand-in API on a port of its own, which can be stopped and started again."""

    def __init__(self) -> None:
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.app = make_app()
        self.changed = 0.0

    def start(self) -> None:
        config = uvicorn.Config(
            self.app, "127.0.0.1", self.port, log_level="error", access_log=False, ws="none", lifespan="off"
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)

    def stop(self) -> None:
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(10)

    @contextmanager
    def serving(self, mode: str) -> Iterator[None]:
        before, self.app.state.mode = self.app.state.mode, mode
        try:
            yield
        finally:
            self.app.state.mode = before
            self.changed = time.monotonic()


@pytest.fixture(scope="session")
def standin() -> Iterator[StandIn]:
    server = StandIn()
    server.start()
    yield server
    server.stop()


def clear_caches() -> None:
    import streamlit as st

    st.cache_data.clear()
    st.cache_resource.clear()
    get_settings.cache_clear()


@pytest.fixture
def app(standin: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[AppTest]:
    """The dashboard inside this process, not yet run."""
    monkeypatch.setenv("SIGAP_API_URL", standin.address)
    monkeypatch.setenv("SIGAP_STATE_DIR", str(tmp_path))
    clear_caches()
    yield AppTest.from_file(str(ROOT / "frontend" / "app.py"), default_timeout=SECONDS)
    clear_caches()


def shown(app: AppTest) -> str:
    """All HTML that a page shows."""
    return "\n".join(element.proto.body for element in app.get("html"))


def opened(app: AppTest, name: str, **address: str) -> AppTest:
    """Runs the page at the address `/name`, which has no file that `AppTest.switch_page` could be given."""
    app._page_hash = calc_hash(name)
    app.query_params.update({"lang": "en", **address})
    app.run()
    assert not app.exception
    return app


def healthy(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.TransportError:
        return False


@pytest.fixture(scope="session")
def dashboard(standin: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a running dashboard, started as `./run` starts it."""
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", "frontend/server.py", "--server.address=127.0.0.1"]
    state = str(tmp_path_factory.mktemp("dashboard"))
    environment = os.environ | {"SIGAP_API_URL": standin.address, "SIGAP_STATE_DIR": state}
    with subprocess.Popen(
        [*command, f"--server.port={port}"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        address = f"http://127.0.0.1:{port}"
        until = time.monotonic() + SECONDS
        while not healthy(f"{address}/_stcore/health"):
            assert process.poll() is None, f"The dashboard ended with {process.returncode}."
            assert time.monotonic() < until, "The dashboard is not ready."
            time.sleep(0.1)
        yield address
        process.terminate()


LOCAL = ("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:")


@contextmanager
def watched(browser: Browser, width: int = 1440, locale: str = "id-ID") -> Iterator[Page]:
    """A page that waits long enough, and fails its test when it asks anything but this machine."""
    context = browser.new_context(viewport={"width": width, "height": 1000}, locale=locale)
    context.set_default_timeout(SLOW)
    opened = context.new_page()
    asked: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("websocket", lambda socket: asked.append(socket.url))
    try:
        yield opened
    finally:
        context.close()
    assert asked
    assert [url for url in asked if not url.startswith(LOCAL)] == []


@pytest.fixture
def page(browser: Browser, standin: StandIn) -> Iterator[Page]:
    """A watched page of 1440 × 1000."""
    # For two seconds a dashboard answers from what it read in the test before.
    time.sleep(max(0.0, standin.changed + 2.5 - time.monotonic()))
    with watched(browser) as opened:
        yield opened
