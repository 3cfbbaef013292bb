"""Words for who works on Sigap: tests, benchmarks, documentation."""

from __future__ import annotations

from typing import Annotated

import typer

from sigap.cli.running import running_settings
from sigap.settings import get_settings


def test(context: typer.Context) -> None:
    """Run the tests: all of them, two at a time, about 30 minutes on 2 cores. Whatever follows goes to pytest.

    `./run test tests/services -x` runs a folder until something fails, `./run test tests/cli/test_output.py` one file,
    `./run test tests/data -k snapshot` what has that word in its name.

    `-m "not system and not browser and not load"` leaves out what takes longest: tests that start the real services
    through `./run` (system), drive headless Chromium (browser), or keep servers under load (load).

    `--coverage` also counts which lines and branches ran, and fails where all tests together run less than 85 % of
    either.

    Chromium, Prometheus and nginx are installed by apt where we are root; without them their tests are skipped.

    `./run test -- --help` shows pytest's own options.
    """
    if context.args == ["-h"]:
        typer.echo(context.get_help())
        return
    from sigap.cli.testing import run_tests

    run_tests(get_settings(), context.args)


def bench(
    context: typer.Context, name: Annotated[str, typer.Argument(help="Which; all are listed if left out.")] = ""
) -> None:
    """Measure what the README states; whatever follows the name goes to the benchmark.

    `./run bench serving --help` shows what that one measures, how, and its options.
    """
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
