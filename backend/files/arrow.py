"""pyarrow, without the pandas that it imports as soon as it finds it."""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder

import pyarrow as pa


def without_pandas() -> None:
    """Keeps pyarrow from importing pandas for its conversions: the API needs none, and it takes 60 MB.

    pyarrow tries once a process. A process that has pandas already keeps it.
    """
    if "pandas" in sys.modules:
        return
    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(finder)


class _NoPandas(MetaPathFinder):
    """Says that pandas is not installed."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:  # noqa: ARG002
        """See `MetaPathFinder`."""
        if fullname == "pandas":
            raise ModuleNotFoundError("The API does without pandas.", name=fullname)
