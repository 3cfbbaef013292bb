"""The manifests of deploy/kubernetes: put together by kubectl's own kustomize, and checked without a cluster."""

from __future__ import annotations

import copy
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.kubernetes.__main__ import values, write
from sigap.production import require_secrets
from sigap.settings import ROOT, Settings
from tests.deploy.conftest import said
from tests.deploy.kubernetes.checks import CHECKS
from tests.deploy.kubernetes.cluster import Cluster, Json

HERE = ROOT / "deploy" / "kubernetes"
DOCUMENT = ROOT / "docs" / "kubernetes.md"
OVERLAYS = ("minikube", "production", "minikube with all components", "production with all components")


def outside() -> dict[str, frozenset[str]]:
    """The secrets that docs/kubernetes.md tells somebody to make for production, with their keys."""
    [table] = re.findall(r"^\| Secret \| Keys \|.*\n((?:\|.*\n)+)", DOCUMENT.read_text(), re.MULTILINE)
    rows = re.findall(r"^\| `([\w-]+)` \| (`.+`) \|", table, re.MULTILINE)
    return {name: frozenset(re.findall(r"`([\w.]+)`", keys.partition(" | ")[0])) for name, keys in rows}


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Cluster]:
    folder = tmp_path_factory.mktemp("kubernetes")
    # A copy: the secrets of whoever runs this stay out of it.
    shutil.copytree(HERE, folder / "deploy", ignore=shutil.ignore_patterns("secrets", "__pycache__"))
    write(folder / "deploy" / "overlays" / "minikube" / "secrets")
    made = {}
    for name in ("minikube", "production"):
        # As docs/kubernetes.md tells: a line more in the overlay.
        whole = folder / "deploy" / "overlays" / f"{name}-with-all"
        shutil.copytree(whole.with_name(name), whole)
        components = sorted(f"../../components/{path.name}" for path in (HERE / "components").iterdir())
        with (whole / "kustomization.yaml").open("a") as file:
            file.write(f"components: [{', '.join(components)}]\n")
        found = outside() if name == "production" else {}
        for title, path in ((name, name), (f"{name} with all components", whole.name)):
            text = said("kubectl", "kustomize", str(folder / "deploy" / "overlays" / path))
            made[title] = Cluster.read(text, found)
    return made


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("name", CHECKS)
def test_nothing_to_complain_of(clusters: dict[str, Cluster], overlay: str, name: str) -> None:
    assert list(CHECKS[name](clusters[overlay])) == []


def deployment(cluster: Cluster, name: str) -> Json:
    return cluster.one("Deployment", name)


def pod(cluster: Cluster, name: str) -> Json:
    return deployment(cluster, name)["spec"]["template"]  # type: ignore[no-any-return]


def container(cluster: Cluster, name: str) -> Json:
    return pod(cluster, name)["spec"]["containers"][0]  # type: ignore[no-any-return]


def policy(cluster: Cluster, name: str) -> Json:
    return cluster.one("NetworkPolicy", name)["spec"]  # type: ignore[no-any-return]


def without(cluster: Cluster, kind: str, name: str) -> None:
    cluster.docs.remove(cluster.one(kind, name))


def config(cluster: Cluster, name: str) -> str:
    (found,) = [doc["metadata"]["name"] for doc in cluster.of("ConfigMap") if doc["metadata"]["name"].startswith(name)]
    return str(found)


