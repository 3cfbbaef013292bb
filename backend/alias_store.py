"""MLflow's registry as the moves of aliases need it, over its REST interface.

Synchronous, because the moves are: whoever calls runs them in a thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from backend.lean import httpx
from backend.registry_client import TIMEOUT, NotRegisteredError, loopback
from sigap.errors import RegistryError, UnreachableError
from sigap.promotion import ModelVersion

_MISSING = "RESOURCE_DOES_NOT_EXIST"


class AliasStore:
    """Reads and moves aliases; a `sigap.promotion.Store`.

    Args:
        uri: The server's address; a user and a password in it are used and never shown.
        transport: Replaces the network in tests.
    """

    def __init__(self, uri: str, *, transport: httpx.BaseTransport | None = None) -> None:
        self._client = httpx.Client(
            base_url=f"{uri.rstrip('/')}/api/2.0/mlflow/",
            timeout=TIMEOUT,
            transport=transport,
            trust_env=not loopback(urlsplit(uri).hostname),
            verify=urlsplit(uri).scheme == "https",
        )

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def version(self, model: str, number: int) -> ModelVersion:
        """See `Store.version`; NotRegisteredError if there is none."""
        query = {"name": model, "version": str(number)}
        entry = self._call("GET", "model-versions/get", query, f"reading {model} v{number}")["model_version"]
        aliases = self._aliases(model)
        return ModelVersion(
            model=model,
            number=number,
            run_id=str(entry.get("run_id") or ""),
            created_at=int(entry["creation_timestamp"]) / 1000,
            tags={str(tag["key"]): str(tag["value"]) for tag in entry.get("tags", [])},
            aliases=tuple(sorted(alias for alias, where in aliases.items() if where == number)),
        )

    def alias(self, model: str, alias: str) -> ModelVersion | None:
        """See `Store.alias`."""
        number = self._aliases(model).get(alias)
        return None if number is None else self.version(model, number)

    def exists(self, model: str, number: int) -> bool:
        """See `Store.exists`."""
        try:
            self.version(model, number)
        except NotRegisteredError:
            return False
        return True

    def set_alias(self, model: str, alias: str, number: str) -> None:
        """See `Store.set_alias`."""
        body = {"name": model, "alias": alias, "version": number}
        self._call("POST", "registered-models/alias", body, f"setting {alias} of {model}")

    def drop_alias(self, model: str, alias: str) -> None:
        """See `Store.drop_alias`."""
        self._call("DELETE", "registered-models/alias", {"name": model, "alias": alias}, f"taking {alias} of {model}")

    def set_tag(self, model: str, number: str, tag: str, value: str) -> None:
        """See `Store.set_tag`."""
        body = {"name": model, "version": number, "key": tag, "value": value}
        self._call("POST", "model-versions/set-tag", body, f"tagging {model} v{number}")

    def drop_tag(self, model: str, number: str, tag: str) -> None:
        """See `Store.drop_tag`."""
        body = {"name": model, "version": number, "key": tag}
        self._call("DELETE", "model-versions/delete-tag", body, f"tagging {model} v{number}")

    @contextmanager
    def errors(self, doing: str) -> Iterator[None]:
        """See `Store.errors`."""
        try:
            yield
        except (KeyError, TypeError, ValueError) as error:
            raise RegistryError(f"The registry's answer while {doing} can't be read.") from error

    def _aliases(self, model: str) -> dict[str, int]:
        try:
            found = self._call("GET", "registered-models/get", {"name": model}, f"reading the aliases of {model}")
        except NotRegisteredError:
            return {}
        listed = found["registered_model"].get("aliases", [])
        return {str(entry["alias"]): int(entry["version"]) for entry in listed}

    def _call(self, method: str, call: str, values: Mapping[str, str], doing: str) -> dict[str, Any]:
        sent: dict[str, Any] = {"params": values} if method == "GET" else {"json": values}
        try:
            response = self._client.request(method, call, **sent)
        except httpx.HTTPError as error:
            raise UnreachableError(
                f"The registry can't be reached ({type(error).__name__}) while {doing}.",
                remedy="`./run status` shows whether MLflow runs.",
            ) from error
        try:
            answer = response.json()
        except ValueError:
            answer = {}
        if response.status_code == httpx.codes.OK and isinstance(answer, dict):
            return answer
        code = answer.get("error_code") if isinstance(answer, dict) else ""
        if code == _MISSING:
            raise NotRegisteredError(f"The registry knows of no such thing: {doing} failed.")
        raise RegistryError(f"The registry answers {response.status_code} {code or ''} while {doing}.")
