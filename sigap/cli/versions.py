"""`./run data …` and `./run model …`: what there is, and the way back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from sigap.catalog import declaration
from sigap.cli.output import say, table
from sigap.decisions import person
from sigap.errors import RegistryError
from sigap.settings import Settings

if TYPE_CHECKING:
    from sigap.registry.models import Registry


def list_data(settings: Settings, name: str) -> None:
    """The data versions of a model, newest first."""
    from sigap.data.versions import DataVersions

    declaration(name)
    versions = DataVersions(settings)
    current = versions.current(name)
    lines = table("", "Version", "md5", "Commit", "Tag", "Recorded")
    found = versions.list(name)
    for version in found:
        mark = "*" if current is not None and version.md5 == current.md5 else ""
        lines.add_row(mark, version.name, version.md5[:8], version.commit[:8], version.tag, str(version.created_at))
    if found:
        say(lines)
    else:
        say(f"There is no data version of {name} yet; `./run pipeline {name}` records one.")


def rollback_data(settings: Settings, name: str, version: str) -> None:
    """Bring a data version back as the checked-out snapshot."""
    from sigap.data.versions import DataVersions

    declaration(name)
    restored = DataVersions(settings).restore(name, version)
    say(f"{name}: the snapshot is data version {restored.name} again (md5 {restored.md5}).")
    say(f"The served model is unchanged; `./run pipeline {name} --data {restored.name}` trains from it.")


def data_told(settings: Settings, name: str) -> dict[str, Any]:
    """The data versions of a model for a program, newest first, and which one is checked out."""
    from sigap.data.versions import DataVersions

    declaration(name)
    versions = DataVersions(settings)
    current = versions.current(name)
    return {
        "model": name,
        "current": current.name if current else None,
        "versions": [
            {"version": each.name, "md5": each.md5, "git_commit": each.commit, "created_at": each.created_at}
            for each in versions.list(name)
        ],
    }


def rollback_told(settings: Settings, name: str, version: str, asked_by: str) -> dict[str, Any]:
    """Bring a data version back, and tell a program so; a signal to end leaves everything as it was."""
    from sigap.cli.session import stop_on_signal
    from sigap.data.versions import DataVersions

    declaration(name)
    with stop_on_signal():
        versions = DataVersions(settings)
        before = versions.current(name)
        restored = versions.restore(name, version, asked_by=asked_by)
    return {"model": name, "before": before.name if before else None, "version": restored.name, "md5": restored.md5}


def open_registry(settings: Settings, name: str) -> Registry:
    """The registry, after a look whether it answers: that takes no seconds of importing and trying again.

    Raises:
        UnknownModelError: There is no model of that name.
        RegistryError: MLflow does not answer.
    """
    import httpx

    declaration(name)
    try:
        httpx.get(f"{settings.tracking_uri}/health", timeout=5)
    except httpx.TransportError as error:
        where = "MLFLOW_TRACKING_URI" if settings.mlflow_tracking_uri else settings.tracking_uri
        raise RegistryError(
            f"MLflow, which keeps the versions of {name}, does not answer at {where}.",
            remedy="Start it with ./run in another shell; ./run status shows what runs.",
        ) from error
    from sigap.registry.models import Registry

    return Registry(settings)


def list_models(settings: Settings, name: str) -> None:
    """The registered versions of a model, newest first."""
    found = open_registry(settings, name).versions(name)
    lines = table("Version", "Data", "Aliases", "Registered")
    for version in sorted(found, key=lambda version: version.number, reverse=True):
        created = time.strftime("%Y-%m-%d %H:%M", time.localtime(version.created_at))
        lines.add_row(version.name, version.data_version or "-", ", ".join(version.aliases), created)
    if found:
        say(lines)
    else:
        say(f"No version of {name} is registered yet; `./run pipeline {name}` trains one.")


def rollback_model(settings: Settings, name: str, to: int | None) -> None:
    """Serve an earlier version again."""
    version = open_registry(settings, name).rollback(name, to, asked_by=person())
    say(f"{name} {version.name} (data {version.data_version or '-'}) is served again.")


def promote_model(settings: Settings, name: str, number: int) -> None:
    """Serve a version by hand, unless another promotion comes in between."""
    registry = open_registry(settings, name)
    champion = registry.champion(name)
    version = registry.promote(name, number, champion.number if champion else None, asked_by=person())
    say(f"{name} {version.name} (data {version.data_version or '-'}) is served.")


def approve_model(settings: Settings, name: str, number: int) -> None:
    """Serve a version that passed the gate and waits."""
    version = open_registry(settings, name).approve(name, number, asked_by=person())
    say(f"{name} {version.name} (data {version.data_version or '-'}) is served.")


def list_decisions(settings: Settings, name: str, limit: int) -> None:
    """What the gate and persons decided about a model, newest first."""
    from sigap.registry.decisions import decisions

    declaration(name)
    found = decisions(settings, name, limit)
    lines = table("When", "Version", "Data", "Decision", "Served", "By", "Why")
    for each in found:
        when = each.decided_at.astimezone().strftime("%Y-%m-%d %H:%M") if each.decided_at else "-"
        served = each.champion_after or "-"
        lines.add_row(
            when, each.model_version or "-", each.data_version or "-", each.rule, served, each.asked_by, each.reason
        )
    say(lines if found else f"Nothing has been decided about {name} yet; `./run pipeline {name}` trains it.")


def show_card(settings: Settings, name: str, number: int | None) -> None:
    """The model card of a version, by default the served one."""
    from sigap.bundle import read_manifest
    from sigap.model_card import model_card

    registry = open_registry(settings, name)
    version = registry.version(name, number) if number is not None else registry.champion(name)
    if version is None:
        raise RegistryError(f"No version of {name} is served.", remedy=f"Name one of `./run model versions {name}`.")
    say(model_card(declaration(name), read_manifest(registry.bundle(version))))
