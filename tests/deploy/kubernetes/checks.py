"""What the published schemas miss: each check returns what it complains of, with the place.

A check knows the real thing where there is one: the API's routes, the settings, the Dockerfiles, the command line.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
from pydantic import AliasChoices

from backend.__main__ import GRACE_SECONDS
from backend.prediction_log import DRAIN_SECONDS
from sigap.catalog import declarations
from sigap.settings import ROOT, Settings
from tests.deploy.kubernetes.cluster import Cluster, Container, Pod, matches, quantity

Check = Callable[[Cluster], Iterator[str]]
CHECKS: dict[str, Check] = {}
IMAGES = ROOT / "deploy" / "images"
VERSION = kubernetes_validate.latest_version()
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
# Of the dask component's own part of the settings, which lands with it.
COMING = {"SIGAP_DASK_ADDRESS"}
# Images that are not ours: what their documentation names.
FOREIGN = {
    "postgres": {"POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"},
    "minio": {"MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"},
}
HEALTH = {"minio": {"/minio/health/live", "/minio/health/ready"}}
CLOSED = "169.254.169.254"


def check(function: Check) -> Check:
    CHECKS[function.__name__] = function
    return function


@check
def schema(cluster: Cluster) -> Iterator[str]:
    for doc in cluster.docs:
        if fault := _fault(json.dumps(doc, sort_keys=True)):
            yield f"{doc['kind']} {doc['metadata']['name']}: {fault}"


@cache
def _fault(doc: str) -> str:
    """What the published schema says against a document; most are the same in all overlays."""
    try:
        kubernetes_validate.validate(json.loads(doc), VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        return str(error.message)
    return ""


@check
def names(cluster: Cluster) -> Iterator[str]:
    seen = set()
    for doc in cluster.docs:
        name = doc["metadata"]["name"]
        if not LABEL.fullmatch(name):
            yield f"{doc['kind']} {name!r} is no DNS label"
        if (doc["kind"], name) in seen:
            yield f"{doc['kind']} {name} stands there twice"
        seen.add((doc["kind"], name))
        if doc["kind"] != "Namespace" and doc["metadata"].get("namespace") != "sigap":
            yield f"{doc['kind']} {name} is not in the namespace"
    for pod in cluster.pods:
        for each in [*pod.spec["containers"], *pod.spec.get("initContainers", ()), *pod.spec.get("volumes", ())]:
            if not LABEL.fullmatch(each["name"]):
                yield f"{pod.where}: {each['name']!r} is no DNS label"


@check
def selectors(cluster: Cluster) -> Iterator[str]:
    for pod in cluster.pods:
        own = pod.owner["spec"].get("selector")
        if own and not matches(own, pod.labels):
            yield f"{pod.where} does not select its own pods"
        for spread in pod.spec.get("topologySpreadConstraints", ()):
            if not matches(spread["labelSelector"], pod.labels):
                yield f"{pod.where} spreads other pods than its own"
    for service in cluster.of("Service"):
        found = cluster.behind(service["metadata"]["name"])
        if len(found) != 1:
            yield f"Service {service['metadata']['name']} selects {[pod.where for pod in found]}, expected one workload"
    for budget in cluster.of("PodDisruptionBudget"):
        found = [pod for pod in cluster.pods if matches(budget["spec"]["selector"], pod.labels)]
        if len(found) != 1:
            yield f"PodDisruptionBudget {budget['metadata']['name']} selects {len(found)} workloads"
    for scaler in cluster.of("HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        found = [doc for doc in cluster.of(target["kind"]) if doc["metadata"]["name"] == target["name"]]
        if not found:
            yield f"HorizontalPodAutoscaler scales {target['name']}, which there is not"
        if any("replicas" in doc["spec"] for doc in found):
            yield f"{target['name']} has replicas of its own, which each apply would set back"
    for policy in cluster.of("NetworkPolicy"):
        for selector in _pod_selectors(policy):
            if not any(matches(selector, pod.labels) for pod in cluster.pods):
                yield f"NetworkPolicy {policy['metadata']['name']} names pods that there are not: {selector}"


def _pod_selectors(policy: Any) -> Iterator[Any]:
    yield policy["spec"]["podSelector"]
    for word, peers in (("ingress", "from"), ("egress", "to")):
        for rule in policy["spec"].get(word, ()):
            yield from (peer["podSelector"] for peer in rule[peers] if peer.keys() == {"podSelector"})


@check
def ports(cluster: Cluster) -> Iterator[str]:
    services = {}
    for service in cluster.of("Service"):
        name = service["metadata"]["name"]
        services[name] = {port["name"]: port["port"] for port in service["spec"]["ports"]}
        for port in service["spec"]["ports"]:
            for pod in cluster.behind(name):
                if port["targetPort"] not in pod.ports:
                    yield f"Service {name} leads to port {port['targetPort']!r}, which {pod.where} has not"
                elif pod.ports[port["targetPort"]] != port["port"]:
                    yield f"Service {name} has port {port['port']} for {pod.ports[port['targetPort']]}"
    for ingress in cluster.of("Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                target = path["backend"]["service"]
                if target["port"]["name"] not in services.get(target["name"], {}):
                    yield f"Ingress {ingress['metadata']['name']} leads to {target}, which there is not"
    for pod in cluster.pods:
        for container in pod.containers:
            for kind, probe in _probes(container):
                port = (probe.get("httpGet") or probe.get("tcpSocket") or {}).get("port")
                if port is not None and port not in pod.ports:
                    yield f"{container.where}: {kind} asks port {port!r}, which there is not"
    for policy in cluster.of("NetworkPolicy"):
        for rule in policy["spec"].get("ingress", ()):
            for pod in cluster.pods:
                if matches(policy["spec"]["podSelector"], pod.labels):
                    for port in rule["ports"]:
                        if port["port"] not in pod.ports:
                            opened = f"{policy['metadata']['name']} opens {port['port']}"
                            yield f"NetworkPolicy {opened}, no port of {pod.where}"


def _probes(container: Container) -> Iterator[tuple[str, Any]]:
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        if kind in container.spec:
            yield kind, container.spec[kind]


@check
def resources(cluster: Cluster) -> Iterator[str]:
    for container in cluster.containers:
        given = container.spec.get("resources", {})
        for resource in ("cpu", "memory"):
            asked, most = (given.get(kind, {}).get(resource) for kind in ("requests", "limits"))
            if asked is None or most is None:
                yield f"{container.where}: no request or no limit of {resource}"
            elif quantity(asked) > quantity(most):
                yield f"{container.where}: requests {asked} {resource}, more than its limit {most}"
    for pod in cluster.pods:
        for volume in pod.spec.get("volumes", ()):
            if "emptyDir" in volume and not (volume["emptyDir"] or {}).get("sizeLimit"):
                yield f"{pod.where}: the emptyDir {volume['name']} may fill the node's disk"


@check
def quota(cluster: Cluster) -> Iterator[str]:
    (hard,) = [doc["spec"]["hard"] for doc in cluster.of("ResourceQuota")]
    (limits,) = [each for doc in cluster.of("LimitRange") for each in doc["spec"]["limits"]]
    needed = {"pods": 0.0, "persistentvolumeclaims": 0.0, "requests.storage": 0.0}
    for pod in cluster.pods:
        many = cluster.replicas(pod)
        needed["pods"] += many
        for kind in ("requests", "limits"):
            for resource in ("cpu", "memory"):
                init = [each.requested(kind, resource) for each in pod.containers if each.init]
                together = sum(each.requested(kind, resource) for each in pod.containers if not each.init)
                key = f"{kind}.{resource}"
                needed[key] = needed.get(key, 0.0) + many * max([together, *init])
        claims = pod.owner["spec"].get("volumeClaimTemplates", ())
        needed["persistentvolumeclaims"] += many * len(claims)
        needed["requests.storage"] += many * sum(
            quantity(c["spec"]["resources"]["requests"]["storage"]) for c in claims
        )
    for claim in cluster.of("PersistentVolumeClaim"):
        needed["persistentvolumeclaims"] += 1
        needed["requests.storage"] += quantity(claim["spec"]["resources"]["requests"]["storage"])
    for key, amount in needed.items():
        if amount > quantity(hard[key]):
            yield f"The quota allows {hard[key]} {key}, and {amount:g} may be needed"
    for container in cluster.containers:
        for resource, most in limits["max"].items():
            if container.requested("limits", resource) > quantity(most):
                yield f"{container.where}: more {resource} than the LimitRange's {most}"


def _storage(claim: Any) -> float:
    return quantity(claim["spec"]["resources"]["requests"]["storage"])


@cache
def _api_routes() -> frozenset[str]:
    from backend.app import create_app

    routes = create_app(Settings(_env_file=None, state_dir=Path("/nonexistent"))).openapi()["paths"]
    return frozenset(path for path, methods in routes.items() if "get" in methods)


def _health_path(image: str) -> str:
    """What the image's own health check asks."""
    (url,) = re.findall(r'HEALTHCHECK[\s\S]*?"(http://[^"]+)"', _dockerfile(image))
    return urlsplit(url).path


