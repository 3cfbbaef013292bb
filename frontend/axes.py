"""What the candidates of a sweep differ in: parameters and metrics, as axes of charts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from frontend import scores
from frontend.runs import Trial, Tried, measured, varied
from frontend.words import MISSING, Words


class Axis(NamedTuple):
    """A parameter or a metric, with each candidate's place on it.

    Attributes:
        key: `param:` or `metric:` and its name.
        title: For people.
        places: Where each candidate stands; None where it has no such value.
        texts: The values as they are read.
        ticks: Places and texts of a parameter that is no number.
    """

    key: str
    title: str
    places: list[float | None]
    texts: list[str]
    ticks: tuple[tuple[float, str], ...] = ()


def axes(run: Tried, words: Words) -> list[Axis]:
    """What the candidates differ in: the metric they are chosen by first, then parameters, then other metrics."""
    trials = run.candidates
    metrics = measured(trials)
    first = [run.metric] if run.metric in metrics else []
    found = [_metric(name, trials, words) for name in first]
    found += [_param(name, values, words) for name, values in varied(trials).items()]
    return found + [_metric(name, trials, words) for name in metrics if name not in first]


def telling(known: Sequence[Axis], count: int) -> list[str]:
    """Keys of the axes that tell most: the score that decides, two settings, and further scores."""
    metrics = [axis.key for axis in known if axis.key.startswith("metric:")]
    params = [axis.key for axis in known if axis.key.startswith("param:")]
    first = [*metrics[:1], *params[:2], *metrics[1:], *params[2:]]
    return first[:count]


def _metric(name: str, trials: Sequence[Trial], words: Words) -> Axis:
    scale = 100.0 if name in scores.SHARES else 1.0
    unit = " (%)" if name in scores.SHARES or name in scores.PERCENT else ""
    places = [each.metrics[name] * scale if name in each.metrics else None for each in trials]
    texts = [told(name, each.metrics.get(name), words) for each in trials]
    return Axis(f"metric:{name}", scores.name(name, words) + unit, places, texts)


def told(metric: str, value: float | None, words: Words) -> str:
    """A score without unit; of one that has no bounds, no more digits than matter."""
    if value is not None and abs(value) >= 100 and metric not in scores.SHARES:
        return words.number(value, 0)
    return scores.bare(metric, value, words)


def _param(name: str, values: Sequence[str], words: Words) -> Axis:
    title = param_name(name, words)
    numbers = [_number(value) for value in values]
    if all(number is not None or not value for number, value in zip(numbers, values, strict=True)):
        return Axis(f"param:{name}", title, numbers, [words.figure(n) if n is not None else MISSING for n in numbers])
    known = sorted({value for value in values if value})
    ticks = tuple((float(at), value.replace("_", " ")) for at, value in enumerate(known))
    places = [float(known.index(value)) if value else None for value in values]
    return Axis(f"param:{name}", title, places, [value.replace("_", " ") or MISSING for value in values], ticks)


def param_name(name: str, words: Words) -> str:
    """A parameter's name for people."""
    plain = name.removeprefix("options.")
    return words.get(f"param.{plain}", plain.replace("_", " "))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def squares(known: Sequence[Axis], shown: Sequence[Axis], count: int) -> list[Axis]:
    """Which axes are set against each other: numbers only, those that are shown first."""
    numbers = [axis for axis in (*shown, *known) if not axis.ticks and None not in axis.places]
    return list({axis.key: axis for axis in numbers}.values())[:count]


def span(axis: Axis) -> tuple[float, float]:
    """The least and the greatest place on an axis."""
    known = [place for place in axis.places if place is not None] or [0.0]
    return min(known), max(known)
