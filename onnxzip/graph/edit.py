"""Edits the main graph for structural passes, and removes what nothing reads any more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from onnxzip.graph.model import (
    MIN_DETACHED_BYTES,
    Model,
    detach,
    element_type,
    iter_bodies,
    subgraphs,
    tensor_array,
)
from onnxzip.graph.names import NameSource
from onnxzip.graph.weights import constant_value, node_attributes
from onnxzip.passbase import NodeView
from onnxzip.types import Array


class GraphEditor:
    """A `passbase.Editor` on a model; node removals take effect with `commit`."""

    def __init__(self, model: Model) -> None:
        self._model = model
        graph = model.proto.graph
        self._fresh = NameSource(model.names())
        self._nodes = dict(enumerate(graph.node))
        self._outputs = {v.name for v in graph.output}
        overridable = {v.name for v in graph.input} if model.proto.ir_version >= 4 else set()
        self._tensors = {t.name: t for t in graph.initializer if t.name not in overridable}
        for node in graph.node:
            value = constant_value(node)
            if value is not None:
                self._tensors[node.output[0]] = value
        self._uses = self._count_uses()

    @property
    def opset(self) -> int:
        """The model's ai.onnx opset."""
        return self._model.opset

    def nodes(self) -> Sequence[NodeView]:
        """All nodes of the main graph in topological order, as they are now."""
        return [_view(key, node) for key, node in self._nodes.items()]

    def constant(self, value: str) -> Array | None:
        """Return the constant array behind a name (initializer or Constant node), else None."""
        if value in self._model.arrays and value in self._tensors:
            return self._model.arrays[value]
        tensor = self._tensors.get(value)
        return None if tensor is None else tensor_array(tensor)

    def is_output(self, value: str) -> bool:
        """Whether the value is a graph output."""
        return value in self._outputs

    def n_uses(self, value: str) -> int:
        """How often nodes, at any depth, and graph outputs read the value."""
        return self._uses[value]

    def evaluate(self, node: NodeView) -> Array | None:
        """Compute a node whose inputs are all constant with onnx's reference implementation."""
        names = [name for name in node.inputs if name]
        known = {name: c for name in names if (c := self.constant(name)) is not None}
        if set(known) != set(names) or len(node.outputs) != 1:
            return None
        graph = onnx.helper.make_graph(
            [self._nodes[node.key]],
            "fold",
            [
                onnx.helper.make_tensor_value_info(n, element_type(a.dtype), a.shape)
                for n, a in known.items()
            ],
            [onnx.ValueInfoProto(name=node.outputs[0])],
        )
        model = onnx.helper.make_model(graph, opset_imports=self._model.proto.opset_import)
        try:
            (result,) = ReferenceEvaluator(model).run(None, known)
        except (NotImplementedError, RuntimeError, ValueError, TypeError):
            return None
        return result if isinstance(result, np.ndarray) else None

    def add_constant(self, array: Array, hint: str) -> str:
        """Add an initializer under a new unique name."""
        name = self._fresh.new(hint)
        tensor = self._model.proto.graph.initializer.add(
            name=name, data_type=element_type(array.dtype), dims=array.shape
        )
        self._tensors[name] = tensor
        array = np.ascontiguousarray(array)
        array.flags.writeable = False
        if array.nbytes >= MIN_DETACHED_BYTES:
            detach(self._model, tensor, array)
        else:
            tensor.raw_data = array.tobytes()
        return name

    def set_inputs(self, node: NodeView, inputs: Sequence[str]) -> None:
        """Change a node's inputs."""
        proto = self._nodes[node.key]
        self._uses.subtract(proto.input)
        self._uses.update(inputs)
        proto.input[:] = list(inputs)

    def set_outputs(self, node: NodeView, outputs: Sequence[str]) -> None:
        """Change a node's outputs."""
        self._nodes[node.key].output[:] = list(outputs)

    def redirect(self, old: str, new: str) -> None:
        """Make every node that reads `old`, at any depth, read `new`."""
        for node in self._nodes.values():
            _redirect(node, old, new)
        self._uses[new] += self._uses[old] - (old in self._outputs)
        self._uses[old] = int(old in self._outputs)

    def remove(self, node: NodeView) -> None:
        """Remove a node; initializers nobody reads any more go with `prune`."""
        self._uses.subtract(self._nodes.pop(node.key).input)

    def commit(self) -> None:
        """Write the remaining nodes back into the model."""
        kept = [onnx.NodeProto.FromString(n.SerializeToString()) for n in self._nodes.values()]
        graph = self._model.proto.graph
        del graph.node[:]
        graph.node.extend(kept)

    def _count_uses(self) -> Counter[str]:
        uses: Counter[str] = Counter()
        for body in iter_bodies(self._model.proto):
            if isinstance(body, onnx.GraphProto):
                uses.update(v.name for v in body.output)
            for node in body.node:
                uses.update(node.input)
        return uses


def prune(model: Model) -> list[str]:
    """Remove nodes nobody reads and initializers nobody reads; return the removed nodes' names."""
    removed: list[str] = []
    graph = model.proto.graph
    while True:
        used: set[str] = {v.name for v in graph.output}
        for node in graph.node:
            used.update(node_reads(node))
        dead = [i for i, n in enumerate(graph.node) if not any(o in used for o in n.output if o)]
        for i in reversed(dead):
            removed.append(graph.node[i].name or graph.node[i].op_type)
            del graph.node[i]
        if not dead:
            break
    inputs = {v.name for v in graph.input}
    for i in reversed(range(len(graph.initializer))):
        name = graph.initializer[i].name
        if name not in used and name not in inputs:
            model.arrays.pop(name, None)
            del graph.initializer[i]
    return removed


def node_reads(node: onnx.NodeProto) -> set[str]:
    """Return the names a node and its nested graphs read, their own included."""
    found = set(node.input)
    for graph in subgraphs(node):
        found.update(v.name for v in graph.output)
        for inner in graph.node:
            found |= node_reads(inner)
    return found


def _redirect(node: onnx.NodeProto, old: str, new: str) -> None:
    for i, name in enumerate(node.input):
        if name == old:
            node.input[i] = new
    for graph in subgraphs(node):
        for inner in graph.node:
            _redirect(inner, old, new)


def _view(key: int, node: onnx.NodeProto) -> NodeView:
    return NodeView(
        key,
        node.op_type,
        node.domain,
        node.name,
        tuple(node.input),
        tuple(node.output),
        node_attributes(node),
        bool(subgraphs(node)),
    )
