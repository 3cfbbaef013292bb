"""Every setting of Sigap, from the environment and `.env`, each with a sentence.

Variables carry the prefix `SIGAP_` (`SIGAP_API_PORT=8080`), but for the names that other tools share:
`DATABASE_URL`, `MLFLOW_TRACKING_URI` and those of the object store's key.
"""

from __future__ import annotations

import hmac
import os
import secrets as token
from functools import lru_cache
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from sigap.errors import ConfigurationError

ROOT = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """Where things are and how they behave. Read it with `get_settings()`."""

    model_config = SettingsConfigDict(
        env_prefix="SIGAP_",
        env_file=ROOT / ".env",
        # A compose file hands on what nobody set as an empty text.
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
    )

    root: Path = Field(ROOT, description="The Git checkout that holds code, data pointers and DVC's configuration.")
    state_dir: Path = Field(
        Path(".sigap"), description="Folder of all generated state; a relative path is taken from the checkout."
    )
    environment: Literal["development", "production"] = Field(
        "development", description="`production` refuses to start with generated or missing secrets."
    )

    host: str = Field("127.0.0.1", description="Address that every server binds to.")
    api_port: int = Field(8000, ge=1, le=65535, description="Port of the prediction API.")
    dashboard_port: int = Field(8501, ge=1, le=65535, description="Port of the Streamlit dashboard.")
    mlflow_port: int = Field(5000, ge=1, le=65535, description="Port of the MLflow server that Sigap starts.")
    mage_port: int = Field(6789, ge=1, le=65535, description="Port of Mage's page and API.")
    postgres_port: int = Field(54329, ge=1, le=65535, description="Port of the embedded PostgreSQL.")
    watching: bool = Field(
        True, description="Whether `./run` starts Prometheus, Alertmanager and node exporter where they are installed."
    )
    prometheus_port: int = Field(9090, ge=1, le=65535, description="Port of Prometheus, on 127.0.0.1 only.")
    alertmanager_port: int = Field(9093, ge=1, le=65535, description="Port of Alertmanager, on 127.0.0.1 only.")
    node_exporter_port: int = Field(9100, ge=1, le=65535, description="Port of node exporter, on 127.0.0.1 only.")
    docs_port: int = Field(8502, ge=1, le=65535, description="Port of `./run docs`, on 127.0.0.1 only.")
    log_format: Literal["text", "json"] = Field(
        "text", description="How every process of ours writes its log: lines for people, or a JSON object a line."
    )

    database_url: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("DATABASE_URL", "SIGAP_DATABASE_URL"),
        description="A PostgreSQL server of your own (`postgresql://user:password@host:port/name`); "
        "without it an embedded one is started.",
    )
    mlflow_tracking_uri: str | None = Field(
        None,
        validation_alias=AliasChoices("MLFLOW_TRACKING_URI", "SIGAP_MLFLOW_TRACKING_URI"),
        description="An MLflow server of your own; without it one is started.",
    )
    api_workers: int = Field(1, ge=1, le=64, description="Processes of the API; each serves all models.")
    api_url: str | None = Field(None, description="Where the dashboard finds the API; by default the API started here.")

    default_model: str = Field("education", description="The model that `POST /predict` without a name asks.")
    served_alias: str = Field("champion", description="Registry alias that the API follows.")
    follow_seconds: float = Field(1.0, gt=0, le=60, description="How often the API asks the registry for the alias.")
    max_body_bytes: int = Field(65536, ge=1024, description="Longest body of a prediction request.")
    max_file_bytes: int = Field(16 * 2**20, ge=1024, description="Longest body of a batch or a file.")
    body_seconds: float = Field(
        15.0, gt=0, le=600, description="A request whose body stands still for this long, or crawls, is refused."
    )
    head_seconds: float = Field(
        10.0, gt=0, le=600, description="A connection that has not sent a request's whole head by then is closed."
    )
    max_connections: int = Field(
        1000, ge=1, description="Open connections of a worker; beyond, the one that idles longest is closed."
    )

    protect: Literal["admin", "predict", "all"] | None = Field(
        None,
        description="What needs a token: `admin`, also `predict`, or `all` but liveness; "
        "by default `admin` in development and `predict` in production.",
    )
    secret_key: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("SECRET_KEY", "SIGAP_SECRET_KEY"),
        description="Signs the tokens, at least 32 characters; production needs it, development makes one up.",
    )
    api_keys: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("SIGAP_API_KEYS", "API_KEY"),
        description="Keys beside those of `./run key create`: `KEY`, or `NAME:predict+admin:KEY` with commas between.",
    )
    dashboard_key: SecretStr | None = Field(
        None,
        description="Key with the scope `predict` for which the dashboard gets its tokens; needed where predictions "
        "need a token, as in production.",
    )
    token_minutes: float = Field(60.0, gt=0, le=10080, description="How long a token is valid.")
    cors_origins: str = Field(
        "", description="Web origins whose pages may call the API, with commas (`https://app.example.org`), or `*`."
    )
    rate_per_key: float | None = Field(
        None,
        ge=0,
        description="Requests a second that one key, or one address without a token, may make of a worker; "
        "0 is no limit; by default 1000 in production and 0 in development.",
    )
    rate_in_all: float = Field(0.0, ge=0, description="Requests a second that a worker takes in all; 0 is no limit.")
    concurrent_per_key: int = Field(
        64, ge=1, description="Requests of one key, or address, that a worker answers at once."
    )
    concurrent_in_all: int = Field(256, ge=1, description="Requests that a worker answers at once.")
    concurrent_uploads: int = Field(8, ge=1, description="Batches and files that a worker takes in at once.")
    token_failures: int = Field(
        10, ge=1, description="Wrong keys in a row that an address may send; then one every six seconds."
    )
    prediction_log: bool = Field(
        True, description="Whether predictions are kept in PostgreSQL; without a database they are not."
    )
    prediction_log_days: int = Field(90, ge=1, description="Predictions older than this are deleted.")
    prediction_log_queue: int = Field(
        10000, ge=0, description="Most predictions of a worker that wait for PostgreSQL; further ones are not kept."
    )
    live_window_days: int = Field(
        30, ge=1, le=3650, description="Outcomes of the last so many days make up a live score."
    )
    replay_days: int = Field(
        30, ge=0, le=3650, description="Stored inputs of the last so many days are replayed before a promotion."
    )
    personal_fields: Literal["hash", "omit"] = Field(
        "hash", description="Personal fields of kept predictions: replaced by keyed hashes, or left out."
    )
    shadow_alias: str = Field(
        "", description="Alias, such as challenger, whose version answers in the champion's shadow; empty for none."
    )
    shadow_per_second: float = Field(
        50.0, gt=0, le=1000, description="Most requests a second that a worker lets the shadow answer too."
    )
    max_batch_rows: int = Field(10_000, ge=1, le=1_000_000, description="Most rows of a JSON batch.")
    max_file_rows: int = Field(1_000_000, ge=1, description="Most rows of a file of predictions.")
    max_unpacked_bytes: int = Field(
        512 * 2**20, ge=2**20, description="Most bytes that an XLSX or Parquet file may unpack to."
    )
    max_unpacked_ratio: int = Field(
        200, ge=10, description="How many times its own size an XLSX or Parquet file may unpack to."
    )
    file_reader_bytes: int = Field(
        256 * 2**20, ge=64 * 2**20, description="Most memory of the process that reads one XLSX, XLS or Parquet file."
    )
    file_jobs: int = Field(2, ge=1, le=64, description="Files that one worker answers at once; more are told to wait.")
    file_threads: int = Field(2, ge=1, le=64, description="Threads that work on one file.")
    data_act_seconds: float = Field(
        300.0, gt=0, le=3600, description="Longest that the API lets an import or a rollback of data take."
    )
    language: Literal["id", "en"] = Field(
        "id", description="Language in which the dashboard opens where the browser's is neither Indonesian nor English."
    )
    mlflow_page: str | None = Field(
        None,
        pattern=r"^https?://[^\s]+$",
        description="Address at which a reader's browser finds MLflow; by default that of the one started here.",
    )
    mage_page: str | None = Field(
        None,
        pattern=r"^https?://[^\s]+$",
        description="Address at which a reader's browser finds Mage; by default that of the one started here.",
    )

    boundaries_file: Path | None = Field(
        None,
        description="GeoJSON file (degrees) of the provinces' areas for the dashboard's map, joined by BPS codes; "
        "without it the map shows their capitals. A relative path is taken from the checkout.",
    )
    boundaries_attribution: str = Field("", description="Whose work the file of boundaries is; shown below the map.")

    exchange_websocket_url: str = Field(
        "wss://ws-feed.exchange.coinbase.com", description="Feed of the exchange that `./run ingest` listens to."
    )
    exchange_rest_url: str = Field(
        "https://api.exchange.coinbase.com", description="Where the exchange answers questions for past candles."
    )
    exchange_stall_seconds: float = Field(
        15.0, gt=0, le=600, description="A feed that says nothing usable for this long is opened anew."
    )

    train_at_start: str = Field(
        "all",
        description="Models that `./run` trains when they have no champion: `all`, `none`, or names with commas.",
    )
    promotion: Literal["auto", "manual"] | None = Field(
        None,
        description="`manual`: what passes the gate waits for `./run model approve`; by default as each model says.",
    )
    registry_wait_seconds: float = Field(
        60.0,
        ge=0,
        le=3600,
        description="How long a pipeline step waits for an MLflow server, or a PostgreSQL, that went away.",
    )
    git_commit: bool = Field(True, description="Whether a new snapshot's pointer is committed and tagged in Git.")
    dvc_remote_url: str | None = Field(
        None, description="DVC remote for snapshots (folder, s3://…); by default a folder inside the state folder."
    )
    partition_rows: int = Field(
        5_000_000,
        ge=100,
        description="A snapshot of more rows becomes a folder of parquet files with so many rows each.",
    )
    training_rows: int = Field(
        1_000_000, ge=1000, description="Of a snapshot with more rows, a fixed sample of so many is trained on."
    )
    mage_url: str | None = Field(
        None,
        pattern=r"^https?://[^\s]+$",
        description="Where Mage is found that runs elsewhere, such as `http://mage:6789` in a network of containers; "
        "by default it is the one started here.",
    )
    mage_password: SecretStr | None = Field(
        None, description="Password of Mage's owner; production needs it, development makes one up."
    )
    mage_jwt: SecretStr | None = Field(
        None, description="Signs the sessions of Mage's page; production needs it, development makes one up."
    )
    retrain_on_change: str = Field(
        "all",
        description="Models that are trained when rows of their table change: `all`, `none`, or names with commas.",
    )
    sensor_seconds: float = Field(
        5.0, gt=0, le=60, description="How often PostgreSQL is asked whether rows have changed, and Mage what it runs."
    )
    retrain_cooldown_minutes: float = Field(
        60.0, ge=0, description="After an alert has had a model trained, further alerts start nothing for this long."
    )
    retrains_per_hour: int = Field(
        12, ge=0, description="Most trainings of all models within an hour that alerts and changed rows start."
    )
    alert_key: SecretStr | None = Field(
        None,
        description="Key by which Alertmanager or Grafana sends alerts to `POST /alerts`; development makes one up in "
        "the state folder's `secrets/alert_key`.",
    )
    s3_endpoint_url: str | None = Field(
        None,
        pattern=r"^https?://[^\s@]+$",
        description="Address of an object store that is not Amazon's (`http://host:9000`), for s3:// URLs.",
    )
    artifacts_url: str | None = Field(
        None,
        pattern=r"^(s3://[^\s/@]+|/).*$",
        description="Where the MLflow server that Sigap starts keeps artefacts (folder, s3://bucket/prefix); by "
        "default a folder inside the state folder.",
    )
    aws_access_key_id: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("AWS_ACCESS_KEY_ID", "SIGAP_AWS_ACCESS_KEY_ID"),
        description="Key for the object store; without it a profile or role of the machine is used, if there is one.",
    )
    aws_secret_access_key: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("AWS_SECRET_ACCESS_KEY", "SIGAP_AWS_SECRET_ACCESS_KEY"),
        description="Secret of that key.",
    )
    backup_url: str = Field(
        "backups",
        description="Where `./run backup` puts backups (folder, s3://bucket/prefix); a relative path is taken from the "
        "checkout.",
    )
    backup_databases: str = Field(
        "",
        pattern=r"^[A-Za-z0-9_, -]*$",
        description="Further databases of the same PostgreSQL server that `./run backup` takes in, with commas, "
        "such as that of an MLflow server.",
    )
    dask_address: str | None = Field(
        None,
        description="Scheduler of a Dask cluster (`tcp://host:port`, `tls://…`) that sweeps, bootstraps, gate "
        "simulation and batch scoring fan out to; without it they run on this machine.",
    )
    dask_wait_seconds: float = Field(
        60.0, gt=0, le=3600, description="How long a Dask cluster may be without any worker."
    )
    dask_fallback: bool = Field(
        False, description="Whether this machine does the work when the Dask cluster is not there; else it is an error."
    )
    dask_tls_ca: Path | None = Field(None, description="PEM file of the authority that signed the cluster's keys.")
    dask_tls_cert: Path | None = Field(None, description="PEM file of this process's certificate for the cluster.")
    dask_tls_key: Path | None = Field(None, description="PEM file of the key of that certificate.")
    step_timeout_seconds: int = Field(600, ge=1, description="Longest time one pipeline step may take.")
    stuck_seconds: int = Field(120, ge=1, description="A pipeline run in which no step moves for this long is ended.")

    @field_validator("aws_access_key_id", "aws_secret_access_key")
    @classmethod
    def _given(cls, value: SecretStr | None) -> SecretStr | None:
        return value if value is not None and value.get_secret_value() else None

    @field_validator("dvc_remote_url", "artifacts_url", "s3_endpoint_url", mode="before")
    @classmethod
    def _not_empty(cls, value: str | None) -> str | None:
        # A compose file hands on what is not set as an empty text.
        return value or None

    @field_validator("database_url")
    @classmethod
    def _postgres_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():
            return None
        if not value.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError("expected a URL such as postgresql://user:password@host:5432/name")
        return value

    @classmethod
    def variable(cls, name: str) -> str:
        """The environment variable of a field."""
        alias = cls.model_fields[name].validation_alias
        return str(alias.choices[0]) if isinstance(alias, AliasChoices) else f"SIGAP_{name.upper()}"

    @field_validator("dask_address")
    @classmethod
    def _dask_address(cls, value: str | None) -> str | None:
        if value and not value.startswith(("tcp://", "tls://")):
            raise ValueError("expected an address such as tcp://127.0.0.1:8786")
        return value or None

    @property
    def state(self) -> Path:
        """Absolute path of the state folder."""
        return self.state_dir if self.state_dir.is_absolute() else self.root / self.state_dir

    @property
    def embedded_postgres(self) -> bool:
        """Whether Sigap starts PostgreSQL itself."""
        return self.database_url is None

    @property
    def dsn(self) -> str:
        """URL of the PostgreSQL database, with its password: never log it."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        password = quote(self.secret("postgres_password"), safe="")
        return f"postgresql://sigap:{password}@{self.host}:{self.postgres_port}/sigap"

    @property
    def has_database(self) -> bool:
        """Whether there is a PostgreSQL to ask: one of your own, or an embedded one that was started once."""
        return self.database_url is not None or (self.state / "secrets" / "postgres_password").exists()

    @property
    def tracking_uri(self) -> str:
        """URL of the MLflow server."""
        return self.mlflow_tracking_uri or f"http://{self.host}:{self.mlflow_port}"

    @property
    def api_address(self) -> str:
        """URL of the API as its clients on this machine reach it."""
        return self.api_url or f"http://{self.host}:{self.api_port}"

    @property
    def mage_address(self) -> str:
        """URL of Mage's page and API as its clients reach it."""
        return self.mage_url.rstrip("/") if self.mage_url else f"http://{self.host}:{self.mage_port}"

    @property
    def dvc_remote(self) -> str:
        """URL or absolute folder of the DVC remote."""
        return self.dvc_remote_url or str(self.state / "dvc-remote")

    @property
    def artifacts(self) -> str:
        """URL or absolute folder of the artefacts of the MLflow server that is started here."""
        return self.artifacts_url or str(self.state / "mlflow" / "artifacts")

    @property
    def backups(self) -> str:
        """URL or absolute folder of the backups."""
        return self.backup_url if "://" in self.backup_url else str(self.root / self.backup_url)

    @property
    def protected(self) -> Literal["admin", "predict", "all"]:
        """What needs a token."""
        return self.protect or ("predict" if self.environment == "production" else "admin")

    @property
    def key_rate(self) -> float:
        """Requests a second that one key may make of a worker; 0 is no limit."""
        if self.rate_per_key is not None:
            return self.rate_per_key
        return 1000.0 if self.environment == "production" else 0.0

    def key_for(self, purpose: str) -> bytes:
        """A key of 32 bytes for one purpose, derived from the secret, so that no two uses share one.

        Raises:
            ConfigurationError: In production, where the secret is given and never made up.
        """
        secret = self.secret_key.get_secret_value() if self.secret_key else self.secret("secret_key")
        return hmac.digest(secret.encode(), purpose.encode(), "sha256")

    def as_environment(self) -> dict[str, str]:
        """These settings as variables, for a process that shall see the same ones; holds secrets, never log it."""
        values = self.model_dump(exclude_none=True) | {"state_dir": self.state}
        return {
            self.variable(name): str(value.get_secret_value() if isinstance(value, SecretStr) else value)
            for name, value in values.items()
        }

    def has_secret(self, name: str) -> bool:
        """Whether the secret is given or was generated: to ask for one that is neither makes it up."""
        return bool(self._given_secret(name)) or (self.state / "secrets" / name).exists()

    def _given_secret(self, name: str) -> str:
        value = getattr(self, name, None)
        return value.get_secret_value() if isinstance(value, SecretStr) else ""

    def secret(self, name: str) -> str:
        """The secret `name`: the setting of that name, else generated on first use and kept for its owner alone.

        Raises:
            ConfigurationError: In production, where secrets are given and never made up.
        """
        if given := self._given_secret(name):
            return given
        path = self.state / "secrets" / name
        if path.exists():
            return path.read_text().strip()
        if self.environment == "production":
            raise ConfigurationError(
                f"The secret {name!r} is not set and {path} does not exist.",
                remedy=f"In production, set it yourself: SIGAP_{name.upper()}, or that file, readable by its owner.",
            )
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Written aside and linked into place, so that of two processes at once both read the same whole value.
        draft = path.with_name(f".{name}.{os.getpid()}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(token.token_urlsafe(24))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        return path.read_text().strip()


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process.

    Raises:
        ConfigurationError: A variable has a value that can't be used; the message names it.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        name = name if name.startswith(("SIGAP_", "DATABASE_URL", "MLFLOW_")) else f"SIGAP_{name}"
        raise ConfigurationError(
            f"The setting {name} can't be used: {first['msg']}.",
            remedy="Correct it in the environment or in .env; `./run settings` lists every setting.",
        ) from None
