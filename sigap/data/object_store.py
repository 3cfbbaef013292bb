"""The object store (S3): whether it can be used, and files to it and from it.

DVC and MLflow talk to it by themselves and try again for minutes when something is wrong. So it is asked first, once,
by somebody who can say what is wrong.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from sigap.errors import ServiceError
from sigap.settings import Settings

SCHEME = "s3://"
CONNECT_SECONDS = 5
READ_SECONDS = 30
# Listing one object takes no longer; whoever is asked for nothing else answers by then or not at all.
CHECK_SECONDS = 8
# Tries of one request in all: an answer that stays away is told to somebody who waits.
ATTEMPTS = 2

Moved = Callable[[int], None]
"""Called with the number of bytes that have gone over since it was called last."""


def is_s3(url: str | None) -> bool:
    """Whether a URL names a place in an object store."""
    return bool(url) and str(url).startswith(SCHEME)


@dataclass(frozen=True)
class Place:
    """A place in a bucket; `prefix` is without slashes at its ends, and may be empty."""

    bucket: str
    prefix: str

    @classmethod
    def of(cls, url: str) -> Place:
        """The place that `s3://bucket/prefix` names.

        Raises:
            ServiceError: It names no bucket.
        """
        parts = urlsplit(url)
        if parts.scheme != "s3" or not parts.netloc or "@" in parts.netloc:
            # Not repeated: somebody may have put a key before an @.
            raise ServiceError("A URL of the object store names no bucket.", remedy="Expected s3://bucket/prefix.")
        return cls(parts.netloc, parts.path.strip("/"))

    def key(self, name: str) -> str:
        """The key of an object below this place."""
        return f"{self.prefix}/{name}" if self.prefix else name

    @property
    def url(self) -> str:
        """As it was written."""
        return f"{SCHEME}{self.bucket}/{self.prefix}"


def credentials(settings: Settings) -> dict[str, str]:
    """The key that the settings name, as variables; without one, boto3 looks where it always does."""
    return {
        name: value.get_secret_value()
        for name, value in (
            ("AWS_ACCESS_KEY_ID", settings.aws_access_key_id),
            ("AWS_SECRET_ACCESS_KEY", settings.aws_secret_access_key),
        )
        if value is not None
    }


def dvc_options(settings: Settings) -> dict[str, Any]:
    """What DVC has to know of a remote in the object store, beside its URL; nothing for a folder."""
    if not is_s3(settings.dvc_remote):
        return {}
    _fail_soon()
    options = {
        "endpointurl": settings.s3_endpoint_url,
        "access_key_id": _text(settings.aws_access_key_id),
        "secret_access_key": _text(settings.aws_secret_access_key),
        "session_token": os.environ.get("AWS_SESSION_TOKEN") if settings.aws_access_key_id else None,
        "connect_timeout": CONNECT_SECONDS,
        "read_timeout": READ_SECONDS,
    }
    return {name: value for name, value in options.items() if value is not None}


def _fail_soon() -> None:
    """Has DVC's way to the object store give up after two minutes of silence at most, instead of ten and more.

    Neither number can be told to DVC: botocore tries five times by itself, and s3fs that five times.
    """
    import s3fs

    os.environ.setdefault("AWS_MAX_ATTEMPTS", str(ATTEMPTS))
    s3fs.S3FileSystem.retries = ATTEMPTS


def mlflow_environment(settings: Settings) -> dict[str, str]:
    """Variables by which MLflow's server finds the object store; holds the key, never log it."""
    if not is_s3(settings.artifacts_url):
        return {}
    # NOTE: botocore's own way to say so: a connection within seconds, few tries. MLflow has no setting for it.
    given = {"AWS_DEFAULTS_MODE": "standard", "AWS_MAX_ATTEMPTS": str(ATTEMPTS)} | credentials(settings)
    if settings.s3_endpoint_url:
        given["MLFLOW_S3_ENDPOINT_URL"] = settings.s3_endpoint_url
    return given


def check(settings: Settings, url: str, what: str) -> None:
    """See that the place answers and lets itself be listed; does nothing for a folder.

    Args:
        settings: With the address and key.
        url: `s3://bucket/prefix`.
        what: What is kept there, with the setting that names it, for the message: `data (SIGAP_DVC_REMOTE_URL)`.

    Raises:
        ServiceError: No key, a wrong one, no such bucket, or no answer; within seconds.
    """
    if not is_s3(url):
        return
    place = Place.of(url)
    with translated(settings, place, what):
        client(settings, CHECK_SECONDS).list_objects_v2(Bucket=place.bucket, Prefix=place.key(""), MaxKeys=1)


