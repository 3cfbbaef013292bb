"""Swagger UI and ReDoc without the internet, and without leave to reach for it."""

from __future__ import annotations

import base64
import gc
import hashlib
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from backend.lean import give_memory_back
from backend.links import add_links
from backend.problems import MEDIA_TYPE, Problem

ASSETS = "/docs-assets"
OPENAPI = "/openapi.json"
ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    "%3Crect width='16' height='16' rx='3' fill='%230072B2'/%3E"
    "%3Cpath d='M3 11l3-4 3 2 4-5' fill='none' stroke='white' stroke-width='2'/%3E%3C/svg%3E"
)
# ReDoc fetches this picture from its maker's server, whatever it is told.
_REDOC_LOGO = "https://cdn.redoc.ly/redoc/logo-mini.svg"
_PROBLEMS = {
    400: "The body is empty or not JSON.",
    404: "No such model or version.",
    408: "The body did not come in time.",
    409: "The registry's state does not allow it; `detail` says why.",
    413: "The body is too large.",
    415: "The body is no form with a file.",
    422: "The request is not valid; `errors` says what is expected of each field.",
    503: "No model is served, or the registry is away; `detail` says why and what to do.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may answer with these problems."""
    reference = "#/components/schemas/Problem"
    return {
        status: {"description": _PROBLEMS[status], "content": {MEDIA_TYPE: {"schema": {"$ref": reference}}}}
        for status in statuses
    }


def json_body(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """The `openapi_extra` of a route that reads its body itself, for a body of this form."""
    schema = model.model_json_schema()
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}


def own_page_policy(style: str, script: str) -> str:
    """The `content-security-policy` of a page that has one style and one script in itself, and asks this API only."""
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; connect-src 'self';"
        " img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    )


def add_documentation(app: FastAPI, examples: Mapping[str, Mapping[str, Any]]) -> None:
    """Adds `/docs` and `/redoc` and the assets they need to `app`, and the problem's schema to its OpenAPI document.

    Args:
        app: The application, with all its routes.
        examples: The example of the answer to a POST, by path.
    """
    folder = Path(str(files("fastapi_offline") / "static"))
    _redoc_script(app, folder / "redoc.standalone.js")
    app.mount(ASSETS, StaticFiles(directory=folder), name="docs-assets")
    swagger = get_swagger_ui_html(
        openapi_url=OPENAPI,
        title=f"{app.title} – Swagger UI",
        swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{ASSETS}/swagger-ui.css",
        swagger_favicon_url=ICON,
        # The validator badge would send the document's address to a server of Swagger's.
        swagger_ui_parameters={"validatorUrl": None, "defaultModelsExpandDepth": 0, "tryItOutEnabled": True},
    )
    redoc = get_redoc_html(
        openapi_url=OPENAPI,
        title=f"{app.title} – ReDoc",
        redoc_js_url=f"{ASSETS}/redoc.standalone.js",
        redoc_favicon_url=ICON,
        with_google_fonts=False,
    )
    _page(app, "/docs", bytes(swagger.body).decode())
    _page(app, "/redoc", bytes(redoc.body).decode())
    _openapi(app, examples)
    _openapi_file(app)


def _redoc_script(app: FastAPI, path: Path) -> None:
    async def redoc_script() -> Response:
        # Read when asked: it is a megabyte that most workers never need.
        script = path.read_text(encoding="utf-8").replace(_REDOC_LOGO, "data:image/svg+xml,")
        return Response(script, media_type="text/javascript", headers={"cache-control": "max-age=3600"})

    app.add_api_route(f"{ASSETS}/{path.name}", redoc_script, include_in_schema=False)


def _page(app: FastAPI, path: str, html: str) -> None:
    # Only this page's own inline scripts may run, and nothing is fetched from elsewhere.
    scripts = [digest for script in re.findall(r"<script>(.*?)</script>", html, re.S) if (digest := _hash(script))]
    policy = (
        f"default-src 'none'; script-src 'self' {' '.join(scripts)}; style-src 'self' 'unsafe-inline';"
        " img-src 'self' data:; font-src 'self' data:; connect-src 'self'; worker-src blob:;"
        " frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    )

    async def page() -> HTMLResponse:
        return HTMLResponse(html, headers={"content-security-policy": policy})

    app.add_api_route(path, page, include_in_schema=False, response_class=HTMLResponse)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _openapi(app: FastAPI, examples: Mapping[str, Mapping[str, Any]]) -> None:
    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title,
                version=app.version,
                summary=app.summary,
                description=app.description,
                routes=app.routes,
                tags=app.openapi_tags,
            )
            components = schema.setdefault("components", {}).setdefault("schemas", {})
            problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            components |= problem.pop("$defs")
            components["Problem"] = problem
            _drop_fastapis_own_errors(schema)
            add_links(schema)
            for path, example in examples.items():
                # Not by way of FastAPI, which drops every null out of an example.
                answer = schema["paths"][path]["post"]["responses"]["200"]
                answer["content"]["application/json"]["example"] = example
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's documented way to extend it


def _openapi_file(app: FastAPI) -> None:
    content = b""

    async def openapi() -> Response:
        nonlocal content
        if not content:
            # As text it takes a tenth of the memory that it takes as an object, which nobody else needs.
            content = msgspec.json.encode(app.openapi())
            app.openapi_schema = None
            gc.collect()
            give_memory_back()
        return Response(content, media_type="application/json")

    app.add_api_route(OPENAPI, openapi, include_in_schema=False)


def _drop_fastapis_own_errors(schema: dict[str, Any]) -> None:
    # FastAPI promises its own form of a 422 wherever a path has a parameter; ours are problems.
    for operations in schema["paths"].values():
        for operation in operations.values():
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schema["components"]["schemas"].pop(unused, None)
