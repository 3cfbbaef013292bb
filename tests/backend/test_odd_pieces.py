"""Pieces of the API asked by themselves, for what hardly comes about: odd values, odd answers, and what is full."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
from psycopg.errors import DeadlockDetected
from starlette.requests import Request

from backend import outcome_rows, v2
from backend.alias_store import AliasStore
from backend.columns import Columns, number_column, text_column, within
from backend.drift import _words
from backend.edge import Edge
from backend.explain import explain
from backend.files import upload
from backend.files.formats import XLSX_ROWS, _check_rows
from backend.files.job import blocks_of
from backend.files.text import MOST_COLUMNS, TextFile
from backend.metrics import Metrics
from backend.newest import NewestRows
from backend.observed import runs as observed_runs
from backend.observed.runs import Runs
from backend.outcome_items import reader
from backend.performance import _versions
from backend.problems import RequestError
from backend.registry_client import NotRegisteredError
from backend.requests import Validator
from backend.scoring import output as scoring_output
from backend.scoring.partition import OTHER, REASONS, _few, _served
from backend.scoring.rows import UnreadableError, plain
from backend.security.body import Body, Patience
from backend.served import Served, load
from backend.shadow import compared
from backend.tasks.classification import _check, _strongest
from backend.tasks.regression import target_of
from backend.tensors import Tensor
from backend.traffic import _quantile
from sigap.catalog import Kind
from sigap.catalog.bitcoin_price import BITCOIN_PRICE
from sigap.catalog.car_price import CAR_PRICE
from sigap.errors import BundleError, FileError, RegistryError
from tests.backend.bundles import BODY, EDUCATION
from tests.backend.task_bundles import write_task_bundle

# Values in blocks


def test_numbers_without_limits_are_only_looked_at_for_what_they_are() -> None:
    asked = EDUCATION.column(EDUCATION.request_columns[0])
    column = asked.model_copy(update={"kind": Kind.INTEGER, "minimum": None, "maximum": None, "required": False})
    unsure = np.zeros(5, bool)
    found = number_column([1, 2.5, None, True, 7], column.model_copy(update={"required": True}), unsure)
    assert unsure.tolist() == [False, True, True, True, False]
    assert math.isnan(found[2])
    assert within(np.array([1.0, 2.5, np.nan, 1e300]), column).tolist() == [True, False, False, False]
    beyond = np.zeros(2, bool)
    number_column([10**400, 1], column, beyond)
    assert beyond.all(), "each is looked at by itself then"
    assert text_column(["a", 7, "a"], column.model_copy(update={"pattern": None})).tolist() == [True, False, True]


def test_a_file_s_text_is_told_from_what_is_none(tmp_path: Path) -> None:
    for content, said in (
        (b"", "is empty"),
        (b"\xef\xbb\xbfa,b\n\xff,1\n", "says that it is UTF-8 and is not"),
        (",".join(f"c{at}" for at in range(MOST_COLUMNS + 1)).encode(), f"has {MOST_COLUMNS + 1} columns"),
        ("a,b\n1,\0\n".encode("utf-16"), "zero characters"),
    ):
        path = tmp_path / "file.csv"
        path.write_bytes(content)
        with pytest.raises(RequestError, match=said):
            list(TextFile(path, ("a", "b")).pieces())


def test_a_sheet_holds_only_so_many_rows() -> None:
    _check_rows(XLSX_ROWS)
    with pytest.raises(RequestError, match="A sheet holds"):
        _check_rows(XLSX_ROWS + 1)


def test_rows_in_which_nothing_stands_are_none() -> None:
    blank, full = pa.table({"0": ["", None], "1": [None, ""]}), pa.table({"0": ["a", "", "b"], "1": ["1", "", ""]})
    blocks = list(blocks_of(iter([(blank, {}), (full, {}), (full, {1: "odd"})]), 9))
    assert [(each.first, each.table.num_rows) for each in blocks] == [(1, 2), (3, 3)]
    with pytest.raises(RequestError, match="no rows"):
        list(blocks_of(iter([(blank, {}), (pa.table({}), {})]), 9))
    with pytest.raises(RequestError, match="more than 2 rows"):
        list(blocks_of(iter([(full, {}), (full, {})]), 2))


@pytest.mark.parametrize(
    ("column", "told"),
    [
        (pa.array(["x", "y"]).dictionary_encode(), ["x", "y"]),
        (pa.array([None, None]), [None, None]),
        (pa.array([True, None]), ["TRUE", None]),
        (pa.array([1.5], pa.float32()), [1.5]),
        (pa.array([7], pa.int32()), [7.0]),
        (pa.array([2**60 + 1, 1], pa.int64()), [str(2**60 + 1), "1"]),
        (pa.array([b"ab", None], pa.binary()), ["ab", None]),
    ],
)
def test_a_partition_s_column_loses_no_digit(column: pa.Array, told: list[Any]) -> None:
    assert plain(column).to_pylist() == told


@pytest.mark.parametrize(
    ("column", "said"), [(pa.array([[1]]), "more than one value"), (pa.array([b"\xff"], pa.binary()), "no text")]
)
def test_a_partition_s_column_that_is_none_is_told(column: pa.Array, said: str) -> None:
    with pytest.raises(UnreadableError, match=said):
        plain(column)


def test_rare_reasons_are_told_as_one() -> None:
    found = _few({f"r{at:03}": at for at in range(1, REASONS + 4)})  # type: ignore[arg-type]
    assert len(found) == REASONS + 1
    assert found[OTHER] == 1 + 2 + 3
    assert OTHER not in _few({"r": 1})  # type: ignore[arg-type]


def test_a_worker_without_the_run_s_bundle_says_what_it_needs(tmp_path: Path) -> None:
    job = SimpleNamespace(model="education", bundle=str(tmp_path / "none"), version="1", manifest_sha256="0" * 64)
    with pytest.raises(BundleError, match="under the same path"):
        _served(job)  # type: ignore[arg-type]
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "manifest.json").write_text("{}")
    with pytest.raises(BundleError, match="not the one that this run began with"):
        _served(job)  # type: ignore[arg-type]


def test_lines_that_were_cut_off_are_no_finished_partitions(tmp_path: Path) -> None:
    found = scoring_output.Output(tmp_path, {})
    assert found.known() == {}
    found.own.mkdir()
    whole = dict.fromkeys(scoring_output.RECORDED, 1) | {"name": "a"}
    lines = [json.dumps(whole), "[]", json.dumps({"name": "b"}), json.dumps(whole)[:-5]]
    (found.own / scoring_output.PARTS).write_text("\n".join(lines))
    assert found.known() == {"a": whole}


def test_an_output_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(FileError, match=r"is not empty: it holds mine\.txt"):
        scoring_output._require_same(scoring_output.Output(tmp_path, {}), ())


# Models


@pytest.mark.parametrize(
    ("labels", "distances"),
    [([7], [[0.5, 0.5, 0.5]]), ([-1], [[0.5, 0.5, 0.5]]), ([0], [[math.inf, 1.0, 1.0]]), ([0], [[0.5]])],
)
def test_a_level_that_there_is_not_is_no_answer(
    monkeypatch: pytest.MonkeyPatch, served: Served, labels: list[int], distances: list[list[float]]
) -> None:
    engine = SimpleNamespace(
        type=np.float64, one=lambda _row: (labels, distances[0]), many=lambda _: (np.array(labels), np.array(distances))
    )
    values = served.validated(dict(BODY))
    monkeypatch.setattr(served.predictor, "engine", engine)
    monkeypatch.setattr(served.predictor, "_quick", None)
    for ask in (lambda: served.predictor.answer(values), lambda: served.predictor.answers([values])):
        with pytest.raises(BundleError, match=r"answers with|does not answer with"):
            ask()


def test_a_probability_that_is_none_is_no_answer() -> None:
    for value in (-0.1, 1.1, math.nan):
        with pytest.raises(BundleError, match="the probability"):
            _check(value)
    _check(1 + 1e-9)
    assert list(_strongest(np.zeros((2, 0)), []).codes) == [0, 0]


def test_what_asks_for_a_target_says_that_there_is_none() -> None:
    with pytest.raises(TypeError, match="education has no target"):
        reader(EDUCATION)
    with pytest.raises(BundleError, match="education declares no target"):
        target_of(EDUCATION)
    with pytest.raises(TypeError, match="education is no series"):
        NewestRows(EDUCATION, lambda: "")
    odd = SimpleNamespace(name="odd", target=None, task=SimpleNamespace(kind="ranking"))
    with pytest.raises(TypeError, match="odd is a ranking"):
        compared(odd)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="SimpleNamespace can't be explained"):
        explain(SimpleNamespace(predictor=SimpleNamespace()), {}, None)  # type: ignore[arg-type]


def test_what_a_check_tested_is_told_in_words() -> None:
    assert _words(CAR_PRICE, "horsepower")[0].en == CAR_PRICE.feature("horsepower").title.en
    assert _words(BITCOIN_PRICE, "change")[0].en.startswith("Change of ")
    assert _words(EDUCATION, "gone")[0].en == "gone", "a feature that is declared no more"


# Figures


def test_a_quantile_of_few_or_endless_times() -> None:
    ends = (0.1, 0.5, math.inf)
    assert _quantile(ends, (), 0.5, 0.5) is None
    assert _quantile(ends, (0.0, 0.0, 0.0), 0.5, 0.5) is None
    assert _quantile(ends, (4.0, 4.0, 4.0), 0.5, 0.5) == 50.0
    assert _quantile(ends, (0.0, 0.0, 4.0), 0.5, 0.5) == 500.0, "longer than the longest that is told"


def test_performance_is_told_by_version_the_newest_first() -> None:
    assert _versions([]) == []
    at = datetime(2026, 11, 20, tzinfo=UTC)
    row = (at, at, at, "rmse", 3.0, None, None, 9, None, None, False, False, False, "", {"judged": True})
    found = _versions([("v1", *row), ("v2", *row), ("v2", *row[:3], "mae", *row[4:10], False, False, True, "", {})])
    assert [(each.model_version, len(each.metrics), each.alarm) for each in found] == [
        ("v2", 2, True),
        ("v1", 1, False),
    ]


class Listing:
    """Mage's runs, newest first."""

    def __init__(self, *runs: tuple[int, str, str]) -> None:
        self.runs = [dict(zip(("id", "pipeline_uuid", "status"), each, strict=True)) for each in runs]

    async def recent(self, limit: int, offset: int) -> list[dict[str, Any]]:
        ordered = sorted(self.runs, key=lambda run: -run["id"])
        return ordered[offset : offset + limit]


