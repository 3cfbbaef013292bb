"""The model's table at one moment, as a data version."""

from typing import Any

from sigap import workflow

if "data_loader" not in globals():
    from mage_ai.data_preparation.decorators import data_loader
if "test" not in globals():
    from mage_ai.data_preparation.decorators import test


@data_loader
def take_snapshot(*_: Any, **variables: Any) -> dict[str, Any]:
    """Read PostgreSQL once, or restore the data version that was asked for."""
    version, data_version, owner, asked_by = (
        str(variables.get(name) or "") for name in ("version", "data_version", "owner", "asked_by")
    )
    return workflow.snapshot(variables["model"], version, data_version, owner=owner, asked_by=asked_by)


@test
def holds_rows(snapshot: dict[str, Any], *_: Any) -> None:
    """A snapshot without rows would train nothing."""
    assert snapshot["rows"] > 0, f"The snapshot {snapshot['version']} of {snapshot['model']} holds no rows."
