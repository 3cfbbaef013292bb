"""Models of a bundle that are none, or others than its manifest says; answers that are no numbers."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from backend import engine
from backend.engine import Engine
from sigap.errors import BundleError


def model(
    operator: str = "Identity", name: str = "X", width: int | str | None = 2, kind: int = TensorProto.FLOAT
) -> bytes:
    """One operator from X to y; `Div` divides X by itself, which is no number at zero."""
    taken = helper.make_tensor_value_info(name, kind, [None, width])
    given = helper.make_tensor_value_info("y", kind, [None, width])
    node = helper.make_node(operator, [name] * (2 if operator == "Div" else 1), ["y"])
    graph = helper.make_graph([node], "g", [taken], [given])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


@pytest.mark.parametrize(
    ("content", "outputs", "said"),
    [
        (b"no model", ("y",), "can't be loaded"),
        (model(name="Z"), ("y",), "must take one float tensor X"),
        (model(kind=TensorProto.INT64), ("y",), "must take one float tensor X"),
        (model(width=3), ("y",), "takes 3 features, its manifest names 2"),
        (model(), ("price",), "must give price"),
    ],
)
def test_a_model_that_does_not_fit_its_manifest_is_refused(content: bytes, outputs: tuple[str, ...], said: str) -> None:
    with pytest.raises(BundleError, match=said):
        Engine(content, 2, outputs)


@pytest.mark.parametrize("width", [2, "features", None])
def test_a_width_that_is_left_open_fits(width: int | str | None) -> None:
    assert Engine(model(width=width), 2, ("y",)).one([1.0, 2.0]) == [[1.0, 2.0]]


@pytest.mark.parametrize("open_width", [1, None])
def test_what_is_no_number_is_never_an_answer(open_width: int | None) -> None:
    found = Engine(model("Div", width=open_width), 1, ("y",))
    assert (found.number([4.0]), found.numbers([[4.0], [5.0]])) == (1.0, [1.0, 1.0])
    assert found.many_numbers(np.array([[4.0], [5.0]])).tolist() == [1.0, 1.0]
    rows = [[4.0], [0.0]]
    for ask in (lambda: found.number([0.0]), lambda: found.numbers(rows), lambda: found.many_numbers(np.array(rows))):
        with pytest.raises(BundleError, match="no finite y for every row"):
            ask()


def test_two_numbers_a_row_are_not_one() -> None:
    found = Engine(model(), 2, ("y",))
    for ask in (lambda: found.number([1.0, 2.0]), lambda: found.numbers([[1.0, 2.0]])):
        with pytest.raises(BundleError, match="no finite y"):
            ask()


def test_a_large_model_answers_as_a_small_one_and_a_broken_one_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "LARGE", 1)
    assert onnx.load_from_string(model())
    assert Engine(model(), 2, ("y",)).one([1.0, 2.0]) == [[1.0, 2.0]]
    with pytest.raises(BundleError, match="can't be loaded"):
        Engine(b"no model", 2, ("y",))