def test_runs_that_mage_forgot_go_on_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observed_runs, "PAGE", 2)
    listing = Listing(*((at, "a", "completed") for at in range(1, 6)), (6, "a", "running"))
    found = Runs([])

    async def run() -> None:
        await found.update(listing)  # type: ignore[arg-type]
        assert (set(found._going_on), len(found._counted)) == ({6}, 5)
        listing.runs = [each for each in listing.runs if each["id"] != 6]
        await found.update(listing)  # type: ignore[arg-type]
        assert (set(found._going_on), len(found._counted)) == (set(), 5)

    asyncio.run(run())


def test_the_first_reading_of_very_many_runs_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observed_runs, "PAGE", 2)
    monkeypatch.setattr(observed_runs, "MOST_PAGES", 2)
    monkeypatch.setattr(observed_runs, "MOST_PIPELINES", 1)
    found = Runs([])
    asyncio.run(found.update(Listing(*((at, f"p{at % 2}", "completed") for at in range(1, 9)))))  # type: ignore[arg-type]
    assert found._counted == {5, 6, 7, 8}
    assert len(found._ended) == 1, "labels are bounded"


# Registry, database and bodies


@pytest.fixture
def store() -> Iterator[Any]:
    """A store of aliases whose registry answers as it is told to."""
    made = AliasStore.__new__(AliasStore)
    answers: list[httpx.Response] = []
    made._client = httpx.Client(base_url="http://r.test", transport=httpx.MockTransport(lambda _request: answers.pop()))
    yield made, answers
    made._client.close()


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (httpx.Response(404, json={"error_code": "RESOURCE_DOES_NOT_EXIST"}), NotRegisteredError, "no such thing"),
        (httpx.Response(500, json={"error_code": "INTERNAL_ERROR"}), RegistryError, "500 INTERNAL_ERROR while setting"),
        (httpx.Response(200, json=[]), RegistryError, "answers 200"),
        (httpx.Response(502, text="<html>"), RegistryError, "answers 502"),
    ],
)
def test_a_move_that_the_registry_does_not_make_is_told(
    store: Any, answer: httpx.Response, error: type[Exception], said: str
) -> None:
    aliases, answers = store
    answers.append(answer)
    with pytest.raises(error, match=said):
        aliases.set_alias("education", "champion", "3")


