"""Versions and aliases in MLflow's registry: what is registered, what is served, and the way back."""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import shutil
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow
import mlflow.sklearn
import pandas as pd
import skops.io
from mlflow.exceptions import MlflowException
from mlflow.models import Model, infer_signature

from sigap.bundle import (
    MANIFEST,
    TAG_BUNDLE_PATH,
    TAG_BUNDLE_RUN,
    TAG_DATA_MD5,
    TAG_DATA_VERSION,
    TAG_FINGERPRINT,
    TAG_MANIFEST_SHA256,
    Manifest,
    read_manifest,
)
from sigap.errors import AliasMovedError, BundleError, ConfigurationError, RegistryError
from sigap.registry.connection import EXISTS, MISSING, client, registry_errors
from sigap.registry.locks import writer
from sigap.settings import Settings

log = logging.getLogger(__name__)

PREVIOUS = "previous"
CHALLENGER = "challenger"
BUNDLE = "bundle"
# How aliases moved, kept on the versions so that a move that was cut off can be told and mended.
PROMOTED_AT = "promoted_at"
REPLACED = "replaced"
REPLACED_BY = "replaced_by"
CHOSEN_AT = "chosen_at"  # by a person, in seconds since 1970: the gate puts nothing older in its place
REQUIREMENTS = ("scikit-learn", "skops", "numpy", "pandas")


