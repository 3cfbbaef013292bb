"""The API as the dashboard sees it: the only way by which figures reach a page."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping
from typing import Any

import httpx
import streamlit as st
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sigap.errors import ServiceError, SigapError
from sigap.settings import get_settings

log = logging.getLogger("sigap.dashboard")

# The fields of a request, as a cache can tell them apart.
Row = tuple[tuple[str, Any], ...]
# Long enough for a busy machine, short enough that a page never hangs on a dead address.
TIMEOUT = httpx.Timeout(5.0, connect=1.5)


class ApiDownError(ServiceError):
    """The API can't be reached or answers nonsense."""


class ChangedError(SigapError):
    """Another champion came between two questions about the same one."""


class RejectedError(SigapError):
    """The API refused a request; `fields` says what is wrong with which field, in English.

    Args:
        message: What the API said.
        fields: What it expected, by the name of the field.
    """

    def __init__(self, message: str, fields: Mapping[str, str]) -> None:
        super().__init__(message)
        self.fields = dict(fields)


class Answer(BaseModel):
    """Base of the API's answers: new fields of a newer API are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())


class Text(Answer):
    """A text in Indonesian and in English."""

    id: str
    en: str

    def __call__(self, language: str) -> str:
        """The text in `id` or `en`."""
        return self.id if language == "id" else self.en


class Feature(Answer):
    """A field of the model's request, as declared."""

    name: str
    title: Text
    meaning: Text
    unit: Text
    minimum: float | None = None
    maximum: float | None = None
    higher_is_better: bool | None = None
    source: str = ""
    training_range: tuple[float, float] | None = None

    @property
    def middle(self) -> float:
        """A number that could stand in this field."""
        low, high = self.training_range or (self.minimum or 0.0, self.maximum or 1.0)
        return round((low + high) / 2, 1)


class Data(Answer):
    """Which data the served model saw."""

    version: str
    rows: int
    rows_rejected: int = 0
    period: int
    origin: str = ""


class LeftOut(Answer):
    """A declared feature that the model does not use, and why."""

    name: str
    reason: Text
    published_share: float


class Level(Answer):
    """A cluster by rank, 0 the best, with its centre in the features' units."""

    cluster: int
    label: Text
    size: int
    center: dict[str, float]


class Candidate(Answer):
    """One number of levels that was tried."""

    k: int
    metrics: dict[str, float]
    admissible: bool
    reason: Text | None = None


class RequestColumn(Answer):
    """A field of the request that says whom it is about."""

    name: str
    meaning: Text
    form: Text | None = None