def _dockerfile(image: str) -> str:
    return (IMAGES / f"{image.removeprefix('sigap-')}.Dockerfile").read_text()


@check
def probes(cluster: Cluster) -> Iterator[str]:
    for pod in cluster.pods:
        for container in pod.containers:
            if pod.owner["kind"] in ("Deployment", "StatefulSet") and not container.init:
                kinds = {kind for kind, _ in _probes(container)}
                if container.spec.get("ports") and not {"readinessProbe", "livenessProbe"} <= kinds:
                    yield f"{container.where} listens and has {sorted(kinds)}, not both of readiness and liveness"
            for kind, probe in _probes(container):
                path = probe.get("httpGet", {}).get("path")
                if path is not None and path not in _answered(cluster, container):
                    yield f"{container.where}: {kind} asks {path}, which nothing answers"
                if kind == "livenessProbe" and path == "/health/ready":
                    yield f"{container.where}: a pod without a model would be killed for it"
                if kind == "readinessProbe" and container.name == "sigap-api" and path != "/health/ready":
                    yield f"{container.where}: gets requests before it has a model"


def _answered(cluster: Cluster, container: Container) -> set[str]:
    if container.name in HEALTH:
        return HEALTH[container.name]
    if container.name == "sigap-api":
        return set(_api_routes())
    path = _health_path(container.name)
    base = cluster.environment(container).get("STREAMLIT_SERVER_BASE_URL_PATH", "")
    return {f"/{base}{path}" if base and container.name == "sigap-dashboard" else path}


