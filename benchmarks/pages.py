"""How long a reader waits: the first page after the dashboard's start-up, and every change of page, in a real browser.

`./run bench pages` starts dashboards of its own on the API that runs (start it with `./run` first); `--stand-in` takes
the tests' stand-in for an API instead. A page is whole when its script has ended and nothing in it is stale.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from playwright.sync_api import Page, sync_playwright

from sigap.settings import ROOT, get_settings

FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
WAIT_MS = 120_000
FIRST_SECONDS, CHANGE_SECONDS = 2.0, 1.0
FIRST_PAGES = ("overview", "education")
WHOLE = """before => {
  const app = document.querySelector('[data-testid=stApp]');
  const head = document.querySelector('.sg-hero h1');
  return app && head && app.dataset.testScriptState === 'notRunning' && head.innerText + location.pathname !== before
    && !document.querySelector('[data-stale=true]');
}"""
HEAD = "() => (document.querySelector('.sg-hero h1')?.innerText ?? '') + location.pathname"


def free_port() -> int:
    """A port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def started(command: list[str], ready: str, **environment: str) -> Iterator[float]:
    """A server for as long as the block; gives the seconds until it answered `ready`.

    Raises:
        SystemExit: It ends, or does not answer within two minutes.
    """
    begin = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=ROOT, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while not answers(ready):
            if process.poll() is not None or time.perf_counter() - begin > WAIT_MS / 1000:
                raise SystemExit(f"{' '.join(command[:4])} … does not answer at {ready}.")
            time.sleep(0.02)
        yield time.perf_counter() - begin
    finally:
        process.terminate()
        process.wait(30)


def answers(url: str) -> bool:
    """Whether something answers there."""
    try:
        return httpx.get(url, timeout=5, trust_env=False).is_success
    except httpx.TransportError:
        return False


@contextmanager
def dashboard(api: str, folder: str) -> Iterator[tuple[str, float]]:
    """A dashboard of its own, as `./run` starts it: its address, and how long it took to be ready."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "streamlit", "run", "frontend/server.py", f"--server.port={port}"]
    command += ["--server.address=127.0.0.1", "--server.headless=true", "--server.enableStaticServing=true"]
    command += ["--server.fileWatcherType=none", "--browser.gatherUsageStats=false"]
    environment = {"SIGAP_API_URL": api, "SIGAP_STATE_DIR": folder}
    with started(command, f"{address}/_stcore/health", **environment) as seconds:
        yield address, seconds


def whole(page: Page, before: str = "") -> None:
    """Waits until a page other than `before` is whole."""
    page.wait_for_function(WHOLE, arg=before, timeout=WAIT_MS, polling="raf")


def first(page: Page, address: str, name: str) -> float:
    """Seconds from the address to the whole page."""
    begin = time.perf_counter()
    page.goto(f"{address}/{name}?lang=en", timeout=WAIT_MS)
    whole(page)
    return time.perf_counter() - begin


def change(page: Page, name: str) -> float:
    """Seconds from the click in the side bar to the whole page."""
    before = str(page.evaluate(HEAD))
    link = page.locator(f"[data-testid=stSidebarNav] a[href*='/{name}']").first
    begin = time.perf_counter()
    link.click()
    whole(page, before)
    return time.perf_counter() - begin


def names(page: Page) -> list[str]:
    """The pages of the side bar."""
    addresses = page.locator("[data-testid=stSidebarNav] a").evaluate_all("links => links.map(l => l.pathname)")
    return [str(each).strip("/") for each in addresses if str(each).strip("/")]


def told(name: str, seconds: list[float], limit: float) -> None:
    """Prints a line: the median, the worst, and whether that is soon enough."""
    middle, worst = statistics.median(seconds), max(seconds)
    print(f"{name:<24}{middle:8.2f}{worst:8.2f}   {'ok' if middle <= limit else f'over {limit:g} s'}", flush=True)


def measure(api: str, rounds: int, folder: str) -> None:
    """Measures and prints."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("No Chromium was found on the PATH. Install it (Debian: apt-get install chromium).")
    pages, memory = os.cpu_count(), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    print(f"{pages} processors, {memory:.0f} GB of memory; load before {os.getloadavg()[0]:.1f}; {api}\n")
    print(f"{'seconds':<24}{'median':>8}{'worst':>8}", flush=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=[*FLAGS, "--no-first-run"])
        for name in FIRST_PAGES:
            times, ready = [], []
            for _ in range(rounds):
                with dashboard(api, folder) as (address, seconds):
                    page = browser.new_context(viewport={"width": 1440, "height": 1000}).new_page()
                    times.append(first(page, address, name))
                    ready.append(seconds)
                    page.context.close()
            told(f"first page: {name}", times, FIRST_SECONDS)
            print(f"{'  (server ready after':<24}{statistics.median(ready):8.2f} )", flush=True)
        with dashboard(api, folder) as (address, _):
            page = browser.new_context(viewport={"width": 1440, "height": 1000}).new_page()
            first(page, address, FIRST_PAGES[0])
            known = names(page)
            changes: dict[str, list[float]] = {name: [] for name in known}
            # The first round fills the caches, and does not count.
            for number in range(rounds + 1):
                for name in [*known[1:], known[0]]:
                    seconds = change(page, name)
                    if number:
                        changes[name].append(seconds)
            for name, found in changes.items():
                told(name, found, CHANGE_SECONDS)
        browser.close()


def main() -> None:
    """Measures the running system's pages, or the stand-in's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured")
    parser.add_argument("--stand-in", action="store_true", help="on the tests' stand-in for the API")
    chosen = parser.parse_args()
    # A folder below the checkout's state would be another reader's.
    with tempfile.TemporaryDirectory(prefix="sigap-pages-") as folder:
        if not chosen.stand_in:
            api = get_settings().api_address
            if not answers(f"{api}/health/live"):
                raise SystemExit(f"No API answers at {api}. Start the system with ./run first, or take --stand-in.")
            measure(api, chosen.rounds, folder)
            return
        port = free_port()
        api, state = f"http://127.0.0.1:{port}", str(Path(folder) / "api")
        command = [sys.executable, "-m", "tests.frontend.standin", str(port)]
        with started(command, f"{api}/models", SIGAP_STATE_DIR=state):
            measure(api, chosen.rounds, folder)


if __name__ == "__main__":
    main()
