"""The servers that the API is held against, each in an environment of its own below `.sigap/bench`."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib

from benchmarks.serving.servers import MissingError, Question, Server
from sigap.catalog import declaration
from sigap.services.service import free_port
from sigap.settings import ROOT

HERE = Path(__file__).parent
MODELS = ("education", "car_price")


def uvicorn(app: str) -> list[str]:
    """A bare uvicorn of our own environment, one worker."""
    return [sys.executable, "-m", "uvicorn", app, "--host", "127.0.0.1", "--port", "{port}", "--no-access-log"]


def floors() -> list[Server]:
    """A raw ASGI function, and FastAPI with the same body and no model."""
    bodies = {name: json.dumps(declaration(name).example) for name in MODELS}
    echo = {name: Question(f"/{name}", body) for name, body in bodies.items()}
    floor = {name: Question("/", body) for name, body in bodies.items()}
    return [
        Server("raw ASGI floor", uvicorn("benchmarks.serving.apps.floor:app"), floor, note="no validation, no model"),
        Server("FastAPI echo", uvicorn("benchmarks.serving.apps.echo:app"), echo, note="validation, no model"),
    ]


def peers(environments: Path, models: Path, scratch: Path, say: Callable[[str], None]) -> Iterator[Server]:
    """Each peer that can be installed; of the others it is said why not."""
    for name, make in (("mlflow", _mlflow), ("bentoml", _bentoml), ("mlserver", _mlserver)):
        try:
            programs = _environment(environments / name, HERE / "requirements" / f"{name}.txt")
        except MissingError as error:
            say(f"without {name}: {error}")
            continue
        yield from make(programs, models, scratch)


def _environment(folder: Path, requirements: Path) -> Path:
    """Folder of the programs of an environment that holds exactly these versions."""
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    stamp = folder / "made_from"
    programs = folder / "bin"
    if stamp.exists() and stamp.read_text() == wanted:
        return programs
    uv = shutil.which("uv") or str(ROOT / ".sigap" / "tools" / "bin" / "uv")
    python = str(programs / "python")
    steps = [
        [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)],
        [uv, "pip", "install", "--quiet", "--python", python, "-r", str(requirements)],
    ]
    for step in steps:
        try:
            done = subprocess.run(step, capture_output=True, text=True)
        except OSError as error:
            raise MissingError("uv is not on this machine.") from error
        if done.returncode:
            raise MissingError(done.stderr.strip()[-300:])
    stamp.write_text(wanted)
    return programs


def _row(models: Path, name: str) -> dict[str, Any]:
    """The declared example, as far as the peer's pipeline takes it."""
    used = joblib.load(models / name / "model.joblib").feature_names_in_
    return {feature: declaration(name).example[feature] for feature in used}


def _mlflow(programs: Path, models: Path, _scratch: Path) -> Iterator[Server]:
    for name in MODELS:
        body = json.dumps({"dataframe_records": [_row(models, name)]})
        command = [str(programs / "mlflow"), "models", "serve", "--model-uri", str(models / name / "mlflow")]
        command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", "{port}", "--workers", "1"]
        env = {"MLFLOW_DISABLE_TELEMETRY": "true", "PATH": f"{programs}:/usr/bin:/bin"}
        yield Server("mlflow models serve", command, {name: Question("/invocations", body)}, env)


def _bentoml(programs: Path, models: Path, scratch: Path) -> Iterator[Server]:
    for name in MODELS:
        body = json.dumps({"rows": [_row(models, name)]})
        command = [str(programs / "bentoml"), "serve", "bento:Model", "--working-dir", str(HERE / "apps")]
        command += ["--host", "127.0.0.1", "--port", "{port}"]
        env = {
            "MODEL_FOLDER": str(models / name),
            "BENTOML_HOME": str(scratch / f"bentoml-{name}"),
            "BENTOML_DO_NOT_TRACK": "true",
            "PATH": f"{programs}:/usr/bin:/bin",
        }
        yield Server("BentoML", command, {name: Question("/predict", body)}, env)


def _mlserver(programs: Path, models: Path, scratch: Path) -> Iterator[Server]:
    for name in MODELS:
        folder = scratch / f"mlserver-{name}"
        folder.mkdir()
        port = free_port()
        ports = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
        settings = {"host": "127.0.0.1", "parallel_workers": 0, **ports}
        (folder / "settings.json").write_text(json.dumps(settings))
        model: dict[str, Any] = {"name": name, "implementation": "mlserver_sklearn.SKLearnModel"}
        model |= {"parameters": {"uri": str(models / name / "model.joblib")}}
        (folder / "model-settings.json").write_text(json.dumps(model))
        inputs = [_tensor(feature, value) for feature, value in _row(models, name).items()]
        body = json.dumps({"parameters": {"content_type": "pd"}, "inputs": inputs})
        question = Question(f"/v2/models/{name}/infer", body)
        yield Server("MLServer", [str(programs / "mlserver"), "start", str(folder)], {name: question}, port=port)


def _tensor(name: str, value: Any) -> dict[str, Any]:
    text = isinstance(value, str)
    tensor = {"name": name, "shape": [1, 1], "datatype": "BYTES" if text else "FP64", "data": [value]}
    return tensor | {"parameters": {"content_type": "str"}} if text else tensor
