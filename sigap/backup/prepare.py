"""What a restore prepares beside the places of what is there; nothing that is in use is touched here."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from sigap.backup import postgres, sqlite, trees
from sigap.backup.create import MAGE, MLFLOW
from sigap.backup.manifest import Manifest
from sigap.backup.parts import STATE, Watcher, local_artifacts, mlflow_database
from sigap.backup.swap import Entry, beside, discard
from sigap.errors import ConfigurationError
from sigap.mage_access import PASSWORD
from sigap.services.postgres import EmbeddedPostgres
from sigap.services.service import end_leftovers, free_port
from sigap.settings import Settings

_SECRET = "postgres_password"  # noqa: S105 - its name, not itself


@dataclass
class Restoring:
    """A restore that is under way."""

    settings: Settings
    manifest: Manifest
    folder: Path
    parts: tuple[str, ...]
    watcher: Watcher
    notes: list[str] = field(default_factory=list)

    def file(self, part: str) -> Path:
        """The tar file of a part."""
        return self.folder / f"{part}.tar"


def prepared(under_way: Restoring) -> list[Entry]:
    """Puts all that is to be exchanged beside its place; on failure it is deleted again."""
    settings, state = under_way.settings, under_way.settings.state
    places = [state / name for name in ("postgres", "mage", "secrets", "api", *STATE)] + [mlflow_database(settings)]
    if (artifacts := local_artifacts(settings)) is not None:
        places.append(artifacts)
    rests = [beside(place) for place in places] + [beside(state / "state")]
    end_leftovers(beside(state / "postgres"))
    for rest in rests:
        _discard_prepared(rest)
    try:
        return [*_stores(under_way), *_state(under_way), *_database(under_way)]
    except BaseException:
        for rest in rests:
            _discard_prepared(rest)
        raise


def _discard_prepared(path: Path) -> None:
    if path.is_dir():
        discard(path / "postgres")  # perhaps a link to a folder elsewhere
    discard(path)


def _stores(under_way: Restoring) -> list[Entry]:
    """MLflow and its artefacts, Mage."""
    settings, databases, watcher = under_way.settings, under_way.manifest.databases, under_way.watcher
    found = []
    if "mlflow" in under_way.parts:
        place = mlflow_database(settings)
        watcher.begin("mlflow", databases["mlflow"].size)
        sqlite.place(under_way.folder / MLFLOW, beside(place), databases["mlflow"], watcher.moved)
        watcher.finish(f"{sum(databases['mlflow'].tables.values()):,} rows")
        # What a killed server left of the other database's last transaction would be taken for this one's.
        journals = [place.with_name(place.name + end) for end in ("-journal", "-wal", "-shm")]
        found += [Entry(one, beside(one)) for one in (place, *journals)]
    if "mage" in under_way.parts:
        place = settings.state / "mage"
        watcher.begin("mage", under_way.file("mage").stat().st_size)
        trees.unpack(under_way.file("mage"), beside(place), watcher.moved)
        path = beside(place) / databases["mage"].name
        sqlite.place(under_way.folder / MAGE, path, databases["mage"])
        sqlite.rehome_mage(path, under_way.manifest.root, settings.root, _mage_password(under_way))
        watcher.finish(f"{sum(databases['mage'].tables.values()):,} rows")
        found.append(Entry(place, beside(place)))
    if "artifacts" in under_way.parts:
        folder = local_artifacts(settings)
        if folder is None:
            under_way.notes.append(
                f"MLflow's artefacts were not restored, since SIGAP_ARTIFACTS_URL names {settings.artifacts}: unpack "
                "the backup's artifacts.tar there."
            )
        else:
            watcher.begin("artifacts", under_way.file("artifacts").stat().st_size)
            trees.unpack(under_way.file("artifacts"), beside(folder), watcher.moved)
            watcher.finish()
            found.append(Entry(folder, beside(folder)))
    return found


def _mage_password(under_way: Restoring) -> str | None:
    if "secrets" in under_way.parts:
        return None  # comes with them
    try:
        return under_way.settings.secret(PASSWORD)
    except ConfigurationError:
        return None


def _state(under_way: Restoring) -> list[Entry]:
    """Files of the state folder, and its secrets."""
    state, found = under_way.settings.state, []
    if "state" in under_way.parts:
        prepared = beside(state / "state")
        trees.unpack(under_way.file("state"), prepared)
        # What is not in the backup was not there; bundles that an API fetched are fetched again.
        for name in ("api", *STATE):
            if (prepared / name).exists():
                (prepared / name).rename(beside(state / name))
            found.append(Entry(state / name, beside(state / name)))
        discard(prepared)
    if "secrets" in under_way.parts:
        prepared = beside(state / "secrets")
        trees.unpack(under_way.file("secrets"), prepared)
        prepared.chmod(0o700)
        for path in prepared.iterdir():
            path.chmod(0o600)
        found.append(Entry(state / "secrets", prepared))
    return found


def _database(under_way: Restoring) -> list[Entry]:
    """The embedded PostgreSQL, made anew beside the one that is there."""
    settings = under_way.settings
    if "postgres" not in under_way.parts or not settings.embedded_postgres:
        return []
    place = settings.state / "postgres"
    staging = beside(place)
    staging.mkdir(mode=0o755)
    known = beside(settings.state / "secrets") / _SECRET
    if not known.exists():
        known = settings.state / "secrets" / _SECRET
    if known.exists():
        (staging / "secrets").mkdir(mode=0o700)
        shutil.copy2(known, staging / "secrets" / _SECRET)
    own = settings.model_copy(update={"state_dir": staging, "postgres_port": free_port(), "host": "127.0.0.1"})
    with EmbeddedPostgres(own):
        for key in databases(under_way.manifest):
            load(under_way, own, key)
    entries = [Entry(place, staging / "postgres")]
    if not known.exists():
        entries.append(Entry(settings.state / "secrets" / _SECRET, staging / "secrets" / _SECRET))
    return entries


def load(under_way: Restoring, settings: Settings, key: str) -> None:
    """Puts a database of the backup in the place of that of the same key, in one transaction.

    Raises:
        BackupError: PostgreSQL refuses, or has other rows afterwards.
        ServiceError: It can't be reached.
    """
    database = under_way.manifest.databases[key]
    under_way.watcher.begin(key)
    one = postgres.target(settings, key, make=True)
    assert one is not None  # noqa: S101 - made where it was missing
    under_way.notes += postgres.load(one, under_way.folder / database.file, database, under_way.watcher.moved)
    under_way.watcher.finish(f"{sum(database.tables.values()):,} rows")


def databases(manifest: Manifest) -> list[str]:
    """Keys of PostgreSQL's databases, Sigap's own first."""
    return [key for key, each in manifest.databases.items() if each.kind == "postgres"]
