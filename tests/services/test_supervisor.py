"""Services are restarted when killed, ended with all their children, and nobody else's process is touched."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from sigap.cli.status import state_of, status, stop
from sigap.errors import ServiceError
from sigap.services.service import (
    Running,
    Service,
    alive,
    birth_of,
    describe_exit,
    free_port,
    marked,
    port_is_free,
    recorded,
    relatives,
)
from sigap.services.supervisor import (
    RESTORING,
    AlreadyRunningError,
    Supervisor,
    as_running,
    stop_supervisor,
    supervisor_record,
)
from sigap.settings import Settings
from tests.services.conftest import WITH_CHILD, Events, gone, wait_until

Make = Callable[..., Service]


def answering_pid(service: Service) -> int:
    with urllib.request.urlopen(str(service.ready_url), timeout=5) as answer:
        return int(answer.read())


def test_starts_all_and_ends_all_with_children_that_left_their_session(
    state: Path, make_service: Make, events: Events
) -> None:
    services = [make_service("web", extra=WITH_CHILD), make_service("other", store=True)]
    with Supervisor(state, events) as supervisor:
        supervisor.start(services)
        supervisor.wait_ready()
        pids = [process.pid for process in marked(state)]
        assert len(pids) == 3
        assert {record["name"] for record in recorded(state)} == {"web", "other"}
    assert all(gone(pid) for pid in pids)
    assert all(port_is_free("127.0.0.1", service.port) for service in services)
    # A store is stopped after those that keep their data in it.
    assert [event.service for event in events if event.kind == "stopped"] == ["web", "other"]
    assert recorded(state) == []


def test_what_does_not_answer_is_starting_until_it_first_did(state: Path, make_service: Make, tmp_path: Path) -> None:
    may_listen = tmp_path / "may-listen"
    waits = f"import time\nwhile not os.path.exists({str(may_listen)!r}): time.sleep(0.05)"
    web = make_service("web", extra=waits)

    def told() -> str:
        (record,) = recorded(state)
        return state_of(record, answers=web.is_ready(timeout=1))

    with Supervisor(state) as supervisor:
        supervisor.start([web])
        wait_until(lambda: recorded(state), "a record")
        assert told() == "starting"
        may_listen.touch()
        supervisor.wait_ready()
        assert told() == "ready"
        process = psutil.Process(int(str(recorded(state)[0]["pid"])))
        process.suspend()
        assert told() == "not answering"
        process.resume()


def test_who_ends_while_processes_are_read_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    # psutil takes a process for alive while its folder below /proc is there, and then may not find the file in it.
    create_time, read = psutil.Process.create_time, []

    def vanished(process: psutil.Process) -> float:
        if process.pid != os.getpid() and not read:
            read.append(process.pid)
            raise FileNotFoundError(2, "No such file or directory", f"/proc/{process.pid}/stat")
        return float(create_time(process))

    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as child:
        monkeypatch.setattr(psutil.Process, "create_time", vanished)
        try:
            assert child.pid in [each.pid for each in relatives(os.getpid())]
        finally:
            child.kill()
    assert read, "nothing vanished"


def test_a_killed_service_is_started_again_and_said_so(state: Path, make_service: Make, events: Events) -> None:
    service = make_service(extra=WITH_CHILD)
    with Supervisor(state, events) as supervisor:
        supervisor.start([service])
        supervisor.wait_ready()
        before = answering_pid(service)
        child = psutil.Process(before).children()[0].pid
        os.kill(before, signal.SIGKILL)
        assert events.wait("died").text == "was ended by SIGKILL"
        events.wait("ready", again=True)
        assert answering_pid(service) != before
        assert gone(child), "the child of the killed one must not stay beside the new one's"


def test_a_service_that_ignores_the_request_to_end_is_killed(state: Path, make_service: Make) -> None:
    service = make_service(extra="import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)", stop_seconds=0.5)
    with Supervisor(state) as supervisor:
        supervisor.start([service])
        supervisor.wait_ready()
        pid = answering_pid(service)
    assert gone(pid)


def test_a_service_that_ends_at_once_fails_with_its_last_words(state: Path, make_service: Make) -> None:
    service = make_service(extra="sys.exit('no such table: provinces')")
    with Supervisor(state) as supervisor:
        supervisor.start([service])
        with pytest.raises(ServiceError, match=r"web ended with exit code 1 before.*\n.*no such table") as caught:
            supervisor.wait_ready()
    assert str(service.log) in caught.value.remedy


def test_a_service_that_never_answers_fails_after_its_time(state: Path, make_service: Make) -> None:
    service = make_service(extra="import time; time.sleep(600)", start_seconds=1)
    with Supervisor(state) as supervisor:
        supervisor.start([service])
        with pytest.raises(ServiceError, match="did not answer within 1 s"):
            supervisor.wait_ready()


def test_a_taken_port_names_its_holder_and_leaves_it_alone(state: Path, make_service: Make) -> None:
    free = make_service("free")
    taken = make_service("api")
    with subprocess.Popen(taken.command) as foreign:
        try:
            wait_until(taken.is_ready, "the foreign server answers")
            with Supervisor(state) as supervisor:
                with pytest.raises(ServiceError, match=rf"Port {taken.port} for api .*\(pid {foreign.pid}") as caught:
                    supervisor.start([free, taken])
                assert "SIGAP_API_PORT=" in caught.value.remedy
                assert port_is_free("127.0.0.1", free.port), "nothing is started when one can't be"
            assert answering_pid(taken) == foreign.pid
        finally:
            foreign.kill()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (PermissionError(13, "denied", "/a/file"), "web can't be started: /a/file can't be used by this account"),
        (ValueError("what is this"), "web can't be started: ValueError: what is this"),
        (ServiceError("No room."), "No room"),
    ],
)
def test_what_goes_wrong_before_a_start_reaches_who_waits(
    fault: Exception, message: str, state: Path, make_service: Make, events: Events
) -> None:
    def prepare() -> None:
        raise fault

    with Supervisor(state, events) as supervisor:
        supervisor.start([make_service(prepare=prepare), make_service("other")])
        with pytest.raises(ServiceError, match=message):
            supervisor.wait_ready("web")
        supervisor.wait_ready("other")
    assert [message in each.text for each in events if each.kind == "failed"] == [True]


def test_a_program_that_is_gone_is_named(state: Path, make_service: Make) -> None:
    with Supervisor(state) as supervisor:
        supervisor.start([make_service(command=["/no/such/program"])])
        with pytest.raises(ServiceError, match="/no/such/program: No such file"):
            supervisor.wait_ready()


def test_a_folder_that_can_not_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceError, match="can't be written: Not a directory"), Supervisor(tmp_path / "file"):
        pass
    half = tmp_path / "half"
    half.mkdir()
    (half / RESTORING).write_text("{}")
    for _ in range(2):
        with pytest.raises(ServiceError, match=r"A restore of .* was broken off"), Supervisor(half):
            pass
    with Supervisor(half, restoring=True):
        pass


def test_a_session_that_does_not_end_is_named_and_left(state: Path) -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (state / "run").mkdir()
        record = {"pid": process.pid, "birth": birth_of(process.pid), "started": 0, "services": {}}
        (state / "run" / "supervisor.json").write_text(json.dumps(record))
        with pytest.raises(ServiceError, match=rf"pid {process.pid}\) did not end within 0 s"):
            stop_supervisor(state, 0.2)
        assert process.poll() is None
        process.kill()
    assert stop_supervisor(state) == (None, [])


def test_other_shells_take_the_ports_of_what_runs(state: Path, make_service: Make) -> None:
    given = Settings(_env_file=None, state_dir=state, api_port=1, mlflow_port=2)
    assert as_running(given) == given
    api, store = make_service("api"), make_service("postgres", address="postgresql://x@127.0.0.1/none", port=None)
    with Supervisor(state) as supervisor:
        supervisor.start([api, store])
        found = as_running(given)
        assert (found.api_port, found.mlflow_port, found.postgres_port) == (api.port, 2, given.postgres_port)


def test_records_that_say_nothing_are_no_services(state: Path) -> None:
    (state / "run").mkdir()
    for name, text in {
        "half": '{"name": "ap',
        "old": '{"port": 1}',
        "none": '{"port": 1, "pid": "x", "birth": ""}',
    }.items():
        (state / "run" / f"{name}.json").write_text(text)
    assert recorded(state) == []
    (state / "run" / "supervisor.json").write_text("{")
    assert supervisor_record(state) is None


def test_an_end_is_told_in_words() -> None:
    assert describe_exit(3) == "ended with exit code 3"
    assert describe_exit(-9) == "was ended by SIGKILL"
    assert describe_exit(-99) == "was ended by signal 99"


def test_ready_is_what_answers(make_service: Make) -> None:
    assert replace(make_service(ready_url=None), port=0).is_ready(), "what has no port runs as soon as it runs"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        listening = make_service(port=port, ready_url=None)
        assert listening.is_ready()
        assert not port_is_free("127.0.0.1", port)
        assert free_port("127.0.0.1", port) > port
    assert not listening.is_ready()
    assert not make_service(ready=lambda: 1 / 0).is_ready()


def test_a_log_that_has_grown_large_is_put_aside(state: Path, make_service: Make) -> None:
    service = make_service()
    service.log.parent.mkdir()
    with service.log.open("wb") as log:
        log.truncate(10_000_001)
    with Supervisor(state) as supervisor:
        supervisor.start([service])
        supervisor.wait_ready()
        assert service.log.stat().st_size < 1_000
    assert service.log.with_suffix(".log.1").stat().st_size == 10_000_001


def test_status_tells_what_answers_and_what_a_killed_session_left(
    state: Path, make_service: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    given = Settings(_env_file=None, state_dir=state, watching=False)
    assert status(given) == 1
    assert "Nothing runs from this folder" in capsys.readouterr().out
    web, slow = make_service(), make_service("slow", extra="import time; time.sleep(600)", start_seconds=600)
    with Supervisor(state) as supervisor:
        supervisor.start([web])
        supervisor.wait_ready()
        assert status(given) == 0
        said = capsys.readouterr().out
        assert f"Sigap runs as pid {os.getpid()}" in said
        assert " ready " in said
        supervisor.start([slow])
        wait_until(lambda: len(recorded(state)) == 2, "the slow one runs")
        assert status(given) == 1
        assert "starting" in capsys.readouterr().out
        # As a session that was killed leaves them: services, and nobody who keeps them.
        (state / "run" / "supervisor.json").unlink()
        assert status(given) == 1
        assert "The ./run that started these was killed" in capsys.readouterr().out


def test_stop_ends_what_was_left_and_says_so(
    state: Path, make_service: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    given = Settings(_env_file=None, state_dir=state)
    running = Running(make_service(), state)
    running.wait_ready()
    assert stop(given) == 0
    running.process.wait()
    assert "Ended what a killed ./run had left running: web." in capsys.readouterr().out
    assert stop(given) == 0
    assert "Nothing runs from this folder." in capsys.readouterr().out


def test_only_one_supervisor_has_a_state_folder(state: Path) -> None:
    with Supervisor(state):
        assert alive(supervisor_record(state) or {})
        with pytest.raises(AlreadyRunningError, match=rf"already runs.*\(pid {os.getpid()}\)"), Supervisor(state):
            pass
    assert supervisor_record(state) is None


ELSEWHERE = """
    import signal, sys, time
    from pathlib import Path
    from sigap.services.service import Service
    from sigap.services.supervisor import Supervisor
    from sigap.cli.session import StopRequested, stop_on_signal
    from tests.services.conftest import SERVER, WITH_CHILD
    state, port = Path(sys.argv[1]), int(sys.argv[2])
    service = Service(
        name="web", command=[sys.executable, "-c", SERVER.format(extra=WITH_CHILD), str(port)], port=port,
        log=state / "logs" / "web.log", address="", ready_url=f"http://127.0.0.1:{port}/",
    )
    try:
        with stop_on_signal(), Supervisor(state) as supervisor:
            supervisor.start([service])
            supervisor.wait_ready()
            print("ready", flush=True)
            time.sleep(600)
    except StopRequested:
        pass
