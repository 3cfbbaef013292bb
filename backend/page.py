"""The small page that a browser gets at `/`."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from backend.documentation import ICON
from backend.follower import Follower

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sigap API</title>
<link rel="icon" href="{icon}">
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 42rem; margin: 3rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; padding: .4rem .6rem .4rem 0; border-bottom: 1px solid #8886; }}
</style>
</head>
<body>
<h1>Sigap API</h1>
<p>Answers with the champions of the model registry.</p>
<table>
<thead><tr><th>Model</th><th>Version</th><th>Data</th></tr></thead>
<tbody>{rows}</tbody>
</table>
<p><a href="/docs">Swagger UI</a> · <a href="/redoc">ReDoc</a> · <a href="/health">Health</a> ·
<a href="/models">Models</a> · <a href="/metrics">Metrics</a></p>
</body>
</html>
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; base-uri 'none'"


def page(followers: Mapping[str, Follower]) -> str:
    """The page's HTML."""
    return _PAGE.format(icon=ICON, rows="".join(_row(follower) for follower in followers.values()))


def _row(follower: Follower) -> str:
    served = follower.served
    title = escape(follower.declaration.title.en)
    if served is None:
        why = escape(follower.refusal.text) if follower.refusal else "not trained yet"
        return f'<tr><td>{title}</td><td colspan="2">{why}</td></tr>'
    name = escape(follower.declaration.name)
    version, data = escape(served.model_version), escape(served.manifest.data.version)
    return f'<tr><td><a href="/models/{name}">{title}</a></td><td>{version}</td><td>{data}</td></tr>'
