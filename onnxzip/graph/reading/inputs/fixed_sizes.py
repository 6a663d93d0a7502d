"""Sizes of inputs that are declared free, though a weight that they meet allows only one.

An axis of an input is followed through nodes that move it, until one multiplies, adds or normalises
along it by a constant: exporters often leave "frames x features" both free.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import onnx

from onnxzip.graph.reading.inputs.unranked import known_shapes
from onnxzip.graph.reading.layouts import (
    CONV_WEIGHTS,
    PRODUCT_WEIGHTS,
    RECURRENT,
    node_attributes,
)
from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.tensors import constant_value, n_elements

Axis: TypeAlias = tuple[str, int]
"""An input's name, and the number of an axis."""

Axes: TypeAlias = tuple[Axis | None, ...]
"""What the axes of a value are: free axes of inputs, or None."""

_SAME_SHAPE = frozenset(
    (
        *(
            "Cast",
            "Identity",
            "Dropout",
            "Relu",
            "LeakyRelu",
            "Elu",
            "Selu",
            "Neg",
            "Abs",
            "Sqrt",
            "Exp",
        ),
        *("Log", "Clip", "Tanh", "Sigmoid", "Erf", "Softplus", "HardSigmoid", "HardSwish", "Gelu"),
        *("Softmax", "LogSoftmax", "Reciprocal", "Floor", "Round", "Sign", "IsNaN", "Not", "CumSum"),
        *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "LpNormalization"),
    )
)
"""Operators that leave the shape of their first input as it is, and take constants of any shape."""

_ELEMENTWISE = frozenset(
    (
        *("Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Sum", "Mean", "Where", "PRelu", "And", "Or"),
        *("Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Mod"),
    )
)
"""Operators that broadcast their inputs against each other."""

_MOST_AXES = 16
"""Integers in a list of axes or sizes: longer ones are data."""

_BY_CHANNEL = frozenset(("BatchNormalization", "InstanceNormalization"))


def fixed_sizes(model: Model, decoded: Mapping[str, tuple[int, ...]]) -> dict[str, dict[int, int]]:
    """Return the only sizes that free axes of the graph's inputs can have, by input and axis.

    Args:
        model: the model; only its main graph is looked at.
        decoded: shapes of weights that it makes itself, by name.
    """
    walk = _Walk(model, decoded)
    for node in model.proto.graph.node:
        walk.pass_by(node)
    found: dict[str, dict[int, int]] = {}
    for (name, axis), size in walk.sizes.items():
        found.setdefault(name, {})[axis] = size
    return found


