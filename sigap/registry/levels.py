"""Who stands at which level by a registered version, written to PostgreSQL's table `entity_levels` for BI tools.

The bundle's `members.json` is where levels are decided and kept; this is a copy of it, written once a version.
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import psycopg

from sigap.bundle import TAG_MANIFEST_SHA256, ClusteringManifest, read_manifest, read_members
from sigap.data import postgres
from sigap.errors import SigapError
from sigap.registry.models import ModelVersion, Registry
from sigap.settings import Settings

log = logging.getLogger(__name__)

_INSERT = (
    "INSERT INTO entity_levels (model, model_version, bundle_sha256, entity, name, period, level, label_id, label_en,"
    " distance) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
)


class Standing(NamedTuple):
    """Where an entity stands in a period.

    Attributes:
        entity: Its key.
        name: Its name for people.
        period: Such as a year; None where the data has none.
        level: 0 is the best; None where a figure was not published.
        label_id: The level in Indonesian.
        label_en: The level in English.
        distance: To the level's centre in standard deviations; None in earlier periods.
    """

    entity: str
    name: str
    period: int | None
    level: int | None
    label_id: str | None
    label_en: str | None
    distance: float | None


def record_levels(settings: Settings, registry: Registry, version: ModelVersion) -> int:
    """Writes the levels of `version` down, unless they are; of models that list no entities there are none.

    Without PostgreSQL nothing is written and the next decision does it: a model is not held back by its copy.

    Returns:
        How many rows were written.
    """
    try:
        sha256 = version.tags.get(TAG_MANIFEST_SHA256, "")
        if not sha256 or _recorded(settings, version, sha256):
            return 0
        bundle = registry.bundle(version)
        manifest = read_manifest(bundle)
        if not isinstance(manifest, ClusteringManifest):
            return 0
        return _write(settings, version, sha256, standings(manifest, read_members(bundle)))
    except (SigapError, psycopg.Error) as error:
        log.warning("The levels of %s %s are not in PostgreSQL: %s", version.model, version.name, type(error).__name__)
        return 0


def standings(manifest: ClusteringManifest, members: dict[str, Any]) -> list[Standing]:
    """Every entity at every period, by the bundle's own words.

    Args:
        manifest: The bundle's manifest, for the levels' labels.
        members: What its `members.json` holds.
    """
    listed = [*members["members"], *members["not_assessed"]]
    names = {str(each["entity"]): str(each["name"]) for each in listed}
    # A later entry takes an earlier one's place: the newest period stands in the history too, without a distance.
    places: dict[tuple[str, int | None], tuple[int | None, float | None]] = {}
    for point in members["history"]:
        places[point["entity"], point["period"]] = point["cluster"], None
    for each in members["not_assessed"]:
        places[each["entity"], members["period"]] = None, None
    for each in members["members"]:
        places[each["entity"], members["period"]] = each["cluster"], each["distance"]
    labels = [level.label for level in manifest.levels]
    return [
        Standing(
            entity,
            names.get(entity, entity),
            period,
            level,
            None if level is None else labels[level].id,
            None if level is None else labels[level].en,
            distance,
        )
        for (entity, period), (level, distance) in places.items()
    ]


def _recorded(settings: Settings, version: ModelVersion, sha256: str) -> bool:
    with postgres.connect(settings, read_only=True) as connection:
        found = connection.execute(
            "SELECT 1 FROM entity_levels WHERE model = %s AND model_version = %s AND bundle_sha256 = %s LIMIT 1",
            [version.model, version.name, sha256],
        ).fetchone()
    return found is not None


def _write(settings: Settings, version: ModelVersion, sha256: str, rows: list[Standing]) -> int:
    with postgres.connect(settings) as connection:
        # Two at once: the second waits here and finds the first one's rows.
        connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"levels {version.model} {version.name}"])
        same = "FROM entity_levels WHERE model = %s AND model_version = %s AND bundle_sha256 "
        key = [version.model, version.name, sha256]
        if connection.execute(f"SELECT 1 {same} = %s LIMIT 1".encode(), key).fetchone():
            return 0
        # A registry that began anew gives this name to another model.
        connection.execute(f"DELETE {same} <> %s".encode(), key)
        with connection.cursor() as cursor:
            cursor.executemany(_INSERT, [(*key, *row) for row in rows])
    return len(rows)
