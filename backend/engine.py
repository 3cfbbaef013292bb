"""ONNX Runtime behind two numbers: a row of features goes in, a level and a distance come out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from sigap.errors import BundleError

_INPUT_TYPES: dict[str, type[np.floating[Any]]] = {"tensor(float)": np.float32, "tensor(double)": np.float64}


class Engine:
    """A clustering model in ONNX: input `X` [n, features], outputs `label` [n] and `distances` [n, levels].

    Args:
        model: The ONNX file's content.
        features: Number of features.
        levels: Number of levels.

    Raises:
        BundleError: The content is no ONNX model, or has other inputs and outputs.
    """

    def __init__(self, model: bytes, features: int, levels: int) -> None:
        options = ort.SessionOptions()
        # More threads spin and lose on rows this small; the API scales by processes.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions share no base but Exception
            raise BundleError("The bundle's model can't be loaded by ONNX Runtime.") from error
        inputs = self._session.get_inputs()
        outputs = {output.name for output in self._session.get_outputs()}
        if len(inputs) != 1 or inputs[0].name != "X" or inputs[0].type not in _INPUT_TYPES:
            raise BundleError("The bundle's model must take one float tensor X.")
        if inputs[0].shape[-1] not in (features, None) and not isinstance(inputs[0].shape[-1], str):
            raise BundleError(
                f"The bundle's model takes {inputs[0].shape[-1]} features, its manifest names {features}."
            )
        if not {"label", "distances"} <= outputs:
            raise BundleError(f"The bundle's model must give label and distances, it gives {sorted(outputs)}.")
        self._type = _INPUT_TYPES[inputs[0].type]
        self._levels = levels

    def infer(self, row: Sequence[float]) -> tuple[int, float]:
        """The level (0 is the best) and the distance to its centre of one row of features, in the model's order.

        Raises:
            BundleError: The model gives something else than a level and a finite distance.
        """
        labels, distances = self._session.run(["label", "distances"], {"X": np.array([row], dtype=self._type)})
        cluster = int(labels[0])
        if distances.shape[-1] != self._levels or not 0 <= cluster < self._levels:
            raise BundleError(f"The bundle's model answers with level {cluster}; there are {self._levels}.")
        distance = float(distances[0][cluster])
        if not math.isfinite(distance):
            raise BundleError("The bundle's model answers with a distance that is not finite.")
        return cluster, distance
