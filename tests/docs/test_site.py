"""The built pages: whole, made from the code, and without a request to another host."""

from __future__ import annotations

import asyncio
import html
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import httpx
import psycopg
import pytest
import typer.main
from mkdocs.exceptions import PluginError
from prometheus_client import Metric

from backend.app import create_app
from sigap.catalog import Column, Declaration, Feature, Source
from sigap.cli.main import app
from sigap.services.service import free_port
from sigap.settings import ROOT, Settings
from tests.backend.conftest import wait_for
from tests.backend.mage import mage_standin
from tests.backend.observed.test_observed import ROWS, TABLES

# What a browser fetches by itself when it shows a page; `a` is followed by people.
FETCHED = {"script": "src", "img": "src", "source": "src", "iframe": "src", "video": "src", "audio": "src"}
FETCHED |= {"embed": "src", "object": "data", "link": "href", "use": "href", "track": "src"}
ELSEWHERE = re.compile(r"^(https?:)?//")


def docs(*words: str, **variables: str) -> subprocess.Popen[str]:
    env = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    command = [sys.executable, "-m", "sigap", "docs", *words]
    return subprocess.Popen(
        command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages as `./run docs --build` writes them."""
    state = tmp_path_factory.mktemp("docs")
    built = docs("--build", SIGAP_STATE_DIR=str(state))
    said, _ = built.communicate(timeout=240)
    assert built.returncode == 0, said
    return state / "site"


def text(page: Path) -> str:
    """What a reader sees of a page."""
    return html.unescape(re.sub(r"<[^>]+>", "", page.read_text()))


def test_every_document_is_a_page_and_no_other_file_gets_in(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs").with_suffix("") for path in (ROOT / "docs").rglob("*.md")}
    assert pages == {path.relative_to(site).with_suffix("") for path in site.rglob("*.html")} - {Path("404")}
    assert not list(site.rglob("*.py"))


def test_every_setting_stands_in_the_reference(site: Path) -> None:
    told = text(site / "reference" / "settings.html")
    for name, field in Settings.model_fields.items():
        assert re.search(rf"\b{Settings.variable(name)}\b", told), name
        assert field.description
        assert field.description.replace("`", "") in told, name
    assert str(ROOT) not in told, "no path of the machine that built it"


def test_every_field_of_a_declaration_stands_in_the_reference(site: Path) -> None:
    told = text(site / "reference" / "declaration.html")
    for word in (Declaration, Source, Column, Feature):
        for name, field in word.model_fields.items():
            assert re.search(rf"\b{name}\b", told), name
            assert (field.description or "").replace("`", "") in told, name


def test_every_word_stands_in_the_reference(site: Path) -> None:
    told = text(site / "reference" / "cli.html")

    def words(command: Any, before: str) -> Iterator[tuple[str, Any]]:
        yield before, command
        for name, each in getattr(command, "commands", {}).items():
            yield from words(each, f"{before} {name}")

    for word, command in words(typer.main.get_command(app), "./run"):
        assert f"$ {word} [OPTIONS]" in told, word
        for parameter in command.params:
            for option in parameter.opts if parameter.param_type_name == "option" else ():
                assert option in told, (word, option)


def test_every_call_stands_in_the_reference(site: Path, tmp_path: Path) -> None:
    told = text(site / "reference" / "api.html")
    document = create_app(Settings(_env_file=None, state_dir=tmp_path)).openapi()  # type: ignore[call-arg]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert f"{method.upper()} {path}" in told
            assert operation["summary"].replace("`", "") in told


def told(families: Iterable[Metric]) -> dict[str, tuple[str, str]]:
    """Kind and text of what is Sigap's own, by the name that a reader asks for."""
    return {
        f"{each.name}_total" if each.type == "counter" else each.name: (each.type, each.documentation)
        for each in families
        if each.name.startswith("sigap_")
    }


def test_every_metric_stands_in_the_reference_and_no_other(site: Path, seeded_database: str, tmp_path: Path) -> None:
    with psycopg.connect(seeded_database) as connection:
        connection.execute(TABLES)
        connection.execute(ROWS)
    settings = Settings(
        state_dir=tmp_path,
        DATABASE_URL=seeded_database,
        MLFLOW_TRACKING_URI="http://127.0.0.1:9",
        shadow_alias="challenger",
        mage_port=free_port(),
    )

    async def families() -> list[Metric]:
        service = create_app(settings).state.service
        await service.observed.look()
        found = list(service.metrics.registry.collect())
        await asyncio.gather(service.observed.close(), service.mage.close(), service.registry.close())
        return found

    with mage_standin(settings) as mage:
        mage.start("education", {})
        found = asyncio.run(families())
    cells = [
        [html.unescape(re.sub(r"<[^>]+>", "", cell)) for cell in re.findall(r"<td>(.*?)</td>", row)]
        for row in re.findall(r"<tr>\n(<td>.*?)</tr>", (site / "reference" / "metrics.html").read_text(), re.DOTALL)
    ]
    assert told(found) == {name: (kind, text) for name, kind, _, text in cells}
    labels = {name: set(filter(None, names.split(", "))) for name, _, names, _ in cells}
    for family in found:
        for sample in family.samples:
            name = f"{family.name}_total" if family.type == "counter" else family.name
            if name in labels:
                assert set(sample.labels) - {"le"} == labels[name], name


def test_no_page_fetches_anything_from_another_host(site: Path) -> None:
    fetched: list[tuple[str, str]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            given = dict(attrs)
            fetched.append((page.name, given.get(FETCHED.get(tag, "")) or ""))
            fetched.extend((page.name, each.split()[0]) for each in (given.get("srcset") or "").split(",") if each)
            fetched.extend((page.name, each) for each in re.findall(r"url\(['\"]?([^'\")]+)", given.get("style") or ""))

    for page in site.rglob("*.html"):
        Reader().feed(page.read_text())
    for sheet in site.rglob("*.css"):
        found = re.findall(r"(?:url\(|@import )['\"]?([^'\")]+)", sheet.read_text())
        fetched.extend((sheet.name, each) for each in found)
    assert any(address.endswith(".js") for _, address in fetched)
    assert [each for each in fetched if ELSEWHERE.match(each[1])] == []


@pytest.fixture(scope="module")
def hooks() -> Iterator[Any]:
    folder = str(ROOT / "docs" / "_hooks")
    sys.path.insert(0, folder)
    try:
        import site_hooks

        yield site_hooks
    finally:
        sys.path.remove(folder)


def test_links_out_of_the_pages_become_names_unless_they_lead_nowhere(hooks: Any) -> None:
    page = SimpleNamespace(file=SimpleNamespace(abs_src_path=str(ROOT / "docs" / "serving.md")))
    seen = partial(hooks.on_page_markdown, page=page)
    assert seen("See [the CI](../.ci/run).") == "See the CI (`.ci/run`)."
    assert seen("See [`LICENSE`](../LICENSE).") == "See `LICENSE`."
    for kept in ("[gone](../gone.md)", "[drift](drift.md#words)", "[again](../docs/drift.md)", "![a](../LICENSE)"):
        assert seen(kept) == kept
    with pytest.raises(PluginError, match=r"'weather'.*settings"):
        seen("<!-- generated: weather -->")


def test_docs_are_shown_until_ctrl_c_and_a_taken_port_is_told(tmp_path: Path) -> None:
    port = free_port()
    shown = docs(SIGAP_DOCS_PORT=str(port), SIGAP_STATE_DIR=str(tmp_path))
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: httpx.get(f"{address}/tutorial.html", trust_env=False).is_success, "The documentation", 120)
        second = docs(SIGAP_DOCS_PORT=str(port), SIGAP_STATE_DIR=str(tmp_path))
        said, _ = second.communicate(timeout=60)
        assert second.returncode == 1
        assert f"Port {port} for the documentation is already in use" in said
        assert re.search(r"SIGAP_DOCS_PORT=\d+ ./run docs", said)
    finally:
        shown.send_signal(signal.SIGINT)
        said, _ = shown.communicate(timeout=30)
    assert address in said
    assert shown.returncode == 0, said


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_pages_fit_the_screen_are_searched_and_ask_nobody_else(
    site: Path, browser: Any, width: int, scheme: str
) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    try:
        for name in ("index", "tutorial", "architecture", "reference/settings", "reference/metrics"):
            page.goto(f"{address}/{name}.html")
            assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert page.evaluate("document.body.dataset.mdColorScheme") == {"light": "default", "dark": "slate"}[scheme]
        page.goto(f"{address}/index.html")
        page.keyboard.press("f")
        page.keyboard.type("SIGAP_RETRAINS_PER_HOUR")
        page.locator(".md-search-result__item a[href*='reference/settings']").first.wait_for()
    finally:
        page.close()
        server.shutdown()
        server.server_close()
    assert {url for url in asked if not url.startswith((address, "data:", "blob:"))} == set()
