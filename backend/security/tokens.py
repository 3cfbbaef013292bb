"""Bearer tokens: signed names with scopes and an end (RFC 7519, HS256)."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterable
from typing import NamedTuple

from backend.lean import jwt
from backend.problems import RequestError
from backend.security.revocations import Revocations
from sigap.errors import SigapError
from sigap.keys import ApiKey, Keys
from sigap.settings import Settings

log = logging.getLogger("sigap.api")

PRINCIPAL = "sigap.principal"
"""Key of the ASGI scope under which later layers find who asks; absent when nobody said so."""

_ISSUER = "sigap"
_ALGORITHM = "HS256"
_CLAIMS = ["iss", "sub", "iat", "exp", "jti", "key", "scopes"]
_LONGEST = 4096
_REMEMBERED = 4096
# Revocations and keys of other processes are noticed after this many seconds at the latest.
_LOOK_SECONDS = 0.5


class Principal(NamedTuple):
    """Who asks.

    Attributes:
        name: Of the key that got the token.
        scopes: What the token allows.
        jti: The token's identity.
        expires: When the token ends, in seconds since 1970.
    """

    name: str
    scopes: frozenset[str]
    jti: str
    expires: float


class Tokens:
    """Issues tokens for keys, and tells whose token a header carries.

    Args:
        settings: The secret, the lifetime and the state folder.

    Raises:
        ConfigurationError: The keys or the revocations can't be read.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.lifetime = settings.token_minutes * 60
        self.keys = Keys(settings)
        # Where the lifetime was longer at an earlier start, its tokens may outlive one of today's.
        self.revocations = Revocations(settings.state / "revocations.json", max(self.lifetime, 7 * 86400.0))
        self._secret: bytes | None = None
        self._known: dict[bytes, Principal] = {}
        self._look_at = 0.0

    @property
    def _key(self) -> bytes:
        # Only when first used: an import of the application makes up no secret.
        if self._secret is None:
            self._secret = self._settings.key_for("tokens")
        return self._secret

    def issue(self, key: ApiKey, scopes: Iterable[str]) -> tuple[str, Principal]:
        """A token for the key, with scopes that the key has."""
        now = time.time()
        expires = int(now + self.lifetime)
        principal = Principal(key.name, frozenset(scopes) & frozenset(key.scopes), secrets.token_hex(12), expires)
        claims = {
            "iss": _ISSUER,
            "sub": key.name,
            "iat": round(now, 3),
            "exp": expires,
            "jti": principal.jti,
            "key": key.fingerprint,
            "scopes": sorted(principal.scopes),
        }
        return jwt.encode(claims, self._key, _ALGORITHM), principal

    def principal(self, header: bytes) -> Principal:
        """Whose token the `Authorization` header carries.

        A token that was seen before costs a look into a dictionary; its signature is checked once.

        Raises:
            RequestError: 401, the token is none of ours, has expired, or was revoked.
        """
        if time.monotonic() >= self._look_at:
            self.refresh()
        found = self._known.get(header)
        if found is not None and found.expires > time.time():
            return found
        found = self._verified(header)
        if len(self._known) >= _REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[header] = found
        return found

    def holder(self, key: str) -> ApiKey | None:
        """Whose key this is; None when it is nobody's."""
        if time.monotonic() >= self._look_at:
            self.refresh()
        return self.keys.identify(key)

    def refresh(self) -> None:
        """Takes note of keys and revocations that other processes wrote."""
        self._look_at = time.monotonic() + _LOOK_SECONDS
        try:
            # Both, whatever the first one says.
            if self.keys.refresh() | self.revocations.refresh():
                self._known.clear()
        except (SigapError, OSError, ValueError) as error:
            log.error("Keys and revocations stay as they were last read: %s", error)  # noqa: TRY400

    def revoke_token(self, jti: str, until: float | None = None) -> None:
        """Revokes one token."""
        self.revocations.revoke_token(jti, until)
        self._known.clear()

    def revoke_name(self, name: str) -> None:
        """Revokes every token that the key of that name got so far."""
        self.revocations.revoke_name(name)
        self._known.clear()

    def _verified(self, header: bytes) -> Principal:
        scheme, _, token = header.partition(b" ")
        if scheme.lower() != b"bearer":
            raise unauthorized("The header `Authorization` holds no bearer token.")
        if len(token) > _LONGEST:
            raise unauthorized("The token is none of this API's.", "invalid_token")
        try:
            claims = jwt.decode(
                token.strip(), self._key, algorithms=[_ALGORITHM], issuer=_ISSUER, options={"require": _CLAIMS}
            )
        except jwt.ExpiredSignatureError as error:
            raise unauthorized("The token has expired.", "invalid_token") from error
        except jwt.InvalidTokenError as error:
            raise unauthorized("The token is none of this API's.", "invalid_token") from error
        name, jti = str(claims["sub"]), str(claims["jti"])
        key = next((key for key in self.keys.all if key.name == name and key.fingerprint == claims["key"]), None)
        if key is None or self.revocations.covers(jti, name, float(claims["iat"])):
            raise unauthorized("The token was revoked.", "invalid_token")
        # A key that a setting holds may have fewer scopes by now.
        return Principal(name, frozenset(claims["scopes"]) & frozenset(key.scopes), jti, float(claims["exp"]))


def unauthorized(message: str, error: str = "") -> RequestError:
    """401 with the challenge that RFC 6750 asks for."""
    challenge = 'Bearer realm="sigap"' + (f', error="{error}"' if error else "")
    return RequestError(
        401,
        "unauthorized",
        "A valid token is needed",
        message,
        remedy="Get one: POST /token with your API key, then send `Authorization: Bearer …`.",
        headers={"www-authenticate": challenge},
    )