@check
def images(cluster: Cluster) -> Iterator[str]:
    ours = {f"sigap-{path.stem}" for path in IMAGES.glob("*.Dockerfile")}
    composed = re.findall(r"^ +image: ([\w./:-]+)$", (ROOT / "docker-compose.yml").read_text(), re.MULTILINE)
    for container in cluster.containers:
        if container.name in ours:
            if container.image.endswith((":latest", container.name)):
                yield f"{container.where}: {container.image} may be another image tomorrow"
        elif container.image not in composed:
            yield f"{container.where}: {container.image} is neither built here nor what docker-compose.yml has"


@cache
def _known_to_settings() -> frozenset[str]:
    found = set(COMING)
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        found |= {str(each) for each in alias.choices} if isinstance(alias, AliasChoices) else {f"SIGAP_{name.upper()}"}
    return frozenset(found)


@cache
def _known_to(image: str) -> frozenset[str]:
    if image in FOREIGN:
        return frozenset(FOREIGN[image])
    if image == "sigap-mlflow":
        import mlflow.environment_variables

        source = (ROOT / "sigap" / "services" / "mlflow_launch.py").read_text()
        told = set(re.findall(r'_given\("(\w+)"\)', source)) | set(dir(mlflow.environment_variables))
        return frozenset(told | _known_to_boto())
    known = set(_known_to_settings())
    if image == "sigap-dashboard":
        from streamlit.config import get_config_options

        known |= {"STREAMLIT_" + re.sub(r"(?<!^)(?=[A-Z])|\.", "_", key).upper().replace("__", "_")
                  for key in get_config_options()}  # fmt: skip
    if image == "sigap-api":
        import uvicorn.config

        known |= set(re.findall(r'environ\.get\("(\w+)"', Path(uvicorn.config.__file__).read_text()))
    if image == "sigap-mage":
        known |= _known_to_boto()
    return frozenset(known)