# Check, what is done to the minikube overlay, and what is then said.
FAULTS: list[tuple[str, Callable[[Cluster], Any], str]] = [
    ("schema", lambda c: deployment(c, "api")["spec"].update(replica=2), "replica"),
    ("schema", lambda c: container(c, "api").update(image=7), "image|7"),
    ("names", lambda c: deployment(c, "api")["metadata"].update(name="the_api"), "the_api"),
    ("names", lambda c: deployment(c, "api")["metadata"].update(namespace="other"), "not in the namespace"),
    ("names", lambda c: c.docs.append(c.one("Service", "api")), "twice"),
    ("selectors", lambda c: pod(c, "api")["metadata"]["labels"].update({"app.kubernetes.io/name": "x"}), "own pods"),
    ("selectors", lambda c: c.one("Service", "mage")["spec"]["selector"].update(a="b"), "Service mage selects"),
    ("selectors", lambda c: c.one("PodDisruptionBudget", "api")["spec"]["selector"]["matchLabels"].update(a="b"), "0"),
    ("selectors", lambda c: c.one("HorizontalPodAutoscaler", "api")["spec"]["scaleTargetRef"].update(name="b"), "b"),
    ("selectors", lambda c: deployment(c, "api")["spec"].update(replicas=2), "set back"),
    ("selectors", lambda c: policy(c, "watcher")["podSelector"]["matchLabels"].update(a="b"), "there are not"),
    ("ports", lambda c: c.one("Service", "mlflow")["spec"]["ports"][0].update(targetPort="web"), "'web'"),
    ("ports", lambda c: container(c, "api")["ports"][0].update(containerPort=8001), "8000 for 8001"),
    ("ports", lambda c: container(c, "api")["readinessProbe"]["httpGet"].update(port="web"), "'web'"),
    ("ports", lambda c: without(c, "Service", "dashboard"), "Ingress sigap leads to"),
    ("ports", lambda c: policy(c, "mlflow")["ingress"][0]["ports"][0].update(port="web"), "opens web"),
    ("resources", lambda c: container(c, "api")["resources"]["requests"].update(cpu="3"), "more than its limit"),
    ("resources", lambda c: container(c, "api")["resources"]["requests"].update(memory="1Gi"), "more than its limit"),
    ("resources", lambda c: container(c, "api").pop("resources"), "no request"),
    ("resources", lambda c: pod(c, "api")["spec"]["volumes"][0].update(emptyDir={}), "node's disk"),
    ("quota", lambda c: c.one("HorizontalPodAutoscaler", "api")["spec"].update(maxReplicas=90), "pods"),
    ("quota", lambda c: container(c, "mage")["resources"]["requests"].update(memory="13Gi"), "requests.memory"),
    ("quota", lambda c: container(c, "mage")["resources"]["limits"].update(memory="20Gi"), "LimitRange"),
    ("probes", lambda c: container(c, "api")["livenessProbe"]["httpGet"].update(path="/healthz"), "/healthz"),
    ("probes", lambda c: container(c, "mage")["readinessProbe"]["httpGet"].update(path="/status"), "/status"),
    ("probes", lambda c: container(c, "mlflow")["livenessProbe"]["httpGet"].update(path="/ok"), "/ok"),
    (
        "probes",
        lambda c: container(c, "dashboard")["livenessProbe"]["httpGet"].update(path="/_stcore/health"),
        "stcore",
    ),
    ("probes", lambda c: container(c, "api")["readinessProbe"]["httpGet"].update(path="/health/live"), "has a model"),
    ("probes", lambda c: container(c, "api")["livenessProbe"]["httpGet"].update(path="/health/ready"), "be killed"),
    ("probes", lambda c: container(c, "mlflow").pop("livenessProbe"), "not both"),
    ("images", lambda c: container(c, "api").update(image="sigap-web:1"), "neither built"),
    ("images", lambda c: container(c, "api").update(image="sigap-api"), "tomorrow"),
    ("images", lambda c: container(c, "minio").update(image="minio/minio:latest"), "neither built"),
    ("variables", lambda c: container(c, "api")["env"].append({"name": "SIGAP_MAGE_ADDRESS", "value": "x"}), "ADDR"),
    (
        "variables",
        lambda c: container(c, "mlflow").update(env=[{"name": "MLFLOW_DESTINATION", "value": "x"}]),
        "DESTIN",
    ),
    ("variables", lambda c: container(c, "dashboard")["env"].append({"name": "STREAMLIT_PATH", "value": "x"}), "PATH"),
    ("variables", lambda c: container(c, "api")["env"].append(container(c, "api")["env"][0]), "twice"),
    ("references", lambda c: pod(c, "api")["spec"].update(serviceAccountName="root"), "ServiceAccount root"),
    ("references", lambda c: without(c, "PersistentVolumeClaim", "mage"), "PersistentVolumeClaim mage"),
    ("references", lambda c: without(c, "ConfigMap", config(c, "mlflow")), "no ConfigMap mlflow"),
    ("references", lambda c: container(c, "dashboard")["envFrom"][0]["secretRef"].update(name="x"), "no Secret x"),
    ("references", lambda c: container(c, "api")["env"][0]["valueFrom"]["secretKeyRef"].update(key="X"), "no X in"),
    ("references", lambda c: container(c, "api")["volumeMounts"].pop(), "volumes"),
    ("secrets_by_reference", lambda c: container(c, "api")["env"].append({"name": "SECRET_KEY", "value": "x"}), "out"),
    (
        "secrets_by_reference",
        lambda c: c.one("ConfigMap", config(c, "sigap-data"))["data"].update(X="postgresql://a:b@c/d"),
        "is a secret",
    ),
    ("security", lambda c: c.one("Namespace", "sigap")["metadata"]["labels"].clear(), "restricted"),
    ("security", lambda c: c.one("ServiceAccount", "api").pop("automountServiceAccountToken"), "its token"),
    ("security", lambda c: pod(c, "api")["spec"].pop("automountServiceAccountToken"), "mounts a token"),
    ("security", lambda c: pod(c, "api")["spec"]["securityContext"].update(runAsNonRoot=False), "be root"),
    ("security", lambda c: pod(c, "api")["spec"]["securityContext"].update(runAsUser=1000), "made for"),
    ("security", lambda c: pod(c, "api")["spec"]["securityContext"].pop("seccompProfile"), "seccomp"),
    ("security", lambda c: pod(c, "api")["spec"].update(hostNetwork=True), "host"),
    ("security", lambda c: container(c, "api")["securityContext"].update(readOnlyRootFilesystem=False), "its root"),
    ("security", lambda c: container(c, "api")["securityContext"].update(privileged=True), "gain rights"),
    ("security", lambda c: container(c, "api")["securityContext"].pop("capabilities"), "capabilities"),
    ("security", lambda c: container(c, "api")["volumeMounts"].pop(), "temporary files"),
    ("commands", lambda c: container(c, "watcher").update(args=["python", "-m", "sigap.watch"]), "sigap.watch"),
    ("commands", lambda c: container(c, "watcher").update(args=["python", "-m", "sigap", "watch"]), "`./run watch`"),
    (
        "commands",
        lambda c: c.one("CronJob", "training")["spec"]["jobTemplate"]["spec"].update(completions=5),
        "5 times",
    ),
    ("updates", lambda c: deployment(c, "mage")["spec"].update(strategy={"type": "RollingUpdate"}), "two pods"),
    ("updates", lambda c: deployment(c, "api")["spec"]["strategy"]["rollingUpdate"].update(maxUnavailable=1), "before"),
    ("updates", lambda c: container(c, "api").pop("lifecycle"), "proxies"),
    ("updates", lambda c: pod(c, "api")["spec"].update(terminationGracePeriodSeconds=12), "killed"),
    ("updates", lambda c: c.one("PodDisruptionBudget", "api")["spec"].update(minAvailable=2), "drained"),
    ("network", lambda c: without(c, "NetworkPolicy", "default-deny"), "denied"),
    ("network", lambda c: without(c, "NetworkPolicy", "dns"), "names"),
    ("network", lambda c: policy(c, "api").pop("egress"), "api may not go to mlflow:5000"),
    ("network", lambda c: policy(c, "mlflow")["ingress"][0]["from"].pop(0), "mlflow does not let Deployment api in"),
    ("network", lambda c: policy(c, "api")["ingress"].pop(0), "api does not let Deployment dashboard in"),
    ("network", lambda c: policy(c, "mage")["ingress"][0]["from"].pop(1), "mage does not let Deployment watcher in"),
    ("network", lambda c: policy(c, "postgres").pop("ingress"), "postgres does not let Deployment api in"),
    (
        "network",
        lambda c: pod(c, "mlflow")["metadata"]["labels"].pop("sigap.database"),
        "mlflow may not go to postgres",
    ),
    ("network", lambda c: policy(c, "minio-clients")["egress"][0]["ports"][0].update(port=9001), "minio:9000"),
    ("network", lambda c: policy(c, "api")["ingress"].pop(1), "Prometheus"),
    ("network", lambda c: policy(c, "dashboard").pop("ingress"), "the ingress in"),
    (
        "network",
        lambda c: policy(c, "dns")["egress"].append(
            {"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": [{"port": 80}]}
        ),
        "its keys",
    ),
]


