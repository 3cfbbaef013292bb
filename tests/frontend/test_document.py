"""The document that names its server: rewritten where a browser asks for it, and nothing else is touched."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from frontend.document import OneAddress, read_ahead

PAGE = (b"<html><head>", b"<title>t</title></head></html>")
HTML = {"accept": "text/html", "accept-encoding": "gzip"}
ETAG = ((b"content-type", b"text/html; charset=utf-8"), (b"etag", b'"x"'), (b"last-modified", b"now"))


class Site:
    """Answers every request with the same pieces."""

    def __init__(self, status: int = 200, headers: Any = ETAG, pieces: tuple[bytes, ...] = PAGE) -> None:
        self.status, self.headers, self.pieces = status, headers, pieces
        self.asked: list[dict[bytes, bytes]] = []
        self.kinds: list[str] = []

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        self.kinds.append(scope["type"])
        if scope["type"] != "http":
            return
        self.asked.append(dict(scope["headers"]))
        await send({"type": "http.response.start", "status": self.status, "headers": list(self.headers)})
        for at, piece in enumerate(self.pieces, 1):
            await send({"type": "http.response.body", "body": piece, "more_body": at < len(self.pieces)})


def ask(site: Site, method: str = "GET", **headers: str) -> httpx.Response:
    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(OneAddress(site))
        async with httpx.AsyncClient(transport=transport, base_url="http://page.test") as client:
            return await client.request(method, "/", headers=headers)

    return asyncio.run(asked())


def test_a_browser_s_document_names_its_server_and_loses_the_file_s_tags() -> None:
    site = Site()
    answer = ask(site, **HTML)
    assert answer.text.startswith('<html><head><script>window.__streamlit={BACKEND_BASE_URL:location.origin+"/"}')
    assert answer.text.endswith("<title>t</title></head></html>")
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert not {"etag", "last-modified"} & set(answer.headers)
    assert b"accept-encoding" not in site.asked[0], "what is to be changed must not come packed"
    without = ask(Site(headers=ETAG[:1]), **HTML)
    assert without.content == answer.content


@pytest.mark.parametrize(
    ("site", "headers"),
    [
        (Site(status=404), HTML),
        (Site(headers=((b"content-type", b"text/css"),)), HTML),
        (Site(headers=()), HTML),
        (Site(), {"accept": "*/*"}),
        (Site(), {**HTML, "x-forwarded-prefix": "/sigap"}),
    ],
    ids=["no page", "style", "no type", "no document", "below a proxy"],
)
def test_whatever_else_is_asked_for_comes_as_it_is(site: Site, headers: dict[str, str]) -> None:
    answer = ask(site, **headers)
    assert (answer.status_code, answer.content) == (site.status, b"".join(PAGE))
    assert answer.headers.get("etag") == dict(site.headers).get(b"etag", b"").decode() or "etag" not in answer.headers


def test_what_is_sent_and_what_is_no_request_is_passed_on() -> None:
    site = Site()
    assert ask(site, "POST", **HTML).content == b"".join(PAGE)

    async def nobody() -> Any:
        raise AssertionError("nothing is read")

    asyncio.run(OneAddress(site)({"type": "lifespan"}, nobody, nobody))  # type: ignore[arg-type]
    assert site.kinds == ["http", "lifespan"]


def test_what_the_pages_need_can_be_read_ahead_and_again() -> None:
    read_ahead()
    read_ahead()
