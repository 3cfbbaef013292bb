"""Named API keys: who may ask the API for a token, and for what.

A key is 256 random bits, so its plain SHA-256 is all that is kept: there is nothing that could be guessed from it.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sigap.errors import ConfigurationError, SigapError
from sigap.settings import Settings
from sigap.state_file import Stamp, StateFile

SCOPES = ("predict", "admin", "alerts")
ALERTS = "alerts"
ALERT_KEY = "alert_key"
"""Name of the generated secret, and of the key that it is; see `alert_credentials`."""
SETTING = "setting"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")


class ApiKeyError(SigapError):
    """A key can't be made or revoked."""


@dataclass(frozen=True)
class ApiKey:
    """A key as it is kept: without the key.

    Attributes:
        name: Whose it is; stands in logs and in every token.
        scopes: What its tokens may allow: of `predict`, `admin` and `alerts`.
        sha256: Of the key, in hex.
        created: When, by ISO 8601; `setting` for one that a setting holds.
    """

    name: str
    scopes: tuple[str, ...]
    sha256: str
    created: str

    @property
    def fingerprint(self) -> str:
        """Tells this key from an earlier one of the same name."""
        return self.sha256[:16]


class Keys:
    """The keys of the state folder and of the settings `api_keys` and `alert_key`.

    Args:
        settings: Where the state folder is, and the keys that were given.

    Raises:
        ConfigurationError: The setting or the file can't be used.
    """

    def __init__(self, settings: Settings) -> None:
        self._file = StateFile(settings.state / "keys.json")
        given = settings.api_keys.get_secret_value() if settings.api_keys else ""
        self._given = _parse(given)
        self._alert_key = settings.alert_key.get_secret_value() if settings.alert_key else ""
        # Somebody else makes it up, perhaps after this process has started.
        self._alert_secret = settings.state / "secrets" / ALERT_KEY
        self._stamp: tuple[Stamp | None, float] | None = None
        self._keys: tuple[ApiKey, ...] = self._given
        self.refresh()

    @property
    def all(self) -> tuple[ApiKey, ...]:
        """Every key, those of the setting first."""
        return self._keys

    def refresh(self) -> bool:
        """Reads the file again if it is another one than before; whether it was.

        Raises:
            ConfigurationError: It does not hold keys.
        """
        stamp = self._file.stamp(), _written_at(self._alert_secret)
        if stamp == self._stamp:
            return False
        self._keys = (*self._given, *self._alerts(), *_entries(self._file.read(), self._file))
        self._stamp = stamp
        return True

    def _alerts(self) -> tuple[ApiKey, ...]:
        try:
            key = self._alert_key or self._alert_secret.read_text().strip()
        except OSError:
            return ()
        return (ApiKey(ALERT_KEY, (ALERTS,), hashlib.sha256(key.encode()).hexdigest(), SETTING),) if key else ()

    def identify(self, key: str) -> ApiKey | None:
        """Whose key this is; as long for a wrong key as for a right one."""
        digest = hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()
        found = None
        for known in self._keys:
            if hmac.compare_digest(known.sha256, digest):
                found = known
        return found

    def create(self, name: str, scopes: Iterable[str]) -> str:
        """Makes a key, keeps its hash, and returns it: the only time that it is seen.

        Raises:
            ApiKeyError: The name or a scope can't be used, or the name is taken.
        """
        wanted = _scopes(scopes)
        if not _NAME.fullmatch(name):
            raise ApiKeyError(
                f"{name[:60]!r} can't be the name of a key.",
                remedy="Use up to 40 small letters, digits, dots, dashes and underscores.",
            )
        key = f"sigap_{secrets.token_urlsafe(32)}"
        made = ApiKey(name, wanted, hashlib.sha256(key.encode()).hexdigest(), _now())

        def add(value: dict[str, Any]) -> None:
            if any(known.name == name for known in (*self._given, *_entries(value, self._file))):
                raise ApiKeyError(
                    f"There is a key named {name!r} already.",
                    remedy=f"Choose another name, or `./run key revoke {name}` first.",
                )
            value.setdefault("keys", []).append(
                {"name": name, "scopes": list(wanted), "sha256": made.sha256, "created": made.created}
            )

        self._file.change(add)
        self.refresh()
        return key

    def revoke(self, name: str) -> None:
        """Forgets the key of that name, and with it the tokens that it got.

        Raises:
            ApiKeyError: There is none, or the setting holds it.
        """
        if any(key.name == name for key in self._given):
            raise ApiKeyError(
                f"The key {name!r} stands in the setting SIGAP_API_KEYS.", remedy="Take it out there and start anew."
            )

        def remove(value: dict[str, Any]) -> None:
            entries = value.get("keys", [])
            kept = [entry for entry in entries if entry["name"] != name]
            if len(kept) == len(entries):
                raise ApiKeyError(f"There is no key named {name[:60]!r}.", remedy="`./run key list` shows all.")
            value["keys"] = kept

        self._file.change(remove)
        self.refresh()


