"""The file of the provinces' areas: what can be joined is drawn, and what can't be used is told calmly."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from frontend import boundaries
from frontend.boundaries import BoundariesError
from sigap.settings import get_settings
from tests.frontend.conftest import shown

PROVINCES = Path(__file__).resolve().parents[2] / "data" / "seed" / "education" / "provinces.csv"


def _square(lon: float, lat: float, half: float = 0.8) -> list[list[float]]:
    corners = [(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)]
    return [[lon + half * x, lat + half * y] for x, y in corners]


def _areas(code: str = "kode", form: Any = int) -> dict[str, Any]:
    with PROVINCES.open() as file:
        rows = list(csv.DictReader(file))
    features = [
        {
            "type": "Feature",
            # A running number is no code, though some of its values look like one.
            "properties": {"number": number, "name": row["provinsi"], code: form(row["kode_bps"])},
            "geometry": {"type": "Polygon", "coordinates": [_square(float(row["lon"]), float(row["lat"]))]},
        }
        for number, row in enumerate(rows)
    ]
    return {"type": "FeatureCollection", "features": features}


@pytest.fixture
def entities() -> list[str]:
    with PROVINCES.open() as file:
        return [row["provinsi_id"] for row in csv.DictReader(file)]


def _set(monkeypatch: pytest.MonkeyPatch, folder: Path, content: Any) -> None:
    path = folder / "areas.geojson"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    monkeypatch.setenv("SIGAP_BOUNDARIES_FILE", str(path))
    monkeypatch.setenv("SIGAP_BOUNDARIES_ATTRIBUTION", "Badan <Informasi> Geospasial")
    get_settings.cache_clear()


@pytest.mark.parametrize("form", [int, str, float, "P{}".format, "{}00".format])
def test_areas_are_joined_by_the_code_however_it_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, entities: list[str], form: Any
) -> None:
    _set(monkeypatch, tmp_path, _areas(form=form))
    found = boundaries.configured(entities)
    assert found is not None
    assert set(found.rings) == set(entities)
    (ring,) = found.rings["P35"]
    # Surabaya.
    assert (min(x for x, _ in ring), max(y for _, y in ring)) == pytest.approx((111.95, -6.46), abs=0.05)
    assert all(111.9 < x < 113.6 and -8.1 < y < -6.4 for x, y in found.inside["P35"])
    assert len(found.inside["P35"]) >= 4


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "unreadable"),
        ("[]", "unreadable"),
        ('{"features": [{"geometry": {"type": "Polygon", "coordinates": [[["a", 1]]]}}]}', "unreadable"),
        ('{"features": []}', "codes"),
        (json.dumps(_areas(form="{}999".format)), "codes"),
        (json.dumps(_areas()).replace("[[[", "[[[1"), "degrees"),
    ],
)
def test_what_can_not_be_used_is_told_and_the_other_maps_stay(
    app: AppTest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str, reason: str
) -> None:
    _set(monkeypatch, tmp_path, content)
    with pytest.raises(BoundariesError) as refused:
        boundaries.configured(["P11", "P35"])
    assert refused.value.reason == reason
    app.query_params["lang"] = "en"
    app.run()
    assert not app.exception
    assert "The other maps show the same levels." in shown(app)
    assert app.segmented_control(key="view").options == ["Map", "Tiles"]


def test_a_file_that_went_away_is_told(app: AppTest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SIGAP_BOUNDARIES_FILE", str(tmp_path / "none.geojson"))
    get_settings.cache_clear()
    app.run()
    assert not app.exception
    assert "tidak dapat dibuka" in shown(app)


def test_areas_come_first_with_their_source_and_what_they_lack(
    app: AppTest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    areas = _areas()
    areas["features"] = areas["features"][:-1]
    _set(monkeypatch, tmp_path, areas)
    app.query_params["lang"] = "en"
    app.run()
    assert not app.exception
    assert app.segmented_control(key="view").options == ["Areas", "Map", "Tiles"]
    assert app.segmented_control(key="view").value == "regions"
    page = shown(app)
    assert "Areas: Badan &lt;Informasi&gt; Geospasial." in page
    assert "The file has no area for Papua" in page


def test_a_fine_coast_is_thinned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, entities: list[str]) -> None:
    areas = _areas()
    for feature in areas["features"]:
        (ring,) = feature["geometry"]["coordinates"]
        start, end = ring[0], ring[1]
        between = [[start[0] + (end[0] - start[0]) * n / 5000, start[1]] for n in range(5000)]
        feature["geometry"] = {"type": "MultiPolygon", "coordinates": [[between + ring[1:]]]}
    _set(monkeypatch, tmp_path, areas)
    found = boundaries.configured(entities)
    assert found is not None
    assert sum(len(ring) for rings in found.rings.values() for ring in rings) < 38 * 70
