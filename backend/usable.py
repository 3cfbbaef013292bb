"""Which declared models this API can serve: one whose types can't be made bars no other."""

from __future__ import annotations

import logging

from backend.hot import Reader
from backend.requests import Validator
from backend.tasks import answer_model
from sigap.catalog import Declaration, declarations, unusable
from sigap.catalog.declaration import Forecasting
from sigap.errors import ConfigurationError

log = logging.getLogger(__name__)


def usable(
    models: tuple[Declaration, ...] | None = None,
) -> tuple[tuple[Declaration, ...], dict[str, ConfigurationError]]:
    """The models whose requests and answers can be typed, and why others can't, by model; told in the log too.

    Args:
        models: Those that are wanted; the whole catalogue if not given.
    """
    found: list[Declaration] = []
    left_out: dict[str, ConfigurationError] = {} if models else unusable()
    for model in models or declarations():
        try:
            _build(model)
        except Exception as error:  # made of a declaration that somebody wrote: it can be wrong in any way
            cause = f"{type(error).__name__}: {error}".rstrip(".")
            left_out[model.name] = ConfigurationError(
                f"The API can't make the types of requests and answers of sigap/catalog/{model.name}.py: {cause}.",
                remedy="Correct names, patterns, categories or the task's words there; the other models are served.",
            )
        else:
            found.append(model)
    for fault in left_out.values():
        log.error("%s", fault)
    return tuple(found), left_out


def _build(model: Declaration) -> None:
    Validator(model)
    answer_model(model)
    if not isinstance(model.task, Forecasting):  # whose requests are candles
        Reader(model)