class Deadlocked:
    """A connection on which so many transactions end in a deadlock."""

    def __init__(self, times: int) -> None:
        self.times, self.begun = times, 0

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        self.begun += 1
        if self.begun <= self.times:
            raise DeadlockDetected
        yield


@pytest.mark.parametrize("times", [0, 1, outcome_rows.ATTEMPTS - 1, outcome_rows.ATTEMPTS])
def test_outcomes_that_meet_others_are_written_anew_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    async def recorded(*_: Any) -> list[str]:
        return ["noted"]

    monkeypatch.setattr(outcome_rows, "_recorded", recorded)
    connection = Deadlocked(times)
    written = outcome_rows.record(connection, "education", [], "me")  # type: ignore[arg-type]
    if times < outcome_rows.ATTEMPTS:
        assert asyncio.run(written) == ["noted"]  # type: ignore[comparison-overlap]
        assert connection.begun == times + 1
    else:
        with pytest.raises(DeadlockDetected):
            asyncio.run(written)
        assert connection.begun == outcome_rows.ATTEMPTS


def body(*messages: dict[str, Any], limit: int = 8, length: int | None = None) -> Body:
    waiting = list(messages)

    async def receive() -> Any:
        return waiting.pop(0)

    return Body(receive, limit, "Send less.", length, Patience(60))


