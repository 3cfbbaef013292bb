"""What the sweep tries, out of `params.yaml`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sigap.errors import ConfigurationError

PARAMS = "params.yaml"
Section = TypeVar("Section", bound=BaseModel)


class Params(BaseModel):
    """One model's section of `params.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    k_min: int = Field(2, ge=2, description="Smallest number of clusters tried.")
    k_max: int = Field(6, ge=2, le=50, description="Largest number of clusters tried.")
    init: Literal["k-means++", "random"] = Field("k-means++", description="How K-Means chooses its first centres.")
    n_init: int = Field(20, ge=1, le=1000, description="Starts of K-Means, of which the best is kept.")
    random_state: int = Field(42, ge=0, lt=2**32, description="Seed of everything random.")
    bootstraps: int = Field(100, ge=10, le=10_000, description="Bootstrap samples for stability.")

    @model_validator(mode="after")
    def _range_is_ordered(self) -> Params:
        if self.k_min > self.k_max:
            raise ValueError(f"k_min {self.k_min} is above k_max {self.k_max}")
        return self


def read_params(root: Path, model: str) -> Params:
    """The parameters of `model` in the checkout's `params.yaml`; without a section of its own, the defaults.

    Raises:
        ConfigurationError: The file can't be read, or a value can't be used; the message names it.
    """
    return read_section(root, model, Params)


def read_section(
    root: Path, model: str, kind: type[Section], default: Callable[[], Mapping[str, Any]] = dict
) -> Section:
    """The section of `model` in the checkout's `params.yaml`, as `kind` has it; without one, what `default` gives.

    Raises:
        ConfigurationError: The file can't be read, or a value can't be used; the message names it.
    """
    path = root / PARAMS
    try:
        sections = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(
            f"{path} can't be read: {error}.", remedy=f"Restore it with `git checkout -- {PARAMS}`."
        ) from error
    if not isinstance(sections, dict) or not isinstance(sections.get(model, {}), dict):
        raise ConfigurationError(f"{path} holds no sections by model.", remedy="See any section of it in Git.")
    try:
        return kind.model_validate(sections[model] if model in sections else default())
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join([model, *(str(part) for part in first["loc"])])
        raise ConfigurationError(
            f"{path}: {name} can't be used: {first['msg']}, found {first['input']!r}.", remedy="Correct it there."
        ) from None