@dataclass(frozen=True)
class ModelVersion:
    """A registered version of a model.

    Attributes:
        model: The model's name.
        number: MLflow's number, from 1.
        run_id: The run that it comes from.
        created_at: Seconds since 1970.
        tags: The tags, see `sigap.bundle`.
        aliases: Aliases that stand on it.
    """

    model: str
    number: int
    run_id: str
    created_at: float
    tags: Mapping[str, str] = field(repr=False)
    aliases: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The version as people read it, such as `v3`."""
        return f"v{self.number}"

    @property
    def data_version(self) -> str:
        """The data version it was trained on; empty if it was not registered by Sigap."""
        return self.tags.get(TAG_DATA_VERSION, "")

    @property
    def servable(self) -> bool:
        """Whether it has a bundle that the API could serve."""
        return TAG_BUNDLE_RUN in self.tags and TAG_MANIFEST_SHA256 in self.tags

    @property
    def withdrawn(self) -> bool:
        """Whether it was served once and a person, not the gate, took it out of service."""
        return PROMOTED_AT in self.tags and REPLACED_BY not in self.tags

    def passed_over_for(self, champion: ModelVersion) -> bool:
        """Whether a person chose the champion when this version could have been chosen as well."""
        return self.created_at < float(champion.tags.get(CHOSEN_AT, 0))


class Registry:
    """MLflow's model registry, with one writer at a time for a model.

    Args:
        settings: Name the server, the served alias and the folder of the locks.

    Raises:
        ConfigurationError: The served alias is `previous` or `challenger`, which have a meaning of their own.
    """

    def __init__(self, settings: Settings) -> None:
        if settings.served_alias in (PREVIOUS, CHALLENGER):
            marks = "the version served before" if settings.served_alias == PREVIOUS else "the version that may follow"
            raise ConfigurationError(
                f"SIGAP_SERVED_ALIAS is {settings.served_alias!r}, which marks {marks}.",
                remedy="Choose another name, such as champion or production.",
            )
        self.settings = settings
        self.served_alias = settings.served_alias
        self.client = client(settings)

    def versions(self, model: str) -> list[ModelVersion]:
        """All registered versions, newest first; none for a model never registered.

        Raises:
            RegistryError: MLflow can't be reached or refuses.
        """
        with self._errors(f"reading the versions of {model}"):
            aliases = self._aliases(model)
            if aliases is None:
                return []
            # No order_by: MLflow sorts version numbers as it stores them.
            found = self.client.search_model_versions(f"name = '{model}'", max_results=10_000)
            versions = [_version(entry, aliases) for entry in found]
        return sorted(versions, key=lambda each: each.number, reverse=True)

    def version(self, model: str, number: int) -> ModelVersion:
        """The version `number`.

        Raises:
            RegistryError: There is none, or MLflow can't be reached.
        """
        with self._errors(f"reading {model} v{number}"):
            try:
                found = self.client.get_model_version(model, str(number))
            except MlflowException as error:
                if error.error_code not in MISSING:
                    raise
                raise RegistryError(
                    f"{model} has no version {number}.", remedy=f"See `./run model versions {model}`."
                ) from error
            return _version(found, self._aliases(model) or {})

    def alias(self, model: str, alias: str) -> ModelVersion | None:
        """The version that `alias` stands on, or None.

        Raises:
            RegistryError: MLflow can't be reached or refuses.
        """
        with self._errors(f"reading the alias {alias} of {model}"):
            aliases = self._aliases(model) or {}
            number = aliases.get(alias)
            if number is None:
                return None
            return _version(self.client.get_model_version(model, str(number)), aliases)

    def champion(self, model: str) -> ModelVersion | None:
        """The served version, or None."""
        return self.alias(model, self.served_alias)

    def find(self, model: str, fingerprint: str, data_md5: str) -> ModelVersion | None:
        """The newest version that answers alike from the same data, or None."""
        wanted = {TAG_FINGERPRINT: fingerprint, TAG_DATA_MD5: data_md5}
        return next((each for each in self.versions(model) if wanted.items() <= each.tags.items()), None)

    def register(
        self, bundle: Path, estimator: Any, example: pd.DataFrame, run_id: str, trusted_types: Sequence[str] = ()
    ) -> tuple[ModelVersion, bool]:
        """Registers a model and its bundle, unless one that answers alike from the same data already is.

        The version appears last and with all its tags at once: cut off before, there is none.

        Args:
            bundle: Folder of the checked bundle.
            estimator: The fitted scikit-learn pipeline.
            example: Some rows of its input, with the features' names as columns.
            run_id: The run that holds bundle and model.
            trusted_types: Own classes in the pipeline that skops has to be told of.

        Returns:
            The version, and whether it is new.

        Raises:
            BundleError: The bundle is incomplete or altered.
            RegistryError: MLflow can't be reached or refuses.
        """
        manifest = read_manifest(bundle)
        model = manifest.model
        with writer(self.settings, model):
            if known := self.find(model, manifest.fingerprint, manifest.data.md5):
                return known, False
            with self._errors(f"registering {model}"):
                self.client.log_artifacts(run_id, str(bundle), BUNDLE)
                model_id = self._log_model(estimator, example, run_id, trusted_types)
                self._ensure_model(model)
                made = self.client.create_model_version(
                    model,
                    source=f"models:/{model_id}",
                    run_id=run_id,
                    model_id=model_id,
                    tags=_tags(manifest, bundle, run_id),
                    await_creation_for=0,
                )
            return self.version(model, int(made.version)), True

    def promote(self, model: str, number: int, expected_current: int | None, *, by_gate: bool = False) -> ModelVersion:
        """Moves the served alias to a version, if it still stands where the caller saw it.

        First `previous` is set to the version served until now, then the served alias moves, once. Cut off between
        the two, the old version is served on and the next call mends `previous`.

        Args:
            model: The model.
            number: The version to serve.
            expected_current: The version served when the decision was taken; None if there was none.
            by_gate: Whether the gate decided. What a person replaces, the gate does not put back.

        Returns:
            The version, now served.

        Raises:
            AliasMovedError: Another version is served than expected.
            RegistryError: There is no such version, it has no bundle, or MLflow can't be reached.
        """
        with writer(self.settings, model):
            current = self._repair(model)
            found = current.number if current else None
            if found == number:
                return self.version(model, number)
            if found != expected_current:
                raise AliasMovedError(
                    f"{self.served_alias} of {model} stands on {_name(found)}, expected {_name(expected_current)}: "
                    "somebody moved it meanwhile.",
                    remedy="Look at `./run model versions`, then run the pipeline or promote again.",
                )
            return self._move(model, current, self._servable(model, number), by_gate=by_gate)

    def rollback(self, model: str, to: int | None = None) -> ModelVersion:
        """Serves an earlier version again; the gate will not put back the one that was taken out.

        Args:
            model: The model.
            to: The version; by default the one served before.

        Returns:
            The version, now served.

        Raises:
            RegistryError: There is no such version or none before, it has no bundle, or MLflow can't be reached.
        """
        with writer(self.settings, model):
            current = self._repair(model)
            if to is None:
                previous = self.alias(model, PREVIOUS)
                if previous is None:
                    raise RegistryError(
                        f"{model} has no version that was served before {_name(current.number if current else None)}.",
                        remedy=f"Name one of `./run model versions {model}`.",
                    )
                to = previous.number
            target = self._servable(model, to)
            if current and current.number == to:
                return current
            return self._move(model, current, target, by_gate=False)

    def repair(self, model: str) -> ModelVersion | None:
        """Mends what a promotion that was cut off has left; the served version.

        Raises:
            RegistryError: MLflow can't be reached or refuses.
        """
        with writer(self.settings, model):
            return self._repair(model)

    def set_challenger(self, model: str, number: int) -> None:
        """Sets `challenger` on a version that stood before the gate and is not served, whatever it stood on before.

        Raises:
            RegistryError: MLflow can't be reached or refuses.
        """
        with writer(self.settings, model), self._errors(f"naming the challenger of {model}"):
            self.client.set_registered_model_alias(model, CHALLENGER, str(number))

    def annotate(self, version: ModelVersion, tag: str, value: str) -> None:
        """Sets a tag of a version."""
        with self._errors(f"tagging {version.model} {version.name}"):
            self.client.set_model_version_tag(version.model, str(version.number), tag, value)

    def bundle(self, version: ModelVersion) -> Path:
        """Folder with the version's bundle, fetched once and checked against the registry's hash.

        Raises:
            BundleError: What was fetched is not what was registered.
            RegistryError: The version has no bundle, or MLflow can't be reached.
        """
        if not version.servable:
            raise RegistryError(
                f"{version.model} {version.name} has no bundle: it was not registered by Sigap.",
                remedy="Serve another version, or run the pipeline to register one.",
            )
        expected = version.tags[TAG_MANIFEST_SHA256]
        folder = self.settings.state / "cache" / "bundles" / expected
        if not folder.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetch-") as draft:
                with self._errors(f"fetching the bundle of {version.model} {version.name}"):
                    fetched = self.client.download_artifacts(
                        version.tags[TAG_BUNDLE_RUN], version.tags.get(TAG_BUNDLE_PATH, BUNDLE), draft
                    )
                _check(Path(fetched), expected, version)
                try:
                    Path(fetched).rename(folder)
                except OSError:
                    # Another process was faster: its folder has the same hash.
                    log.debug("The bundle %s was fetched twice at once.", expected)
        _check(folder, expected, version)
        return folder

    def load(self, version: ModelVersion, trusted_types: Sequence[str] = ()) -> Any:
        """The version's scikit-learn pipeline.

        skops refuses every class that is neither scikit-learn's nor named here: the list that the artefact itself
        carries is not believed.

        Raises:
            RegistryError: MLflow can't be reached or has no such model.
        """
        with tempfile.TemporaryDirectory() as folder:
            with self._errors(f"loading {version.model} {version.name}"):
                mlflow.set_tracking_uri(self.settings.tracking_uri)
                path = mlflow.artifacts.download_artifacts(
                    artifact_uri=f"models:/{version.model}/{version.number}", dst_path=folder
                )
            return skops.io.load(Path(path) / "model.skops", trusted=list(trusted_types))

    def _log_model(self, estimator: Any, example: pd.DataFrame, run_id: str, trusted_types: Sequence[str]) -> str:
        """Stores the pipeline in MLflow's scikit-learn flavour; the id of the logged model."""
        outputs = self.client.get_run(run_id).outputs
        for entry in outputs.model_outputs if outputs else ():
            logged = self.client.get_logged_model(entry.model_id)
            if logged.status == "READY":
                return str(logged.model_id)
        mlflow.set_tracking_uri(self.settings.tracking_uri)
        with warnings.catch_warnings():
            # MLflow warns of type hints in a part of its own that it imports here.
            warnings.filterwarnings("ignore", ".*Any type hint is inferred as AnyType", UserWarning)
            info = Model.log(
                artifact_path=None,
                name="model",
                flavor=mlflow.sklearn,
                run_id=run_id,
                sk_model=estimator,
                serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_SKOPS,
                skops_trusted_types=list(trusted_types),
                signature=infer_signature(example, estimator.predict(example)),
                input_example=example.head(3),
                # Given, for inferring them imports everything in a process of its own: 10 s instead of 0.1.
                pip_requirements=[f"{name}=={importlib.metadata.version(name)}" for name in REQUIREMENTS],
            )
        return str(info.model_id)

    def _ensure_model(self, model: str) -> None:
        try:
            self.client.create_registered_model(model)
        except MlflowException as error:
            if error.error_code not in EXISTS:
                raise

    def _aliases(self, model: str) -> dict[str, int] | None:
        """Version number by alias; None for a model never registered."""
        try:
            entry = self.client.get_registered_model(model)
        except MlflowException as error:
            if error.error_code in MISSING:
                return None
            raise
        return {alias: int(number) for alias, number in entry.aliases.items()}

    def _servable(self, model: str, number: int) -> ModelVersion:
        version = self.version(model, number)
        if not version.servable:
            raise RegistryError(
                f"{model} {version.name} has no bundle, so the API could not serve it.",
                remedy="Choose a version that a pipeline registered.",
            )
        return version

    def _repair(self, model: str) -> ModelVersion | None:
        current = self.champion(model)
        if current is None:
            return None
        if PREVIOUS in current.aliases:
            # `previous` moves just before the served alias; on one version, a promotion was cut off in between.
            before = current.tags.get(REPLACED, "")
            with self._errors(f"mending the aliases of {model}"):
                if before and any(each.number == int(before) for each in self.versions(model)):
                    self.client.set_registered_model_alias(model, PREVIOUS, before)
                else:
                    self.client.delete_registered_model_alias(model, PREVIOUS)
        self._mark_served(current)
        return self.version(model, current.number)

    def _move(self, model: str, current: ModelVersion | None, target: ModelVersion, *, by_gate: bool) -> ModelVersion:
        number = str(target.number)
        with self._errors(f"promoting {model} {target.name}"):
            if current:
                self.client.set_model_version_tag(model, number, REPLACED, str(current.number))
                if by_gate:
                    self.client.set_model_version_tag(model, str(current.number), REPLACED_BY, number)
                self.client.set_registered_model_alias(model, PREVIOUS, str(current.number))
            if not by_gate:
                self.client.set_model_version_tag(model, number, CHOSEN_AT, str(time.time()))
            elif CHOSEN_AT in target.tags:
                self.client.delete_model_version_tag(model, number, CHOSEN_AT)
            self.client.set_registered_model_alias(model, self.served_alias, number)
        # Only now: marked before, a version whose promotion was cut off would look like one that was withdrawn.
        self._mark_served(target)
        return self.version(model, target.number)

    def _mark_served(self, version: ModelVersion) -> None:
        number = str(version.number)
        with self._errors(f"tagging {version.model} {version.name}"):
            if CHALLENGER in version.aliases:
                self.client.delete_registered_model_alias(version.model, CHALLENGER)
            if REPLACED_BY in version.tags:
                self.client.delete_model_version_tag(version.model, number, REPLACED_BY)
            if PROMOTED_AT not in version.tags or REPLACED_BY in version.tags:
                now = datetime.now(UTC).isoformat(timespec="seconds")
                self.client.set_model_version_tag(version.model, number, PROMOTED_AT, now)

    def _errors(self, doing: str) -> AbstractContextManager[None]:
        return registry_errors(self.settings, doing)


