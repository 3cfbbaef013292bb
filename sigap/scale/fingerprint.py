"""What decides a result's last digit beside the data: the code, and the libraries that compute."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import metadata

from sigap.settings import ROOT

LOCK = "requirements/all.lock"
LIBRARIES = ("numpy", "scipy", "scikit-learn", "pandas", "pyarrow", "onnxruntime", "dask", "distributed")


@lru_cache(maxsize=8)
def fingerprint(packages: tuple[str, ...] = ("sigap",)) -> Mapping[str, str]:
    """What this process computes with, by name: Python, kind of processor, lock, libraries, and our own packages.

    Args:
        packages: Folders of the checkout whose Python files count; of each the sha256 over all of them.
    """
    lock = ROOT / LOCK
    return {
        "Python": platform.python_version(),
        "processor": platform.machine(),
        LOCK: hashlib.sha256(lock.read_bytes()).hexdigest()[:12] if lock.is_file() else "none",
        **{name: _installed(name) for name in LIBRARIES},
        **{name: _code(name) for name in packages},
    }


def differences(ours: Mapping[str, str], theirs: Mapping[str, str]) -> Sequence[str]:
    """What differs, each as a text with both sides."""
    return [
        f"{name} is {theirs.get(name, 'none')} there and {ours.get(name, 'none')} here"
        for name in sorted({*ours, *theirs})
        if ours.get(name) != theirs.get(name)
    ]


def _installed(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "none"


def _code(package: str) -> str:
    found = hashlib.sha256()
    for path in sorted((ROOT / package).rglob("*.py")):
        found.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()[:12]
