"""The nodes that passes emit, while they are collected: a graph of onnx-graphsurgeon.

graphsurgeon does here what would have to be written again without it: it links each value with the
node that makes it and the nodes that read it, keeps the links while values are exchanged, drops the
nodes that nothing needs, and exports nodes, attributes and value_info entries. Values of one name are
equal to it, so that all names are fresh and values are compared by identity.

The user's own graph never goes through it. Imported and exported again (seen with 0.6.1) it would lose
doc strings, metadata of nodes and of the model, quantization annotations, and initializers that nobody
reads or that a caller may override; and the arrays that a Model keeps beside its proto have no place
in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.exporters.onnx_exporter import OnnxExporter

from onnxzip.graph.changing.fresh_names import FreshNames
from onnxzip.graph.changing.narrow.nodes import quantising_domain
from onnxzip.graph.reading.model import MIN_DETACHED_BYTES, Model, add_initializer
from onnxzip.graph.reading.tensors import element_type
from onnxzip.graph.writing.refining.reshapes import pass_by_needless_reshapes
from onnxzip.records.aliases import Array, AttributeValue
from onnxzip.records.elements.exact import FOUR_BITS
from onnxzip.records.payload import IntegerGrid
from onnxzip.transforms.moves import Move, Moves


class PendingGraph:
    """Decode nodes and the constants they read.

    A value is known by the fresh name under which it was made; initializers of the user's graph, which
    `rounded` reads, by their own.
    """

    def __init__(self, fresh: FreshNames, opset: int) -> None:
        self._fresh = fresh
        self._opset = opset
        self._values: dict[str, gs.Tensor] = {}
        self._small: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._nodes: list[gs.Node] = []
        self._homes: dict[str, str] = {}

    @property
    def n_nodes(self) -> int:
        """How many decode nodes there are so far."""
        return len(self._nodes)

    def constant(self, array: Array) -> str:
        """Add a constant, or find the small one that is equal to it."""
        key = (array.dtype.name, array.shape, array.tobytes() if _is_small(array) else b"")
        if _is_small(array) and key in self._small:
            return self._small[key]
        name = self._fresh.new()
        if _is_small(array):
            self._small[key] = name
        self._values[name] = gs.Constant(name, np.asarray(array, order="C"))  # a scalar stays one
        return name

    def promise(self, shape: Sequence[int], dtype: type[np.generic]) -> str:
        """Name a value that is to be made later; `fulfil` says by what."""
        name = self._fresh.new()
        self._values[name] = gs.Variable(name, np.dtype(dtype), tuple(shape))
        return name

    def add(
        self,
        op_type: str,
        inputs: Sequence[str],
        shapes: Sequence[Sequence[int]],
        dtype: type[np.generic] | Sequence[type[np.generic]],
        attributes: Mapping[str, AttributeValue],
        domain: str = "",
    ) -> list[str]:
        """Add a decode node, with an output of each shape, of one type or each its own; return names."""
        types = [dtype] * len(shapes) if isinstance(dtype, type) else dtype
        outputs = [self.promise(shape, t) for shape, t in zip(shapes, types, strict=True)]
        self._nodes.append(self._node(op_type, inputs, outputs, attributes, domain))
        return outputs

    def rounded(self, value: str, grid: IntegerGrid) -> str:
        """Add a QuantizeLinear to a grid whose steps are initializers of the model already."""
        for name, dtype in ((grid.scale, np.float32), (grid.zero_point, np.int8)):
            self._values.setdefault(name, gs.Variable(name, np.dtype(dtype), grid.steps.shape))
        axis = {"axis": grid.axis} if grid.steps.ndim else {}
        inputs, shapes = [value, grid.scale, grid.zero_point], [self.shape(value)]
        return self.add("QuantizeLinear", inputs, shapes, np.int8, axis)[0]

    def narrowed(self, value: str, dtype: np.dtype[np.generic]) -> str:
        """Add what makes numbers of a narrow type (`changing.narrow`) of float32."""
        shapes = [self.shape(value)]
        if dtype.name not in FOUR_BITS:
            return self.add("Cast", [value], shapes, dtype.type, {"to": element_type(dtype)})[0]
        inputs = [value, self.constant(np.array(1, np.float32)), self.constant(np.zeros((), dtype))]
        domain = quantising_domain(self._opset)
        return self.add("QuantizeLinear", inputs, shapes, dtype.type, {}, domain)[0]

    def shape(self, value: str) -> tuple[int, ...]:
        """Return a constant's or decoded value's shape."""
        return tuple(self._values[value].shape)

    def dtype(self, value: str) -> np.dtype[np.generic]:
        """Return a constant's or decoded value's type."""
        found: np.dtype[np.generic] = np.dtype(self._values[value].dtype)
        return found

    def whole_numbers(self, constant: str) -> tuple[int, ...]:
        """Return a constant's numbers, which are whole."""
        return tuple(int(number) for number in self._values[constant].values)

    def maker(self, value: str) -> gs.Node | None:
        """Return the node that makes a value, None for constants and promises."""
        return next(iter(self._values[value].inputs), None)

    @property
    def nodes(self) -> list[gs.Node]:
        """The decode nodes so far."""
        return list(self._nodes)

    def replace(self, node: gs.Node, value: str, start: int) -> None:
        """Let the nodes from `start` on, which make `value`, take the place of a node."""
        made, (old,) = self._nodes[start:], node.outputs
        del self._nodes[start:]
        place = next(i for i, other in enumerate(self._nodes) if other is node)
        self._nodes[place:place] = made
        self._let_read(old, self._values[value])
        name = next(name for name, tensor in self._values.items() if tensor is old)
        if name in self._homes:
            self._homes = {value if k == name else k: home for k, home in self._homes.items()}
        self.drop(node)

    def drop(self, node: gs.Node) -> None:
        """Take back a node whose output nothing reads, and leave its inputs to others."""
        self._nodes = [other for other in self._nodes if other is not node]
        node.inputs.clear()

    def give_home(self, value: str, home: str) -> None:
        """Let a value have another name in the model: that of the weight whose place it takes.

        A value that has such a name already, or is a constant, keeps its own; a copy takes the new one.
        """
        tensor = self._values[value]
        if value in self._homes or isinstance(tensor, gs.Constant):
            (value,) = self.add("Identity", [value], [tensor.shape], tensor.dtype.type, {})
        self._homes[value] = home

    def behind_moves(self, promised: str) -> tuple[str, Moves]:
        """Follow a promised value through the Reshapes and Transposes that alone read it.

        A Reshape to the same shape is there to part nodes (`refining.reshapes`), and ends the way.

        Returns:
            The value behind them, which may be promised in its place, and what they do.
        """
        found: list[Move] = []
        value = promised
        while value not in self._homes and len(readers := self._values[value].outputs) == 1:
            (node,) = readers
            if node.op == "Transpose":
                found.append(("transpose", tuple(node.attrs["perm"])))
            elif node.op == "Reshape" and self._values[value].shape != node.outputs[0].shape:
                found.append(("reshape", tuple(node.outputs[0].shape)))
            else:
                break
            value = node.outputs[0].name
        return value, tuple(found)

    def fulfil(self, promised: str, actual: str) -> None:
        """Let what reads a promised value read the decoded one, which also takes its home."""
        if promised in self._homes:
            self.give_home(actual, self._homes.pop(promised))
        self._let_read(self._values[promised], self._values[actual])

    @staticmethod
    def _let_read(old: gs.Tensor, new: gs.Tensor) -> None:
        """Let what reads one value read another one."""
        for node in list(old.outputs):
            for i, read in enumerate(node.inputs):
                if read is old:
                    node.inputs[i] = new

    def move_to_front(self, start: int) -> None:
        """Let the nodes from `start` on, which decode what is stored, come before those that read it."""
        self._nodes = self._nodes[start:] + self._nodes[:start]

    def finish(self) -> None:
        """Give all values their names in the model, and drop what nothing needs."""
        homes = [self._values[value] for value in self._homes]
        for tensor, home in zip(homes, self._homes.values(), strict=True):
            tensor.name = home
            if home in self._values:  # which `rounded` reads by its own name: steps that are stored too
                self._let_read(self._values[home], tensor)
        pass_by_needless_reshapes(self._nodes, homes)
        self._nodes = gs.Graph(self._nodes, outputs=homes, opset=self._opset).cleanup().nodes

    def export_nodes(self) -> list[onnx.NodeProto]:
        """Return the decode nodes."""
        return [OnnxExporter.export_node(node) for node in self._nodes]

    def export_value_info(self) -> list[onnx.ValueInfoProto]:
        """Return type and shape of every value that a decode node makes."""
        infos = []
        for tensor in (tensor for node in self._nodes for tensor in node.outputs):
            info = OnnxExporter.export_value_info_proto(tensor, do_type_check=True)
            # graphsurgeon (0.6.1) takes float8_e4m3fnuz for float8_e4m3fn
            info.type.tensor_type.elem_type = element_type(np.dtype(tensor.dtype))
            infos.append(info)
        return infos

    def add_constants(self, model: Model) -> None:
        """Make the constants that some node reads initializers of a model."""
        for tensor in self._values.values():
            if isinstance(tensor, gs.Constant) and tensor.outputs:
                add_initializer(model, tensor.name, tensor.values)

    def _node(
        self,
        op_type: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        attributes: Mapping[str, AttributeValue],
        domain: str,
    ) -> gs.Node:
        attrs = {k: list(v) if isinstance(v, tuple) else v for k, v in attributes.items()}
        reads, makes = ([self._values[name] for name in names] for names in (inputs, outputs))
        return gs.Node(op_type, attrs=attrs, inputs=reads, outputs=makes, domain=domain or None)


def _is_small(array: Array) -> bool:
    return array.nbytes < MIN_DETACHED_BYTES
