"""Which services make up Sigap, with these settings."""

from __future__ import annotations

from collections.abc import Callable

from sigap.errors import ServiceError
from sigap.services.installed import startable
from sigap.services.service import Service
from sigap.settings import Settings

WATCHING = ("prometheus", "alertmanager", "node_exporter")
"""What watches the others where it is installed; nothing waits for it."""

TRAINING = ("postgres", "mlflow", "mage")
"""What a pipeline needs."""

ALL = ("postgres", "mlflow", "api", "dashboard", "mage", "watcher")


def service(name: str, settings: Settings) -> Service | None:
    """One service; None when the settings name a server of one's own in its place.

    Imports only what this one needs.

    Raises:
        ServiceError: It can't be prepared.
    """
    makers: dict[str, Callable[[Settings], Service | None]] = {
        "postgres": _postgres,
        "mlflow": _mlflow,
        "api": _api,
        "dashboard": _dashboard,
        "mage": _mage,
        "watcher": _watcher,
    }
    return makers[name](settings)


def services(settings: Settings, names: tuple[str, ...] = ALL) -> list[Service]:
    """The services to start.

    Raises:
        ServiceError: One can't be prepared, or a server of one's own that takes the place of one can't be reached.
    """
    found = [service(name, settings) for name in names]
    check_own_servers(settings)
    return [one for one in found if one is not None]


def watching(settings: Settings) -> tuple[list[Service], list[str]]:
    """The services that watch the others, and in a line each what is missing and what that means.

    Nothing about them is a reason not to start.
    """
    from sigap.services.alertmanager import alertmanager_service
    from sigap.services.node_exporter import node_exporter_service
    from sigap.services.prometheus import prometheus_service

    if not settings.watching:
        return [], []
    return startable([alertmanager_service(settings), node_exporter_service(settings), prometheus_service(settings)])


def check_own_servers(settings: Settings) -> None:
    """See that `DATABASE_URL`, `MLFLOW_TRACKING_URI` and the object store, where given, lead to what answers.

    Raises:
        ServiceError: One doesn't.
    """
    if not settings.embedded_postgres:
        from sigap.data.postgres import connect

        connect(settings).close()
    if settings.mlflow_tracking_uri is not None:
        import httpx

        try:
            httpx.get(f"{settings.tracking_uri}/health", timeout=5).raise_for_status()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ServiceError(
                f"MLflow does not answer at MLFLOW_TRACKING_URI ({type(error).__name__}).",
                remedy="Correct the address (http://host:5000), or leave it out to have a server started here.",
            ) from error
    check_object_store(settings)


def check_object_store(settings: Settings) -> None:
    """See that what is kept in an object store can be.

    Raises:
        ServiceError: No key, a wrong one, no such bucket, or no answer.
    """
    from sigap.data.object_store import check

    check(settings, settings.dvc_remote, "data versions (SIGAP_DVC_REMOTE_URL)")
    if settings.mlflow_tracking_uri is None:
        check(settings, settings.artifacts, "MLflow's artefacts (SIGAP_ARTIFACTS_URL)")


def _postgres(settings: Settings) -> Service | None:
    from sigap.services.postgres import EmbeddedPostgres

    return EmbeddedPostgres(settings).service() if settings.embedded_postgres else None


def _mlflow(settings: Settings) -> Service | None:
    from sigap.services.mlflow import mlflow_service

    return mlflow_service(settings) if settings.mlflow_tracking_uri is None else None


def _api(settings: Settings) -> Service:
    from sigap.services.api import api_service

    return api_service(settings)


def _dashboard(settings: Settings) -> Service:
    from sigap.services.dashboard import dashboard_service

    return dashboard_service(settings)


def _mage(settings: Settings) -> Service:
    from sigap.services.mage import mage_service

    return mage_service(settings)


def _watcher(settings: Settings) -> Service:
    from sigap.services.watcher import watcher_service

    return watcher_service(settings)
