"""The documents of an overlay, as kubectl's own kustomize puts them together, and what is looked up among them."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

Json = dict[str, Any]

UNITS = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}
WORKLOADS = ("Deployment", "StatefulSet", "Job", "CronJob")


def quantity(text: Any) -> float:
    """A Kubernetes quantity as a number."""
    written = str(text)
    number = written.rstrip("mkMGTi")
    return float(number) * UNITS[written[len(number) :]]


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a selector with `matchLabels` alone selects these labels; an empty one selects all."""
    assert not set(selector) - {"matchLabels"}, f"a selector that this test does not understand: {selector}"
    return selector.get("matchLabels", {}).items() <= labels.items()


@dataclass(frozen=True)
class Container:
    """A container of a pod; `init` where it runs before the others."""

    where: str
    spec: Json
    init: bool

    @property
    def image(self) -> str:
        return str(self.spec["image"])

    @property
    def name(self) -> str:
        """The image without its tag and without where it comes from."""
        return self.image.rpartition("/")[2].partition("@")[0].partition(":")[0]

    @property
    def words(self) -> list[str]:
        return [*self.spec.get("command", ()), *self.spec.get("args", ())]

    def requested(self, kind: str, resource: str) -> float:
        return quantity(self.spec["resources"][kind][resource])


@dataclass(frozen=True)
class Pod:
    """The template of a workload's pods."""

    owner: Json
    template: Json

    @property
    def where(self) -> str:
        return f"{self.owner['kind']} {self.owner['metadata']['name']}"

    @property
    def spec(self) -> Json:
        return dict(self.template["spec"])

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.template["metadata"]["labels"])

    @property
    def containers(self) -> list[Container]:
        found = [(each, True) for each in self.spec.get("initContainers", ())]
        found += [(each, False) for each in self.spec["containers"]]
        return [Container(f"{self.where}, {each['name']}", each, init) for each, init in found]

    @property
    def ports(self) -> dict[str, int]:
        return {port["name"]: port["containerPort"] for each in self.containers for port in each.spec.get("ports", ())}


@dataclass(frozen=True)
class Cluster:
    """An overlay's documents.

    Attributes:
        docs: Them.
        outside: Keys of the secrets that somebody makes by hand, by name.
    """

    docs: list[Json]
    outside: Mapping[str, frozenset[str]]

    @classmethod
    def read(cls, text: str, outside: Mapping[str, frozenset[str]] | None = None) -> Cluster:
        return cls([doc for doc in yaml.safe_load_all(text) if doc], outside or {})

    def of(self, *kinds: str) -> Iterator[Json]:
        return (doc for doc in self.docs if doc["kind"] in kinds)

    def one(self, kind: str, name: str) -> Json:
        (found,) = [doc for doc in self.of(kind) if doc["metadata"]["name"] == name]
        return found

    @property
    def pods(self) -> list[Pod]:
        found = []
        for doc in self.of(*WORKLOADS):
            spec = doc["spec"]["jobTemplate"]["spec"] if doc["kind"] == "CronJob" else doc["spec"]
            found.append(Pod(doc, spec["template"]))
        return found

    @property
    def containers(self) -> list[Container]:
        return [each for pod in self.pods for each in pod.containers]

    def keys(self, kind: str, name: str) -> dict[str, str] | None:
        """What a ConfigMap or Secret holds; empty values for one made by hand; None where there is none."""
        for doc in self.of(kind):
            if doc["metadata"]["name"] == name:
                plain = {key: str(value) for key, value in (doc.get("data") or {}).items()}
                if kind == "Secret":
                    plain = {key: base64.b64decode(value).decode() for key, value in plain.items()}
                return plain | doc.get("stringData", {})
        if kind == "Secret" and name in self.outside:
            return dict.fromkeys(self.outside[name], "")
        return None

    def environment(self, container: Container) -> dict[str, str]:
        """The variables of a container; what a reference does not resolve to is left out."""
        found: dict[str, str] = {}
        for source in container.spec.get("envFrom", ()):
            for word, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                if word in source:
                    found |= self.keys(kind, source[word]["name"]) or {}
        for each in container.spec.get("env", ()):
            if "value" in each:
                found[each["name"]] = each["value"]
            elif secret := each.get("valueFrom", {}).get("secretKeyRef"):
                found[each["name"]] = (self.keys("Secret", secret["name"]) or {}).get(secret["key"], "")
        return found

    def behind(self, service: str) -> list[Pod]:
        """The pods that a Service leads to."""
        found = [doc for doc in self.of("Service") if doc["metadata"]["name"] == service]
        return [
            pod for doc in found for pod in self.pods if matches({"matchLabels": doc["spec"]["selector"]}, pod.labels)
        ]

    def replicas(self, pod: Pod) -> int:
        """Most pods of a workload at once, a rolling update's among them."""
        name, spec = pod.owner["metadata"]["name"], pod.owner["spec"]
        if pod.owner["kind"] in ("Job", "CronJob"):
            return 1
        scaled = [h for h in self.of("HorizontalPodAutoscaler") if h["spec"]["scaleTargetRef"]["name"] == name]
        most = int(scaled[0]["spec"]["maxReplicas"] if scaled else spec.get("replicas", 1))
        strategy = spec.get("strategy", {})
        return most + int(strategy.get("rollingUpdate", {}).get("maxSurge", 0))