class Model(Answer):
    """A declared model and, when it has one, its champion."""

    name: str
    title: Text
    question: Text
    data_source: Text
    features: tuple[Feature, ...]
    request_columns: tuple[RequestColumn, ...] = ()
    example: dict[str, Any] = {}
    model_version: str | None = None
    trained_at: str = ""
    data: Data | None = None
    metrics: dict[str, float] = {}
    features_used: tuple[str, ...] = ()
    features_left_out: tuple[LeftOut, ...] = ()
    levels: tuple[Level, ...] = ()
    sweep: tuple[Candidate, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _without_champion(cls, answer: Any) -> Any:
        """Drops nulls: without a champion, the API answers null for all that only a champion has."""
        return {k: v for k, v in answer.items() if v is not None} if isinstance(answer, dict) else answer

    @property
    def served(self) -> bool:
        """Whether the API has a champion to answer with."""
        return self.model_version is not None and bool(self.levels)

    @property
    def used(self) -> tuple[Feature, ...]:
        """The features that decide the level, in the declaration's order."""
        return tuple(feature for feature in self.features if feature.name in self.features_used)


class Place(Answer):
    """Where a member stands on the map, in degrees."""

    ibukota: str | None = None
    lat: float | None = None
    lon: float | None = None


class Member(Answer):
    """A province (or district) with its figures and its level."""

    entity: str
    name: str
    period: int
    place: Place = Place()
    features: dict[str, float | None]
    figure_period: dict[str, int | None] = {}
    cluster: int
    distance: float
    gap: dict[str, float | None] | None = None


class NotAssessed(Answer):
    """A province without a figure that the model needs."""

    entity: str
    name: str
    place: Place = Place()
    features: dict[str, float | None] = {}
    missing: tuple[str, ...] = ()
    reason: Text


class Moment(Answer):
    """An entity's level in one year under the served model; no level where figures are missing."""

    entity: str
    period: int
    cluster: int | None
    features: dict[str, float | None] = {}


class Break(Answer):
    """A change of border or definition: figures before and after don't compare."""

    entity: str
    period: int
    note: Text


class Move(Answer):
    """How one entity stands against the previous champion."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    entity: str
    name: str
    kind: str
    before: int | None = Field(None, alias="from")
    after: int | None = Field(None, alias="to")
    note: Text | None = None
    # The figures that decide the level, then and now; empty where the API does not tell them.
    from_features: dict[str, float | None] = {}
    to_features: dict[str, float | None] = {}

    @model_validator(mode="before")
    @classmethod
    def _without_figures(cls, answer: Any) -> Any:
        """Drops nulls, which stand where an older version kept no figures."""
        return {k: v for k, v in answer.items() if v is not None} if isinstance(answer, dict) else answer


class Against(Answer):
    """What a movement compares with."""

    model_version: str
    data_version: str
    period: int
    levels: int


class Movement(Answer):
    """Who moved since the previous champion, under the new model."""

    against: Against
    moves: tuple[Move, ...]


class Clusters(Answer):
    """The members of the served model with their levels, past and movement."""

    model_version: str
    members: tuple[Member, ...]
    not_assessed: tuple[NotAssessed, ...] = ()
    history: tuple[Moment, ...] = ()
    breaks: tuple[Break, ...] = ()
    movement: Movement | None = None


class Prediction(Answer):
    """The answer to a set of figures."""

    cluster: int
    cluster_label: str
    distance_to_center: float
    model_version: str
    data_version: str = ""
    gap_to_next_level: dict[str, float | None] | None = None
    out_of_training_range: tuple[str, ...] = ()


@st.cache_resource(on_release=httpx.Client.close)
def _client(address: str) -> httpx.Client:
    key = get_settings().dashboard_key
    auth = _Bearer(address, key.get_secret_value()) if key else None
    return httpx.Client(base_url=address, timeout=TIMEOUT, trust_env=False, auth=auth)


class _Bearer(httpx.Auth):
    """Sends a token of the dashboard's key, and gets another one when it is refused.

    Args:
        address: The API's.
        key: The dashboard's.
    """

    def __init__(self, address: str, key: str) -> None:
        self._address = address
        self._key = key
        self._token = ""

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """The request with a token, and once more with a new one where the first has ended."""
        # One request each way at most: a key that is refused is told by the API's own answer.
        if self._token:
            request.headers["authorization"] = f"Bearer {self._token}"
        response = yield request
        if response.status_code != httpx.codes.UNAUTHORIZED:
            return
        told = yield httpx.Request("POST", f"{self._address.rstrip('/')}/token", json={"api_key": self._key})
        # This answer alone is read here: others may be long, and are taken piece by piece.
        told.read()
        if told.is_success:
            self._token = told.json()["access_token"]
            request.headers["authorization"] = f"Bearer {self._token}"
            yield request
        else:
            log.warning("The API refuses SIGAP_DASHBOARD_KEY: %s.", told.status_code)


def _ask(method: str, path: str, body: Mapping[str, Any] | list[dict[str, Any]] | None = None) -> httpx.Response:
    address = get_settings().api_address
    try:
        response = _client(address).request(method, path, json=body)
    except httpx.HTTPError as error:
        raise ApiDownError(f"The API at {address} can't be reached: {type(error).__name__}.") from error
    if response.status_code >= 500 and response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
        raise ApiDownError(f"The API at {address} answers {path} with {response.status_code}.")
    return response


def read(path: str) -> Any:
    """What the API answers to GET `path`.

    Raises:
        ApiDownError: It can't be reached, or answers with an error.
    """
    response = _ask("GET", path)
    if response.is_error:
        raise ApiDownError(f"The API answers {path} with {response.status_code}.")
    return response.json()


def connection() -> httpx.Client:
    """The connection to the API, for what is sent and taken piece by piece, in any thread."""
    return _client(get_settings().api_address)


def fetcher() -> Callable[[str], httpx.Response | None]:
    """Asks for a path in any thread; None where the API can't be reached."""
    # Streamlit's caches belong to the page's own thread.
    client = _client(get_settings().api_address)

    def fetch(path: str) -> httpx.Response | None:
        try:
            return client.get(path)
        except httpx.HTTPError:
            return None

    return fetch


@st.cache_data(ttl=2, show_spinner=False)
def model(name: str, pulse: str) -> Model:  # noqa: ARG001 - makes another champion another question
    """The model's declaration and champion.

    Args:
        name: The model.
        pulse: What the API serves, as `catalogue.pulse` tells it: a page that watches it and is drawn anew when it
            changes must not be drawn from what was read before that.

    Raises:
        ApiDownError: The API can't be reached or its answer can't be read.
    """
    try:
        return Model.model_validate(read(f"/models/{name}"))
    except ValidationError as error:
        raise ApiDownError(f"The API's answer about {name!r} can't be read: {error}.") from error


@st.cache_data(ttl=30, show_spinner=False)
def clusters(name: str, model_version: str) -> Clusters:
    """The members of the champion `model_version`; the version makes a new champion a new question.

    Raises:
        ChangedError: Another version is served by now.
        ApiDownError: The API can't be reached or its answer can't be read.
    """
    try:
        found = Clusters.model_validate(read(f"/models/{name}/clusters"))
    except ValidationError as error:
        raise ApiDownError(f"The API's answer about {name!r} {model_version} can't be read: {error}.") from error
    if found.model_version != model_version:
        raise ChangedError(f"{name!r} was {model_version} a moment ago and is {found.model_version} now.")
    return found


def asked(name: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The model's answer, as the API gives it.

    Raises:
        RejectedError: The API refused what was asked.
        ApiDownError: The API can't be reached, or has no champion.
    """
    response = _ask("POST", f"/models/{name}/predict", body)
    if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        raise ApiDownError("The API has no champion to answer with.")
    if response.is_error:
        problem = response.json()
        fields = {e["field"]: str(e.get("expected", "")) for e in problem.get("errors", []) if "field" in e}
        raise RejectedError(str(problem.get("detail") or problem.get("title") or response.status_code), fields)
    answer: dict[str, Any] = response.json()
    return {**answer, "request_id": response.headers.get("x-request-id", "")}


@st.cache_data(ttl=300, show_spinner=False, max_entries=200)
def levels(name: str, model_version: str, rows: tuple[Row, ...]) -> tuple[Prediction | None, ...]:
    """The level of many sets of figures in one request; None for a set that the API refused.

    A batch is not kept in the log of predictions, so that "what if" is never taken for what is.

    Args:
        name: The model.
        model_version: Its version, which makes a new champion a new question.
        rows: The fields of each set.

    Raises:
        ApiDownError: The API can't be reached, has no champion, or can't answer now.
    """
    response = _ask("POST", f"/models/{name}/predict-batch", [dict(row) for row in rows])
    if response.is_error:
        raise ApiDownError(f"The API answers a batch for {name!r} {model_version} with {response.status_code}.")
    answer = response.json()
    shared = {key: answer[key] for key in ("model_version", "data_version") if key in answer}
    return tuple(
        Prediction.model_validate({**shared, **each}) if each["status"] == "answered" else None
        for each in answer["predictions"]
    )


def predict(name: str, body: Mapping[str, Any]) -> Prediction:
    """The level of a set of figures.

    Raises:
        RejectedError: The API refused the figures.
        ApiDownError: The API can't be reached, or has no champion.
    """
    return Prediction.model_validate(asked(name, body))
