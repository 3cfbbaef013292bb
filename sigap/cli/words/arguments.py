"""Arguments and options that several words take."""

from __future__ import annotations

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Tell a program: the last line is JSON, an error too.")]
AskedBy = Annotated[str, typer.Option("--asked-by", help="Who wants it, as it is written down; by default you.")]
ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="Name of a model, such as `education`.")]


def version_number(text: str) -> int:
    """The number of a model version written as `v3` or `3`.

    Raises:
        typer.BadParameter: It is neither.
    """
    digits = str(text).removeprefix("v")
    if not digits.isdecimal():
        raise typer.BadParameter(f"{text!r} is no version of a model: expected one such as v3.")
    return int(digits)