def names(settings: Settings, place: Place) -> list[tuple[str, int]]:
    """Names below the place, without its prefix, and sizes in bytes; sorted.

    Raises:
        ServiceError: See `check`.
    """
    begin = f"{place.prefix}/" if place.prefix else ""
    found = []
    with translated(settings, place, "backups"):
        for page in client(settings).get_paginator("list_objects_v2").paginate(Bucket=place.bucket, Prefix=begin):
            found += [(str(one["Key"]).removeprefix(begin), int(one["Size"])) for one in page.get("Contents", [])]
    return sorted(found)


def upload(settings: Settings, place: Place, name: str, path: Path, moved: Moved = lambda _: None) -> None:
    """Put a file below the place; it stands there whole or not at all.

    Raises:
        ServiceError: See `check`.
    """
    with translated(settings, place, "backups"):
        client(settings).upload_file(str(path), place.bucket, place.key(name), Callback=moved)


def chunks(settings: Settings, place: Place, name: str, size: int = 2**20) -> Iterator[bytes]:
    """An object's content, piece by piece.

    Raises:
        ServiceError: See `check`.
    """
    with translated(settings, place, "backups"):
        yield from client(settings).get_object(Bucket=place.bucket, Key=place.key(name))["Body"].iter_chunks(size)


def remove(settings: Settings, place: Place, found: list[str]) -> None:
    """Delete objects below the place, in this order.

    Raises:
        ServiceError: See `check`.
    """
    with translated(settings, place, "backups"):
        for name in found:
            client(settings).delete_object(Bucket=place.bucket, Key=place.key(name))


def _text(value: SecretStr | None) -> str | None:
    return value.get_secret_value() if value is not None else None


def client(settings: Settings, read_seconds: int = READ_SECONDS) -> Any:
    """boto3's client of the object store that the settings name."""
    key, secret = _text(settings.aws_access_key_id), _text(settings.aws_secret_access_key)
    return _made(settings.s3_endpoint_url, key, secret, read_seconds)


@lru_cache(maxsize=4)
def _made(endpoint: str | None, key: str | None, secret: str | None, read_seconds: int) -> Any:
    # Imported here: a third of a second that nobody without an object store need spend.
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=read_seconds,
        retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
    )
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=os.environ.get("AWS_SESSION_TOKEN") if key else None,
        # A server of one's own has no regions, but boto3 signs with one.
        region_name=region or ("us-east-1" if endpoint else None),
        config=config,
    )


_KEY = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to a key that may list, read and write there."
_REFUSED = {
    "InvalidAccessKeyId": "does not know the key in AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "says that AWS_SECRET_ACCESS_KEY does not belong to the key in AWS_ACCESS_KEY_ID",
    "AccessDenied": "does not let this key in",
    "403": "does not let this key in",
    "ExpiredToken": "says that the key has expired",
}


@contextmanager
def translated(settings: Settings, place: Place, what: str) -> Iterator[None]:
    """Make a `ServiceError` of whatever the object store or boto3 reports inside; it never holds a key."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        HTTPClientError,
        NoCredentialsError,
        PartialCredentialsError,
    )

    where = settings.s3_endpoint_url or "Amazon S3"
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise ServiceError(
            f"There is no key for the object store at {where}, which keeps {what}.", remedy=_KEY
        ) from error
    except (ClientError, Boto3Error) as error:
        code, said = _said(error)
        if code in _REFUSED:
            fault = ServiceError(
                f"The object store at {where} {_REFUSED[code]} ({code}); it keeps {what} in {place.url}.", remedy=_KEY
            )
        elif code in ("NoSuchBucket", "404"):
            fault = ServiceError(
                f"There is no bucket {place.bucket!r} in the object store at {where}, where {what} should be.",
                remedy=f"Create it (`aws s3 mb s3://{place.bucket}`, or on the store's own page); Sigap creates none, "
                "so that a slip of the pen makes none.",
            )
        else:
            fault = ServiceError(
                f"The object store at {where} refused ({said}); it keeps {what} in {place.url}.",
                remedy="Its own log says more.",
            )
        raise fault from error
    except (BotoCoreError, HTTPClientError, OSError) as error:
        raise ServiceError(
            f"The object store at {where}, which keeps {what}, does not answer ({type(error).__name__}).",
            remedy="See that it runs and is reached from here, and that SIGAP_S3_ENDPOINT_URL names it "
            "(http://host:9000).",
        ) from error


def _said(error: Exception) -> tuple[str, str]:
    """The store's code and sentence; boto3 wraps them in errors of its own when it sends files."""
    cause: BaseException | None = error
    while cause is not None:
        response = getattr(cause, "response", None)
        if response:
            code = str(response.get("Error", {}).get("Code", ""))
            return code, f"{code}: {response['Error'].get('Message', '')}".strip(": ")
        cause = cause.__cause__ or cause.__context__
    return "", type(error).__name__
