"""What production refuses to start without: secrets that somebody gave and nobody can guess."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

from sigap.errors import ConfigurationError
from sigap.keys import ALERT_KEY, Keys, given_keys
from sigap.settings import Settings

SECRET_LENGTH = 32
KEY_LENGTH = 24
_DISTINCT = 10
# The values that examples, images and tutorials ship with.
_DEFAULTS = (
    "changeme",
    "change-me",
    "change_me",
    "secret",
    "password",
    "default",
    "example",
    "your-",
    "your_",
    "dummy",
    "demonstration",  # docker-compose.yml
)
_PASSWORDS = {"", "postgres", "password", "changeme", "secret", "admin", "sigap", "mlflow", "example", "12345678"}
_MAKE = (
    "A good secret is the output of: python -c 'import secrets; print(secrets.token_urlsafe(32))', another for each."
)


Wanting = Iterator[tuple[str, str]]
"""What is wrong with a secret, and what to do about it."""


def require_secrets(settings: Settings) -> None:
    """Checks the secrets of a production setting; in development, nothing.

    Raises:
        ConfigurationError: Some are missing, well-known defaults or too short; the message names all their variables.
    """
    if settings.environment != "production":
        return
    wanting = [
        *_secret_key(settings),
        *_api_keys(settings),
        *_database_password(settings),
        *_mage_secrets(settings),
    ]
    if wanting:
        found, remedies = zip(*wanting, strict=True)
        raise ConfigurationError(
            f"SIGAP_ENVIRONMENT is production, and {'; and '.join(found)}.", remedy=" ".join(dict.fromkeys(remedies))
        )


def _secret_key(settings: Settings) -> Wanting:
    secret = settings.secret_key.get_secret_value() if settings.secret_key else ""
    if not secret:
        yield "SECRET_KEY, which signs the tokens, is not set", _MAKE
    elif fault := _fault(secret, SECRET_LENGTH):
        yield f"SECRET_KEY {fault}", _MAKE


def _api_keys(settings: Settings) -> Wanting:
    for key in given_keys(settings.api_keys.get_secret_value() if settings.api_keys else ""):
        if fault := _fault(key, KEY_LENGTH):
            yield (
                f"a key of SIGAP_API_KEYS (or API_KEY) {fault}",
                "Leave a weak key out and use `./run key create NAME`, which makes strong ones.",
            )
    if settings.alert_key and (fault := _fault(settings.alert_key.get_secret_value(), KEY_LENGTH)):
        yield f"SIGAP_ALERT_KEY {fault}", _MAKE
    if all(key.name == ALERT_KEY for key in Keys(settings).all):
        yield (
            "there is no API key: nobody could get a token",
            "`./run key create NAME` makes an API key, or set SIGAP_API_KEYS; SIGAP_DASHBOARD_KEY and "
            "SIGAP_OPERATOR_KEY of .env.example become keys in containers only.",
        )


def _database_password(settings: Settings) -> Wanting:
    if settings.database_url is None:
        return
    parts = urlsplit(settings.database_url.get_secret_value())
    password = unquote(parts.password) if parts.password is not None else None
    # Without a password in the URL, a password file or a certificate may stand for it.
    if password is not None and (
        password.lower() in _PASSWORDS or password == parts.username or "demonstration" in password.lower()
    ):
        yield (
            "the password in DATABASE_URL is a well-known default",
            "Give the database account a password of its own.",
        )


def _mage_secrets(settings: Settings) -> Wanting:
    # Whether Mage has them is asked where Mage is started: the API alone needs neither.
    for name, given in (("SIGAP_MAGE_PASSWORD", settings.mage_password), ("SIGAP_MAGE_JWT", settings.mage_jwt)):
        if given and (fault := _fault(given.get_secret_value(), KEY_LENGTH)):
            yield f"{name} {fault}", _MAKE


def _fault(secret: str, length: int) -> str:
    """What makes the secret unfit; empty when nothing does."""
    if any(default in secret.lower() for default in _DEFAULTS):
        return "is a well-known default"
    if len(secret) < length:
        return f"has {len(secret)} characters: expected at least {length}"
    if len(set(secret)) < _DISTINCT:
        return f"has only {len(set(secret))} different characters: expected a random value"
    return ""
