"""What the operators of our decoders make of static shapes: the whole list of what a decoder may do.

A marked file may come from anybody. Its decoder is looked at with these rules of our own before anything
runs; what they do not know is refused. So they know no more than what passes and codec emit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import onnx

from onnxzip.graph.reading.layouts import QUANTISED_DOMAIN, node_attributes
from onnxzip.graph.reading.tensors import tensor_dtype

_MAX_RANK = 16
"""Axes: more than the 7 of a tiled wavelet, fewer than what costs time in shapes alone."""

Shape: TypeAlias = tuple[int, ...]


class ForeignError(ValueError):
    """A decode node that none of our decoders has; the message is the finding."""


@dataclass(frozen=True)
class Value:
    """What is known of a value before anything runs.

    Attributes:
        data_type: ONNX's element type.
        shape: its static shape.
        numbers: a list of sizes that is stored as such; None for any other value.
    """

    data_type: int
    shape: Shape
    numbers: Shape | None = None

    @property
    def n_elements(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)

    @property
    def n_bytes(self) -> int:
        """What they take in memory."""
        return self.n_elements * tensor_dtype(self.data_type).itemsize


@dataclass(frozen=True)
class _Call:
    """A node with what is known of its inputs."""

    inputs: Sequence[Value]
    attributes: Mapping[str, object]
    n_outputs: int

    def take(self, least: int, most: int | None = None) -> Sequence[Value]:
        """Return the inputs, if there are as many as the operator takes."""
        if not least <= len(self.inputs) <= (least if most is None else most):
            raise ForeignError(f"has {len(self.inputs)} inputs")
        return self.inputs

    def axis(self, rank: int, default: int = 0) -> int:
        """Return the attribute `axis`, counted from the front."""
        axis = self.attributes.get("axis", default)
        if not isinstance(axis, int) or not -rank <= axis < rank:
            raise ForeignError(f"has no axis {axis}")
        return axis % rank


def outputs_of(node: onnx.NodeProto, inputs: Sequence[Value]) -> list[Value]:
    """Return what a decode node makes.

    Args:
        node: the node.
        inputs: what is known of its inputs.

    Raises:
        ForeignError: it is no node of our decoders, or its inputs do not fit.
    """
    is_own = node.domain in ("", "ai.onnx") or (node.domain, node.op_type) == _FOREIGN
    known = _RULES.get(node.op_type) if is_own else None
    if known is None:
        raise ForeignError("is no operator of a decoder")
    rule, names = known
    attributes = node_attributes(node)
    if foreign := sorted(set(attributes) - names):
        raise ForeignError(f"has an attribute {foreign[0]!r}")
    if len(attributes) != len(node.attribute):
        raise ForeignError("has an attribute that is no number, or twice")
    made = rule(_Call(inputs, attributes, len(node.output)))
    if len(made) != len(node.output):
        raise ForeignError(f"has {len(node.output)} outputs")
    for value in made:
        if len(value.shape) > _MAX_RANK or any(size < 0 for size in value.shape):
            raise ForeignError("makes no plain shape")
    return made


def _identity(call: _Call) -> list[Value]:
    (value,) = call.take(1)
    return [Value(value.data_type, value.shape)]


def _cast(call: _Call) -> list[Value]:
    (value,) = call.take(1)
    target = call.attributes.get("to")
    if not isinstance(target, int) or not is_number_type(target):
        raise ForeignError(f"casts to type {target}")
    return [Value(target, value.shape)]


def is_number_type(data_type: int) -> bool:
    """Whether an element type of ONNX is one of numbers of whole bytes, or bool."""
    is_known = (
        data_type in onnx.TensorProto.DataType.values() and data_type != onnx.TensorProto.UNDEFINED
    )
    return is_known and tensor_dtype(data_type).kind not in "OSU"


def _elementwise(call: _Call) -> list[Value]:
    left, right = call.take(2)
    if left.data_type != right.data_type:
        raise ForeignError("mixes types")
    return [Value(left.data_type, _broadcast(left.shape, right.shape))]


def _broadcast(a: Shape, b: Shape) -> Shape:
    rank = max(len(a), len(b))
    pairs = zip((1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b, strict=True)
    sizes = []
    for x, y in pairs:
        if x != y and 1 not in (x, y):
            raise ForeignError(f"joins shapes {list(a)} and {list(b)}")
        sizes.append(y if x == 1 else x)
    return tuple(sizes)


def _matmul(call: _Call) -> list[Value]:
    left, right = call.take(2)
    a, b = left.shape, right.shape
    is_fitting = a and b and a[-1] == b[-2 if len(b) > 1 else 0]
    if left.data_type != right.data_type or not is_fitting:
        raise ForeignError(f"multiplies {list(a)} by {list(b)}")
    outer = (*a[-2:-1], *(b[-1:] if len(b) > 1 else ()))
    return [Value(left.data_type, (*_broadcast(a[:-2], b[:-2]), *outer))]


def _concat(call: _Call) -> list[Value]:
    first, *others = call.take(1, len(call.inputs))
    axis = call.axis(len(first.shape))
    shape = list(first.shape)
    for other in others:
        rest = [list(v.shape[:axis] + v.shape[axis + 1 :]) for v in (first, other)]
        if other.data_type != first.data_type or rest[0] != rest[1]:
            raise ForeignError(f"joins shapes {list(first.shape)} and {list(other.shape)}")
        shape[axis] += other.shape[axis]
    return [Value(first.data_type, tuple(shape))]


def _cumulative_sum(call: _Call) -> list[Value]:
    value, axis = call.take(2)
    if axis.n_elements != 1:
        raise ForeignError("sums along no axis")
    return [Value(value.data_type, value.shape)]


def _expand(call: _Call) -> list[Value]:
    value, target = call.take(2)
    return [Value(value.data_type, _broadcast(value.shape, _numbers(target)))]


def _gather(call: _Call) -> list[Value]:
    data, indices = call.take(2)
    axis = call.axis(len(data.shape))
    return [Value(data.data_type, data.shape[:axis] + indices.shape + data.shape[axis + 1 :])]


def _quantise(call: _Call) -> list[Value]:
    value, steps, zero_point = call.take(3)
    sizes = (value.shape[call.axis(len(value.shape), 1)],) if steps.shape else ()
    types = (value.data_type, steps.data_type, zero_point.data_type)
    is_known = types[:2] == (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT) and types[2] in _ROUNDED
    if not is_known or not steps.shape == zero_point.shape == sizes:
        raise ForeignError(f"rounds {list(value.shape)} by steps {list(steps.shape)}")
    return [Value(zero_point.data_type, value.shape)]


def _reshape(call: _Call) -> list[Value]:
    value, target = call.take(2)
    shape = [
        value.shape[i] if size == 0 and i < len(value.shape) else size
        for i, size in enumerate(_numbers(target))
    ]
    if shape.count(-1) == 1:
        known = -math.prod(shape)
        shape[shape.index(-1)] = value.n_elements // known if known else 0
    if math.prod(shape) != value.n_elements:
        raise ForeignError(f"reshapes {list(value.shape)} to {shape}")
    return [Value(value.data_type, tuple(shape))]


def _scatter(call: _Call) -> list[Value]:
    data, indices, updates = call.take(3)
    call.axis(len(data.shape))
    is_fitting = indices.shape == updates.shape and len(indices.shape) == len(data.shape)
    if not is_fitting or updates.data_type != data.data_type:
        raise ForeignError(f"scatters {list(updates.shape)} into {list(data.shape)}")
    return [Value(data.data_type, data.shape)]


def _slice(call: _Call) -> list[Value]:
    value, starts, ends, *others = call.take(3, 4)
    axes = _numbers(others[0]) if others else tuple(range(len(_numbers(starts))))
    shape = list(value.shape)
    if not len(axes) == len(_numbers(starts)) == len(_numbers(ends)):
        raise ForeignError("cuts along unequal lists of axes")
    for start, end, axis in zip(_numbers(starts), _numbers(ends), axes, strict=True):
        if not 0 <= axis < len(shape):
            raise ForeignError(f"has no axis {axis}")
        shape[axis] = len(range(*slice(start, end).indices(shape[axis])))
    return [Value(value.data_type, tuple(shape))]


def _split(call: _Call) -> list[Value]:
    value, *others = call.take(1, 2)
    axis = call.axis(len(value.shape))
    stored = call.attributes.get("split")
    sizes = _numbers(others[0]) if others else tuple(stored) if isinstance(stored, list | tuple) else ()
    if len(sizes) != call.n_outputs or sum(sizes) != value.shape[axis]:
        raise ForeignError(f"splits {value.shape[axis]} into {len(sizes)} parts")
    shapes = [(*value.shape[:axis], size, *value.shape[axis + 1 :]) for size in sizes]
    return [Value(value.data_type, shape) for shape in shapes]


def _top(call: _Call) -> list[Value]:
    value, count = call.take(2)
    axis = call.axis(len(value.shape))
    numbers = _numbers(count)
    if len(numbers) != 1 or not 0 <= numbers[0] <= value.shape[axis]:
        raise ForeignError(f"takes {list(numbers)} of {list(value.shape)}")
    shape = (*value.shape[:axis], *numbers, *value.shape[axis + 1 :])
    return [Value(value.data_type, shape), Value(onnx.TensorProto.INT64, shape)]


def _transpose(call: _Call) -> list[Value]:
    (value,) = call.take(1)
    axes = call.attributes.get("perm")
    if not isinstance(axes, list | tuple) or sorted(axes) != list(range(len(value.shape))):
        raise ForeignError(f"orders the axes {axes}")
    return [Value(value.data_type, tuple(value.shape[axis] for axis in axes))]


def _numbers(value: Value) -> Shape:
    if value.numbers is None:
        raise ForeignError("computes a shape")
    return value.numbers


_ROUNDED = (onnx.TensorProto.INT8, onnx.TensorProto.INT4, onnx.TensorProto.UINT4)

_FOREIGN = (QUANTISED_DOMAIN, "QuantizeLinear")
"""What makes 4 bits below opset 21."""

_RULES: dict[str, tuple[Callable[[_Call], list[Value]], frozenset[str]]] = {
    "Identity": (_identity, frozenset()),
    "Cast": (_cast, frozenset({"to"})),
    "Add": (_elementwise, frozenset()),
    "Mul": (_elementwise, frozenset()),
    "Div": (_elementwise, frozenset()),
    "Mod": (_elementwise, frozenset()),
    "MatMul": (_matmul, frozenset()),
    "Concat": (_concat, frozenset({"axis"})),
    "CumSum": (_cumulative_sum, frozenset({"exclusive"})),
    "Expand": (_expand, frozenset()),
    "Gather": (_gather, frozenset({"axis"})),
    "QuantizeLinear": (_quantise, frozenset({"axis"})),
    "Reshape": (_reshape, frozenset()),
    "ScatterElements": (_scatter, frozenset({"axis"})),
    "Slice": (_slice, frozenset()),
    "Split": (_split, frozenset({"axis", "split"})),
    "TopK": (_top, frozenset({"axis", "largest"})),
    "Transpose": (_transpose, frozenset({"perm"})),
}
"""By operator: what it makes, and the attributes that our nodes have."""
