"""ONNX Runtime behind rows of numbers: rows of the model's columns go in, arrays of numbers come out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from sigap.errors import BundleError

_INPUT_TYPES: dict[str, type[np.floating[Any]]] = {"tensor(float)": np.float32, "tensor(double)": np.float64}
SLICE = 4096


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
        options = ort.SessionOptions()
        # More threads spin and lose on rows this small; the API scales by processes.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # An arena keeps memory for large tensors that never come.
        options.enable_cpu_mem_arena = False
        try:
            self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
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

    @property
    def type(self) -> type[np.floating[Any]]:
        """The type of the numbers that the model takes."""
        return self._type

    def run(self, rows: Sequence[Sequence[float]] | NDArray[Any]) -> list[NDArray[Any]]:
        """The outputs for `rows`, in the order they were asked for; the first axis of each is that of the rows."""
        outputs: list[NDArray[Any]] = self._session.run(self._outputs, {"X": np.asarray(rows, dtype=self._type)})
        return outputs

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