def part(content: bytes, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": content, "more_body": more}


def test_a_body_comes_whole_in_one_part_or_several() -> None:
    assert asyncio.run(body(part(b"abc", more=False)).whole()) == b"abc"
    assert asyncio.run(body(part(b"abc"), part(b""), part(b"de", more=False)).whole()) == b"abcde"


@pytest.mark.parametrize(
    ("messages", "length", "status"),
    [((part(b"abc"), {"type": "http.disconnect"}), None, 400), ((part(b"abcdefghi", more=False),), None, 413),
     ((part(b"a"), part(b"b", more=False)), 99, 413)],
)  # fmt: skip
def test_a_body_at_fault_stays_so(messages: tuple[Any, ...], length: int | None, status: int) -> None:
    async def run() -> None:
        found = body(*messages, length=length)
        with pytest.raises(RequestError) as first:
            await found.whole()
        assert first.value.status == status
        if status == 400:
            with pytest.raises(RequestError) as again:
                await found()
            assert again.value is first.value

    asyncio.run(run())


# Files on their way, and answers that break off

HEAD = b'--b\r\ncontent-disposition: form-data; name="file"; filename="cars.csv"\r\n\r\n'
END = b"\r\n--b--\r\n"


def received(tmp_path: Path, *parts: bytes, limit: int = 10) -> bytes:
    """What is kept of a form that comes in these parts."""
    waiting = [{"type": "http.request", "body": each, "more_body": True} for each in parts]
    waiting.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> Any:
        return waiting.pop(0)

    scope = {"type": "http", "headers": [(b"content-type", b"multipart/form-data; boundary=b")]}
    path = tmp_path / "upload"
    with path.open("wb") as file:
        asyncio.run(upload.receive(Request(scope, receive), path, file, limit))
    return path.read_bytes()


def test_a_file_may_come_in_any_parts_up_to_its_limit(tmp_path: Path) -> None:
    assert received(tmp_path, HEAD, b"12345", b"67890", END) == b"1234567890"
    whole = HEAD + b"1234567890" + END
    assert received(tmp_path, *(whole[at : at + 1] for at in range(len(whole)))) == b"1234567890"


def test_a_file_that_is_too_long_is_refused_and_read_on_only_so_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RequestError, match="more than 10 bytes") as refused:
        received(tmp_path, HEAD, b"12345", b"678901", b"23", END)
    assert refused.value.status == 413
    monkeypatch.setattr(upload, "OVERHEAD_BYTES", 0)
    monkeypatch.setattr(upload, "DRAINED_BYTES", 100)
    with pytest.raises(RequestError, match="more than 10 bytes"):
        received(tmp_path, HEAD, *[b"x" * 60] * 4)


