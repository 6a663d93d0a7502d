"""A node of a model, or a chain that stands for it, alone in a model of its own, to be timed.

In int8 it is what a runtime fuses to kernels in int8, and what those around it hand it: uint8 in and out,
weights of int8 with a step for each output channel, biases of int32. Steps are made up, as no kernel's
time depends on them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper

from onnxzip.graph.changing.chaining.sites import Site, weight_index
from onnxzip.graph.reading.model import Model, add_initializer
from onnxzip.graph.reading.tensors import element_type
from onnxzip.records.aliases import Array, AttributeValue, RunForm
from onnxzip.transforms.chains import Chain

INPUT = "x"
"""What is fed."""

_OPSET, _IR_VERSION = 17, 8
"""Have all operators that are used here; onnxruntime knows them from 1.13 on."""

_STEP = 1 / 64
"""Of all uint8 values."""


def lone_node(chain: Chain, site: Site, shape: tuple[int, ...], form: RunForm) -> Model:
    """Return a model of a chain alone; a node itself is a chain of one stage.

    Args:
        chain: what runs.
        site: what is around it.
        shape: of what it is fed with.
        form: what it computes in.
    """
    draft = _Draft(form)
    element = element_type(chain.layer.weight.dtype)
    is_static = form == "int8"
    value = draft.rounded(INPUT) if is_static else INPUT
    links = list(chain.links())
    for i, (_, weight, attributes) in enumerate(links):
        is_last = i == len(links) - 1
        value = draft.multiply(chain, value, weight, attributes, has_bias=site.has_bias and is_last)
        if is_last and site.is_rectified:
            value = draft.node("Relu", value)
        if is_static:
            value = draft.quantized(value, is_positive=is_last and site.is_rectified)
            value = value if is_last else draft.rounded(value)
    graph = draft.model.proto.graph
    graph.input.append(
        helper.make_tensor_value_info(INPUT, TensorProto.UINT8 if is_static else element, shape)
    )
    graph.output.append(helper.make_empty_tensor_value_info(value))
    return draft.model


@dataclass
class _Draft:
    """A model that nodes are added to; each gets a name of its own."""

    form: RunForm
    model: Model = field(init=False)

    def __post_init__(self) -> None:
        proto = onnx.ModelProto(ir_version=_IR_VERSION)
        proto.opset_import.append(helper.make_opsetid("", _OPSET))
        proto.graph.name = "node"
        self.model = Model(proto)
        self._n_names = 0

    def node(self, op_type: str, *inputs: str, n_outputs: int = 1, **attributes: AttributeValue) -> str:
        """Add a node; return the name of its output, of several the common part of their names."""
        name = self._new_name()
        outputs = [name] if n_outputs == 1 else [f"{name}_{i}" for i in range(n_outputs)]
        self.model.proto.graph.node.append(helper.make_node(op_type, inputs, outputs, **attributes))
        return name

    def constant(self, array: Array) -> str:
        name = self._new_name()
        add_initializer(self.model, name, array)
        return name

    def rounded(self, value: str) -> str:
        """Return what is left of a uint8 value."""
        return self.node("DequantizeLinear", value, *self._grid(is_positive=False))

    def quantized(self, value: str, *, is_positive: bool) -> str:
        return self.node("QuantizeLinear", value, *self._grid(is_positive=is_positive))

    def multiply(
        self,
        chain: Chain,
        value: str,
        weight: Array,
        attributes: dict[str, AttributeValue],
        *,
        has_bias: bool,
    ) -> str:
        """Add a node that multiplies by a weight, in the form that is asked for."""
        op_type, index = chain.layer.op_type, weight_index(chain.layer)
        axis = 1 if op_type == "MatMul" and index == 1 else 0
        if self.form == "dynamic int8":
            name = self.node("DynamicQuantizeLinear", value, n_outputs=3)
            value = self.node("DequantizeLinear", *(f"{name}_{i}" for i in range(3)))
        others = tuple(i for i in range(weight.ndim) if i != axis)
        steps = np.maximum(np.abs(weight).max(axis=others), 1e-6).astype(np.float32) / np.float32(63)
        operands = [value, self._weight(weight, steps, axis)]
        if has_bias:
            operands.append(self._bias(steps, weight.dtype))
        return self.node(op_type, *(operands if index == 1 else operands[::-1]), **attributes)

    def _weight(self, weight: Array, steps: Array, axis: int) -> str:
        if self.form == "float32":
            return self.constant(weight)
        wide = steps.reshape([-1 if i == axis else 1 for i in range(weight.ndim)])
        integers = np.rint(weight / wide).astype(np.int8)
        zeros = np.zeros(len(steps), np.int8)
        operands = [self.constant(array) for array in (integers, steps, zeros)]
        return self.node("DequantizeLinear", *operands, axis=axis)

    def _bias(self, steps: Array, dtype: np.dtype[np.generic]) -> str:
        if self.form != "int8":
            return self.constant(np.zeros(len(steps), dtype))
        integers = np.zeros(len(steps), np.int32)
        operands = [self.constant(array) for array in (integers, steps * np.float32(_STEP))]
        return self.node("DequantizeLinear", *operands, axis=0)

    def _grid(self, *, is_positive: bool) -> tuple[str, str]:
        zero_point = np.array(0 if is_positive else 128, np.uint8)
        return self.constant(np.array(_STEP, np.float32)), self.constant(zero_point)

    def _new_name(self) -> str:
        self._n_names += 1
        return f"v{self._n_names}"
