"""The training pod of the component `training-alone`, without a cluster: `python -m tests.deploy.kubernetes.prove`.

Takes a minute or two, so it is no part of `./run test`. The pod's own command runs with the pod's variables in a copy
of the files that the image brings, beside a real PostgreSQL and MLflow; addresses are this machine's, and the object
store is a folder. What differs from a cluster: no container around it, and this machine's account.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from deploy.kubernetes.__main__ import write
from sigap.services.postgres import EmbeddedPostgres
from sigap.services.service import free_port
from sigap.settings import ROOT, Settings
from tests.deploy.kubernetes.cluster import Cluster
from tests.registry.conftest import running_mlflow

# What deploy/images/mage.Dockerfile copies.
BROUGHT = (
    ".dvc",
    ".dvcignore",
    ".gitignore",
    "dvc.yaml",
    "params.yaml",
    "requirements",
    "data",
    "sigap",
    "mage_project",
)


def rendered(folder: Path) -> Cluster:
    """The minikube overlay with the component, with secrets of its own."""
    shutil.copytree(ROOT / "deploy" / "kubernetes", folder, ignore=shutil.ignore_patterns("secrets", "__pycache__"))
    overlay = folder / "overlays" / "minikube"
    write(overlay / "secrets")
    with (overlay / "kustomization.yaml").open("a") as file:
        file.write("components: [../../components/training-alone]\n")
    told = subprocess.run(["kubectl", "kustomize", str(overlay)], check=True, capture_output=True, text=True)
    return Cluster.read(told.stdout)


def main(index: str = "0") -> int:
    """Runs the pod of this index; its exit code."""
    with tempfile.TemporaryDirectory(prefix="sigap-prove-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        image = folder / "app"
        image.mkdir()
        for part in BROUGHT:
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copyfile
            copy(ROOT / part, image / part)
        cluster = rendered(folder / "kubernetes")
        [training] = [each for each in cluster.containers if each.where == "CronJob training, training"]
        own = Settings(_env_file=None, root=ROOT, state_dir=folder / "postgres", postgres_port=free_port())
        with EmbeddedPostgres(own), running_mlflow_in(folder) as mlflow:
            # The image's own variables, the pod's, and where things are here.
            env = {"PATH": os.environ["PATH"], "HOME": name, "PYTHONPATH": str(image), **cluster.environment(training)}
            env |= {
                "SIGAP_STATE_DIR": str(folder / "state"), "SIGAP_ROOT": str(folder / "state" / "checkout"),
                "DATABASE_URL": own.dsn, "MLFLOW_TRACKING_URI": mlflow, "SIGAP_MAGE_PORT": str(free_port()),
                "SIGAP_DVC_REMOTE_URL": str(folder / "remote"), "JOB_COMPLETION_INDEX": index,
            }  # fmt: skip
            command = [sys.executable, "-m", "sigap.data.checkout", *training.words]
            return subprocess.run(command, cwd=image, env=env, check=False).returncode


def running_mlflow_in(folder: Path):  # type: ignore[no-untyped-def]
    """A real MLflow server beside it."""
    (folder / "mlflow").mkdir()
    return running_mlflow(folder / "mlflow", free_port())


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
