"""A commit put into service on a server: real Git, shell, SSH and HTTP; only `docker` is a stand-in."""

from __future__ import annotations

import fcntl
import http.server
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sigap.settings import ROOT

pytestmark = pytest.mark.skipif(
    any(shutil.which(program) is None for program in ("curl", "flock", "awk", "bash")),
    reason="needs bash, curl, flock and awk, as a server has them",
)
SERVER = ROOT / "deploy" / "server"
IN_SERVICE, PUT_BACK, REFUSED, NOTHING_HEALTHY, BUSY = 0, 1, 2, 3, 75

# What "runs" is the file app of the commit that was checked out when it was brought up.
DOCKER = r"""#!/bin/sh
printf '%s %s\n' "$(git rev-parse --short HEAD)" "$*" >>{folder}/calls
case "$*" in
  "compose build") grep -q '^slow$' app && {{ touch {folder}/building; sleep 1; }}
                   grep -q '^unbuildable$' app && exit 17 ;;
  *" run "*prepare) grep -q '^too old for its tables$' app && exit 1 ;;
  *" --wait "*api-1) grep -q '^dies at its start$' app && exit 1 ;;
  *" reload") grep -q '^nginx can not read it$' app && exit 1 ;;
  "compose up "*--remove-orphans) cp app {folder}/running ;;
  *" port nginx 8080") cat {folder}/published ;;
  *" ps --quiet "*) [ -f {folder}/running ] && echo 0123456789ab ;;
  *" ps --services "*) printf 'api-1\nprometheus\n' ;;
  *" ps "*) grep -q '^replica down$' {folder}/running && echo 'api exited  137'
            grep -q '^replica ill$' {folder}/running && echo 'api running unhealthy 0'
            grep -q '^replica slow$' {folder}/running && echo 'dashboard running starting 0'
            grep -q '^one model fails$' {folder}/running && echo 'first-training exited  1'
            echo 'api running healthy 0'; echo 'buckets exited  0'; echo 'postgres running  0' ;;
esac
exit 0
"""


