"""When something counts as drift: the section `drift` of `params.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sigap.training.params import read_section

SECTION = "drift"


class Rules(BaseModel):
    """Thresholds of the drift decision; the same for every model and both subjects."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    alpha: float = Field(
        0.01, gt=0, lt=0.5, description="Share of false findings among the features called drifted that is put up with."
    )
    effect: float = Field(
        0.08,
        gt=0,
        lt=1,
        description="Least distance of the two distributions, from 0 (the same) to 1 (nothing in common). A shift of a "
        "normal distribution by a fifth of its standard deviation is 0.08.",
    )
    share: float = Field(0.3, gt=0, le=1, description="Share of the tested features that makes a window drift.")
    minimum_rows: int = Field(30, ge=10, description="With fewer rows nothing is decided.")
    maximum_rows: int = Field(20_000, ge=100, description="Live inputs of a window are drawn down to about so many.")
    windows: int = Field(3, ge=1, le=100, description="Newest windows that are looked at together.")
    drifted_windows: int = Field(2, ge=1, le=100, description="How many of them have to drift for an alarm.")
    report_rows: int = Field(
        10_000, ge=100, description="Most rows of each sample in the report; the decision has all."
    )
    random_state: int = Field(42, ge=0, lt=2**32, description="Seed of everything random.")

    @model_validator(mode="after")
    def _can_alarm(self) -> Rules:
        if self.drifted_windows > self.windows:
            raise ValueError(f"drifted_windows {self.drifted_windows} is above windows {self.windows}")
        return self

    def public(self) -> Mapping[str, Any]:
        """The thresholds as they are kept with each check."""
        return self.model_dump()


def read_rules(root: Path) -> Rules:
    """The rules in the checkout's `params.yaml`; without such a section, the defaults.

    Raises:
        ConfigurationError: The file can't be read, or a value can't be used; the message names it.
    """
    return read_section(root, SECTION, Rules)
