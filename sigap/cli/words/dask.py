"""Words for a Dask cluster to try out."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from sigap.settings import get_settings

dask = typer.Typer(no_args_is_help=True, help="A Dask cluster to try out: sweeps and scoring on many processes.")


@dask.command("scheduler")
def dask_scheduler(
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port to listen on.")] = 8786,
) -> None:
    """Run Dask's scheduler until Ctrl-C; it prints the address for `SIGAP_DASK_ADDRESS`.

    Whoever reaches its port can run code as you: keep it on this machine, or use TLS (docs/scale-out.md).
    """
    from sigap.cli.scale import scheduler

    scheduler(get_settings(), host, port)


@dask.command("worker")
def dask_worker(
    address: Annotated[
        str,
        typer.Argument(metavar="[ADDRESS]", help="Of the scheduler; by default SIGAP_DASK_ADDRESS, or this machine."),
    ] = "",
    count: Annotated[int, typer.Option("--workers", min=1, max=256, help="Processes, of one thread each.")] = max(
        1, os.cpu_count() or 1
    ),
    host: Annotated[str, typer.Option("--host", help="This machine's address, as the others reach it.")] = "127.0.0.1",
    memory: Annotated[
        str, typer.Option("--memory-limit", help="Of each process, `4GB`; one that needs more is started anew.")
    ] = "auto",
) -> None:
    """Run Dask workers until Ctrl-C, with this checkout and this environment.

    All workers need the same code and lock as the process that asks; others are refused.
    """
    from sigap.cli.scale import SCHEDULER_PORT, worker

    settings = get_settings()
    worker(settings, address or settings.dask_address or f"tcp://127.0.0.1:{SCHEDULER_PORT}", host, count, memory)
