"""PostgreSQL, MLflow and the cache's disk, each stopped, slow, silent and back: predictions go on, health tells."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import psycopg
import pytest

from tests.backend.conftest import MODEL, MlflowServer, Relay, wait_for
from tests.backend.faults.conftest import Load, Workers, aliased

pytestmark = pytest.mark.load


def through(url: str, relay: Relay) -> str:
    """The database's URL by way of the line."""
    user, place = url.rsplit("@", 1)
    return f"{user}@127.0.0.1:{relay.port}/{place.split('/')[1]}"


def port_of(url: str) -> int:
    return int(url.rsplit("@", 1)[1].split("/")[0].rsplit(":", 1)[1])


def ready(api: Workers, workers: int = 2) -> None:
    """Waits until every worker serves: the first one to come up answers for those that are still coming."""
    wait_for(lambda: api.get("/health").json()["workers"] == workers, "The workers")
    wait_for(lambda: {api.get("/health/ready").status_code for _ in range(12)} == {200}, "A champion in each")


def good(api: Workers, load: Load) -> None:
    """Predictions go on and readiness says so."""
    answered = load.answered
    wait_for(lambda: load.answered > answered + 100, "Answers")
    assert {api.get("/health/ready").status_code for _ in range(6)} == {200}
    assert load.failed == {}
    assert load.mixed == []


def test_postgresql_may_go_crawl_fall_silent_and_come_back(
    registry: MlflowServer,
    start_workers: Callable[..., Workers],
    line: Callable[[int], Relay],
    seeded_database: str,
) -> None:
    aliased(registry, "database")
    relay = line(port_of(seeded_database))
    # However quick the machine, all that is asked while PostgreSQL is away finds room.
    room = {"SIGAP_PREDICTION_LOG_QUEUE": "200000"}
    api = start_workers(registry.uri, "database", DATABASE_URL=through(seeded_database, relay), **room)
    with Load(api.url) as load:
        wait_for(lambda: api.reads("postgresql") == {"up"}, "Health with PostgreSQL")
        good(api, load)
        relay.cut()
        wait_for(lambda: api.reads("postgresql") == {"down"}, "Health without PostgreSQL")
        good(api, load)
        relay.start()
        wait_for(lambda: api.reads("postgresql") == {"up"}, "Health with PostgreSQL again", 600)
        relay.delay = 0.3
        good(api, load)
        relay.delay, relay.silent = 0.0, True
        wait_for(lambda: "down" in api.reads("postgresql"), "Health with a silent PostgreSQL", 600)
        good(api, load)
        relay.cut()
        relay.silent = False
        relay.start()
        wait_for(lambda: api.reads("postgresql") == {"up"}, "Health with PostgreSQL at last", 600)
        good(api, load)

    def kept() -> int:
        with psycopg.connect(seeded_database) as connection:
            return connection.execute("SELECT count(DISTINCT request_id) FROM predictions").fetchone()[0]

    # The queue was never full, so that after all that every prediction is there.
    assert api.figure("sigap_api_prediction_log_dropped_total") == 0
    wait_for(lambda: kept() == load.answered, f"All {load.answered} predictions in the log")


def test_mlflow_may_go_crawl_fall_silent_and_come_back(
    registry: MlflowServer, start_workers: Callable[..., Workers], line: Callable[[int], Relay]
) -> None:
    aliased(registry, "server")
    relay = line(registry.port)
    api = start_workers(relay.uri, "server")
    ready(api)
    with Load(api.url) as load:
        good(api, load)
        relay.cut()
        wait_for(lambda: api.reads("registry") == {"down"}, "Health without MLflow")
        wait_for(lambda: all("can't be reached" in str(reason) for reason in _reasons(api)), "The reason")
        good(api, load)
        # A move that nobody could see is followed as soon as the registry is back, however slow.
        registry.client.set_registered_model_alias(MODEL, "server", "2")
        relay.delay = 0.2
        relay.start()
        wait_for(lambda: api.serving() == {"v2"}, "The move", 600)
        good(api, load)
        relay.delay, relay.silent = 0.0, True
        wait_for(lambda: api.reads("registry") == {"down"}, "Health with a silent MLflow", 600)
        good(api, load)
        registry.client.set_registered_model_alias(MODEL, "server", "3")
        relay.cut()
        relay.silent = False
        relay.start()
        wait_for(lambda: api.serving() == {"v3"}, "The next move", 600)
        wait_for(lambda: api.reads("registry") == {"up"}, "Health with MLflow")
        # A look that began while it was silent may still come to its end.
        wait_for(lambda: _reasons(api) == {None}, "Nothing to be told any more")
        good(api, load)
    assert set(load.versions) == {"v1", "v2", "v3"}


def test_the_disk_of_the_cache_may_refuse_and_come_back(
    registry: MlflowServer, start_workers: Callable[..., Workers]
) -> None:
    aliased(registry, "disk")
    api = start_workers(registry.uri, "disk")
    ready(api)
    folder, aside = api.state / "api" / MODEL, api.state / "aside"
    with Load(api.url) as load:
        good(api, load)
        # Where the folder was there is a file, so that root can't write there either.
        folder.rename(aside)
        folder.write_text("")
        registry.client.set_registered_model_alias(MODEL, "disk", "2")
        wait_for(lambda: any("can't be kept" in str(reason) for reason in _reasons(api)), "The refusal")
        good(api, load)
        assert api.serving() == {"v1"}
        folder.unlink()
        aside.rename(folder)
        # Another version: one that was refused is left alone for a while.
        registry.client.set_registered_model_alias(MODEL, "disk", "3")
        wait_for(lambda: api.serving() == {"v3"}, "The move")
        good(api, load)
    assert set(load.versions) == {"v1", "v3"}


def test_a_disk_that_hangs_holds_up_no_prediction(
    registry: MlflowServer, start_workers: Callable[..., Workers]
) -> None:
    aliased(registry, "hanging")
    api = start_workers(registry.uri, "hanging", workers=1)
    wait_for(lambda: len(_writers(api)) == 1, "The worker")
    # Opening a pipe that nobody reads from waits, as writing to a disk that does not answer does.
    pipe = api.state / "api" / MODEL / f".last_good.json.{_writers(api)[0]}"
    os.mkfifo(pipe)
    with Load(api.url) as load:
        good(api, load)
        registry.client.set_registered_model_alias(MODEL, "hanging", "2")
        wait_for(lambda: api.serving() == {"v2"}, "The move, served before it is remembered")
        good(api, load)
        time.sleep(1)
        good(api, load)
        os.close(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK))
    assert load.failed == {}


def _writers(api: Workers) -> list[int]:
    return [each.pid for each in api.workers] or [api.pid]


def _reasons(api: Workers) -> set[str | None]:
    return {api.get("/health/ready").json()["models"][MODEL]["reason"] for _ in range(12)}
