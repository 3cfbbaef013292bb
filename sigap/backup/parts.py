"""What a backup is made of, and where each part lies in a system."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sigap.settings import Settings

PARTS = {
    "postgres": "tables, prediction log, decisions, drift",
    "mlflow": "runs, versions and aliases",
    "artifacts": "bundles, models and figures",
    "mage": "runs, schedules and logs of pipelines",
    "data": "content of the data versions",
    "git": "data versions' tags and pointers",
    "state": "API keys' hashes, rejected rows, held versions",
    "secrets": "generated passwords and keys",
}
"""Parts and what they hold, in the order in which they are shown."""

STATE = ("keys.json", "revocations.json", "rejects", "simulations")
"""Of the state folder, beside the stores."""

HELD = "held.json"
"""A version that a person put into service; lies below `api/MODEL/`."""

SECRETS_LOST = (
    "Without the secrets of the state folder a system restored elsewhere makes up new ones: tokens end, Mage and "
    "PostgreSQL get other passwords, Grafana needs the new alert key, and hashes of personal fields no longer match "
    "those of before. API keys stay valid. `--with-secrets` takes them in."
)

_MAGE_CACHE = ".cache"


@dataclass
class Watcher:
    """Told how far a backup or a restore is; this one tells nobody.

    Attributes:
        total: Bytes of the step that runs; 0 when nobody knows.
        done: Of these.
    """

    total: int = 0
    done: int = 0
    step: str = field(default="", init=False)

    def begin(self, step: str, total: int = 0) -> None:
        """A step begins, of so many bytes."""
        self.step, self.total, self.done = step, total, 0

    def moved(self, size: int) -> None:
        """So many more bytes are done."""
        self.done += size

    def finish(self, detail: str = "") -> None:
        """The step is done."""


def local_artifacts(settings: Settings) -> Path | None:
    """Folder of MLflow's artefacts; None when they are elsewhere."""
    if settings.mlflow_tracking_uri is not None or "://" in settings.artifacts:
        return None
    return Path(settings.artifacts)


def local_data(settings: Settings) -> Path | None:
    """Folder of DVC's remote; None when it is elsewhere."""
    remote = settings.dvc_remote
    if "://" in remote:
        return None
    # As DVC takes it: from the checkout.
    return settings.root / remote


def mlflow_database(settings: Settings) -> Path:
    """Database of the MLflow server that Sigap starts."""
    return settings.state / "mlflow" / "mlflow.db"


def mage_database(settings: Settings) -> Path:
    """Mage's database."""
    return settings.state / "mage" / "mage_project" / "mage-ai.db"


def left_out(settings: Settings, *, with_secrets: bool) -> dict[str, str]:
    """Why a part can't be, or is not to be, in a backup of this system."""
    why = {}
    if not settings.has_database:
        why["postgres"] = "PostgreSQL was never started here"
    if settings.mlflow_tracking_uri is not None:
        why["mlflow"] = why["artifacts"] = "MLFLOW_TRACKING_URI names a server of your own: back it up where it runs"
    else:
        if not mlflow_database(settings).exists():
            why["mlflow"] = "MLflow was never started here"
        folder = local_artifacts(settings)
        if folder is None:
            why["artifacts"] = f"they are in {settings.artifacts}, which this backup refers to"
        elif not folder.is_dir():
            why["artifacts"] = "there are none yet"
    if not mage_database(settings).exists():
        why["mage"] = "Mage was never started here"
    data = local_data(settings)
    if data is None:
        why["data"] = f"it is in {settings.dvc_remote}, which this backup refers to"
    elif not data.is_dir():
        why["data"] = "there are no data versions yet"
    if not with_secrets:
        why["secrets"] = "not asked for (--with-secrets)"
    elif not (settings.state / "secrets").is_dir():
        why["secrets"] = "there are none"
    return why


def state_files(settings: Settings) -> list[Path]:
    """Files and folders of the part `state` that there are."""
    found = [settings.state / name for name in STATE if (settings.state / name).exists()]
    return found + sorted((settings.state / "api").glob(f"*/{HELD}"))


def kept_of_mage(path: Path) -> bool:
    """Whether a file of Mage's folder goes into a backup: not its caches, nor its database, which is copied whole."""
    return _MAGE_CACHE not in path.parts and not path.name.startswith("mage-ai.db")


def size_of(folder: Path, keep: Callable[[Path], bool] = lambda _: True) -> int:
    """Bytes of the files in a folder, or of a file."""
    if folder.is_file():
        return folder.stat().st_size
    total = 0
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and keep(path):
            try:
                total += path.stat().st_size
            except FileNotFoundError:  # a log that was turned over meanwhile
                continue
    return total
