"""The map's own geography: coastlines and the grid of provinces."""

from __future__ import annotations

import csv
import json
from itertools import pairwise
from pathlib import Path

from frontend.charts import labels
from frontend.charts.coast import EAST, GEOGRAPHY, NORTH, SOUTH, WEST, WIDTHS
from frontend.charts.tiles import tile_places

PROVINCES = Path(__file__).resolve().parents[2] / "data" / "seed" / "education" / "provinces.csv"


def _provinces() -> list[dict[str, str]]:
    with PROVINCES.open() as file:
        return list(csv.DictReader(file))


def test_every_province_has_its_own_tile_and_code() -> None:
    places = tile_places()
    assert set(places) == {row["provinsi_id"] for row in _provinces()}
    assert len({place[:2] for place in places.values()}) == len({place[2] for place in places.values()}) == 38


def test_the_map_shows_every_capital() -> None:
    for row in _provinces():
        assert WEST < float(row["lon"]) < EAST, row["provinsi"]
        assert SOUTH < float(row["lat"]) < NORTH, row["provinsi"]


def test_capitals_stand_on_land_or_at_its_shore() -> None:
    rings = json.loads((GEOGRAPHY / "coastlines.json").read_text())["indonesia"]
    shore = [point for ring in rings for point in ring]
    for row in _provinces():
        lon, lat = float(row["lon"]), float(row["lat"])
        near = min((x - lon) ** 2 + (y - lat) ** 2 for x, y in shore) < 0.35**2
        assert near or any(_inside(lon, lat, ring) for ring in rings), row["provinsi"]


def test_no_provinces_name_covers_another_mark_on_a_phone_or_a_large_screen() -> None:
    spots = {row["provinsi"]: (float(row["lon"]), float(row["lat"])) for row in _provinces()}
    sizes = [width / (EAST - WEST) for width in WIDTHS]
    scales = [labels.Scale(size, size, (WEST, EAST, SOUTH, NORTH)) for size in sizes]
    for name, at in spots.items():
        others = [spot for other, spot in spots.items() if other != name]
        right, up = labels.offset(at, others, name, scales)
        half = len(name) * labels.LETTER / 2
        for size in sizes:
            for x, y in others:
                apart = abs((x - at[0]) * size - right) > half, abs((y - at[1]) * size - up) > labels.HALF_HEIGHT
                assert any(apart), f"{name} covers the mark at {x}, {y}"


def _inside(x: float, y: float, ring: list[list[float]]) -> bool:
    odd = False
    for (x1, y1), (x2, y2) in pairwise(ring):
        if (y1 > y) != (y2 > y) and x < (x2 - x1) * (y - y1) / (y2 - y1) + x1:
            odd = not odd
    return odd
