"""What production refuses to start without: secrets that somebody gave and nobody can guess."""

from __future__ import annotations

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
_MAKE = "python -c 'import secrets; print(secrets.token_urlsafe(32))'"


def require_secrets(settings: Settings) -> None:
    """Checks the secrets of a production setting; in development, nothing.

    Raises:
        ConfigurationError: One is missing, a well-known default or too short; the message names its variable.
    """
    if settings.environment != "production":
        return
    _require_secret_key(settings)
    _require_api_key(settings)
    _require_database_password(settings)
    _require_mage_secrets(settings)


def _require_secret_key(settings: Settings) -> None:
    secret = settings.secret_key.get_secret_value() if settings.secret_key else ""
    if not secret:
        raise ConfigurationError(
            "SIGAP_ENVIRONMENT is production, and SECRET_KEY, which signs the tokens, is not set.",
            remedy=f"Set it to the output of: {_MAKE}",
        )
    if fault := _fault(secret, SECRET_LENGTH):
        raise ConfigurationError(
            f"SIGAP_ENVIRONMENT is production, and SECRET_KEY {fault}.", remedy=f"Set it to the output of: {_MAKE}"
        )


def _require_api_key(settings: Settings) -> None:
    for key in given_keys(settings.api_keys.get_secret_value() if settings.api_keys else ""):
        if fault := _fault(key, KEY_LENGTH):
            raise ConfigurationError(
                f"SIGAP_ENVIRONMENT is production, and a key of SIGAP_API_KEYS (or API_KEY) {fault}.",
                remedy="Leave it out and use `./run key create NAME`, which makes strong ones.",
            )
    if settings.alert_key and (fault := _fault(settings.alert_key.get_secret_value(), KEY_LENGTH)):
        raise ConfigurationError(
            f"SIGAP_ENVIRONMENT is production, and SIGAP_ALERT_KEY {fault}.",
            remedy=f"Set it to the output of: {_MAKE}",
        )
    if all(key.name == ALERT_KEY for key in Keys(settings).all):
        raise ConfigurationError(
            "SIGAP_ENVIRONMENT is production, and there is no API key: nobody could get a token.",
            remedy="`./run key create NAME` makes one, or set SIGAP_API_KEYS.",
        )


def _require_database_password(settings: Settings) -> None:
    if settings.database_url is None:
        return
    parts = urlsplit(settings.database_url.get_secret_value())
    password = unquote(parts.password) if parts.password is not None else None
    # Without a password in the URL, a password file or a certificate may stand for it.
    if password is not None and (
        password.lower() in _PASSWORDS or password == parts.username or "demonstration" in password.lower()
    ):
        raise ConfigurationError(
            "SIGAP_ENVIRONMENT is production, and the password in DATABASE_URL is a well-known default.",
            remedy="Give the database account a password of its own.",
        )


def _require_mage_secrets(settings: Settings) -> None:
    # Whether Mage has them is asked where Mage is started: the API alone needs neither.
    for name, given in (("SIGAP_MAGE_PASSWORD", settings.mage_password), ("SIGAP_MAGE_JWT", settings.mage_jwt)):
        if given and (fault := _fault(given.get_secret_value(), KEY_LENGTH)):
            raise ConfigurationError(
                f"SIGAP_ENVIRONMENT is production, and {name} {fault}.", remedy=f"Set it to the output of: {_MAKE}"
            )


def _fault(secret: str, length: int) -> str:
    """What makes the secret unfit; empty when nothing does."""
    if any(default in secret.lower() for default in _DEFAULTS):
        return "is a well-known default"
    if len(secret) < length:
        return f"has {len(secret)} characters: expected at least {length}"
    if len(set(secret)) < _DISTINCT:
        return f"has only {len(set(secret))} different characters: expected a random value"
    return ""