@dataclass
class Server:
    """A server's clone, the repository it comes from, and what "runs" on it."""

    folder: Path
    port: int = 0
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def clone(self) -> Path:
        return self.folder / "srv"

    def git(self, *words: str, at: str = "origin") -> str:
        name = ("-c", "user.name=Test", "-c", "user.email=t@example.org")
        done = subprocess.run(
            ["git", *name, *words], cwd=self.folder / at, check=True, capture_output=True, text=True, timeout=30
        )
        return done.stdout.strip()

    def commit(self, app: str) -> str:
        """A new commit on main whose application is like that."""
        (self.folder / "origin" / "app").write_text(app + "\n")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", app)
        return self.git("rev-parse", "HEAD")

    def command(self, commit: str, *options: str, health: bool = True) -> list[str]:
        asked = ["--health", f"http://127.0.0.1:{self.port}/health/ready"] if health else []
        times = ["--seconds", "3", "--every", "0.05"]
        return ["deploy/server/deploy.sh", *asked, *times, *options, commit]

    def deploy(self, commit: str, *options: str, health: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(commit, *options, health=health),
            cwd=self.clone,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def start(self, commit: str) -> subprocess.Popen[str]:
        """The same, not waited for: it is in the middle of building."""
        process = subprocess.Popen(
            self.command(commit), cwd=self.clone, env=self.environment, stdout=subprocess.PIPE, text=True
        )
        self.wait_for("building")
        return process

    def wait_for(self, name: str) -> None:
        end = time.monotonic() + 30
        while not (self.folder / name).exists():
            assert time.monotonic() < end, f"{name} did not appear"
            time.sleep(0.01)

    def calls(self) -> list[str]:
        """What docker was asked, without the commit."""
        return [line.partition(" ")[2] for line in (self.folder / "calls").read_text().splitlines()]

    def running(self) -> str:
        return (self.folder / "running").read_text().strip()

    def checked_out(self) -> str:
        return self.git("rev-parse", "HEAD", at="srv")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    origin = tmp_path / "origin"
    shutil.copytree(SERVER, origin / "deploy" / "server")
    (origin / "deploy" / "nginx").mkdir()
    shutil.copy(ROOT / "deploy" / "nginx" / "start.sh", origin / "deploy" / "nginx")
    (origin / ".gitignore").write_text(".sigap/\n")
    made.git("init", "--quiet", "--initial-branch=main")
    made.commit("well")
    subprocess.run(["git", "clone", "--quiet", str(origin), str(made.clone)], check=True, timeout=30)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "docker").write_text(DOCKER.format(folder=tmp_path))
    (programs / "docker").chmod(0o755)
    made.environment = os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}

    class Health(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            running = made.folder / "running"
            ill = not running.exists() or "ill at the door" in running.read_text()
            self.send_response(503 if ill else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Not into the tests' output."""

    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Health)
    made.port = web.server_port
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield made
    finally:
        web.shutdown()
        thread.join()
        web.server_close()


def test_a_healthy_commit_stays(server: Server) -> None:
    commit = server.commit("better")
    done = server.deploy(commit)
    assert done.returncode == IN_SERVICE, done.stdout + done.stderr
    assert server.running() == "better"
    assert server.checked_out() == commit
    assert (server.clone / ".sigap" / "deployed").read_text().strip() == commit
    assert [call for call in server.calls() if " ps " not in call] == [
        "compose build",
        "compose up --detach --remove-orphans",
        "compose exec -T nginx nginx -c /etc/nginx/sigap/nginx.conf -s reload",
        "compose kill --signal HUP prometheus",
    ]


def test_where_it_runs_already_the_tables_come_first_and_the_api_is_exchanged_in_turn(server: Server) -> None:
    assert server.deploy(server.commit("good")).returncode == IN_SERVICE
    (server.folder / "calls").unlink()
    assert server.deploy(server.commit("better")).returncode == IN_SERVICE
    assert [call for call in server.calls() if " ps " not in call][:5] == [
        "compose build",
        "compose run --rm -T prepare",
        "compose up --detach --no-deps --wait --wait-timeout 3 api-1",
        "compose up --detach --no-deps --wait --wait-timeout 3 api-2",
        "compose up --detach --remove-orphans",
    ]


@pytest.mark.parametrize("listens", ["0.0.0.0", "127.0.0.1"])
def test_its_health_is_asked_where_compose_has_published_nginx(server: Server, listens: str) -> None:
    (server.folder / "published").write_text(f"{listens}:{server.port}\n")
    done = server.deploy(server.commit("better"), health=False)
    assert done.returncode == IN_SERVICE, done.stdout + done.stderr


def test_nginx_that_listens_nowhere_is_told(server: Server) -> None:
    (server.folder / "published").write_text("")
    done = server.deploy(server.commit("without a door"), "--seconds", "1", health=False)
    assert done.returncode == NOTHING_HEALTHY
    assert "nginx listens nowhere" in done.stdout


def test_one_model_s_failed_training_puts_nothing_back_and_is_told(server: Server) -> None:
    assert server.deploy(server.commit("good")).returncode == IN_SERVICE
    done = server.deploy(server.commit("one model fails"))
    assert done.returncode == IN_SERVICE, done.stdout + done.stderr
    assert "The first training ended with 1" in done.stdout
    assert server.running() == "one model fails"


def test_help_changes_nothing(server: Server) -> None:
    done = server.deploy("--help")
    assert done.returncode == 0
    assert done.stdout.startswith("On a server: put a commit into service")
    assert "Exit codes: 0 in service" in done.stdout
    assert "set -uo" not in done.stdout
    assert not (server.folder / "calls").exists()


FAULTS = ["ill at the door", "replica down", "replica ill", "replica slow", "unbuildable"]
FAULTS += ["too old for its tables", "dies at its start", "nginx can not read it"]


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_not_healthy_gives_way_to_the_former_commit(server: Server, fault: str) -> None:
    good, bad = server.commit("good"), server.commit(fault)
    assert server.deploy(good).returncode == IN_SERVICE
    done = server.deploy(bad)
    assert done.returncode == PUT_BACK, done.stdout + done.stderr
    assert f"{good} serves again" in done.stdout
    assert server.running() == "good"
    assert server.checked_out() == good
    assert (server.clone / ".sigap" / "deployed").read_text().strip() == good
    assert f"Deploying {bad}; in service: {good}" in (server.clone / ".sigap" / "deployments.log").read_text()


def test_a_first_deployment_that_fails_says_that_nothing_serves(server: Server) -> None:
    server.git("reset", "--quiet", "--hard", at="srv")
    bad = server.commit("ill at the door")
    server.git("pull", "--quiet", at="srv")
    done = server.deploy(bad)
    assert done.returncode == NOTHING_HEALTHY
    assert "no other commit to go back to" in done.stdout


def test_when_the_former_one_is_ill_too_a_person_is_called(server: Server) -> None:
    good = server.commit("good")
    assert server.deploy(good).returncode == IN_SERVICE
    bad = server.commit("unbuildable")
    # What serves falls ill by itself, as with a full disk.
    calls = (server.folder / "bin" / "docker").read_text()
    (server.folder / "bin" / "docker").write_text(calls.replace("exit 0\n", "exit 1\n").replace("cp app", "false "))
    (server.folder / "running").write_text("ill at the door")
    done = server.deploy(bad)
    assert done.returncode == NOTHING_HEALTHY
    assert "a person has to look" in done.stdout


def test_of_two_at_once_the_second_is_refused(server: Server) -> None:
    slow, other = server.commit("slow"), server.commit("other")
    first = server.start(slow)
    second = server.deploy(other)
    out, _ = first.communicate(timeout=60)
    assert second.returncode == BUSY
    assert "Another deployment runs" in second.stderr
    assert first.returncode == IN_SERVICE, out
    assert server.running() == "slow"


def test_killed_in_the_middle_the_next_one_still_knows_what_served(server: Server) -> None:
    good, slow, bad = server.commit("good"), server.commit("slow"), server.commit("ill at the door")
    assert server.deploy(good).returncode == IN_SERVICE
    process = server.start(slow)
    process.kill()
    process.communicate(timeout=30)
    assert server.checked_out() == slow  # brought up, never judged
    # What it was building still runs, and so another one has to wait.
    assert server.deploy(bad).returncode == BUSY
    with (server.clone / ".sigap" / "deploy.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
    done = server.deploy(bad)
    assert done.returncode == PUT_BACK, done.stdout + done.stderr
    assert server.running() == "good"


def test_a_cancelled_one_puts_the_former_commit_back(server: Server) -> None:
    good, slow = server.commit("good"), server.commit("slow")
    assert server.deploy(good).returncode == IN_SERVICE
    process = server.start(slow)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == PUT_BACK, out
    assert server.running() == "good"


def test_a_lost_line_does_not_leave_it_half_done(server: Server) -> None:
    good, slow = server.commit("good"), server.commit("slow")
    assert server.deploy(good).returncode == IN_SERVICE
    process = server.start(slow)
    assert process.stdout is not None
    process.stdout.close()
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=60) == IN_SERVICE
    assert server.running() == "slow"
    assert (server.clone / ".sigap" / "deployed").read_text().strip() == slow


def test_what_can_not_be_deployed_is_refused_and_changes_nothing(server: Server) -> None:
    good = server.commit("good")
    assert server.deploy(good).returncode == IN_SERVICE
    server.git("checkout", "--quiet", "--orphan", "elsewhere", at="srv")
    server.git("commit", "--quiet", "--allow-empty", "-m", "only here", at="srv")
    local = server.git("rev-parse", "HEAD", at="srv")
    server.git("checkout", "--quiet", good, at="srv")
    before = (server.folder / "calls").read_text()
    refusals = {
        "main": "40 hexadecimal digits",
        "": "40 hexadecimal digits",
        "--force": "no option --force",
        "a" * 40: "there is no commit",
        local: "no branch or tag",
    }
    for commit, reason in refusals.items():
        done = server.deploy(commit)
        assert (done.returncode, reason in done.stderr) == (REFUSED, True), (commit, done.stderr)
    assert "whole number" in server.deploy(good, "--seconds", "soon").stderr
    assert "one commit" in server.deploy(good, good).stderr
    (server.clone / "app").write_text("mended by hand\n")
    assert "changed by hand" in server.deploy(good).stderr
    (server.clone / "app").write_text("good\n")
    (server.folder / "origin").rename(server.folder / "gone")
    assert "git fetch failed" in server.deploy(good).stderr
    assert (server.folder / "calls").read_text() == before
    assert server.checked_out() == good


def over_ssh(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    base = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [str(SERVER / "over_ssh.sh"), *words],
        env=base | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


COMPLETE = {"SSH_KEY": "a key", "KNOWN_HOSTS": "a host", "TARGET": "deploy@server.example", "FOLDER": "/srv/sigap"}


@pytest.mark.parametrize(
    ("changed", "words", "reason"),
    [
        ({"SSH_KEY": ""}, (), "SSH_KEY is not set"),
        ({"KNOWN_HOSTS": ""}, (), "KNOWN_HOSTS is not set"),
        ({"TARGET": "-oProxyCommand=touch x"}, (), "TARGET is not user@host"),
        ({"TARGET": "a@b; reboot"}, (), "TARGET is not user@host"),
        ({"FOLDER": "/srv; reboot"}, (), "FOLDER is no absolute path"),
        ({}, ("$(reboot)",), "odd characters"),
    ],
)
def test_what_would_become_words_of_a_remote_shell_is_checked(
    changed: dict[str, str], words: tuple[str, ...], reason: str
) -> None:
    done = over_ssh(COMPLETE | changed, *words)
    assert (done.returncode, reason in done.stderr) == (REFUSED, True), done.stderr
    assert "a key" not in done.stdout + done.stderr


@pytest.fixture(params=["any command", "restricted"])
def sshd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[int, str, str]]:
    """A real SSH server of this test: its port, its line for known_hosts, and the private key that it lets in."""
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None or shutil.which("ssh-agent") is None:
        pytest.skip("needs sshd and ssh-agent (Debian: openssh-server)")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    folder = tmp_path / "ssh"
    folder.mkdir(mode=0o700)
    for name in ("host", "client"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(folder / name)], check=True, timeout=30
        )
    # As deploy/server/README.md has it.
    restricted = re.search(r'^restrict,command="(.*?)" ssh-ed25519', (SERVER / "README.md").read_text(), re.MULTILINE)
    assert restricted
    forced = restricted[0].replace("/srv/sigap", str(tmp_path / "srv")).removesuffix("ssh-ed25519")
    only = forced if request.param == "restricted" else ""
    (folder / "authorized").write_text(only + (folder / "client.pub").read_text())
    from sigap.services.service import free_port

    port = free_port()
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
        f"PidFile {folder}/pid\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n"
    )
    process = subprocess.Popen([program, "-D", "-e", "-f", str(folder / "config")], stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 30
        while not (folder / "pid").exists():
            assert process.poll() is None, "sshd ended"
            assert time.monotonic() < end
            time.sleep(0.02)
        host = " ".join((folder / "host.pub").read_text().split()[:2])
        yield port, f"[127.0.0.1]:{port} {host}", (folder / "client").read_text().rstrip("\n")
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_over_ssh_the_server_s_exit_code_and_words_come_back_and_an_unknown_host_is_refused(
    server: Server, sshd: tuple[int, str, str]
) -> None:
    import getpass

    port, known, key = sshd
    environment = {
        "SSH_KEY": key,
        "KNOWN_HOSTS": known,
        "PORT": str(port),
        "TARGET": f"{getpass.getuser()}@127.0.0.1",
        "FOLDER": str(server.clone),
    }
    wrong = over_ssh(environment, "main")
    assert (wrong.returncode, "40 hexadecimal digits" in wrong.stderr) == (REFUSED, True), wrong.stderr
    assert key not in wrong.stdout + wrong.stderr
    other = over_ssh(environment | {"KNOWN_HOSTS": known.replace(known[-12:], "A" * 12)}, "main")
    assert other.returncode == 255
    assert "verification failed" in other.stderr
