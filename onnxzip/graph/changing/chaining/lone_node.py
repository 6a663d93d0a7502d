"""A node of a model, or a chain that stands for it, alone in a model of its own, to be timed.

In int8 it is what a runtime fuses to kernels in int8, between others of that kind: uint8 in and out,
weights of int8 with a step for each output channel, biases of int32. Steps are made up, as no kernel's
time depends on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import onnx
from onnx import helper

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


def lone_node(chain: Chain | None, site: Site, fed: Array, form: RunForm) -> Model:
    """Return a model of a chain alone; a node itself is a chain of one stage.

    Args:
        chain: what runs; None for nothing, to know what a call of a session takes by itself.
        site: what is around it.
        fed: what it is fed with.
        form: what it computes in.
    """
    draft = _Draft(form)
    value = draft.node("Identity", INPUT) if chain is None else _emit(chain, site, draft)
    element = element_type(fed.dtype)
    graph = draft.model.proto.graph
    graph.input.append(helper.make_tensor_value_info(INPUT, element, fed.shape))
    graph.output.append(helper.make_empty_tensor_value_info(value))
    return draft.model


def _emit(chain: Chain, site: Site, draft: _Draft) -> str:
    """Add a chain and what runtimes compute with it; return the name of what it makes."""
    is_static = draft.form == "int8"
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
    return value


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

    def node(self, op_type: str, *inputs: str, **attributes: AttributeValue) -> str:
        """Add a node; return the name of its output."""
        return self.nodes(op_type, inputs, 1, attributes)[0]

    def nodes(
        self,
        op_type: str,
        inputs: Sequence[str],
        n_outputs: int,
        attributes: Mapping[str, AttributeValue] = MappingProxyType({}),
    ) -> list[str]:
        """Add a node; return the names of its outputs."""
        outputs = [self._new_name() for _ in range(n_outputs)]
        node = helper.make_node(op_type, inputs, outputs)
        node.attribute.extend(helper.make_attribute(k, value) for k, value in attributes.items())
        self.model.proto.graph.node.append(node)
        return outputs

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
        attributes: Mapping[str, AttributeValue],
        *,
        has_bias: bool,
    ) -> str:
        """Add a node that multiplies by a weight, in the form that is asked for."""
        op_type, index = chain.layer.op_type, weight_index(chain.layer)
        axis = 1 if op_type == "MatMul" and index == 1 else 0
        if self.form == "dynamic int8":
            value = self.node("DequantizeLinear", *self.nodes("DynamicQuantizeLinear", [value], 3))
        others = tuple(i for i in range(weight.ndim) if i != axis)
        steps = np.maximum(np.abs(weight).max(axis=others), 1e-6).astype(np.float32) / np.float32(63)
        operands = [value, self._weight(weight, steps, axis)]
        if has_bias:
            operands.append(self._bias(steps, weight.dtype))
        operands = operands if index == 1 else operands[::-1]
        return self.nodes(op_type, operands, 1, attributes)[0]

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