def _version(entry: Any, aliases: Mapping[str, int]) -> ModelVersion:
    number = int(entry.version)
    return ModelVersion(
        model=entry.name,
        number=number,
        run_id=entry.run_id or "",
        created_at=entry.creation_timestamp / 1000,
        tags=dict(entry.tags),
        aliases=tuple(sorted(alias for alias, where in aliases.items() if where == number)),
    )


def _tags(manifest: Manifest, bundle: Path, run_id: str) -> dict[str, str]:
    return {
        TAG_FINGERPRINT: manifest.fingerprint,
        TAG_BUNDLE_RUN: run_id,
        TAG_BUNDLE_PATH: BUNDLE,
        TAG_MANIFEST_SHA256: _sha256(bundle / MANIFEST),
        TAG_DATA_VERSION: manifest.data.version,
        TAG_DATA_MD5: manifest.data.md5,
    }


def _check(folder: Path, expected: str, version: ModelVersion) -> None:
    try:
        intact = _sha256(folder / MANIFEST) == expected and bool(read_manifest(folder))
    except (BundleError, OSError):
        intact = False
    if not intact:
        # Out of the way, so that the next call fetches it anew.
        shutil.rmtree(folder, ignore_errors=True)
        raise BundleError(
            f"The bundle of {version.model} {version.name} is not the one that was registered.",
            remedy="Roll back to another version, and find out who changed the artefact store.",
        )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _name(number: int | None) -> str:
    return "no version" if number is None else f"v{number}"
