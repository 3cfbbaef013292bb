"""Every word of `./run`, by Typer's own generator of documents."""

from __future__ import annotations

import typer
from typer.cli import get_docs_for_click
from typer.main import get_command

from sigap.cli.main import app


def markdown() -> str:
    """A section for each word: usage, arguments and options."""
    command = get_command(app)
    return get_docs_for_click(obj=command, ctx=typer.Context(command, info_name="./run"), indent=1, name="./run")
