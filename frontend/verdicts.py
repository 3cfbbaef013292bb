"""Whether all is well: what the API tells of itself, as findings that an operator understands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from frontend.catalogue import Decision
from frontend.traffic import Health, Traffic
from frontend.words import Words

# A share of failed requests above which the service is in trouble, not only some of its answers.
FAILED_SHARE = 0.01
# Beyond this, people notice that they wait.
SLOW_MS = 1000.0
GOOD, NOTE, WARN, BAD = range(4)
# The pipeline that watches the models.
MONITORING = "monitoring"


class Finding(NamedTuple):
    """Something that an operator should know.

    Attributes:
        weight: `NOTE` is good to know, `WARN` wants a look, `BAD` wants one now.
        text: In a sentence.
    """

    weight: int
    text: str


def findings(
    health: Health,
    traffic: Traffic,
    decided: Mapping[str, Sequence[Decision] | None],
    titles: Mapping[str, str],
    words: Words,
) -> list[Finding]:
    """What is not as it should be, the worst first."""
    found = [
        *_services(health, words),
        *_requests(traffic, words),
        *_models(health, decided, titles, words),
        *_trainings(decided, titles, words),
        *_pipelines(traffic, decided, titles, words),
    ]
    return sorted(found, key=lambda each: -each.weight)


def away(health: Health) -> bool:
    """Whether the registry can't be asked which versions should be in use."""
    registry = health.dependencies.get("registry")
    return registry is not None and registry.status != "up"


def _services(health: Health, words: Words) -> Iterator[Finding]:
    for name, service in health.dependencies.items():
        if service.status == "down":
            yield Finding(WARN, words(f"watch.down_{'registry' if name == 'registry' else 'database'}"))


def _requests(traffic: Traffic, words: Words) -> Iterator[Finding]:
    total = sum(traffic.requests.values())
    if faults := traffic.failed("fault"):
        weight = BAD if faults > FAILED_SHARE * total else WARN
        yield Finding(weight, words("watch.faults", count=words.number(faults, 0), total=words.number(total, 0)))
    if unavailable := traffic.failed("unavailable"):
        yield Finding(WARN, words("watch.unavailable", count=words.number(unavailable, 0)))
    if limited := traffic.failed("limit"):
        yield Finding(NOTE, words("watch.limited", count=words.number(limited, 0)))
    if traffic.dropped:
        yield Finding(WARN, words("watch.dropped", count=words.number(traffic.dropped, 0)))
    slow = traffic.latency.get("predict")
    if slow and slow.p95_ms is not None and slow.p95_ms > SLOW_MS:
        yield Finding(WARN, words("watch.slow", seconds=words.number(slow.p95_ms / 1000, 1)))


def _models(
    health: Health, decided: Mapping[str, Sequence[Decision] | None], titles: Mapping[str, str], words: Words
) -> Iterator[Finding]:
    if health.models and all(model.model_version is None for model in health.models.values()):
        yield Finding(WARN, words("pages.nothing_served"))
    for name, model in health.models.items():
        title = titles.get(name, name)
        if model.model_version is None:
            known = decided.get(name) or ()
            ended = [each for each in known if each.outcome != "running"]
            if not ended:
                going_on = any(each.outcome == "running" for each in known)
                if going_on:
                    yield Finding(WARN, words("pages.training", title=title))
                else:
                    yield Finding(NOTE, words("watch.untrained", title=title))
            elif ended[0].outcome == "failed":
                yield Finding(BAD, words("watch.unserved", title=title))
            else:
                # That nothing was good enough is an honest answer and no trouble.
                yield Finding(NOTE, words("watch.refused", title=title))
        elif model.held:
            yield Finding(NOTE, words("watch.held", title=title, version=model.held))
        elif model.status != "ok" and not away(health):
            yield Finding(WARN, words("watch.behind", title=title, version=model.model_version))


def _trainings(
    decided: Mapping[str, Sequence[Decision] | None], titles: Mapping[str, str], words: Words
) -> Iterator[Finding]:
    for name, found in decided.items():
        title = titles.get(name, name)
        if found is None:
            continue
        last = next((each for each in found if each.outcome != "running"), None)
        if last is not None and last.outcome == "failed":
            yield Finding(WARN, words("concern.failed", title=title))
        if last is not None and last.rule == "waiting":
            yield Finding(NOTE, words("concern.waiting", title=title))


def _pipelines(
    traffic: Traffic, decided: Mapping[str, Sequence[Decision] | None], titles: Mapping[str, str], words: Words
) -> Iterator[Finding]:
    for failed in traffic.failed_pipelines:
        # A training that failed is told already; a run that ended before it became one is not.
        last = next((each for each in decided.get(failed.pipeline) or () if each.outcome != "running"), None)
        if last is not None and last.outcome == "failed":
            continue
        key = "watch.pipeline_monitoring" if failed.pipeline == MONITORING else "watch.pipeline_failed"
        title = titles.get(failed.pipeline, failed.pipeline)
        text = words(key, pipeline=failed.pipeline, title=title, ago=words.ago(failed.failed_at))
        yield Finding(WARN, text)
