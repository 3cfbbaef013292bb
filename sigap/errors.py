"""The one error hierarchy: every error names the object, what was found, and what to do about it."""

from __future__ import annotations


class SigapError(Exception):
    """Base of every error that Sigap raises on purpose.

    Args:
        message: What was found, where, and what was expected. One or two sentences, no secrets, no personal data.
        remedy: What the reader can do about it. Empty when there is nothing to do but read the message.
    """

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".rstrip()


class ConfigurationError(SigapError):
    """A setting is missing or has a value that can't be used."""


class ServiceError(SigapError):
    """A service (PostgreSQL, MLflow, Mage, API, dashboard) can't be started, reached, or has died."""


class ClusterError(ServiceError):
    """The Dask cluster, or processes that share the work, can't be reached, went away, or can't be trusted with it."""


class UnknownModelError(SigapError):
    """No declaration of that name stands in the catalogue."""


class ContractError(SigapError):
    """A table as a whole breaks its contract: a column is missing, renamed or of another type, or it is empty."""


class FileError(SigapError):
    """A file can't be read, or its columns are not those of the table it is to be imported into."""


class VersionError(SigapError):
    """A data version can't be recorded, found or restored (DVC, Git)."""


class TrainingError(SigapError):
    """Data that is in order can't be trained on: too few rows, no feature left, no admissible candidate."""


class BundleError(SigapError):
    """A serving bundle is incomplete, altered, or does not answer as its model does."""


class RegistryError(SigapError):
    """The model registry refuses, can't be reached, or was changed by somebody else meanwhile."""


class UnreachableError(RegistryError):
    """The model registry does not answer; it may again soon."""


class AliasMovedError(RegistryError):
    """An alias stands on another version than the one that the decision to move it was taken against."""


class BackupError(SigapError):
    """A backup can't be made, is not whole, or can't be restored here."""


class PipelineError(SigapError):
    """A pipeline run failed, stuck, or can't be started."""
