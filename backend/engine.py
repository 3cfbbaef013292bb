"""ONNX Runtime behind rows of numbers: rows of the model's columns go in, arrays of numbers come out."""

from __future__ import annotations

import logging
import math
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from sigap.errors import BundleError

_INPUT_TYPES: dict[str, type[np.floating[Any]]] = {"tensor(float)": np.float32, "tensor(double)": np.float64}
SLICE = 4096
# Bytes of an ONNX file from which on its memory counts.
LARGE = 2**18

log = logging.getLogger("sigap.api")


class Engine:
    """A model in ONNX with one input `X` [n, width]; `sigap.bundle` says which outputs a task's model has.

    Args:
        model: The ONNX file's content.
        width: Number of columns of `X`.
        outputs: Names of the outputs wanted.

    Raises:
        BundleError: The content is no ONNX model, or has other inputs and outputs.
    """

    def __init__(self, model: bytes, width: int, outputs: Sequence[str]) -> None:
        try:
            self._session = _session(model)
        except Exception as error:  # ONNX Runtime's exceptions share no base but Exception
            raise BundleError("The bundle's model can't be loaded by ONNX Runtime.") from error
        inputs = self._session.get_inputs()
        given = {output.name for output in self._session.get_outputs()}
        if len(inputs) != 1 or inputs[0].name != "X" or inputs[0].type not in _INPUT_TYPES:
            raise BundleError("The bundle's model must take one float tensor X.")
        taken = inputs[0].shape[-1]
        if taken not in (width, None) and not isinstance(taken, str):
            raise BundleError(f"The bundle's model takes {taken} features, its manifest names {width}.")
        if not set(outputs) <= given:
            raise BundleError(f"The bundle's model must give {' and '.join(outputs)}, it gives {sorted(given)}.")
        self._outputs = list(outputs)
        self._type = _INPUT_TYPES[inputs[0].type]
        self._one = _OneRow(self._session, np.zeros((1, width), self._type), self._outputs)

    @property
    def type(self) -> type[np.floating[Any]]:
        """The type of the numbers that the model takes."""
        return self._type

    def run(self, rows: Sequence[Sequence[float]] | NDArray[Any]) -> list[NDArray[Any]]:
        """The outputs for `rows`, in the order they were asked for; the first axis of each is that of the rows."""
        outputs: list[NDArray[Any]] = self._session.run(self._outputs, {"X": np.asarray(rows, dtype=self._type)})
        return outputs

    def one(self, row: Sequence[float]) -> list[list[Any]]:
        """The outputs for a single row, each as the list of its numbers, in the order they were asked for."""
        return self._one(row)

    def number(self, row: Sequence[float]) -> float:
        """One finite number, of a model with a single output.

        Raises:
            BundleError: The model gives something else.
        """
        (values,) = self._one(row)
        if len(values) != 1 or not math.isfinite(values[0]):
            raise BundleError(f"The bundle's model gives no finite {self._outputs[0]} for every row.")
        return float(values[0])

    def numbers(self, rows: Sequence[Sequence[float]]) -> list[float]:
        """One finite number a row, of a model with a single output.

        Raises:
            BundleError: The model gives something else.
        """
        values: list[float] = self.run(rows)[0].reshape(-1).tolist()
        if len(values) != len(rows) or not all(map(math.isfinite, values)):
            raise BundleError(f"The bundle's model gives no finite {self._outputs[0]} for every row.")
        return values

    def many(self, rows: NDArray[Any]) -> list[NDArray[Any]]:
        """The outputs for many rows [n, width], as `run` gives them, computed in slices so that memory is bounded."""
        parts = [self.run(rows[start : start + SLICE]) for start in range(0, len(rows), SLICE)] or [self.run(rows)]
        return [np.concatenate(output) for output in zip(*parts, strict=True)] if len(parts) > 1 else parts[0]

    def many_numbers(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """One finite number a row, float64 [n], of a model with a single output.

        Raises:
            BundleError: The model gives something else.
        """
        values = self.many(rows)[0]
        if values.size != len(rows) or not np.isfinite(values).all():
            raise BundleError(f"The bundle's model gives no finite {self._outputs[0]} for every row.")
        return values.reshape(-1).astype(np.float64)


def _session(model: bytes) -> ort.InferenceSession:
    if len(model) < LARGE:
        return _opened(model, _options())
    # Of an ONNX file, ONNX Runtime keeps a forest's numbers twice; of its own format, once.
    try:
        with tempfile.TemporaryDirectory(prefix="sigap-model-") as folder:
            converted, options = str(Path(folder) / "model.ort"), _options()
            options.optimized_model_filepath = converted
            options.add_session_config_entry("session.save_model_format", "ORT")
            _opened(model, options)
            return _opened(converted, _options())
    except Exception as error:  # no place for the file, or no model: the latter is told by the last line
        log.info("A model is kept as it came, which takes more memory: %s.", type(error).__name__)
        return _opened(model, _options())


def _opened(model: bytes | str, options: ort.SessionOptions) -> ort.InferenceSession:
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _options() -> ort.SessionOptions:
    options = ort.SessionOptions()
    # More threads spin and lose on rows this small; the API scales by processes.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # An arena keeps memory for large tensors that never come.
    options.enable_cpu_mem_arena = False
    return options


class _OneRow:
    """Runs a model on one row at a time, with its input and outputs where they were the last time.

    ONNX Runtime takes half as long where it need not make arrays.
    """

    def __init__(self, session: ort.InferenceSession, row: NDArray[Any], outputs: Sequence[str]) -> None:
        self._session = session
        self._row = row
        # Several threads may ask one engine: the event loop, and whoever tests a bundle or explains an answer.
        self._lock = threading.Lock()
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input("X", ort.OrtValue.ortvalue_from_numpy(row))
        try:
            self._arrays = [np.zeros_like(array) for array in session.run(list(outputs), {"X": row})]
        except Exception as error:  # see `Engine`
            raise BundleError("The bundle's model can't answer a row of zeros.") from error
        for name, array in zip(outputs, self._arrays, strict=True):
            self._binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)

    def __call__(self, row: Sequence[float]) -> list[list[Any]]:
        with self._lock:
            self._row[0] = row
            self._session.run_with_iobinding(self._binding)
            return [array.ravel().tolist() for array in self._arrays]