def alert_credentials(settings: Settings) -> Path:
    """The file with the key that Alertmanager sends, for its `credentials_file`; made where it is missing.

    Raises:
        ConfigurationError: In production, where it has to be given.
    """
    if settings.alert_key is None:
        settings.secret(ALERT_KEY)
        return settings.state / "secrets" / ALERT_KEY
    path = settings.state / "secrets" / f"{ALERT_KEY}_given"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(settings.alert_key.get_secret_value())
    return path


def _written_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _entries(value: dict[str, Any], file: StateFile) -> tuple[ApiKey, ...]:
    try:
        return tuple(
            ApiKey(str(entry["name"]), tuple(entry["scopes"]), str(entry["sha256"]), str(entry["created"]))
            for entry in value.get("keys", [])
        )
    except (TypeError, KeyError) as error:
        raise ConfigurationError(
            f"{file.path} does not hold keys as `./run key create` writes them.",
            remedy="Restore it from a backup, or remove it and make the keys anew.",
        ) from error


def _parse(text: str) -> tuple[ApiKey, ...]:
    """The keys of the setting: `KEY`, `NAME:KEY` or `NAME:SCOPE+SCOPE:KEY`, with commas between."""
    found: list[ApiKey] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, scopes, key = _parts(part)
        if not _NAME.fullmatch(name) or not key or not set(scopes) <= set(SCOPES) or not scopes:
            raise ConfigurationError(
                f"Entry {len(found) + 1} of SIGAP_API_KEYS (or API_KEY) can't be used.",
                remedy="Expected KEY, or NAME:SCOPES:KEY with scopes of `predict`, `admin`, `alerts`, joined by +.",
            )
        found.append(ApiKey(name, scopes, hashlib.sha256(key.encode()).hexdigest(), SETTING))
    if len({key.name for key in found}) < len(found):
        raise ConfigurationError(
            "Two keys of SIGAP_API_KEYS (or API_KEY) have one name.", remedy="Write NAME:SCOPES:KEY with a name each."
        )
    return tuple(found)


def _parts(part: str) -> tuple[str, tuple[str, ...], str]:
    pieces = part.split(":")
    if len(pieces) == 1:
        return "default", ("predict",), part
    name, *scopes, key = pieces
    return name, tuple(scopes[0].split("+")) if len(scopes) == 1 else () if scopes else ("predict",), key


def given_keys(text: str) -> tuple[str, ...]:
    """The keys themselves that the setting's text holds, to judge their strength; never log them."""
    return tuple(_parts(part.strip())[2] for part in text.split(",") if part.strip())


def _scopes(scopes: Iterable[str]) -> tuple[str, ...]:
    asked = set(scopes)
    if not asked or asked - set(SCOPES):
        unknown = ", ".join(sorted(repr(scope[:20]) for scope in asked - set(SCOPES))) or "none"
        raise ApiKeyError(
            f"Scopes asked for: {unknown}.", remedy="Use `predict`, `admin`, `alerts`, or several of them."
        )
    return tuple(scope for scope in SCOPES if scope in asked)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