"""


def supervisor_elsewhere(state: Path) -> subprocess.Popen[str]:
    """A supervisor in a process of its own, its service ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(ELSEWHERE), str(state), str(free_port())],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_stop_from_another_process(state: Path) -> None:
    with supervisor_elsewhere(state) as process:
        pids = [each.pid for each in marked(state)]
        assert len(pids) == 2
        assert stop_supervisor(state) == (process.pid, [])
        assert process.wait(10) == 0
    assert all(gone(pid) for pid in pids)
    assert stop_supervisor(state) == (None, [])


def test_after_a_killed_supervisor_the_next_ends_its_leftovers_and_nothing_else(state: Path) -> None:
    # A stranger of the same kind, on whose pid a record of ours still stands.
    with supervisor_elsewhere(state) as process, subprocess.Popen(["sleep", "600"]) as stranger:
        process.kill()
        process.wait()
        left = [each.pid for each in marked(state)]
        assert len(left) == 2, "server and child outlive the supervisor"
        record = json.loads((state / "run" / "web.json").read_text())
        record |= {"name": "old", "pid": stranger.pid}
        (state / "run" / "old.json").write_text(json.dumps(record))
        with Supervisor(state) as supervisor:
            assert supervisor.leftovers == ["web"]
            assert all(gone(pid) for pid in left)
        assert stranger.poll() is None
        stranger.kill()
