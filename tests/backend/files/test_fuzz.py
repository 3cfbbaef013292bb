"""Two thousand files with something broken in them: none is answered with a fault of the server's."""

from __future__ import annotations

import random
import resource
from pathlib import Path

import pytest

from tests.backend.files.conftest import CAR, Send, csv_of
from tests.backend.files.workbooks import changed, part, pq, xls, xlsx

ROWS = [{**CAR, "note": 'x,"y"'}, {**CAR, "curbweight": 3000, "note": "=1"}]
SHEET = "xl/worksheets/sheet1.xml"
PIECES = (
    b'"',
    b",",
    b";",
    b"\n",
    b"\r",
    b"\0",
    b"\xff",
    b"\xc3",
    b"=1",
    b"1e999",
    b"nan",
    b"<!DOCTYPE",
    b"&x;",
    b"\xef\xbb\xbf",
)
ROUNDS = {"csv": 1400, "xlsx": 250, "xls": 150, "parquet": 200}


def mutated(content: bytes, chance: random.Random) -> bytes:
    """The content with one to four things done to it."""
    work = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(work) + 1)
        length = chance.choice((1, 2, 8, 64))
        match chance.randrange(6):
            case 0:
                work[at : at + length] = chance.randbytes(length)
            case 1:
                del work[at : at + length]
            case 2:
                work[at:at] = chance.choice(PIECES) * chance.choice((1, 1, 3, 200))
            case 3:
                work[at:at] = work[max(at - length, 0) : at] * chance.choice((1, 5))
            case 4:
                del work[at:]
            case _ if at < len(work):
                work[at] ^= 1 << chance.randrange(8)
    return bytes(work)


def broken(kind: str, valid: bytes, chance: random.Random) -> bytes:
    if kind == "xlsx" and chance.random() < 0.8:
        # Inside of the archive, so that its checksums hold and what is broken reaches the reader.
        name = chance.choice((SHEET, SHEET, "xl/workbook.xml", "xl/styles.xml", "[Content_Types].xml"))
        return changed(valid, {name: mutated(part(valid, name), chance)})
    return mutated(valid, chance)


@pytest.mark.parametrize("kind", ROUNDS)
def test_no_broken_file_is_a_fault_of_the_server(send: Send, kind: str) -> None:
    chance = random.Random(f"files {kind}")
    make = {"csv": csv_of, "xlsx": xlsx, "xls": xls, "parquet": pq}[kind]
    valid = make(ROWS)
    statuses: dict[int, int] = {}
    before = memory()
    for number in range(ROUNDS[kind]):
        content = broken(kind, valid, chance)
        name = f"cars.{kind}" if chance.random() < 0.9 else chance.choice(("", "cars", "a.txt", "Ü.XLSX", "\x00.csv"))
        answer = send(content, name, params={"format": chance.choice(("csv", "csv", "json"))})
        assert answer.status_code in (200, 413, 422), (number, content, answer.text)
        if answer.status_code != 200:
            assert answer.headers["content-type"] == "application/problem+json"
        statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
    # Both what passes and what is refused was met.
    assert len(statuses) > 1
    assert memory() - before < 200


def memory() -> float:
    """The most memory this process has taken, in MB."""
    if Path("/proc/self/status").is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return 0.0
