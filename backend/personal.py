"""What is kept of a request and of its answer: nothing by which a person could be told."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

import msgspec

from sigap.catalog import Declaration

DIGEST_BYTES = 16
# What every answer of a version repeats: the version's lineage and card tell it.
_CONSTANT = frozenset(
    {
        "model",
        "model_version",
        "data_version",
        "features_used",
        "features_left_out",
        "baseline",
        "calibration",
        "calibrated",
        "threshold",
        "note",
        "profile",
        "distinguishing",
        "segment_bounds",
    }
)
# Of a reason: its value and its sentence quote what the person said.
_REASON = ("kind", "feature", "effect")
_SHORTENED = _CONSTANT | {"reasons"}


class Mask:
    """Makes of a request's fields what may be kept.

    Args:
        declaration: Says which fields are personal.
        key: Of the hashes; without it, nobody can try out which value has a hash.
        mode: `hash` puts a keyed hash in the place of a personal value, so that equal values stay equal; `omit`
            leaves personal fields out.
    """

    def __init__(self, declaration: Declaration, key: bytes, mode: Literal["hash", "omit"]) -> None:
        self._personal = tuple(feature.name for feature in declaration.features if feature.personal)
        self._mode = mode

        # Ages and yes or no come again and again.
        @lru_cache(maxsize=4096, typed=True)
        def digest(name: str, value: str | float | bool) -> str:
            text = msgspec.json.encode([name, value])
            return hmac.digest(key, text, hashlib.sha256)[:DIGEST_BYTES].hex()

        self._digest = digest

    def fields(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """The fields without what is personal; null stays null."""
        if not self._personal:
            return fields
        kept = dict(fields)
        for name in self._personal:
            value = kept.pop(name, None) if self._mode == "omit" else kept.get(name)
            if self._mode == "hash" and value is not None:
                kept[name] = self._digest(name, value)
        return kept


def kept_whole(answer: Mapping[str, Any]) -> bool:
    """Whether `kept_answer` leaves nothing out."""
    return _SHORTENED.isdisjoint(answer)


def kept_answer(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The answer without what its version repeats and without what quotes the request."""
    kept = {name: value for name, value in answer.items() if name not in _CONSTANT}
    if "reasons" in kept:
        kept["reasons"] = [{name: reason[name] for name in _REASON} for reason in kept["reasons"]]
    return kept
