"""The provinces' areas out of a GeoJSON file that the operator sets, joined by the provinces' codes."""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigap.errors import SigapError
from sigap.settings import get_settings

log = logging.getLogger("sigap.dashboard")

# A file of all Indonesia's villages has gigabytes; one of the provinces has a few megabytes.
MOST_BYTES = 64 * 2**20
# Degrees: about a pixel of the map, so that a finely surveyed coast does not make the page slow.
STEP = 0.03
# Degrees between the points by which an area is clicked.
GRID = 0.5
# Of all areas in the file, the least share that a property has to give a province's code to.
LEAST_SHARE = 0.5
CODE = re.compile(r"P?(\d{2})(?:\.0*)?")
Ring = tuple[tuple[float, float], ...]


class BoundariesError(SigapError):
    """The file of boundaries can't be used; `reason` is the key of a text that says why.

    Args:
        message: What was found, for the log.
        reason: `missing`, `large`, `unreadable`, `degrees` or `codes`.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message, remedy="Correct SIGAP_BOUNDARIES_FILE, or unset it for the map of capitals.")
        self.reason = reason


@dataclass(frozen=True)
class Boundaries:
    """Areas by entity.

    Attributes:
        rings: Rings of (longitude, latitude) in degrees.
        inside: Points inside of the area, about half a degree apart; none in a small one.
        attribution: Whose work the file is.
    """

    rings: Mapping[str, tuple[Ring, ...]]
    inside: Mapping[str, tuple[tuple[float, float], ...]]
    attribution: str


def configured(entities: Iterable[str]) -> Boundaries | None:
    """The areas of `entities` from the file that is set; None where none is set.

    Raises:
        BoundariesError: The file is missing, too large, no GeoJSON in degrees, or has none of the entities' codes.
    """
    settings = get_settings()
    if settings.boundaries_file is None:
        return None
    path = settings.root / settings.boundaries_file
    try:
        found = path.stat()
    except OSError as error:
        raise BoundariesError(f"The file of boundaries {path} can't be opened: {error.strerror}.", "missing") from error
    return _read(path, found.st_mtime_ns, found.st_size, tuple(sorted(entities)), settings.boundaries_attribution)


@lru_cache(maxsize=2)
def _read(path: Path, _changed: int, size: int, entities: tuple[str, ...], attribution: str) -> Boundaries:
    if size > MOST_BYTES:
        raise BoundariesError(f"{path} has {size} bytes; at most {MOST_BYTES} are read.", "large")
    try:
        features = json.loads(path.read_text(encoding="utf-8-sig"))["features"]
        shapes = [(_codes(feature), _rings(feature["geometry"])) for feature in features if feature.get("geometry")]
    except OSError as error:
        raise BoundariesError(f"The file of boundaries {path} can't be read: {error.strerror}.", "missing") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise BoundariesError(f"{path} is no GeoJSON collection of areas: {error!r}.", "unreadable") from error
    if not all(abs(x) <= 180 and abs(y) <= 90 for _, rings in shapes for ring in rings for x, y in ring):
        raise BoundariesError(f"{path} does not hold longitudes and latitudes in degrees (EPSG:4326).", "degrees")
    joined = _joined(shapes, set(entities))
    if not joined:
        raise BoundariesError(
            f"No property of {path} holds the provinces' codes ({', '.join(entities[:3])}, …).", "codes"
        )
    if absent := set(entities) - set(joined):
        log.warning("%s has no area for %s.", path, ", ".join(sorted(absent)))
    rings = {entity: _plain(areas) for entity, areas in joined.items()}
    return Boundaries(rings, {entity: _inside(areas) for entity, areas in rings.items()}, attribution)


def _codes(feature: Mapping[str, Any]) -> dict[str, str]:
    """What of a feature may be a province's code, by property; its id counts as one."""
    found = {}
    for name, value in {"id": feature.get("id"), **(feature.get("properties") or {})}.items():
        if not isinstance(value, (str, int, float)) or isinstance(value, bool):
            continue
        # 35, 35.0, "35", "P35" and the statistics office's "3500" are all East Java.
        text = str(value).strip().removesuffix("00") if len(str(value).strip()) == 4 else str(value).strip()
        if match := CODE.fullmatch(text):
            found[name] = f"P{match[1]}"
    return found


def _rings(geometry: Mapping[str, Any]) -> list[Ring]:
    if geometry["type"] == "GeometryCollection":
        return [ring for part in geometry["geometries"] for ring in _rings(part)]
    if geometry["type"] not in ("Polygon", "MultiPolygon"):
        return []
    polygons = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    return [tuple((float(p[0]), float(p[1])) for p in ring) for polygon in polygons for ring in polygon]


def _joined(shapes: list[tuple[dict[str, str], list[Ring]]], entities: set[str]) -> dict[str, list[Ring]]:
    """The rings by entity, by the property that is an entity's code most often."""
    named = Counter(name for codes, rings in shapes if rings for name, code in codes.items() if code in entities)
    best, count = named.most_common(1)[0] if named else ("", 0)
    # Some of the values of a running number look like codes too.
    if count < LEAST_SHARE * sum(bool(rings) for _, rings in shapes) or not count:
        return {}
    joined: dict[str, list[Ring]] = {}
    for codes, rings in shapes:
        if rings and codes.get(best) in entities:
            joined.setdefault(codes[best], []).extend(rings)
    return joined


def _plain(rings: list[Ring]) -> tuple[Ring, ...]:
    """The rings without what is smaller than a pixel; of a province that is all small, its largest."""
    plain = [thin for ring in rings if len(thin := _thinned(ring)) > 3 and _extent(thin) > 2 * STEP]
    return tuple(plain) or (max(rings, key=_extent),)


def _thinned(ring: Ring) -> Ring:
    kept = [ring[0]]
    for point in ring[1:-1]:
        if abs(point[0] - kept[-1][0]) + abs(point[1] - kept[-1][1]) >= STEP:
            kept.append(point)
    return tuple((round(x, 3), round(y, 3)) for x, y in (*kept, ring[-1]))


def _extent(ring: Ring) -> float:
    return max(max(p[axis] for p in ring) - min(p[axis] for p in ring) for axis in (0, 1))


def _inside(rings: tuple[Ring, ...]) -> tuple[tuple[float, float], ...]:
    points = np.concatenate([np.array(ring) for ring in rings])
    low, high = np.floor(points.min(axis=0) / GRID), np.ceil(points.max(axis=0) / GRID)
    x, y = np.meshgrid(np.arange(low[0], high[0] + 1) * GRID, np.arange(low[1], high[1] + 1) * GRID)
    odd: NDArray[np.bool_] = np.zeros(x.shape, dtype=bool)
    for ring in rings:
        for (x1, y1), (x2, y2) in pairwise(ring):
            if y1 != y2:
                odd ^= ((y1 > y) != (y2 > y)) & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
    return tuple((float(a), float(b)) for a, b in zip(x[odd], y[odd], strict=True))
