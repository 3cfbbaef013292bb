"""`./run`: everything from an empty database to a served champion, then stays and watches."""

from __future__ import annotations

import logging
import time
from queue import Empty, SimpleQueue
from threading import Thread

import httpx

from sigap.catalog import declarations, named
from sigap.cli.output import Steps, console, say, table
from sigap.cli.pipeline import prepare_tables, run_model
from sigap.cli.session import Reporter, StopRequested, stop_on_signal, supervised
from sigap.cli.summary import show_summary, summary
from sigap.errors import SigapError
from sigap.production import require_secrets
from sigap.services.installed import LOOPBACK, PROMETHEUS
from sigap.services.service import check_ports
from sigap.services.stack import ALL, services, watching
from sigap.services.supervisor import AlreadyRunningError, Supervisor
from sigap.settings import Settings

log = logging.getLogger(__name__)

_SERVED_SECONDS = 20
AT_A_TIME = 2
"""Pipelines at once: one waits for Mage's scheduler while the other computes."""


def up(settings: Settings) -> int:
    """Start, train what has no champion, show where everything is, and stay until asked to stop.

    Returns:
        Exit code.

    Raises:
        ServiceError: A service can't be started; all others are stopped then.
        ConfigurationError: A secret that production needs is missing or a default.
    """
    begin = time.monotonic()
    require_secrets(settings)
    try:
        with stop_on_signal(), supervised(settings) as (supervisor, reporter):
            bring_up(settings, supervisor, reporter)
            lacking = watch(settings, supervisor)
            untried, refused = missing_champions(settings)
            show_models(settings, train(settings, untried))
            show_addresses(settings, lacking)
            say(f"Ready after {time.monotonic() - begin:.0f} s. Ctrl-C stops everything.", style="bold green")
            try_again(settings, refused)
            while True:
                time.sleep(3600)
    except StopRequested:
        return 0
    except AlreadyRunningError as error:
        say(f"{error.message}\n", style="bold")
        show_summary(summary(settings))
        say()
        show_addresses(settings, [])
        say("./run status shows each service, ./run stop ends them.")
        return 0


def bring_up(settings: Settings, supervisor: Supervisor, reporter: Reporter) -> None:
    """Start every service side by side and wait until all are ready."""
    wanted = services(settings, ALL)
    check_ports(wanted)
    with Steps("Starting") as steps:
        reporter.steps = steps
        reporter.addresses = {service.name: service.address for service in wanted}
        supervisor.start(wanted)
        if settings.embedded_postgres:
            supervisor.wait_ready("postgres")
        steps.begin("tables", "preparing")
        prepared = prepare_tables(settings)
        read = " ".join(each.source.relation for each in declarations())
        loaded = {name: rows for name, rows in prepared.items() if rows and name in read}
        news = ", ".join(f"{rows} rows into {name}" for name, rows in loaded.items())
        steps.finish("tables", "ready", f"loaded {news}" if news else "")
        supervisor.wait_ready()
        reporter.steps = None


def watch(settings: Settings, supervisor: Supervisor) -> list[str]:
    """Start what watches the services, without waiting for it; in a line each what is left out."""
    try:
        wanted, lacking = watching(settings)
        supervisor.start(wanted)
    except SigapError as error:
        # Nobody is served worse without it.
        return [f"Nothing watches the services: {error.message}"]
    return lacking


def missing_champions(settings: Settings) -> tuple[list[str], list[str]]:
    """The models that have no champion: those never judged, and those that the gate refused when it saw them last.

    A model that waits for a person's approval is neither: its pipeline has done what it can.

    Raises:
        UnknownModelError: The setting `train_at_start` names a model that there is not.
    """
    wanted = {declared.name for declared in named(settings.train_at_start)}
    lines = [line for line in summary(settings) if line.model in wanted and not line.served]
    untried = [line.model for line in lines if line.rule == ""]
    return untried, [line.model for line in lines if line.rule not in ("", "waiting")]


def try_again(settings: Settings, refused: list[str]) -> None:
    """Train once more what was refused before: its data may be other now. Nobody waits for it."""
    if not refused:
        return
    say(f"\nNo champion yet, so tried again on the data of now: {', '.join(refused)}.\n")
    failures = train(settings, refused)
    show_summary([line for line in summary(settings, failures) if line.model in refused])


