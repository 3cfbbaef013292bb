"""What travels between the steps."""

from __future__ import annotations

from typing import Any

from sigap.registry.tracking import Data

# Plain: no NaN, no tuples.
Json = dict[str, Any]


def data_of(snapshot: Json) -> Data:
    """The data of a snapshot, as a run in MLflow names it."""
    return Data(snapshot["version"], snapshot["md5"], snapshot["path"], snapshot["rows"])
