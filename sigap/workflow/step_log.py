"""The lines that the pipeline's steps leave, each with the ids that lead on: model, run, version, data."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from sigap.logs import ids

log = logging.getLogger("sigap.pipeline")

P = ParamSpec("P")
R = TypeVar("R")


def logged(step: Callable[P, R]) -> Callable[P, R]:
    """Has a step of `sigap.workflow` say that it is done, or that it failed; all that is said inside has its ids too.

    Args:
        step: Takes a model's name, or what the step before it returned.
    """
    name = step.__name__

    @wraps(step)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with ids(**_ids(args[0] if args else kwargs.get("model"))):
            try:
                result = step(*args, **kwargs)
            except Exception:
                log.exception("The step %s failed.", name)
                raise
            with ids(**_ids(result)):
                log.info("The step %s is done%s.", name, _outcome(result))
            return result

    return call


def _ids(told: Any) -> dict[str, Any]:
    """What is known of a model's name, of what a step returned, or of the first of several items."""
    if isinstance(told, list):
        told = told[0] if told else {}
    if isinstance(told, str):
        return {"model": told}
    if not isinstance(told, Mapping):
        return {}
    taken = told.get("snapshot", told)
    return {
        "model": taken.get("model") or told.get("model"),
        "model_version": told.get("model_version"),
        "run_id": told.get("parent_run_id"),
        "data_version": told.get("data_version") or taken.get("version"),
    }


def _outcome(result: Any) -> str:
    if not isinstance(result, Mapping) or "promoted" not in result:
        return ""
    served = "is served now" if result["promoted"] else f"is not promoted ({result['rule']})"
    return f": {result['model_version'] or 'nothing new'} {served}"
