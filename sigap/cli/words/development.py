"""Words for who works on Sigap: tests, benchmarks, documentation."""

from __future__ import annotations

from typing import Annotated

import typer

from sigap.cli.running import running_settings
from sigap.settings import get_settings


def test(context: typer.Context) -> None:
    """Run the tests; whatever follows goes to pytest (`./run test tests/services -x`).

    With `--coverage` it also counts which lines and branches ran, and fails where less than 85 % of either did.

    Needs Chromium for the browser tests: installed by apt where we are root, otherwise those tests are skipped.
    """
    from sigap.cli.testing import run_tests

    run_tests(get_settings(), context.args)


def bench(
    context: typer.Context, name: Annotated[str, typer.Argument(help="Which; all are listed if left out.")] = ""
) -> None:
    """Measure what the README states; whatever follows the name goes to the benchmark."""
    from sigap.cli.testing import run_benchmark

    run_benchmark(running_settings(), name, context.args)


def docs(
    build: Annotated[
        bool, typer.Option("--build", help="Write the pages into `.sigap/site` instead; a dead link is a failure.")
    ] = False,
) -> None:
    """Show the documentation on 127.0.0.1 until Ctrl-C, with the reference made from this tree's code."""
    from sigap.cli.docs import build_docs, serve_docs

    (build_docs if build else serve_docs)(get_settings())