class _Walk:
    """What is known of values while the nodes are passed one after the other."""

    def __init__(self, model: Model, decoded: Mapping[str, tuple[int, ...]]) -> None:
        """Begin with the inputs' free axes."""
        self._model = model
        graph = model.proto.graph
        self._shapes = known_shapes(model, decoded)
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:
            if (tensor := constant_value(node)) is not None:
                self._tensors[node.output[0]] = tensor
        self._axes: dict[str, Axes] = {}
        for value in graph.input:
            if value.name not in self._shapes and value.type.tensor_type.HasField("shape"):
                dims = value.type.tensor_type.shape.dim
                free = [not dim.HasField("dim_value") for dim in dims]
                self._axes[value.name] = tuple(
                    (value.name, i) if f else None for i, f in enumerate(free)
                )
        self.sizes: dict[Axis, int] = {}

    def pass_by(self, node: onnx.NodeProto) -> None:
        """Learn what a node takes, and what the axes of its outputs are."""
        if node.op_type in _SAME_SHAPE and node.input and node.input[0] in self._shapes:
            self._shapes[node.output[0]] = self._shapes[node.input[0]]
        elif node.op_type == "Transpose" and node.input[0] in self._shapes:
            shape = self._shapes[node.input[0]]
            self._shapes[node.output[0]] = tuple(shape[i] for i in _order(node, len(shape)))
        elif any(name in self._axes for name in node.input):
            axes = self._axes_behind(node)
            if axes is not None:
                self._axes[node.output[0]] = axes

    def _axes_behind(self, node: onnx.NodeProto) -> Axes | None:
        """Return the axes of a node's first output, None where they are not known."""
        if node.op_type in _ELEMENTWISE:
            return self._broadcast(node.input)
        if node.op_type == "Gather":
            return self._looked_up(node)
        axes = self._axes.get(node.input[0])
        if node.op_type in RECURRENT:
            return self._recurrent(node)
        if axes is None:
            return None
        if node.op_type in _SAME_SHAPE:
            return axes
        if node.op_type in ("Unsqueeze", "Squeeze", "Transpose", "Reshape", "Flatten"):
            return self._moved(node, axes)
        if node.op_type in _BY_CHANNEL and len(axes) > 1:
            self._ask(axes[1], self._shapes.get(node.input[1], (0,))[0])
            return axes
        if node.op_type == "LayerNormalization":
            self._broadcast((node.input[0], node.input[1]))
            return axes
        return self._multiplied(node, axes)

    def _ask(self, axis: Axis | None, size: int) -> None:
        """Note what size an axis must have; the node that is nearest to the input has the say."""
        if axis is not None and size > 0:
            self.sizes.setdefault(axis, size)

    def _broadcast(self, names: Sequence[str]) -> Axes | None:
        """Align the axes of values from the last on; a constant of more than one sets the size."""
        if not all(name in self._axes or name in self._shapes for name in names):
            return None
        ranks = [len(self._axes.get(name, self._shapes.get(name, ()))) for name in names]
        behind: list[Axis | None] = []
        for place in range(1, max(ranks) + 1):
            met = [self._axes[name][-place] for name in names if place <= len(self._axes.get(name, ()))]
            sizes = [
                self._shapes[name][-place] for name in names if place <= len(self._shapes.get(name, ()))
            ]
            for axis in met:
                self._ask(axis, max((size for size in sizes if size > 1), default=0))
            behind.append(next((axis for axis in met if axis is not None), None))
        return tuple(behind[::-1])

    def _looked_up(self, node: onnx.NodeProto) -> Axes | None:
        """Return the axes of rows that ids tell: those of the ids, then the rows'."""
        table, axes = self._shapes.get(node.input[0]), self._axes.get(node.input[1])
        if table is None or axes is None or node_attributes(node).get("axis", 0) != 0:
            return None
        return (*axes, *(None,) * (len(table) - 1))

    def _moved(self, node: onnx.NodeProto, axes: Axes) -> Axes | None:
        """Return the axes behind a node that only moves them."""
        if node.op_type == "Transpose":
            return tuple(axes[i] for i in _order(node, len(axes)))
        if node.op_type == "Flatten":
            return axes if len(axes) == 2 and node_attributes(node).get("axis", 1) == 1 else None
        wanted = self._integers(node)
        if wanted is None:
            return None
        if node.op_type == "Reshape":  # 0 leaves an axis as it is, as long as none was parted before it
            return tuple(axes[i] if n == 0 and i < len(axes) else None for i, n in enumerate(wanted))
        if node.op_type == "Squeeze":
            gone = {i % len(axes) for i in wanted}
            return tuple(axis for i, axis in enumerate(axes) if i not in gone)
        rank, rest = len(axes) + len(wanted), iter(axes)
        new = {i % rank for i in wanted}
        return tuple(None if i in new else next(rest) for i in range(rank))

    def _integers(self, node: onnx.NodeProto) -> tuple[int, ...] | None:
        """Return the axes or the shape that a node is told, None where that is no constant."""
        given = node_attributes(node).get("shape" if node.op_type == "Reshape" else "axes")
        if isinstance(given, tuple):
            return tuple(int(i) for i in given)
        tensor = self._tensors.get(node.input[1]) if len(node.input) > 1 else None
        if tensor is None or n_elements(tensor) > _MOST_AXES:
            return None
        return tuple(int(i) for i in self._model.array(tensor).ravel())

    def _multiplied(self, node: onnx.NodeProto, axes: Axes) -> Axes | None:
        """Return the axes behind a product with a weight, or a convolution."""
        kind = node.op_type
        index = PRODUCT_WEIGHTS.get(kind, CONV_WEIGHTS.get(kind, 1))
        weight = self._shapes.get(node.input[index]) if len(node.input) > index else None
        if weight is None or not axes:
            return None
        attributes = node_attributes(node)
        if kind in PRODUCT_WEIGHTS:
            self._ask(axes[-1], weight[-2] if len(weight) > 1 else weight[0])
            return (*axes[:-1], *([None] if len(weight) > 1 else []))
        if kind == "Gemm" and len(axes) == len(weight) == 2:
            inner = 0 if attributes.get("transA") else 1
            self._ask(axes[inner], weight[1 if attributes.get("transB") else 0])
            return (axes[1 - inner], None)
        if kind in CONV_WEIGHTS and len(axes) == len(weight):
            group = int(str(attributes.get("group", 1)))
            self._ask(axes[1], weight[0] if kind == "ConvTranspose" else weight[1] * group)
            return (axes[0], *(None,) * (len(axes) - 1))
        return None

    def _recurrent(self, node: onnx.NodeProto) -> Axes | None:
        """Return the axes behind an LSTM, GRU or RNN: (sequence, directions, batch, hidden)."""
        weight, recurrence = (self._shapes.get(name) for name in node.input[1:3])
        is_batch_first = bool(node_attributes(node).get("layout", 0))
        if weight is None or recurrence is None:
            return None
        for name in node.input[5:7]:
            if len(state := self._axes.get(name, ())) == 3:
                self._ask(state[1 if is_batch_first else 0], weight[0])
                self._ask(state[2], recurrence[2])
        axes = self._axes.get(node.input[0], ())
        if len(axes) != 3:
            return None
        self._ask(axes[2], weight[2])
        return (*axes[:2], None, None) if is_batch_first else (axes[0], None, axes[1], None)


def _order(node: onnx.NodeProto, rank: int) -> tuple[int, ...]:
    """Return where a Transpose takes each axis from."""
    order = node_attributes(node).get("perm")
    return tuple(int(i) for i in order) if isinstance(order, tuple) else tuple(range(rank))[::-1]