@pytest.mark.parametrize(
    ("parts", "said"),
    [((HEAD, b"123"), "breaks off"), ((b"--b--\r\n",), "malformed|0 files"), ((b"no form",), "malformed"),
     ((HEAD + b"1\r\n" + HEAD + b"2" + END,), "holds 2 files")],
)  # fmt: skip
def test_a_form_that_is_none_is_refused(tmp_path: Path, parts: tuple[bytes, ...], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        received(tmp_path, *parts)


def test_what_a_killed_worker_left_is_cleared_away(tmp_path: Path) -> None:
    for name, age in (("old", 2 * upload.STALE_SECONDS), ("new", 0)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    with upload.temporary(tmp_path) as (path, file):
        file.write(b"x")
        assert path.exists()
    assert [each.name for each in tmp_path.iterdir()] == ["new"]


def test_more_rows_than_are_taken_are_refused_before_they_are_made() -> None:
    with pytest.raises(RequestError, match="The tensors have 3 rows") as refused:
        v2._rows(CAR_PRICE, {"horsepower": Tensor("horsepower", "FP64", [1.0] * 3)}, 2)
    assert refused.value.status == 413


def test_a_price_without_classes_and_one_without_end(tmp_path: Path) -> None:
    sha256 = write_task_bundle(tmp_path / "b", CAR_PRICE)
    served = load(tmp_path / "b", CAR_PRICE, Validator(CAR_PRICE), version="1", manifest_sha256=sha256, origin="disk")
    predictor: Any = served.predictor
    row = served.validated(dict(CAR_PRICE.example))
    predictor._segments = ()
    predictor._manifest = predictor._manifest.model_copy(update={"segments": []})
    assert "segment" not in predictor.answer(row)
    assert "segment" not in predictor.flat(Columns.of(CAR_PRICE, [row]))
    with pytest.raises(BundleError, match="no finite ends"):
        predictor._told(1.0, 0.0, math.inf)


@pytest.mark.parametrize(
    ("sent", "status"), [((), 500), ((True,), 200), ((False,), 200)], ids=["nothing", "half", "whole"]
)
def test_a_fault_nobody_foresaw_is_a_problem_unless_an_answer_is_out(sent: tuple[bool, ...], status: int) -> None:
    async def failing(_scope: Any, _receive: Any, send: Any) -> None:
        for more in sent:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"x", "more_body": more})
        raise ZeroDivisionError

    told: list[Any] = []

    async def send(message: Any) -> None:
        told.append(message)

    async def run() -> None:
        scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}
        await Edge(failing, Metrics())(scope, None, send)  # type: ignore[arg-type]

    if sent == (True,):
        with pytest.raises(ZeroDivisionError):
            asyncio.run(run())
    else:
        asyncio.run(run())
    assert told[0]["status"] == status
