"""Six models in one process: how much memory they take."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import httpx
import pytest

from sigap.bundle import MANIFEST
from tests.backend.bundles import BODY, write_bundle
from tests.backend.conftest import free_port, process, wait_for
from tests.backend.task_bundles import FIVE, write_task_bundle

MOST_MEGABYTES = 145


def keep(state: Path, model: str, **changes: object) -> None:
    """Puts a bundle where the API keeps the one it served last; `changes` are to the manifest of education's."""
    draft = state / "draft" / model
    declaration = next((each for each in FIVE if each.name == model), None)
    sha256 = write_task_bundle(draft, declaration) if declaration else write_bundle(draft, **changes)
    kept = state / "api" / model / f"v1-{sha256[:16]}"
    kept.parent.mkdir(parents=True)
    draft.rename(kept)
    assert (kept / MANIFEST).is_file()
    (kept.parent / "last_good.json").write_text(json.dumps({"version": "1", "manifest_sha256": sha256}))


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="memory is read from /proc")
def test_six_models_take_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Counting which lines run takes memory of its own, and is no part of what is measured.
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    bodies = {"education": BODY} | {declaration.name: declaration.example for declaration in FIVE}
    for model in bodies:
        keep(tmp_path, model)
    port = free_port()
    command = [sys.executable, "-m", "backend", "--port", str(port)]
    env = {"SIGAP_STATE_DIR": str(tmp_path), "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    with process(command, tmp_path / "api.log", **env) as started:
        api = f"http://127.0.0.1:{port}"
        wait_for(lambda: httpx.get(f"{api}/health/live").status_code == 200, "The API", 600)
        for _ in range(20):
            for model, body in bodies.items():
                assert httpx.post(f"{api}/models/{model}/predict", json=body).status_code == 200
        for path in ("/openapi.json", "/docs", "/redoc", "/models"):
            assert httpx.get(f"{api}{path}").status_code == 200
        assert all(each["served"] for each in httpx.get(f"{api}/models").json()["models"])
        status = Path(f"/proc/{started.pid}/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    assert peak / 1024 < MOST_MEGABYTES
