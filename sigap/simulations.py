"""Where a simulated shift of a table keeps the way back."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from sigap.settings import Settings


def record_of(settings: Settings, model: str) -> Path:
    """The file with the values that were in the table before; it is there as long as they are to be taken back."""
    return settings.state / "simulations" / f"{model}.json"


def shifted_since(settings: Settings, model: str) -> datetime | None:
    """Since when the model's table holds a simulated shift; None if it holds none."""
    try:
        return datetime.fromtimestamp(record_of(settings, model).stat().st_mtime, UTC)
    except FileNotFoundError:
        return None