def _known_to_boto() -> set[str]:
    from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES as VARIABLES

    found: set[str] = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    for _, names_, *_ in VARIABLES.values():
        found |= {names_} if isinstance(names_, str) else set(names_ or ())
    return found


@check
def variables(cluster: Cluster) -> Iterator[str]:
    for container in cluster.containers:
        for name in cluster.environment(container):
            if name not in _known_to(container.name):
                yield f"{container.where}: {name} is known neither to sigap.settings nor to {container.name}"
        given = [each["name"] for each in container.spec.get("env", ())]
        if len(given) != len(set(given)):
            yield f"{container.where}: a variable stands there twice"


@check
def references(cluster: Cluster) -> Iterator[str]:
    claims = {doc["metadata"]["name"] for doc in cluster.of("PersistentVolumeClaim")}
    accounts = {doc["metadata"]["name"] for doc in cluster.of("ServiceAccount")}
    for pod in cluster.pods:
        if pod.spec.get("serviceAccountName") not in accounts:
            yield f"{pod.where}: no ServiceAccount {pod.spec.get('serviceAccountName')}"
        volumes = {volume["name"] for volume in pod.spec.get("volumes", ())}
        volumes |= {claim["metadata"]["name"] for claim in pod.owner["spec"].get("volumeClaimTemplates", ())}
        mounted = set()
        for volume in pod.spec.get("volumes", ()):
            claim = volume.get("persistentVolumeClaim", {}).get("claimName")
            if claim and claim not in claims:
                yield f"{pod.where}: no PersistentVolumeClaim {claim}"
            name = volume.get("configMap", {}).get("name")
            if name and cluster.keys("ConfigMap", name) is None:
                yield f"{pod.where}: no ConfigMap {name}"
        for container in pod.containers:
            mounted |= {mount["name"] for mount in container.spec.get("volumeMounts", ())}
            yield from _missing_sources(cluster, container)
        if volumes != mounted:
            yield f"{pod.where}: volumes {sorted(volumes)} and mounts {sorted(mounted)}"
    for ingress in cluster.of("Ingress"):
        for tls in ingress["spec"].get("tls", ()):
            if cluster.keys("Secret", tls["secretName"]) is None:
                yield f"Ingress {ingress['metadata']['name']}: no Secret {tls['secretName']}"


def _missing_sources(cluster: Cluster, container: Container) -> Iterator[str]:
    for source in container.spec.get("envFrom", ()):
        for word, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
            if word in source and cluster.keys(kind, source[word]["name"]) is None:
                yield f"{container.where}: no {kind} {source[word]['name']}"
    for each in container.spec.get("env", ()):
        for word, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
            wanted = each.get("valueFrom", {}).get(word)
            if wanted and wanted["key"] not in (cluster.keys(kind, wanted["name"]) or {}):
                yield f"{container.where}: no {wanted['key']} in {kind} {wanted['name']}"


@check
def secrets_by_reference(cluster: Cluster) -> Iterator[str]:
    for container in cluster.containers:
        for each in container.spec.get("env", ()):
            if re.search(r"PASSWORD|SECRET|_KEYS?$|JWT|DATABASE_URL|TOKEN", each["name"]) and each.get("value"):
                yield f"{container.where}: {each['name']} is written out"
    for config in cluster.of("ConfigMap"):
        for key, value in config.get("data", {}).items():
            if re.search(r"PASSWORD|SECRET|_KEYS?$|JWT|DATABASE_URL|TOKEN|//[^/@\s]+:[^/@\s]+@", f"{key} {value}"):
                yield f"ConfigMap {config['metadata']['name']}: {key} is a secret"