def train(settings: Settings, missing: list[str]) -> dict[str, str]:
    """Run the models' pipelines, some at a time.

    A pipeline that fails is reported and does not end the services: its cause can be mended while they run.

    Returns:
        Why a pipeline ended without a decision, by model.
    """
    if not missing:
        return {}
    begin = time.monotonic()
    waiting, ended = SimpleQueue[str](), SimpleQueue[tuple[str, SigapError | None]]()
    for model in missing:
        waiting.put(model)
    with Steps(_title(missing)) as steps:
        for _ in range(min(AT_A_TIME, len(missing))):
            # A daemon: Ctrl-C shall not wait for a pipeline, which ends with Mage.
            Thread(target=_train, args=(settings, steps, waiting, ended), daemon=True).start()
        outcomes = [ended.get() for _ in missing]
    if len(missing) > 1:
        say(f"{len(missing)} models in {time.monotonic() - begin:.0f} s.\n", style="dim")
    return {model: error.message for model, error in outcomes if error is not None}


def _train(
    settings: Settings, steps: Steps, waiting: SimpleQueue[str], ended: SimpleQueue[tuple[str, SigapError | None]]
) -> None:
    while True:
        try:
            model = waiting.get_nowait()
        except Empty:
            return
        try:
            run_model(settings, model, steps=steps)
        except SigapError as error:
            ended.put((model, error))
        except Exception as error:
            # Whatever it is, the other models go on and somebody waits for an answer.
            log.exception("The pipeline of %s could not be followed.", model)
            ended.put((model, SigapError(f"Something unforeseen happened: {type(error).__name__}: {error}.")))
        else:
            ended.put((model, None))


def _title(models: list[str]) -> str:
    return f"Pipeline {models[0]}, in Mage" if len(models) == 1 else f"{len(models)} pipelines, in Mage"


def show_models(settings: Settings, failures: dict[str, str]) -> None:
    """A line a model, once the API serves what has a champion or time is up."""
    lines = summary(settings, failures)
    expected = {line.model for line in lines if line.served}
    limit = time.monotonic() + _SERVED_SECONDS
    while time.monotonic() < limit and not expected <= served_by_api(settings):
        time.sleep(0.2)
    show_summary(lines)
    for model in failures:
        say(f"Everything else runs on. `./run pipeline {model}` tries again.", style="yellow")
    say()


def served_by_api(settings: Settings) -> set[str]:
    """The models that the API serves; none when it can't be asked."""
    try:
        answer = httpx.get(f"{settings.api_address}/models", timeout=2)
        answer.raise_for_status()
        return {model["name"] for model in answer.json()["models"] if model["served"]}
    except (httpx.HTTPError, ValueError, KeyError):
        return set()


def show_addresses(settings: Settings, lacking: list[str]) -> None:
    """Where everything is, and what is left out."""
    lines = table("", "Address", "")
    lines.add_row("Dashboard", f"http://{settings.host}:{settings.dashboard_port}", "where every province stands")
    lines.add_row("API", f"{settings.api_address}/docs", "try a prediction; metrics under /metrics")
    lines.add_row("Mage", settings.mage_address, _mage_note(settings))
    lines.add_row("MLflow", settings.tracking_uri, "runs, versions and aliases")
    if settings.embedded_postgres:
        lines.add_row(
            "PostgreSQL",
            f"postgresql://sigap@{settings.host}:{settings.postgres_port}/sigap",
            "password: ./run credentials",
        )
    else:
        lines.add_row("PostgreSQL", "your DATABASE_URL", "")
    if settings.watching and PROMETHEUS.path is not None:
        lines.add_row("Prometheus", f"http://{LOOPBACK}:{settings.prometheus_port}", "figures over time, and alarms")
    say(lines)
    for line in lacking:
        say(line, style="dim")
    say()


def _mage_note(settings: Settings) -> str:
    from sigap.services.mage import OWNER

    # On a terminal only: what goes to a file or a log of a CI run is read by others.
    if console.is_terminal:
        return f"sign in as {OWNER} / {settings.secret('mage_password')}"
    return f"sign in as {OWNER}, password: ./run credentials"
