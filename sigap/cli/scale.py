"""`./run score` and `./run dask …`: work for several processes or machines."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from sigap.cli.output import say
from sigap.errors import RegistryError
from sigap.settings import ROOT, Settings

SCHEDULER_PORT = 8786


def score(settings: Settings, name: str, source: Path, folder: Path, number: int | None, processes: int) -> None:
    """Fetch the bundle that answers, then become what scores.

    Raises:
        UnknownModelError: There is no such model.
        RegistryError: No version is served, there is none of that number, or MLflow can't be reached.
        BundleError: The bundle is damaged.
    """
    from sigap.catalog import declaration
    from sigap.cli.versions import open_registry

    declaration(name)
    registry = open_registry(settings, name)
    version = registry.champion(name) if number is None else registry.version(name, number)
    if version is None:
        raise RegistryError(
            f"No version of {name} is served, so there is nothing to score with.",
            remedy=f"Run `./run pipeline {name}`, or name a version with --version.",
        )
    bundle = registry.bundle(version)
    where = f"on {settings.dask_address}" if settings.dask_address else f"in {processes} processes"
    say(f"{name} {version.name} scores {source} into {folder}, {where}.")
    words = [name, str(source), str(folder), "--bundle", str(bundle), "--version", str(version.number)]
    _become("backend.scoring", *words, "--processes", str(processes))


def scheduler(settings: Settings, host: str, port: int) -> None:
    """Become Dask's scheduler, without its dashboard."""
    scheme, tls = ("tls", ["--protocol", "tls", *_tls(settings)]) if settings.dask_tls_ca else ("tcp", [])
    say(f"Set SIGAP_DASK_ADDRESS={scheme}://{host}:{port} for whoever is to use it; Ctrl-C ends it.")
    _become("distributed.cli.dask_scheduler", "--host", host, "--port", str(port), "--no-dashboard", *tls)


def worker(settings: Settings, address: str, host: str, count: int, memory: str) -> None:
    """Become Dask workers of one thread each, restarted when they die."""
    folder = settings.state / "dask"
    folder.mkdir(parents=True, exist_ok=True)
    words = ["--nworkers", str(count), "--nthreads", "1", "--host", host, "--memory-limit", memory, *_tls(settings)]
    _become("distributed.cli.dask_worker", address, *words, "--no-dashboard", "--local-directory", str(folder))


def _tls(settings: Settings) -> list[str]:
    files = {"ca-file": settings.dask_tls_ca, "cert": settings.dask_tls_cert, "key": settings.dask_tls_key}
    return [word for option, path in files.items() if path for word in (f"--tls-{option}", str(path))]


def _become(module: str, *words: str) -> None:
    sys.stdout.flush()
    # Workers have to import Sigap as this process does, wherever they are started from.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-P", "-m", module, *words]
    os.execv(command[0], command)  # noqa: S606 - signals and the exit code are then the program's own
