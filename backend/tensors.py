"""Tensors of the Open Inference Protocol: read from JSON or its binary extension, and written in either.

The protocol: https://github.com/kserve/open-inference-protocol, and Triton's extension "binary tensor data".
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from backend.decode import decode
from backend.problems import FieldProblem, RequestError, shown
from backend.requests import refused

NUMBERS = {
    "UINT8": "<u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8",
    "INT8": "<i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8",
    "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
TYPES = {"BOOL": "?", **NUMBERS}
HEADER_LENGTH = "inference-header-content-length"


@dataclass(frozen=True)
class Tensor:
    """A named column of values.

    Attributes:
        name: Its name.
        datatype: By the protocol, such as FP64 or BYTES.
        values: One a row; text where the type is BYTES, None for null.
    """

    name: str
    datatype: str
    values: Sequence[Any]


@dataclass(frozen=True)
class Inference:
    """A decoded request.

    Attributes:
        id: Given by the client, and given back; None if none was.
        inputs: By name.
        outputs: Those wanted, each with whether in binary; empty for all.
        binary: Whether outputs that say nothing of it are wanted in binary.
    """

    id: str | None
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, bool] = field(default_factory=dict)
    binary: bool = False


def decode_inference(body: bytes, header_length: str | None) -> Inference:
    """The request in `body`, whose first `header_length` bytes are JSON; all of them where it is None.

    Raises:
        RequestError: 400 or 422, it is no request of the protocol.
    """
    binary = b""
    if header_length is None:
        fields = decode(body)
    else:
        if not header_length.isascii() or not header_length.isdigit() or int(header_length) > len(body):
            raise _wrong(HEADER_LENGTH, header_length, "the length in bytes of the body's JSON part")
        fields, binary = decode(body[: int(header_length)]), body[int(header_length) :]
    inputs = fields.get("inputs", [])
    if not isinstance(inputs, list):
        raise _wrong("inputs", inputs, "a list of tensors")
    tensors: dict[str, Tensor] = {}
    for position, entry in enumerate(inputs):
        tensor, binary = _tensor(f"inputs.{position}", entry, binary)
        if tensor.name in tensors:
            raise _wrong(f"inputs.{position}.name", tensor.name, "every input once")
        tensors[tensor.name] = tensor
    if binary:
        raise _wrong("inputs", len(binary), "no bytes after the last tensor's")
    given = fields.get("id")
    if given is not None and not isinstance(given, str):
        raise _wrong("id", given, "a text")
    parameters = _parameters("parameters", fields)
    always = parameters.get("binary_data_output") is True
    return Inference(given, tensors, _outputs(fields.get("outputs"), always), always)


def encode_inference(
    head: Mapping[str, Any], outputs: Sequence[tuple[Tensor, bool]]
) -> tuple[bytes, dict[str, str], str]:
    """An answer's body, headers and media type.

    Args:
        head: What stands beside the outputs.
        outputs: Each with whether in binary.
    """
    described, blobs = [], []
    for tensor, binary in outputs:
        entry: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": [len(tensor.values)]}
        if binary:
            blob = _blob(tensor)
            blobs.append(blob)
            entry["parameters"] = {"binary_data_size": len(blob)}
        else:
            entry["data"] = list(tensor.values)
        described.append(entry)
    content = json.dumps({**head, "outputs": described}, separators=(",", ":"), allow_nan=False).encode()
    if not blobs:
        return content, {}, "application/json"
    return b"".join([content, *blobs]), {HEADER_LENGTH: str(len(content))}, "application/octet-stream"


def _outputs(wanted: Any, always: bool) -> dict[str, bool]:
    if wanted is None:
        return {}
    if not isinstance(wanted, list):
        raise _wrong("outputs", wanted, "a list of outputs, each with its name")
    found = {}
    for position, entry in enumerate(wanted):
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise _wrong(f"outputs.{position}", entry, "an output with its name")
        binary = _parameters(f"outputs.{position}.parameters", entry).get("binary_data", always)
        found[entry["name"]] = binary is True
    return found


def _parameters(where: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    parameters = fields.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise _wrong(where, parameters, "an object")
    return parameters


def _tensor(where: str, entry: Any, binary: bytes) -> tuple[Tensor, bytes]:
    """The tensor, and what is left of the binary part."""
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise _wrong(where, entry, "a tensor with name, datatype, shape and data")
    name, datatype, shape = entry["name"], entry.get("datatype"), entry.get("shape")
    if datatype != "BYTES" and datatype not in TYPES:
        raise _wrong(f"{name}.datatype", datatype, f"one of: BYTES, {', '.join(TYPES)}")
    if not isinstance(shape, list) or not _one_column(shape):
        raise _wrong(f"{name}.shape", shape, "[rows] or [rows, 1]")
    size = _parameters(f"{name}.parameters", entry).get("binary_data_size")
    if size is None:
        values: Sequence[Any] = _flat(name, entry.get("data"))
    else:
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(binary):
            raise _wrong(f"{name}.parameters.binary_data_size", size, "no more bytes than the body has")
        values, binary = _unpacked(name, datatype, binary[:size]), binary[size:]
    if len(values) != math.prod(shape):
        raise _wrong(f"{name}.data", len(values), f"{math.prod(shape)} values, as the shape says")
    return Tensor(name, datatype, values), binary


def _one_column(shape: Sequence[Any]) -> bool:
    whole = all(isinstance(each, int) and not isinstance(each, bool) and each >= 0 for each in shape)
    return whole and (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1))


def _flat(name: str, data: Any) -> list[Any]:
    if not isinstance(data, list):
        raise _wrong(f"{name}.data", data, "a list of values")
    return [value for each in data for value in (each if isinstance(each, list) else (each,))]


def _unpacked(name: str, datatype: str, content: bytes) -> Sequence[Any]:
    if datatype != "BYTES":
        kind = np.dtype(TYPES[datatype])
        if len(content) % kind.itemsize:
            raise _wrong(f"{name}.parameters.binary_data_size", len(content), f"a multiple of {kind.itemsize}")
        values: list[Any] = np.frombuffer(content, kind).tolist()
        return values
    texts, at = [], 0
    try:
        while at < len(content):
            (length,) = struct.unpack_from("<I", content, at)
            at += 4
            if at + length > len(content):
                raise _wrong(f"{name}.data", length, "each text's length in four bytes, then the text")
            texts.append(content[at : at + length].decode())
            at += length
    except (struct.error, UnicodeDecodeError) as error:
        raise _wrong(f"{name}.data", len(content), "texts in UTF-8, each after its length in four bytes") from error
    return texts


def _blob(tensor: Tensor) -> bytes:
    if tensor.datatype != "BYTES":
        return np.array(tensor.values, TYPES[tensor.datatype]).tobytes()
    texts = [str(value).encode() for value in tensor.values]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def _wrong(name: str, value: Any, expected: str) -> RequestError:
    return refused([FieldProblem(field=str(shown(name)), value=shown(value), expected=expected, remedy="Correct it.")])
