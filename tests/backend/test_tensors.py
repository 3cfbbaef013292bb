"""Tensors of the Open Inference Protocol, read and written by themselves."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest

from backend.problems import RequestError
from backend.tensors import HEADER_LENGTH, Tensor, decode_inference, encode_inference


def whole(head: dict[str, Any], binary: bytes = b"") -> tuple[bytes, str]:
    content = json.dumps(head).encode()
    return content + binary, str(len(content))


def column(datatype: str, size: int, rows: int) -> dict[str, Any]:
    return {"name": "c", "datatype": datatype, "shape": [rows], "parameters": {"binary_data_size": size}}


TEXTS = b"".join(struct.pack("<I", len(text)) + text for text in ("é".encode(), b""))


@pytest.mark.parametrize(
    ("datatype", "content", "values"),
    [
        ("FP32", struct.pack("<2f", 1.5, -2), [1.5, -2.0]),
        ("BOOL", b"\1\0", [True, False]),
        ("UINT64", struct.pack("<Q", 2**63), [2**63]),
        ("BYTES", TEXTS, ["é", ""]),
        ("BYTES", b"", []),
    ],
)
def test_binary_columns_are_read_as_they_were_written(datatype: str, content: bytes, values: list[Any]) -> None:
    found = decode_inference(*whole({"inputs": [column(datatype, len(content), len(values))]}, content))
    assert list(found.inputs["c"].values) == values
    body, headers, media = encode_inference({}, [(found.inputs["c"], True)])
    assert media == "application/octet-stream"
    assert body[int(headers[HEADER_LENGTH]) :] == content
    plain, none, media = encode_inference({"id": "i"}, [(found.inputs["c"], False)])
    assert (json.loads(plain)["outputs"][0]["data"], none, media) == (values, {}, "application/json")


@pytest.mark.parametrize(
    ("head", "binary", "said"),
    [
        ({"inputs": [column("FP32", 6, 1)]}, bytes(6), "a multiple of 4"),
        ({"inputs": [column("FP32", 9, 1)]}, bytes(8), "no more bytes than the body has"),
        ({"inputs": [column("FP32", True, 1)]}, bytes(8), "no more bytes than the body has"),
        ({"inputs": [column("FP32", 4, 1)]}, bytes(5), "no bytes after the last tensor's"),
        ({"inputs": [column("FP32", 8, 1)]}, bytes(8), "1 values, as the shape says"),
        ({"inputs": [column("BYTES", 6, 1)]}, struct.pack("<I", 9) + b"ab", "in four bytes, then the text"),
        ({"inputs": [column("BYTES", 6, 1)]}, struct.pack("<I", 2) + b"\xff\xfe", "texts in UTF-8"),
        ({"inputs": [column("BYTES", 2, 1)]}, b"ab", "texts in UTF-8"),
        ({"outputs": "all"}, b"", "a list of outputs"),
        ({"outputs": [{"name": "price", "parameters": 7}]}, b"", "an object"),
    ],
)
def test_bytes_that_do_not_fit_are_refused_with_what_was_expected(
    head: dict[str, Any], binary: bytes, said: str
) -> None:
    with pytest.raises(RequestError) as refused:
        decode_inference(*whole(head, binary))
    (error,) = refused.value.errors
    assert said in error.expected


def test_outputs_may_each_be_wanted_in_binary_or_not() -> None:
    wanted = [{"name": "a"}, {"name": "b", "parameters": {"binary_data": False}}]
    head = {"inputs": [], "outputs": wanted, "parameters": {"binary_data_output": True}}
    found = decode_inference(json.dumps(head).encode(), None)
    assert (dict(found.outputs), found.binary) == ({"a": True, "b": False}, True)
    body, headers, _ = encode_inference({}, [(Tensor("a", "FP64", [1.0]), True), (Tensor("b", "FP64", [2.0]), False)])
    described = json.loads(body[: int(headers[HEADER_LENGTH])])["outputs"]
    assert [each.get("data") for each in described] == [None, [2.0]]
