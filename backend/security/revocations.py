"""Tokens that are not accepted any more although they have not expired; shared by the workers through a file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from sigap.state_file import Stamp, StateFile


class Revocations:
    """The revoked tokens.

    Args:
        path: The file that holds them.
        lifetime: Seconds after which any token issued by now has expired.

    Raises:
        ConfigurationError: The file does not hold what it should.
    """

    def __init__(self, path: Path, lifetime: float) -> None:
        self._file = StateFile(path)
        self._lifetime = lifetime
        self._stamp: Stamp | None = None
        self._tokens: dict[str, float] = {}
        self._names: dict[str, float] = {}
        self.refresh()

    def refresh(self) -> bool:
        """Reads the file again if it is another one than before; whether it was."""
        stamp = self._file.stamp()
        if stamp == self._stamp:
            return False
        value = self._file.read()
        self._tokens = {jti: float(until) for jti, until in value.get("tokens", {}).items()}
        self._names = {name: float(before) for name, before in value.get("names", {}).items()}
        self._stamp = stamp
        return True

    def covers(self, jti: str, name: str, issued: float) -> bool:
        """Whether a token is revoked, by itself or with all that its key got until then."""
        return jti in self._tokens or issued <= self._names.get(name, -1.0)

    def revoke_token(self, jti: str, until: float | None = None) -> None:
        """Revokes one token; forgotten after `until` (seconds since 1970), when it would have expired."""
        self._change("tokens", jti, until if until is not None else time.time() + self._lifetime)

    def revoke_name(self, name: str) -> None:
        """Revokes every token that the key of that name got so far."""
        self._change("names", name, time.time())

    def _change(self, kind: str, entry: str, at: float) -> None:
        def change(value: dict[str, Any]) -> None:
            now = time.time()
            tokens = value.setdefault("tokens", {})
            names = value.setdefault("names", {})
            value["tokens"] = {jti: until for jti, until in tokens.items() if until > now}
            value["names"] = {name: before for name, before in names.items() if before > now - self._lifetime}
            value[kind][entry] = at

        self._file.change(change)
        self.refresh()
