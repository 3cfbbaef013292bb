"""Which scope a request needs: told by the routes themselves, so that a new one is never open by mistake.

A route's tag says what it is: `admin`, `alerts`, `predict` or `batch`, else a GET reads. What changes something and
says nothing of itself needs `admin`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette._utils import get_route_path
from starlette.types import Scope

Kind = Literal["open", "any", "read", "predict", "alerts", "admin"]

ANY = "any"
"""Needed where every valid token will do, whatever its scopes."""

_RANK: dict[Kind, int] = {"open": 0, "read": 1, "any": 2, "predict": 3, "alerts": 4, "admin": 5}
_NEEDING: dict[str, frozenset[Kind]] = {
    "admin": frozenset({"any", "alerts", "admin"}),
    "predict": frozenset({"any", "predict", "alerts", "admin"}),
    "all": frozenset({"any", "read", "predict", "alerts", "admin"}),
}
_PROBES = {"/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready", "/ready"}
_OPEN = _PROBES | {"/token", "/token-dashboard"}
_OWN_TOKEN = {"/validate-token", "/token/revoke"}
_LONG = re.compile(r"(batch|file|infer|outcomes)[^/]*$")
_REMEMBERED = 1024


class Rule(NamedTuple):
    """What holds for a request.

    Attributes:
        needs: The scope; `any` for any valid token; None for nothing.
        route: With a `path`: how metrics call it. None when nothing is there.
        long: Whether its body is a batch, a file or a list of outcomes.
        probe: Whether it only asks if the API lives: never limited.
    """

    needs: str | None
    route: Any
    long: bool
    probe: bool


class _Entry(NamedTuple):
    regex: re.Pattern[str]
    methods: frozenset[str] | None
    kind: Kind
    route: Any


class Access:
    """The rules of an application.

    Args:
        application: Its routes are read when first asked, so all have to be there by then.
        protect: What needs a token: `admin`, `predict` or `all`.
    """

    def __init__(self, application: FastAPI, protect: str) -> None:
        self._application = application
        self._needing = _NEEDING[protect]
        self._entries: list[_Entry] | None = None
        self._known: dict[tuple[str, str], Rule] = {}
        self._unknown = Rule(ANY if protect == "all" else None, None, False, False)

    def needs(self, method: str, path: str) -> str | None:
        """The scope that a request needs, `any` for any valid token, None for nothing."""
        return self.rule_of(method, path).needs

    def rule(self, scope: Scope) -> Rule:
        """What holds for a request by its ASGI scope."""
        path = get_route_path(scope) if scope.get("root_path") else scope["path"]
        return self.rule_of(scope["method"], path)

    def rule_of(self, method: str, path: str) -> Rule:
        """What holds for a request."""
        known = self._known.get((method, path))
        if known is not None:
            return known
        rule = self._found(method, path)
        # A scanner's paths are not remembered, and long ones of real routes not for ever.
        if rule.route is not None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[method, path] = rule
        return rule

    def _found(self, method: str, path: str) -> Rule:
        if self._entries is None:
            self._entries = list(_entries(self._application))
        # Matched as the router does it. Where several routes match, the strictest one counts, whatever their order.
        matching = [
            entry
            for entry in self._entries
            if (entry.methods is None or method in entry.methods) and entry.regex.match(path)
        ]
        if not matching:
            return self._unknown
        kind = max((entry.kind for entry in matching), key=_RANK.__getitem__)
        route = matching[0].route
        needs = None if kind not in self._needing else ANY if kind in ("any", "read") else kind
        return Rule(needs, route, bool(_LONG.search(route.path)), route.path in _PROBES)


def _entries(application: FastAPI) -> Iterator[_Entry]:
    for context in iter_route_contexts(application.routes):
        regex = getattr(context, "path_regex", None)
        if regex is None or context.path is None:
            continue
        methods = getattr(context, "methods", None)
        tags = set(getattr(context, "tags", None) or ())
        for method in methods or ("GET",):
            yield _Entry(regex, frozenset({method}) if methods else None, _kind(method, context.path, tags), context)


def _kind(method: str, path: str, tags: set[Any]) -> Kind:
    if path in _OPEN:
        return "open"
    if path in _OWN_TOKEN:
        return "any"
    if "admin" in tags:
        return "admin"
    if "alerts" in tags:
        return "alerts"
    if tags & {"predict", "batch"}:
        return "predict"
    return "read" if method in ("GET", "HEAD") else "admin"
