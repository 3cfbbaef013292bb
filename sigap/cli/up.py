"""`./run`: everything from an empty database to a served champion, then stays and watches."""

from __future__ import annotations

import time
from typing import Any

import httpx

from sigap.catalog import declarations
from sigap.cli.output import Steps, console, say, show_error, table
from sigap.cli.pipeline import describe, prepare_tables, run_model
from sigap.cli.session import Reporter, StopRequested, stop_on_signal, supervised
from sigap.errors import SigapError
from sigap.services.service import check_ports
from sigap.services.stack import ALL, services
from sigap.services.supervisor import AlreadyRunningError, Supervisor
from sigap.settings import Settings

_SERVED_SECONDS = 20


def up(settings: Settings) -> int:
    """Start, train what has no champion, show where everything is, and stay until asked to stop.

    Returns:
        Exit code.

    Raises:
        ServiceError: A service can't be started; all others are stopped then.
    """
    begin = time.monotonic()
    try:
        with stop_on_signal(), supervised(settings) as (supervisor, reporter):
            bring_up(settings, supervisor, reporter)
            decisions = train_missing(settings)
            show_models(settings, decisions)
            show_addresses(settings)
            say(f"Ready after {time.monotonic() - begin:.0f} s. Ctrl-C stops everything.", style="bold green")
            while True:
                time.sleep(3600)
    except StopRequested:
        return 0
    except AlreadyRunningError as error:
        say(f"{error.message}\n", style="bold")
        show_models(settings, {}, seconds=0)
        show_addresses(settings)
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
        loaded = {name: rows for name, rows in prepare_tables(settings).items() if rows}
        news = ", ".join(f"{rows} rows into {name}" for name, rows in loaded.items())
        steps.finish("tables", "ready", f"loaded {news}" if news else "")
        supervisor.wait_ready()
        reporter.steps = None


def train_missing(settings: Settings) -> dict[str, str]:
    """Run the pipeline of every model that has no champion yet.

    A pipeline that fails is reported and does not end the services: its cause can be mended while they run.

    Returns:
        What was decided, by model.
    """
    decisions = {}
    for declaration in declarations():
        if has_champion(settings, declaration.name):
            continue
        try:
            decisions[declaration.name] = describe(run_model(settings, declaration.name))
        except SigapError as error:
            show_error(error)
            say(f"Everything else runs on. `./run pipeline {declaration.name}` tries again.\n", style="yellow")
    return decisions


def has_champion(settings: Settings, model: str) -> bool:
    """Whether the registry's served alias stands on a version of the model; asks MLflow over REST, which is quick."""
    answer = httpx.get(
        f"{settings.tracking_uri}/api/2.0/mlflow/registered-models/alias",
        params={"name": model, "alias": settings.served_alias},
        timeout=10,
    )
    return answer.status_code == httpx.codes.OK


def served_models(settings: Settings, seconds: float = 2) -> list[dict[str, Any]]:
    """What the API says about its models; empty when it can't be asked."""
    try:
        answer = httpx.get(f"{settings.api_address}/models", timeout=seconds)
        answer.raise_for_status()
        models: list[dict[str, Any]] = answer.json()["models"]
    except (httpx.HTTPError, ValueError, KeyError):
        return []
    return models


def show_models(settings: Settings, decisions: dict[str, str], seconds: float = _SERVED_SECONDS) -> None:
    """A line a model, once the API serves it or time is up."""
    limit = time.monotonic() + seconds
    models = served_models(settings)
    while time.monotonic() < limit and not (models and all(model["served"] for model in models)):
        time.sleep(0.2)
        models = served_models(settings)
        if any(not has_champion(settings, model["name"]) for model in models):
            break
    if models:
        say(models_table(models))
    for decision in decisions.values():
        say(f"\n{decision}")
    say()


def models_table(models: list[dict[str, Any]]) -> Any:
    """The models as a table."""
    lines = table("Model", "Version", "Data", "Levels", "Silhouette", "")
    for model in models:
        silhouette = model.get("silhouette")
        lines.add_row(
            model["name"],
            model.get("model_version") or "-",
            model.get("data_version") or "-",
            str(model.get("levels") or "-"),
            "-" if silhouette is None else f"{silhouette:.3f}",
            "served" if model["served"] else "no champion yet",
        )
    return lines


def show_addresses(settings: Settings) -> None:
    """Where everything is."""
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
    say(lines)
    say()


def _mage_note(settings: Settings) -> str:
    from sigap.services.mage import OWNER

    # On a terminal only: what goes to a file or a log of a CI run is read by others.
    if console.is_terminal:
        return f"sign in as {OWNER} / {settings.secret('mage_password')}"
    return f"sign in as {OWNER}, password: ./run credentials"
