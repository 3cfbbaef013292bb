"""`./run test` and `./run bench`."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from sigap.cli import coverage
from sigap.cli.output import say, table
from sigap.errors import ConfigurationError
from sigap.services.installed import ALERTMANAGER, NODE_EXPORTER, PROMETHEUS
from sigap.settings import ROOT, Settings

# pytest's exit code, and beyond how many failures it is no matter of a busy machine.
TESTS_FAILED, FEW = 1, 25
_COVERAGE = "--coverage"
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def run_tests(settings: Settings, arguments: list[str]) -> None:
    """Bring what the tests need beside the environment, then become pytest.

    With `--coverage` among the arguments what runs is counted, and all tests together have to run enough of it.
    """
    if "--help" not in arguments:
        provide_chromium(settings)
        provide_prometheus(settings)
        provide_nginx(settings)
    # Tests that start a fresh clone use this environment instead of installing one each.
    os.environ["SIGAP_VENV"] = sys.prefix
    os.chdir(settings.root)
    counted = _COVERAGE in arguments
    arguments = [argument for argument in arguments if argument != _COVERAGE]
    whole = all(argument.startswith("-") for argument in arguments) and "--help" not in arguments
    pytest = [sys.executable, "-m", "pytest"]
    if not counted and not whole:
        _become([*pytest, *arguments])
    options = coverage.count(settings) if counted else []
    code = _run_all(settings, [*pytest, *options], arguments) if whole else _run([*pytest, *options, *arguments])
    raise SystemExit(coverage.verdict(settings, code, coverage.LEAST_COVERED if whole else 0) if counted else code)


def _run_all(settings: Settings, pytest: list[str], arguments: list[str]) -> int:
    # Most tests wait for a service, so two processes share them. What fills a machine by itself is one group
    # (tests/conftest.py): two browsers or two whole systems would only wait for each other.
    code = _run([*pytest, "--numprocesses=2", "--dist=loadfile", "--no-loadscope-reorder", *arguments])
    failed = _failed_tests(settings.root) if code == TESTS_FAILED else []
    if not 0 < len(failed) <= FEW:
        return code
    # A test that only fails while another one fills the machine tells of the machine; this says which ones those are.
    say(f"\n{len(failed)} tests failed beside others. Each once more, by itself:")
    for test in failed:
        say(f"  {test}")
    added = ["--cov-append"] if "--cov" in pytest else []
    return _run([*pytest, *added, "--last-failed", "--last-failed-no-failures=none", *arguments])


def _run(command: list[str]) -> int:
    return subprocess.run(command, check=False).returncode


def _failed_tests(root: Path) -> list[str]:
    """The names that pytest noted of its last run."""
    try:
        return sorted(json.loads((root / ".pytest_cache/v/cache/lastfailed").read_text()))
    except (OSError, ValueError):
        return []


def provide_chromium(settings: Settings) -> None:
    """Install Debian's Chromium where that can be done; say so where it can't."""
    if not any(shutil.which(name) for name in _BROWSERS):
        _provide(settings, "Chromium", ["chromium"], "tests that need a browser will be skipped")


def provide_prometheus(settings: Settings) -> None:
    """Install Debian's Prometheus, Alertmanager and node exporter, without the services that come with them."""
    lacking = [each.package for each in (PROMETHEUS, ALERTMANAGER, NODE_EXPORTER) if each.path is None]
    if not lacking:
        return
    _provide_servers(settings, "Prometheus", lacking)


def provide_nginx(settings: Settings) -> None:
    """Install Debian's nginx, without the service that comes with it."""
    if shutil.which("nginx") is None:
        _provide_servers(settings, "nginx", ["nginx-light"])


def _provide_servers(settings: Settings, name: str, packages: list[str]) -> None:
    """Install packages that bring services, without starting these."""
    # Debian starts a service with its package unless this file says no.
    policy = Path("/usr/sbin/policy-rc.d")
    ours = os.geteuid() == 0 and policy.parent.is_dir() and not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        installed = _provide(settings, name, packages, f"tests that need {name} will be skipped")
    finally:
        if ours:
            policy.unlink()
    if installed and Path("/run/systemd/system").is_dir():
        # Nor at the next start of the machine, where they would take the ports.
        services = [package.removesuffix("-light") for package in packages]
        subprocess.run(["systemctl", "disable", "--quiet", *services], check=False)


def _provide(settings: Settings, name: str, packages: list[str], otherwise: str) -> bool:
    """Install packages as root on Debian; whether that worked."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        say(f"{name} is not installed (only root can, by apt): {otherwise}.\n")
        return False
    say(f"Installing {name} for the tests (apt) ...")
    log = settings.state / "logs" / "apt.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    with log.open("ab") as output:
        for words in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
            code = subprocess.run(["apt-get", *words], stdout=output, stderr=output, env=environment).returncode
            if code != 0:
                say(f"apt-get {words[0]} failed (see {log}): {otherwise}.\n")
                return False
    return True


def run_benchmark(settings: Settings, name: str, arguments: list[str]) -> None:
    """Become the benchmark `name`, or list all.

    Raises:
        ConfigurationError: There is none of that name.
    """
    folder = settings.root / "benchmarks"
    known = {path.stem: path for path in folder.glob("*.py") if not path.stem.startswith("_")}
    known |= {path.parent.name: path for path in folder.glob("*/__main__.py")}
    known = dict(sorted(known.items()))
    if not name:
        lines = table("Benchmark", "What it measures")
        for stem, path in known.items():
            lines.add_row(stem, _first_line(path))
        say(lines)
        return
    if name not in known:
        raise ConfigurationError(f"There is no benchmark {name!r}.", remedy=f"There are: {', '.join(known) or 'none'}.")
    os.chdir(ROOT)
    # A benchmark of the running system has to find it.
    os.environ |= {key: value for key, value in settings.as_environment().items() if key.endswith("_PORT")}
    _become([sys.executable, "-m", f"benchmarks.{name}", *arguments])


def _first_line(path: Path) -> str:
    documentation = ast.get_docstring(ast.parse(path.read_text())) or ""
    return documentation.partition("\n")[0]


def _become(command: list[str]) -> None:
    sys.stdout.flush()
    os.execv(command[0], command)  # noqa: S606 - signals and the exit code are then the program's own
