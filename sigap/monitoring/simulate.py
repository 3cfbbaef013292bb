"""A stated shift, injected into live inputs or into the table: to see the alarm come, and to test that it does.

What is sent or written is drawn from the champion's training snapshot or from the table itself, so that nothing but
the shift is new. Values stay within their declared ranges.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pandas as pd

from sigap.bundle import Manifest, read_manifest
from sigap.catalog import Declaration, Feature, Kind, declaration
from sigap.catalog.declaration import Forecasting
from sigap.data.samples import training_sample
from sigap.errors import ConfigurationError, RegistryError, ServiceError
from sigap.monitoring.subjects import live_names
from sigap.registry.models import Registry
from sigap.settings import Settings
from sigap.training.sweep import read_snapshot

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Moved:
    """How a feature was shifted.

    Attributes:
        feature: Its name.
        asked: The shift that was asked for, in standard deviations of the training snapshot.
        got: What is left of it after clipping and rounding.
        clipped: Share of the values that lay outside the declared range and were pulled in to it.
        tested: Whether the check of this subject looks at it: not at personal inputs.
    """

    feature: str
    asked: float
    got: float
    clipped: float
    tested: bool = True


@dataclass(frozen=True)
class Sent:
    """What was sent.

    Attributes:
        requests: How many.
        answered: How many of them were answered with a prediction.
        refusal: What the API said to the first one that it refused; empty if to none.
        moved: The shifted features.
    """

    requests: int
    answered: int
    refusal: str
    moved: tuple[Moved, ...]


def champion_of(settings: Settings, model: str) -> Manifest:
    """The champion's manifest.

    Raises:
        RegistryError: There is no champion, or MLflow can't be reached.
    """
    registry = Registry(settings)
    champion = registry.champion(model)
    if champion is None or not champion.servable:
        raise RegistryError(
            f"{model} has no champion whose inputs could drift.", remedy=f"`./run pipeline {model}` trains one."
        )
    return read_manifest(registry.bundle(champion))


def chosen_features(declared: Declaration, manifest: Manifest, feature: str | None) -> list[Feature]:
    """The number that is named, or all numbers that the champion uses.

    Raises:
        ConfigurationError: It is no number that the champion uses.
    """
    numbers = [
        declared.feature(name)
        for name in manifest.features_used
        if name in declared.feature_names and declared.feature(name).kind in (Kind.NUMBER, Kind.INTEGER)
    ]
    chosen = [each for each in numbers if feature in (None, each.name)]
    if not chosen:
        raise ConfigurationError(
            f"{feature!r} is no number that the champion of {declared.name} uses.",
            remedy=f"Choose one of: {', '.join(each.name for each in numbers) or 'none is there'}.",
        )
    return chosen


def shifted(feature: Feature, values: pd.Series[Any], by: float, spread: float) -> tuple[pd.Series[Any], float]:
    """The values plus `by` times `spread`, within the declared range; and the share that had to be pulled in to it."""
    wished = values.astype("float64") + by * spread
    moved = wished.clip(feature.minimum, feature.maximum)
    clipped = float((moved != wished)[wished.notna()].mean()) if wished.notna().any() else 0.0
    return moved.round() if feature.kind is Kind.INTEGER else moved, clipped


def send(
    model: str,
    settings: Settings,
    *,
    feature: str | None = None,
    by: float = 1.0,
    rows: int = 200,
    key: str = "",
    seed: int | None = None,
    progress: Progress | None = None,
) -> Sent:
    """Sends real requests for predictions whose numbers are shifted.

    Args:
        model: Name of a declaration.
        settings: Where API, registry and snapshot are.
        feature: The number to shift; by default all that the champion uses.
        by: Shift in standard deviations of the training snapshot.
        rows: How many requests.
        key: API key with the scope `predict`, where predictions need a token.
        seed: Of the rows drawn; other ones each time if not given.
        progress: Called with the requests sent and all.

    Raises:
        ServiceError: The API can't be reached, or refuses the key.
        RegistryError: There is no champion, or MLflow can't be reached.
        ConfigurationError: It is no feature of the model.
    """
    declared = declaration(model)
    manifest = champion_of(settings, model)
    snapshot = read_snapshot(training_sample(declared, settings, manifest.data.md5).path)
    random = np.random.default_rng(seed)
    if isinstance(declared.task, Forecasting):
        bodies, moved = _series_bodies(declared, snapshot, by, rows, random)
    else:
        bodies, moved = _row_bodies(declared, manifest, snapshot, feature, by, rows, random)
    answered, refusal = _posted(settings, model, bodies, key, progress)
    return Sent(len(bodies), answered, refusal, tuple(moved))


def _row_bodies(
    declared: Declaration,
    manifest: Manifest,
    snapshot: pd.DataFrame,
    feature: str | None,
    by: float,
    rows: int,
    random: np.random.Generator,
) -> tuple[list[dict[str, Any]], list[Moved]]:
    tested = live_names(declared, manifest)
    # What the model has to know may not be null in a request.
    usable = snapshot.dropna(subset=list(manifest.features_used))
    usable = usable if len(usable) else snapshot
    drawn = usable.iloc[random.integers(0, len(usable), size=rows)].reset_index(drop=True)
    moved = []
    for each in chosen_features(declared, manifest, feature):
        spread = float(snapshot[each.name].astype("float64").std())
        before = drawn[each.name].astype("float64")
        drawn[each.name], clipped = shifted(each, drawn[each.name], by, spread)
        got = float((drawn[each.name] - before).mean() / spread) if spread > 0 and before.notna().any() else 0.0
        moved.append(Moved(each.name, by, got, clipped, each.name in tested))
    names = [*declared.request_columns, *declared.feature_names]
    integers = {each.name for each in declared.features if each.kind is Kind.INTEGER}
    bodies = [
        {name: _json(row[name], whole=name in integers) for name in names}
        for row in drawn[names].astype(object).to_dict("records")
    ]
    return bodies, moved


def _json(value: Any, *, whole: bool) -> Any:
    if value is None or pd.isna(value):
        return None
    if isinstance(value, float | int | np.number):
        number = float(value)
        return int(number) if whole or isinstance(value, int | np.integer) else number
    return str(value)


def _series_bodies(
    declared: Declaration, snapshot: pd.DataFrame, by: float, rows: int, random: np.random.Generator
) -> tuple[list[dict[str, Any]], list[Moved]]:
    """Stretches of the series whose newest step is moved by so many standard deviations of a step."""
    task, time, target = declared.task_as(Forecasting), declared.source.time, declared.target
    assert target is not None  # noqa: S101 - a forecast has one
    known = snapshot[[time, target.name]].dropna().sort_values(time, kind="stable").reset_index(drop=True)
    values = known[target.name].to_numpy(dtype=np.float64)
    spread = float(np.diff(np.log(values)).std())
    length = task.lags + 2
    bodies = []
    for start in random.integers(0, len(known) - length + 1, size=rows):
        piece = known.iloc[start : start + length]
        candles: list[dict[str, Any]] = [
            {time: moment.isoformat(), target.name: float(value)}
            for moment, value in zip(pd.to_datetime(piece[time], utc=True), piece[target.name], strict=True)
        ]
        candles[-1][target.name] = candles[-1][target.name] * float(np.exp(by * spread))
        bodies.append({"candles": candles})
    return bodies, [Moved(f"{target.name}_return", by, by, 0.0)]


def _posted(
    settings: Settings, model: str, bodies: Sequence[dict[str, Any]], key: str, progress: Progress | None
) -> tuple[int, str]:
    answered, refusal = 0, ""
    if not key and settings.dashboard_key:
        key = settings.dashboard_key.get_secret_value()
    try:
        with httpx.Client(base_url=settings.api_address, timeout=30, trust_env=False) as client:
            if key:
                client.headers["authorization"] = f"Bearer {_token(client, key)}"
            for done, body in enumerate(bodies, 1):
                response = client.post(f"/models/{model}/predict", json=body)
                if response.status_code in (401, 403):
                    raise ServiceError(
                        f"The API at {settings.api_address} wants a token for predictions.",
                        remedy="Give a key with the scope predict: --key, or the setting SIGAP_DASHBOARD_KEY.",
                    )
                answered += response.is_success
                if not response.is_success and not refusal:
                    refusal = f"{response.status_code}: {_detail(response)}"
                if progress:
                    progress(done, len(bodies))
    except httpx.HTTPError as error:
        raise ServiceError(
            f"The API at {settings.api_address} can't be reached ({type(error).__name__}).",
            remedy="Start it with ./run; ./run status shows what runs.",
        ) from error
    return answered, refusal


def _token(client: httpx.Client, key: str) -> str:
    response = client.post("/token", json={"api_key": key})
    if not response.is_success:
        raise ServiceError(f"The API refused the key: {_detail(response)}", remedy="See `./run key list`.")
    return str(response.json()["access_token"])


def _detail(response: httpx.Response) -> str:
    try:
        told = response.json()
        return str(told.get("detail") or told.get("title") or "")[:300]
    except ValueError:
        return f"status {response.status_code}"
