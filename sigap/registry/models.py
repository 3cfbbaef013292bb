"""Versions and aliases in MLflow's registry: what is registered, what is served, and the way back."""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import shutil
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
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
from sigap.errors import BundleError, RegistryError
from sigap.locks import writer
from sigap.promotion import ModelVersion, Promotion
from sigap.registry.connection import EXISTS, MISSING, client, registry_errors
from sigap.settings import Settings

log = logging.getLogger(__name__)

__all__ = ["BUNDLE", "ModelVersion", "Registry"]

BUNDLE = "bundle"
REQUIREMENTS = ("scikit-learn", "skops", "numpy", "pandas")


class Registry:
    """MLflow's model registry, with one writer at a time for a model.

    Args:
        settings: Name the server, the served alias and the folder of the locks.

    Raises:
        ConfigurationError: The served alias is `previous` or `challenger`, which have a meaning of their own.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.served_alias = settings.served_alias
        self.client = client(settings)
        self._promotion = Promotion(settings, _Aliases(self))

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

    def promote(
        self, model: str, number: int, expected_current: int | None, *, by_gate: bool = False, asked_by: str = ""
    ) -> ModelVersion:
        """Moves the served alias to a version, see `Promotion.promote`."""
        return self._promotion.promote(model, number, expected_current, by_gate=by_gate, asked_by=asked_by)

    def approve(self, model: str, number: int, asked_by: str) -> ModelVersion:
        """A person's yes to a version that waits, see `Promotion.approve`."""
        return self._promotion.approve(model, number, asked_by=asked_by)

    def rollback(self, model: str, to: int | None = None, *, asked_by: str = "") -> ModelVersion:
        """Serves an earlier version again, see `Promotion.rollback`."""
        return self._promotion.rollback(model, to, asked_by=asked_by)

    def repair(self, model: str) -> ModelVersion | None:
        """Mends what a promotion that was cut off has left, see `Promotion.repair`; the served version."""
        return self._promotion.repair(model)

    def set_challenger(self, model: str, number: int) -> None:
        """Sets `challenger` on a version, see `Promotion.set_challenger`."""
        self._promotion.set_challenger(model, number)

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

    def _errors(self, doing: str) -> AbstractContextManager[None]:
        return registry_errors(self.settings, doing)


class _Aliases:
    """The registry as `Promotion` moves its aliases.

    Args:
        registry: Reads; its client, which a test may replace the calls of, writes.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def version(self, model: str, number: int) -> ModelVersion:
        """See `Store.version`."""
        return self._registry.version(model, number)

    def alias(self, model: str, alias: str) -> ModelVersion | None:
        """See `Store.alias`."""
        return self._registry.alias(model, alias)

    def exists(self, model: str, number: int) -> bool:
        """See `Store.exists`."""
        return any(each.number == number for each in self._registry.versions(model))

    def set_alias(self, model: str, alias: str, number: str) -> None:
        """See `Store.set_alias`."""
        self._registry.client.set_registered_model_alias(model, alias, number)

    def drop_alias(self, model: str, alias: str) -> None:
        """See `Store.drop_alias`."""
        self._registry.client.delete_registered_model_alias(model, alias)

    def set_tag(self, model: str, number: str, tag: str, value: str) -> None:
        """See `Store.set_tag`."""
        self._registry.client.set_model_version_tag(model, number, tag, value)

    def drop_tag(self, model: str, number: str, tag: str) -> None:
        """See `Store.drop_tag`."""
        self._registry.client.delete_model_version_tag(model, number, tag)

    def errors(self, doing: str) -> AbstractContextManager[None]:
        """See `Store.errors`."""
        return registry_errors(self._registry.settings, doing)


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