@pytest.mark.parametrize(("name", "change", "told"), FAULTS, ids=[f"{name}: {told}" for name, _, told in FAULTS])
def test_each_check_can_fail(
    clusters: dict[str, Cluster], name: str, change: Callable[[Cluster], Any], told: str
) -> None:
    cluster = copy.deepcopy(clusters["minikube"])
    change(cluster)
    complaints = list(CHECKS[name](cluster))
    assert any(re.search(told, complaint) for complaint in complaints), complaints


def test_every_check_was_seen_to_fail() -> None:
    assert {name for name, *_ in FAULTS} == set(CHECKS)


def test_production_is_closed_to_its_own_machine_and_open_to_its_database(clusters: dict[str, Cluster]) -> None:
    cluster = copy.deepcopy(clusters["production"])
    policy(cluster, "database-outside")["egress"][0]["ports"][0]["port"] = 5433
    assert any("can't reach the database outside" in each for each in CHECKS["network"](cluster))
    gone = Cluster(cluster.docs, {name: keys for name, keys in cluster.outside.items() if name != "sigap-tls"})
    assert list(CHECKS["references"](gone)) == ["Ingress sigap: no Secret sigap-tls"]
    made = {doc["metadata"]["name"] for doc in cluster.of("Secret", "StatefulSet")}
    assert made == set(), "production holds no secret and no database"


