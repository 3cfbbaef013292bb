"""nginx with the configuration of deploy/nginx, for real: before two processes of the API, and before stubs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect
from websockets.sync.server import serve

from sigap.settings import ROOT
from tests.backend.bundles import BODY
from tests.backend.conftest import free_port, process, wait_for
from tests.backend.test_memory import keep
from tests.deploy.conftest import tool

FOLDER = ROOT / "deploy" / "nginx"
HEAD = {"content-type": "application/json"}


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not below `tmp_path`, whose folders are closed: as root, nginx works under an ordinary account.
    with tempfile.TemporaryDirectory(prefix="sigap-test-nginx-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@contextlib.contextmanager
def nginx(folder: Path, upstreams: dict[str, int], trusted: str = "") -> Iterator[str]:
    """nginx with its own three files but for addresses and folders; its own address."""
    program, port = tool("nginx"), free_port()
    own = (FOLDER / "upstreams.conf").read_text()
    for name, at in upstreams.items():
        own = own.replace(f"server {name}:", f"server 127.0.0.1:{at}; #")
    # What the parameters of a server were stands behind the #.
    own = "\n".join(_with_parameters(line) for line in own.splitlines())
    (folder / "upstreams.conf").write_text(own)
    config = (FOLDER / "nginx.conf").read_text()
    assert config.count("listen 8080;") == 1
    config = config.replace("listen 8080;", f"listen 127.0.0.1:{port};").replace("/tmp/nginx", f"{folder}/nginx")
    config = config.replace("/dev/stdout", str(folder / "access.log"))
    (folder / "nginx.conf").write_text(config)
    start = (FOLDER / "start.sh").read_text()
    assert start.count("/tmp/nginx-trusted.conf") == 1
    (folder / "start.sh").write_text(start.replace("/tmp/nginx", f"{folder}/nginx"))
    command = ["sh", str(folder / "start.sh"), "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    given = {"SIGAP_TRUSTED_PROXIES": trusted, "PATH": f"{Path(program).parent}{os.pathsep}{os.environ['PATH']}"}
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, timeout=30, env=os.environ | given)
    assert checked.returncode == 0, checked.stderr
    with process([*command, "-g", "daemon off;"], folder / "nginx.log", **given):
        wait_for(lambda: _listens(port), "nginx")
        yield f"http://127.0.0.1:{port}"


def _with_parameters(line: str) -> str:
    if "; #" not in line:
        return line
    address, _, rest = line.partition("; #")
    return f"{address} {rest.partition(' ')[2]}" if " " in rest else f"{address};"


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@dataclass
class Stub:
    """A server that says what it was asked; one that dies reads a request and hangs up."""

    port: int
    dies: bool
    asked: list[bytes] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        return [request.split()[1].decode() for request in self.asked]


@contextlib.contextmanager
def stub(*, dies: bool = False, status: int = 200) -> Iterator[Stub]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        made = Stub(server.getsockname()[1], dies)

        def answer() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    request = client.recv(65536)
                    if not request:
                        continue
                    made.asked.append(request)
                    if not dies:
                        body = json.dumps({"port": made.port}).encode()
                        head = f"HTTP/1.1 {status} OK\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
                        client.sendall(head.encode() + body)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield made
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def before(one: Stub, other: Stub) -> dict[str, int]:
    return {"api-1": one.port, "api-2": other.port, "dashboard": free_port()}


@pytest.mark.load
def test_one_of_two_is_killed_under_load_and_no_prediction_fails(folder: Path) -> None:
    tool("nginx")
    ports = {"api-1": free_port(), "api-2": free_port(), "dashboard": free_port()}
    commands = {}
    for name in ("api-1", "api-2"):
        keep(folder / name, "education")
        commands[name] = [sys.executable, "-m", "backend", "--port", str(ports[name])]
    state = {
        name: {"SIGAP_STATE_DIR": str(folder / name), "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"} for name in commands
    }
    answered: Counter[int] = Counter()
    served: Counter[str] = Counter()
    stop, lock = threading.Event(), threading.Lock()
    with contextlib.ExitStack() as running:
        workers = {
            name: running.enter_context(process(command, folder / f"{name}.log", **state[name]))
            for name, command in commands.items()
        }
        for name in commands:
            wait_for(lambda at=ports[name]: httpx.get(f"http://127.0.0.1:{at}/health/ready").is_success, name, 120)
        address = running.enter_context(nginx(folder, ports))

        def load() -> None:
            with httpx.Client(base_url=address, timeout=20) as client:
                while not stop.is_set():
                    answer = client.post("/predict", json=BODY)
                    with lock:
                        answered[answer.status_code] += 1
                        served[str(answer.json().get("cluster_label"))] += 1

        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait_for(lambda: answered.total() > 200, "Load", 60)
        os.kill(workers["api-1"].pid, signal.SIGKILL)
        workers["api-1"].wait(10)
        at_death = answered.total()
        wait_for(lambda: answered.total() > at_death + 400, "Load on what is left", 60)
        # It comes back at the same address and gets its share again.
        running.enter_context(process(commands["api-1"], folder / "api-1.log", **state["api-1"]))
        own = f"http://127.0.0.1:{ports['api-1']}"
        wait_for(lambda: httpx.get(f"{own}/health/ready").is_success, "api-1", 120)
        wait_for(lambda: "sigap_api_predictions_total{" in httpx.get(f"{own}/metrics").text, "Its share", 60)
        stop.set()
        for thread in threads:
            thread.join(30)
    assert set(answered) == {200}, answered
    assert len(served) == 1
    (folder / "api-1").rename(folder / "done")
    lines = [json.loads(line) for line in (folder / "access.log").read_text().splitlines()]
    assert len(lines) >= answered.total() * 0.9
    assert {line["status"] for line in lines} == {200}
    assert len({line["asked"] for line in lines if "," not in line["asked"]}) == 2, "both were asked"


def test_only_what_changes_nothing_is_asked_of_another_process(folder: Path) -> None:
    ports = {"api-1": 0, "api-2": 0, "dashboard": 9}
    with (
        stub(dies=True) as dead,
        stub() as alive,
        nginx(folder, {**ports, "api-1": dead.port, "api-2": alive.port}) as at,
    ):
        told = httpx.post(f"{at}/models/x/update", content=b"{}", headers=HEAD)
        assert told.status_code == 503, "that it may not have been done"
        assert dead.paths == ["/models/x/update"]
        assert alive.paths == [], "what may have been done was asked for again"
        time.sleep(4)  # nginx passes over who failed for two seconds, counted in whole ones
        predicts = ("/predict", "/models/education/predict", "/api/v2/predict", "/v2/models/x/infer")
        predicts += ("/models/x/explain", "/models/x/predict-file", "/batch-predict")
        for path in predicts:
            assert httpx.post(f"{at}{path}", content=b"{}", headers=HEAD).status_code == 200, path
        assert alive.paths == list(predicts)
        assert len(dead.paths) >= 2, "a prediction met it, and went on to the other"


def test_a_process_without_a_model_is_passed_over(folder: Path) -> None:
    with (
        stub(status=503) as empty,
        stub() as able,
        nginx(folder, before(empty, able)) as at,
    ):
        for _ in range(6):
            assert httpx.post(f"{at}/predict", content=b"{}", headers=HEAD).json() == {"port": able.port}


def test_identity_body_limit_metrics_and_nobody_there(folder: Path) -> None:
    with stub() as one, nginx(folder, {"api-1": one.port, "api-2": one.port, "dashboard": free_port()}) as at:
        httpx.get(f"{at}/models", headers={"x-request-id": "mine-4711", "x-forwarded-for": "6.6.6.6"})
        told = one.asked[-1].decode().lower()
        assert "x-request-id: mine-4711\r\n" in told
        assert "x-forwarded-for: 127.0.0.1\r\n" in told, "who asks is what nginx saw, not what a client says"
        assert httpx.get(f"{at}/metrics").status_code == 404
        before = len(one.asked)
        refused = httpx.post(f"{at}/predict-file", content=b"x" * (16 * 2**20 + 1))
        assert refused.status_code == 413
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.json()["status"] == 413
        assert len(one.asked) == before
        assert httpx.get(f"{at}/dashboard", follow_redirects=False).headers["location"].endswith("/dashboard/")
        away = httpx.get(f"{at}/dashboard/")
        assert (away.status_code, away.headers["content-type"]) == (503, "application/problem+json")
        assert away.headers["retry-after"] == "5"
        assert "server" not in away.headers or "/" not in away.headers["server"]


def asked_as(at: str, made: Stub, path: str, **headers: str) -> str:
    httpx.get(f"{at}{path}", headers={name.replace("_", "-"): value for name, value in headers.items()})
    return made.asked[-1].decode().lower()


def test_a_trusted_proxy_is_believed_about_who_asks_and_how(folder: Path) -> None:
    both = {"x_forwarded_for": "6.6.6.6, 203.0.113.9, 10.0.0.7", "x_forwarded_proto": "https"}
    with (
        stub() as one,
        nginx(folder, {"api-1": one.port, "api-2": one.port, "dashboard": one.port}, "127.0.0.1, 10.0.0.0/8,::1") as at,
    ):
        for path in ("/models", "/dashboard/"):
            told = asked_as(at, one, path, **both)
            assert "x-forwarded-for: 203.0.113.9\r\n" in told, "the last one that is no trusted proxy's"
            assert "x-forwarded-proto: https\r\n" in told
        told = asked_as(at, one, "/models", x_forwarded_for="203.0.113.9", x_forwarded_proto="gopher")
        assert "x-forwarded-proto: http\r\n" in told
        wait_for(lambda: '"client":"203.0.113.9"' in (folder / "access.log").read_text(), "Its log's line")


def test_nobody_else_is_believed(folder: Path) -> None:
    both = {"x_forwarded_for": "203.0.113.9", "x_forwarded_proto": "https"}
    with stub() as one, nginx(folder, before(one, one), "10.0.0.7") as at:
        told = asked_as(at, one, "/models", **both)
        assert "x-forwarded-for: 127.0.0.1\r\n" in told
        assert "x-forwarded-proto: http\r\n" in told


@pytest.mark.parametrize("trusted", ["proxy.example.org", "10.0.0.7; daemon on", "*", "10.0.0.7,unix:"])
def test_a_trusted_proxy_that_is_no_address_is_named(trusted: str) -> None:
    started = subprocess.run(
        ["sh", str(FOLDER / "start.sh"), "-t"],
        env=os.environ | {"SIGAP_TRUSTED_PROXIES": trusted},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert started.returncode == 2
    assert "expected addresses or networks" in started.stderr
    assert started.stderr.startswith("SIGAP_TRUSTED_PROXIES holds")


def test_wrong_keys_of_one_client_close_no_token_to_another_behind_a_trusted_proxy(folder: Path) -> None:
    tool("nginx")
    port = free_port()
    wrong = {"api_key": "sigap_wrong"}
    state = {"SIGAP_STATE_DIR": str(folder / "api"), "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    state |= {"SIGAP_TOKEN_FAILURES": "2", "FORWARDED_ALLOW_IPS": "127.0.0.1"}

    def asks(at: str, client: str) -> int:
        return httpx.post(f"{at}/token", json=wrong, headers={"x-forwarded-for": client}).status_code

    with process([sys.executable, "-m", "backend", "--port", str(port)], folder / "api.log", **state):
        wait_for(lambda: httpx.get(f"http://127.0.0.1:{port}/health/live").is_success, "The API", 120)
        upstreams = {"api-1": port, "api-2": port, "dashboard": free_port()}
        with nginx(folder, upstreams, "127.0.0.1") as at:
            assert [asks(at, "203.0.113.9") for _ in range(3)] == [401, 401, 429]
            assert asks(at, "203.0.113.10") == 401
        (folder / "untrusting").mkdir(mode=0o755)
        with nginx(folder / "untrusting", upstreams) as at:
            assert [asks(at, f"203.0.113.{number}") for number in range(3)] == [401, 401, 429]


def test_the_documented_tls_proxy_tells_who_asks_and_how(folder: Path) -> None:
    program, openssl = tool("nginx"), tool("openssl")
    example = re.search(r"```nginx\n(.*?)```", (ROOT / "docs" / "deployment.md").read_text(), re.DOTALL)
    assert example
    tls, plain = free_port(), free_port()
    made = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=sigap.example.org"]
    files = ["-keyout", str(folder / "sigap.key"), "-out", str(folder / "sigap.crt")]
    subprocess.run([openssl, *made, *files], check=True, capture_output=True, timeout=60)
    with stub() as one, nginx(folder, before(one, one), "127.0.0.1") as at:
        servers = example[1].replace("/etc/ssl/", f"{folder}/").replace("http://127.0.0.1:8080", at)
        servers = servers.replace("listen 443 ", f"listen 127.0.0.1:{tls} ").replace("listen 80;", f"listen {plain};")
        (folder / "tls").mkdir(mode=0o755)
        parts = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        paths = "".join(f"{part}_temp_path {folder}/tls/{part};" for part in parts)
        head = f"pid {folder}/tls/pid; events {{}} http {{ access_log off; {paths}"
        (folder / "tls" / "nginx.conf").write_text(f"{head}\n{servers}}}\n")
        command = [program, "-e", "stderr", "-c", str(folder / "tls" / "nginx.conf"), "-g", "daemon off;"]
        with process(command, folder / "tls.log"):
            wait_for(lambda: _listens(tls), "The proxy")
            httpx.get(f"https://127.0.0.1:{tls}/models", verify=False, headers={"x-forwarded-for": "6.6.6.6"})
            told = one.asked[-1].decode().lower()
            assert "x-forwarded-for: 127.0.0.1\r\n" in told
            assert "x-forwarded-proto: https\r\n" in told
            away = httpx.get(f"http://127.0.0.1:{plain}/models", headers={"host": "sigap.example.org"})
            assert away.headers["location"] == "https://sigap.example.org/models"


def test_the_dashboards_websocket_goes_through(folder: Path) -> None:
    tool("nginx")
    paths = []

    def echo(socket: object) -> None:
        paths.append(socket.request.path)
        for message in socket:
            socket.send(message)

    with serve(echo, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        at = server.socket.getsockname()[1]
        with (
            nginx(folder, {"api-1": 9, "api-2": 9, "dashboard": at}) as address,
            connect(f"{address.replace('http', 'ws')}/dashboard/_stcore/stream", proxy=None) as client,
        ):
            client.send("halo" * 5000)
            assert client.recv(timeout=20) == "halo" * 5000
        server.shutdown()
        thread.join(10)
    assert paths == ["/dashboard/_stcore/stream"]


def test_the_body_limit_is_that_of_the_api() -> None:
    from sigap.settings import Settings

    limit = Settings.model_fields["max_file_bytes"].default
    assert f"client_max_body_size {limit // 2**20}m;" in (FOLDER / "nginx.conf").read_text()