@check
def security(cluster: Cluster) -> Iterator[str]:
    (namespace,) = cluster.of("Namespace")
    if namespace["metadata"]["labels"].get("pod-security.kubernetes.io/enforce") != "restricted":
        yield "The namespace does not enforce the restricted standard"
    for account in cluster.of("ServiceAccount"):
        if account.get("automountServiceAccountToken") is not False:
            yield f"ServiceAccount {account['metadata']['name']} mounts its token"
    for pod in cluster.pods:
        spec, context = pod.spec, pod.spec.get("securityContext", {})
        if spec.get("automountServiceAccountToken") is not False:
            yield f"{pod.where} mounts a token"
        if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
            yield f"{pod.where} may be root"
        if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{pod.where} has no seccomp profile"
        if any(spec.get(word) for word in ("hostNetwork", "hostPID", "hostIPC")):
            yield f"{pod.where} is in a namespace of the host"
        if any("hostPath" in volume for volume in spec.get("volumes", ())):
            yield f"{pod.where} mounts the host's files"
        for container in pod.containers:
            inner = container.spec.get("securityContext", {})
            if inner.get("readOnlyRootFilesystem") is not True:
                yield f"{container.where} may write to its root"
            if inner.get("allowPrivilegeEscalation") is not False or inner.get("privileged"):
                yield f"{container.where} may gain rights"
            if inner.get("capabilities") != {"drop": ["ALL"]}:
                yield f"{container.where} keeps capabilities"
            if container.name.startswith("sigap-") and context.get("runAsUser") != 10001:
                yield f"{pod.where} is not the account that the image is made for"
            mounts = {mount["mountPath"] for mount in container.spec.get("volumeMounts", ())}
            if "/tmp" not in mounts:
                yield f"{container.where} has nowhere to write temporary files"


@check
def commands(cluster: Cluster) -> Iterator[str]:
    from sigap.cli.main import app

    known = {each.name or each.callback.__name__ for each in app.registered_commands if each.callback}
    models = [each.name for each in declarations()]
    for pod in cluster.pods:
        for container in pod.containers:
            line = " ".join(container.words)
            for module in re.findall(r"\bpython -m ([\w.]+)", line):
                if importlib.util.find_spec(module) is None:
                    yield f"{container.where}: there is no module {module}"
            for word in re.findall(r"\bpython -m sigap ([\w-]+)", line):
                if word not in known:
                    yield f"{container.where}: `./run {word}` is no word"
            if listed := re.search(r"set -- ([\w ]+);", line):
                job = pod.owner["spec"]["jobTemplate"]["spec"]
                if listed[1].split() != models or job["completions"] != len(models):
                    yield f"{container.where}: trains {listed[1]}, {job['completions']} times; the models are {models}"
            if container.name == "sigap-mage" and "command" in container.spec and "sigap pipeline" in line:
                yield f"{container.where}: passes over the image's entry program, which makes the checkout"


@check
def updates(cluster: Cluster) -> Iterator[str]:
    for pod in cluster.pods:
        claimed = any("persistentVolumeClaim" in volume for volume in pod.spec.get("volumes", ()))
        strategy = pod.owner["spec"].get("strategy", {})
        if pod.owner["kind"] == "Deployment" and claimed and strategy.get("type") != "Recreate":
            yield f"{pod.where}: its volume can't be in two pods at once"
        if not any(container.name == "sigap-api" for container in pod.containers):
            continue
        if strategy.get("rollingUpdate", {}).get("maxUnavailable") != 0:
            yield f"{pod.where}: an update takes a pod before another one answers"
        for container in pod.containers:
            before = container.spec.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["", "0"])
            if before[0] != "sleep" or float(before[1]) < 5:
                yield f"{container.where}: ends before the proxies know"
            if pod.spec["terminationGracePeriodSeconds"] < float(before[1]) + GRACE_SECONDS + DRAIN_SECONDS + 5:
                yield f"{pod.where}: is killed before its requests are answered"
    for budget in cluster.of("PodDisruptionBudget"):
        for scaler in cluster.of("HorizontalPodAutoscaler"):
            if budget["spec"]["minAvailable"] >= scaler["spec"]["minReplicas"]:
                yield "PodDisruptionBudget: no node could ever be drained"