def test_production_has_a_use_for_every_key_that_is_asked_for(clusters: dict[str, Cluster]) -> None:
    used = set()
    for each in clusters["production"].containers:
        used |= {source["secretRef"]["name"] for source in each.spec.get("envFrom", ()) if "secretRef" in source}
    assert used | {"sigap-tls"} == set(outside())
    # The same names, with the same keys, as minikube's.
    assert {name: frozenset(keys) for name, keys in values().items() if name in used} == {
        name: keys for name, keys in outside().items() if name != "sigap-tls"
    }


def test_the_settings_of_every_process_are_taken(clusters: dict[str, Cluster], monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of each container are settings of production that Sigap itself accepts."""
    for each in clusters["minikube with all components"].containers:
        if each.name not in ("sigap-api", "sigap-mage", "sigap-dashboard") or each.spec["name"] in ("wait", "buckets"):
            continue
        with monkeypatch.context() as patch:
            for name, value in clusters["minikube with all components"].environment(each).items():
                patch.setenv(name, value)
            settings = Settings(_env_file=None)
            assert settings.environment == "production" or each.where.startswith("Deployment dask"), each.where
            if "SECRET_KEY" in clusters["minikube with all components"].environment(each):
                require_secrets(settings)


def test_secrets_are_random_private_and_made_once(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    first = {path.name: path.read_text() for path in write(folder)}
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError, match="already"):
        write(folder)
    assert {path.name: path.read_text() for path in folder.iterdir()} == first
    other = {path.name: path.read_text() for path in write(tmp_path / "other")}
    assert not [name for name in first if first[name] == other[name]]


def test_git_ignores_the_secrets() -> None:
    for name in values():
        path = f"deploy/kubernetes/overlays/minikube/secrets/{name}.env"
        assert subprocess.run(["git", "check-ignore", "--quiet", path], cwd=ROOT, check=False).returncode == 0


def test_the_maker_of_secrets_needs_nothing_that_is_installed() -> None:
    """The quick-start runs it before anything of Sigap's is there."""
    code = "import sys; sys.modules['pydantic'] = None; import deploy.kubernetes.__main__"
    subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, check=True)


def test_its_help_makes_none(tmp_path: Path) -> None:
    folder = tmp_path / "deploy" / "kubernetes"
    folder.mkdir(parents=True)
    for name in ("__init__.py", "__main__.py"):
        shutil.copy(ROOT / "deploy" / "kubernetes" / name, folder)
    for word, code in (("--help", 0), ("--overwrite", 2)):
        command = [sys.executable, "-S", "-m", "deploy.kubernetes", word]
        assert subprocess.run(command, cwd=tmp_path, check=False, capture_output=True).returncode == code
    assert not (folder / "overlays").exists()


def test_no_name_of_a_registry_stands_in_the_manifests() -> None:
    for path in HERE.rglob("*.yaml"):
        assert not re.search(r"image: [\w-]+\.[\w.-]+/", path.read_text()), path


def test_prometheus_finds_every_pod_of_the_api(clusters: dict[str, Cluster], tmp_path: Path) -> None:
    text = (HERE / "prometheus" / "prometheus.yml").read_text()
    config = yaml.safe_load(text)
    # Debian's Prometheus is built without Kubernetes; the rest is what it reads.
    config["scrape_configs"][0].pop("kubernetes_sd_configs")
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    said("promtool", "check", "config", "--syntax-only", str(tmp_path / "prometheus.yml"))
    annotations = pod(clusters["production"], "api")["metadata"]["annotations"]
    for name in annotations:
        assert f"__meta_kubernetes_pod_annotation_{re.sub('[./]', '_', name)}" in text
    # Rules and dashboards ask by this name.
    assert "job_name: sigap-api" in text
