"""The words by which something else than `./run` brings Sigap up, such as Docker: each does its part and ends."""

from __future__ import annotations

import time

import httpx

from sigap.cli.output import say
from sigap.cli.pipeline import prepare_tables
from sigap.cli.summary import show_summary, summary
from sigap.cli.up import missing_champions, train
from sigap.errors import ServiceError
from sigap.keys import ALERT_KEY, alert_credentials
from sigap.mage_access import JWT, PASSWORD
from sigap.production import require_secrets
from sigap.settings import Settings

PATIENCE_SECONDS = 180.0


def prepare(settings: Settings) -> None:
    """Make what the services share: secrets, tables, seed figures. What is there stays as it is.

    Raises:
        ConfigurationError: Production lacks a secret.
        ServiceError: PostgreSQL can't be reached.
    """
    require_secrets(settings)
    settings.key_for("")
    for name in (PASSWORD, JWT):
        settings.secret(name)
    _alert_key(settings)
    loaded = {name: rows for name, rows in prepare_tables(settings).items() if rows}
    news = ", ".join(f"{rows:,} rows into {name}" for name, rows in loaded.items())
    say(f"The tables are up to date.{f' Loaded {news}.' if news else ''}")


def first_training(settings: Settings, patience: float = PATIENCE_SECONDS) -> int:
    """Run the pipelines of the models that have no champion.

    Args:
        settings: Where Mage and MLflow are.
        patience: Seconds to wait for both; they may be starting side by side with this.

    Returns:
        Exit code: 1 when a pipeline ended without a decision.

    Raises:
        ServiceError: One of them does not answer by then. Without MLflow, every model would seem to lack a champion.
        UnknownModelError: The setting `train_at_start` names a model that there is not.
    """
    until = time.monotonic() + patience
    _await("MLflow", f"{settings.tracking_uri}/health", until)
    _await("Mage", f"{settings.mage_address}/api/status", until)
    untried, refused = missing_champions(settings)
    failures = train(settings, [*untried, *refused])
    show_summary(summary(settings, failures))
    return 1 if failures else 0


def _alert_key(settings: Settings) -> None:
    """Puts Alertmanager's key where its configuration looks for it, whichever way it was given."""
    if settings.environment == "production" and settings.alert_key is None:
        return
    path = alert_credentials(settings)
    if path.name != ALERT_KEY:
        path.replace(path.with_name(ALERT_KEY))


def _await(name: str, url: str, until: float) -> None:
    while True:
        try:
            httpx.get(url, timeout=5, trust_env=False).raise_for_status()
        except httpx.HTTPError as error:
            if time.monotonic() > until:
                raise ServiceError(
                    f"{name} does not answer at {url} ({type(error).__name__}).",
                    remedy="See that it runs; then do this again, by hand or by starting everything once more.",
                ) from error
            time.sleep(1)
        else:
            return