@check
def network(cluster: Cluster) -> Iterator[str]:
    everywhere = [p for p in cluster.of("NetworkPolicy") if p["spec"]["podSelector"] == {} and len(p["spec"]) == 2]
    if not any(set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"} for policy in everywhere):
        yield "Nothing is denied by default"
    services = {doc["metadata"]["name"] for doc in cluster.of("Service")}
    for pod in cluster.pods:
        if not _allowed(cluster, pod, "egress", _dns, 53):
            yield f"{pod.where} can't ask for names"
        if _allowed(cluster, pod, "egress", lambda peer: _in_block(peer, CLOSED), 80):
            yield f"{pod.where} may ask the machine for its keys"
        for host, port, why in sorted(_edges(cluster, pod)):
            if host not in services:
                if not _allowed(cluster, pod, "egress", lambda peer: "ipBlock" in peer, port):
                    yield f"{pod.where} can't reach {why} outside, port {port}"
                continue
            for target in cluster.behind(host):
                if not _allowed(cluster, pod, "egress", _selecting(target), port, target):
                    yield f"{pod.where} may not go to {host}:{port} ({why})"
                if not _allowed(cluster, target, "ingress", _selecting(pod), port, target):
                    yield f"{host} does not let {pod.where} in at {port} ({why})"
    for ingress in cluster.of("Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                for target in cluster.behind(path["backend"]["service"]["name"]):
                    port = target.ports[path["backend"]["service"]["port"]["name"]]
                    if not _allowed(cluster, target, "ingress", _from("ingress-nginx"), port, target):
                        yield f"{target.where} does not let the ingress in"
    for pod in cluster.pods:
        if (port := pod.template["metadata"].get("annotations", {}).get("prometheus.io/port")) and not _allowed(
            cluster, pod, "ingress", _from("monitoring"), int(port), pod
        ):
            yield f"{pod.where} does not let Prometheus in"


def _edges(cluster: Cluster, pod: Pod) -> set[tuple[str, int, str]]:
    """Where the variables and commands of a pod lead: host, port, and by what."""
    found = set()
    defaults = {"http": 80, "https": 443, "postgresql": 5432, "s3": 443}
    own = {pod.labels.get("app.kubernetes.io/component"), "127.0.0.1", "localhost", "0.0.0.0"}
    for container in pod.containers:
        values = cluster.environment(container)
        urls = dict(values) | {f"word {at}": word for at, word in enumerate(container.words)}
        for name, value in urls.items():
            for url in re.findall(r"\b(?:https?|postgresql|tcp)://[^\s;'\"]+", value):
                parts = urlsplit(url)
                if name.endswith("_PAGE") or parts.hostname in own or not parts.hostname:
                    continue
                found.add((parts.hostname, parts.port or defaults.get(parts.scheme, 0), name))
        if any(value.startswith("s3://") for value in values.values()) and not any("S3_ENDPOINT" in n for n in values):
            found.add(("object store", 443, "the object store"))
        # Made by hand, it says nothing; it leads somewhere all the same.
        if values.get("DATABASE_URL") == "" or values.get("MLFLOW_BACKEND_STORE_URI") == "":
            found.add(("database", 5432, "the database"))
    return found


def _allowed(
    cluster: Cluster, pod: Pod, word: str, peer_is: Callable[[Any], bool], port: int, target: Pod | None = None
) -> bool:
    for policy in cluster.of("NetworkPolicy"):
        if not matches(policy["spec"]["podSelector"], pod.labels):
            continue
        for rule in policy["spec"].get(word, ()):
            numbers = {target.ports.get(each["port"]) if target and isinstance(each["port"], str) else each["port"]
                       for each in rule["ports"]}  # fmt: skip
            if port in numbers and any(map(peer_is, rule["to" if word == "egress" else "from"])):
                return True
    return False


def _selecting(pod: Pod) -> Callable[[Any], bool]:
    return lambda peer: peer.keys() == {"podSelector"} and matches(peer["podSelector"], pod.labels)


def _from(namespace: str) -> Callable[[Any], bool]:
    wanted = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    return lambda peer: peer == {"namespaceSelector": wanted}


def _dns(peer: Any) -> bool:
    return peer.get("podSelector", {}).get("matchLabels") == {"k8s-app": "kube-dns"}


def _in_block(peer: Any, address: str) -> bool:
    from ipaddress import ip_address, ip_network

    block = peer.get("ipBlock")
    if not block or ip_address(address) not in ip_network(block["cidr"]):
        return False
    return not any(ip_address(address) in ip_network(each) for each in block.get("except", ()))
