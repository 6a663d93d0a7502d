"""What a model does to the values of an input first, and what values that tells of."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from onnxzip.graph import first_scalings, read_model
from onnxzip.records.input_scaling import InputScaling
from tests.casebook.kit import Draft, value

MEANS, DEVIATIONS = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
Step = tuple[str, float | np.ndarray] | tuple[str]


def network(*steps: Step, reversed_operands: bool = False) -> onnx.ModelProto:
    """Return a Conv behind steps such as ("Div", 255.0)."""
    draft = Draft()
    last = "x"
    for index, (op_type, *constants) in enumerate(steps):
        array = [np.asarray(c, np.float32) for c in constants]
        shaped = [a.reshape(1, -1, 1, 1) if a.size > 1 else a for a in array]
        names = [last, *(draft.tensor(f"c{index}", a) for a in shaped)]
        attributes = {"to": onnx.TensorProto.FLOAT} if op_type == "Cast" else {}
        last = draft.add(op_type, names[::-1] if reversed_operands else names, f"v{index}", **attributes)
    draft.add("Conv", [last, draft.weight("w", 8, 3, 3, 3)], "y")
    return draft.model([value("x", ["n", 3, 8, 8])], [value("y", None)])


def scaling_of(proto: onnx.ModelProto) -> InputScaling | None:
    return first_scalings(read_model(proto)).get("x")


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([("Div", 255.0)], "large"),
        ([("Mul", 1 / 255)], "large"),
        ([("Cast",), ("Transpose",), ("Div", 127.5), ("Sub", 1.0)], "large"),
        ([("Sub", np.float32([123.7, 116.8, 103.9]))], "large"),
        ([("Div", 255.0), ("Sub", MEANS), ("Div", DEVIATIONS)], "large"),
        ([("Sub", 255 * MEANS), ("Mul", 1 / (255 * DEVIATIONS))], "large"),
        ([("Div", 32768.0)], "large"),
        ([("Sub", MEANS), ("Div", DEVIATIONS)], "unit"),
        ([("Add", -MEANS), ("Div", DEVIATIONS)], "unit"),
        ([("Mul", 2.0), ("Sub", 1.0)], "unit"),
        ([("Mul", 255.0), ("Sub", 127.5), ("Div", 64.0)], "unit"),
        ([("Mul", 1.01)], "unknown"),
        ([("Add", 0.02), ("Div", 8.0)], "unknown"),
    ],
)
def test_constants_tell_what_values_are_expected(steps: list[Step], expected: str) -> None:
    scaling = scaling_of(network(*steps))
    assert scaling is not None
    assert scaling.expected == expected


def test_the_scaling_is_that_of_the_graph() -> None:
    scaling = scaling_of(network(("Div", 255.0), ("Sub", MEANS), ("Div", DEVIATIONS)))
    assert scaling is not None
    np.testing.assert_allclose(scaling.factors, 1 / 255 / DEVIATIONS, rtol=1e-6)
    np.testing.assert_allclose(scaling.offsets, -MEANS / DEVIATIONS, rtol=1e-6)
    turned = scaling_of(network(("Mul", 0.5), ("Sub", 3.0), reversed_operands=True))
    assert turned == InputScaling((-0.5,), (3.0,))


@pytest.mark.parametrize(
    "steps",
    [
        [],
        [("Relu",), ("Div", 255.0)],
        [("Transpose",)],
        [("Mul", 0.0)],
        [("Div", np.arange(1, 6))],  # features, not the channels of a picture
    ],
)
def test_what_does_not_scale_first_is_left_out(steps: list[Step]) -> None:
    assert scaling_of(network(*steps)) is None


def test_batch_normalization_scales_and_an_instance_norm_takes_all() -> None:
    draft = Draft()
    arrays = {
        "gain": 2 * np.ones(3),
        "shift": np.ones(3),
        "mean": 120 * np.ones(3),
        "var": 3600 * np.ones(3),
    }
    names = [draft.tensor(name, array.astype(np.float32)) for name, array in arrays.items()]
    draft.add("BatchNormalization", ["x", *names], "n", epsilon=0.0)
    draft.add("Relu", ["n"], "y")
    scaling = scaling_of(draft.model([value("x", ["n", 3, 8, 8])], [value("y", None)]))
    assert scaling is not None
    assert scaling.expected == "large"
    np.testing.assert_allclose(scaling.factors, 1 / 30)
    np.testing.assert_allclose(scaling.offsets, -3)
    draft = Draft()
    draft.tensor("gain", np.ones(3, np.float32))
    draft.add("InstanceNormalization", ["x", "gain", "gain"], "y")
    scaling = scaling_of(draft.model([value("x", ["n", 3, 8, 8])], [value("y", None)]))
    assert scaling is not None
    assert scaling.expected == "any"


def test_an_input_that_several_nodes_read_is_not_followed() -> None:
    """Who asks for its shape only does not count."""
    draft = Draft()
    draft.add("Div", ["x", draft.tensor("c", np.float32(255))], "scaled")
    draft.add("Shape", ["x"], "sizes")
    one = draft.model([value("x", ["n", 4])], [value("scaled", None), value("sizes", None)])
    assert scaling_of(one) is not None
    draft.add("Relu", ["x"], "other")
    two = draft.model([value("x", ["n", 4])], [value("scaled", None), value("other", None)])
    assert scaling_of(two) is None


def test_words_in_small_constants_are_no_numbers() -> None:
    draft = Draft()
    draft.tensor("words", np.array(["a", "b"], object))
    draft.add("Identity", ["x"], "y")
    assert scaling_of(draft.model([value("x", ["n", 4])], [value("y", None)])) is None
