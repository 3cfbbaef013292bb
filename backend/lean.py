"""Keeps a worker small: libraries without extras that the API never uses, and memory given back to the system.

Each of these libraries works without its extra, by its own design. The extras are installed for other parts of Sigap.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def without(*extras: str) -> Iterator[None]:
    """What is imported inside finds these modules not installed, unless they are imported already."""
    hidden = [name for name in extras if name not in sys.modules]
    # The way that Python itself documents to have an import fail.
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


with without("watchfiles"):  # for a server that starts anew when its sources change
    import uvicorn as uvicorn
with without("orjson", "ujson"):  # for kinds of answers that the API has none of
    import fastapi as fastapi
with without("cryptography"):  # tokens are signed with HS256, which the standard library knows
    import jwt as jwt
with without("rich", "pygments"):  # for httpx's command line
    import httpx as httpx


def give_memory_back() -> None:
    """Has the C library return what it no longer needs; glibc keeps it unless it is asked."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
