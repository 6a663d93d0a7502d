"""Odd tensors and graphs: empty, infinite, unused or sparse weights, outputs other than floats."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.casebook.kit import BATCH, Draft, case, random_array, value

X = value("x", [BATCH, 64])
Y = value("y", [BATCH, 48])


@case()
def empty_and_scalar_initializers() -> onnx.ModelProto:
    """A zero-sized initializer in a Concat, a scalar factor, and a zero-sized one that nobody reads."""
    draft = Draft()
    product = draft.add("MatMul", ["x", draft.weight("weight", 64, 48)], "m")
    scaled = draft.add("Mul", [product, draft.tensor("scalar", np.float32(0.5))], "s")
    nothing = draft.tensor("nothing", np.zeros((0, 48), np.float32))
    draft.tensor("unused", np.zeros((4, 0, 3), np.float32))
    draft.add("Concat", [scaled, nothing], "y", axis=0)
    return draft.model([X], [Y])


@case(n_weights=2)
def unused_weight() -> onnx.ModelProto:
    """A large initializer that no node reads."""
    draft = Draft()
    draft.add("MatMul", ["x", draft.weight("weight", 64, 48)], "y")
    draft.weight("unused", 64, 64)
    return draft.model([X], [Y])


@case(finite=False)
def nan_weight() -> onnx.ModelProto:
    """One NaN, one Inf and one -Inf in a large weight."""
    draft = Draft()
    array = random_array(draft.rng, (64, 48))
    array[3, 4], array[5, 6], array[7, 8] = np.nan, np.inf, -np.inf
    draft.add("MatMul", ["x", draft.tensor("weight", array)], "y")
    return draft.model([X], [Y])


@case(n_weights=2)
def infinite_mask() -> onnx.ModelProto:
    """A large causal mask of 0 and -Inf, as attention has: legitimate, and to be left alone."""
    draft = Draft()
    product = draft.add("MatMul", ["x", draft.weight("weight", 64, 64)], "m")
    mask = np.triu(np.full((64, 64), -np.inf, np.float32), 1)
    draft.add(
        "Softmax", [draft.add("Add", [product, draft.tensor("mask", mask)], "masked")], "y", axis=-1
    )
    return draft.model([value("x", [64, 64])], [value("y", [64, 64])])


@case(n_weights=1)
def constant_weight_values() -> onnx.ModelProto:
    """A large weight that is zero throughout: its norm is 0."""
    draft = Draft()
    draft.add("MatMul", ["x", draft.tensor("weight", np.zeros((64, 48), np.float32))], "y")
    return draft.model([X], [Y])


@case(n_weights=1)
def extreme_scales() -> onnx.ModelProto:
    """Rows of one weight that differ by 1e30 in scale, subnormal numbers among them."""
    draft = Draft()
    array = random_array(draft.rng, (64, 48)) * np.logspace(-42, 8, 64)[:, None]
    draft.add("MatMul", ["x", draft.tensor("weight", array.astype(np.float32))], "y")
    return draft.model([X], [Y])


@case(n_weights=0)
def no_weights() -> onnx.ModelProto:
    """Nothing to compress: the output must not be larger than the input."""
    draft = Draft()
    draft.add("Softmax", [draft.add("Relu", ["x"], "r")], "y", axis=-1)
    return draft.model([X], [value("y", [BATCH, 64])])


@case(n_weights=0)
def tiny_weights() -> onnx.ModelProto:
    """A weight of 12 numbers: any decode subgraph costs more than it saves."""
    draft = Draft()
    draft.add("MatMul", ["x", draft.weight("weight", 4, 3)], "y")
    return draft.model([value("x", [BATCH, 4])], [value("y", [BATCH, 3])])


@case()
def string_output() -> onnx.ModelProto:
    """Class labels as a string tensor, taken from a string initializer."""
    draft = Draft()
    draft.add("MatMul", ["x", draft.weight("weight", 64, 48)], "scores")
    best = draft.add("ArgMax", ["scores"], "best", axis=1, keepdims=0)
    names = draft.tensor("names", np.array([f"class {i}" for i in range(48)], dtype=object))
    draft.add("Gather", [names, best], "label")
    return draft.model([X], [value("label", [BATCH], TensorProto.STRING), value("scores", [BATCH, 48])])


@case()
def sequence_output() -> onnx.ModelProto:
    """A sequence of tensors as graph output."""
    draft = Draft()
    product = draft.add("MatMul", ["x", draft.weight("weight", 64, 48)], "m")
    draft.add("SplitToSequence", [product], "parts", axis=1, keepdims=1)
    parts = helper.make_tensor_sequence_value_info("parts", TensorProto.FLOAT, [BATCH, 1])
    return draft.model([X], [parts])


@case(n_weights=0, strict=False)
def sparse_initializer() -> onnx.ModelProto:
    """A weight kept in `sparse_initializer`; onnxruntime turns it dense."""
    draft = Draft()
    draft.add("MatMul", ["x", "weight"], "y")
    model = draft.model([X], [Y])
    positions = np.sort(draft.rng.choice(64 * 48, 300, replace=False)).astype(np.int64)
    values = numpy_helper.from_array(random_array(draft.rng, (300,)), "weight")
    indices = numpy_helper.from_array(positions, "weight_indices")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [64, 48]))
    return model


@case(strict=False)
def unsorted_nodes() -> onnx.ModelProto:
    """Nodes in the wrong order: against the standard, and sorted silently by onnxruntime."""
    draft = Draft()
    draft.add("Relu", ["h"], "y")
    draft.add("MatMul", ["x", draft.weight("weight", 64, 48)], "h")
    return draft.model([X], [Y])
