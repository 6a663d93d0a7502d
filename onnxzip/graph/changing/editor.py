"""Edits the main graph for structural passes, and removes what nothing reads any more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import onnx

from onnxzip.graph.changing.evaluation import evaluate
from onnxzip.graph.changing.fields import delete_if, replace_all
from onnxzip.graph.changing.fresh_names import FreshNames
from onnxzip.graph.changing.hoisting import hoist_weights, leave_ir3
from onnxzip.graph.changing.prune import drop_initializers
from onnxzip.graph.reading.layouts import node_attributes
from onnxzip.graph.reading.model import Model, add_initializer
from onnxzip.graph.reading.scope import local_names, reads_of, sorted_nodes, subgraphs
from onnxzip.graph.reading.tensors import (
    PLAIN_TYPES,
    constant_value,
    tensor_array,
)
from onnxzip.graph.reading.weights import find_layers
from onnxzip.passbase import NodeView
from onnxzip.records.aliases import Array, AttributeValue


class GraphEditor:
    """A `passbase.Editor` on a model; all changes of nodes take effect with `commit`.

    Every value knows the nodes that read it, at any depth, so that each edit costs as much as it
    changes, whatever the size of the graph.
    """

    def __init__(self, model: Model, is_kept: Callable[[str], bool] = lambda name: False) -> None:
        """Index the model.

        Args:
            model: is edited.
            is_kept: whether a weight, by name, has to stay as it is.

        Raises:
            ModelError: the main graph has a cycle.
        """
        self._model, self._is_kept = model, is_kept
        self._index()

    def _index(self) -> None:
        model, graph = self._model, self._model.proto.graph
        self._fresh = FreshNames(model.names())
        self._nodes = dict(enumerate(sorted_nodes(graph, model.source)))
        self._last_key = max(self._nodes, default=-1)
        self._outputs = {v.name for v in graph.output}
        overridable = {v.name for v in graph.input} if model.proto.ir_version >= 4 else set()
        constants = {t.name: t for t in graph.initializer if t.name not in overridable}
        for node in self._nodes.values():
            value = constant_value(node)
            if value is not None:
                constants[node.output[0]] = value
        self._tensors = {name: t for name, t in constants.items() if t.data_type in PLAIN_TYPES}
        self._arrays: dict[str, Array] = {}
        self._wishes: dict[str, str] = {}
        self._has_new_nodes = False
        self._uses = Counter(v.name for v in graph.output)
        self._readers: dict[str, dict[int, None]] = {}
        for key in self._nodes:
            self._register(key)
        self._main = local_names(graph)
        self._claimable = local_names(graph) - {v.name for v in graph.input}

    def nodes(self) -> Sequence[NodeView]:
        """All nodes of the main graph in topological order, as they are now."""
        return [_view(key, node) for key, node in self._nodes.items()]

    def constant(self, value: str) -> Array | None:
        """Return the constant array behind a name (initializer or Constant node), else None.

        Strings, and types that numpy lacks (int4, float8), count as not constant.
        """
        if value not in self._tensors:
            return None
        if value in self._model.arrays:
            return self._model.arrays[value]
        if value not in self._arrays:
            self._arrays[value] = tensor_array(self._tensors[value])
        return self._arrays[value]

    def is_output(self, value: str) -> bool:
        """Whether the value is a graph output."""
        return value in self._outputs

    def n_uses(self, value: str) -> int:
        """How often nodes, at any depth, and graph outputs read the value."""
        return self._uses[value]

    def evaluate(self, node: NodeView) -> Array | None:
        """Compute a node whose inputs are all constant, as `evaluation.evaluate` does."""
        names = [name for name in node.inputs if name]
        known = {name: c for name in names if (c := self.constant(name)) is not None}
        if set(known) != set(names) or len(node.outputs) != 1:
            return None
        return evaluate(self._nodes[node.key], known, self._model.proto.opset_import)

    def weights(self) -> Mapping[str, Array]:
        """Return the weights that may change, as they were before any edit, by name.

        Those of nested graphs and of functions are among them; `hoist` says what they are called then.

        Raises:
            ModelError: a weight holds NaN or Inf.
        """
        layers = find_layers(self._model)[0]
        return {layer.name: layer.weight for layer in layers if not self._is_kept(layer.name)}

    def hoist(self, weights: Collection[str]) -> Mapping[str, str]:
        """Make constants of the main graph of weights, before any edit; return their names there.

        Args:
            weights: names that `weights` gives; those of the main graph stay as they are.
        """
        inside = set(weights) - self._main
        homes = {name: name for name in weights if name not in inside}
        if inside:
            homes |= hoist_weights(self._model, inside)
            self._index()
        return homes

    def add_constant(self, array: Array, hint: str) -> str:
        """Add an initializer under a new unique name.

        If `hint` names a value that is gone when the edits are committed, the initializer takes
        over its name: a folded weight is still called what the user called it.
        """
        leave_ir3(self._model.proto)
        name = self._fresh.new(hint)
        self._wishes[name] = self._wishes.get(hint, hint)
        array = np.array(array, order="C")
        array.flags.writeable = False
        self._tensors[name] = add_initializer(self._model, name, array)
        return name

    def add_node(
        self, op_type: str, inputs: Sequence[str], hint: str, attributes: Mapping[str, AttributeValue]
    ) -> str:
        """Add a node of the standard before all that reads it; return its output's new unique name."""
        node = onnx.helper.make_node(op_type, inputs, [])
        node.attribute.extend(onnx.helper.make_attribute(k, value) for k, value in attributes.items())
        return self._add(node, hint, 1)[0]

    def add_wide_node(self, op_type: str, inputs: Sequence[str], hint: str, n_outputs: int) -> list[str]:
        """Likewise with several outputs."""
        return self._add(onnx.helper.make_node(op_type, inputs, []), hint, n_outputs)

    def set_inputs(self, node: NodeView, inputs: Sequence[str]) -> None:
        """Change a node's inputs."""
        self._unregister(node.key)
        self._nodes[node.key].input[:] = list(inputs)
        self._register(node.key)

    def drop_attribute(self, node: NodeView, name: str) -> None:
        """Take an attribute from a node, which may not have it."""
        delete_if(self._nodes[node.key].attribute, lambda attribute: attribute.name == name)

    def set_outputs(self, node: NodeView, outputs: Sequence[str]) -> None:
        """Change a node's outputs."""
        proto = self._nodes[node.key]
        for old, new in zip(list(proto.output), outputs, strict=True):
            if old != new and old in self._tensors:
                self._tensors[new] = self._tensors.pop(old)
        proto.output[:] = list(outputs)

    def redirect(self, old: str, new: str) -> None:
        """Make every node that reads `old`, at any depth, read `new`."""
        for key in list(self._readers.get(old, ())):
            self._unregister(key)
            _redirect(self._nodes[key], old, new)
            self._register(key)

    def remove(self, node: NodeView) -> None:
        """Remove a node; initializers nobody reads any more go with `prune`."""
        self._unregister(node.key)
        for output in self._nodes.pop(node.key).output:
            self._tensors.pop(output, None)

    def commit(self) -> None:
        """Write the remaining nodes back into the model, and give new constants their old names."""
        self._claim_names()
        graph = self._model.proto.graph
        replace_all(graph.node, self._nodes.values())
        if self._has_new_nodes:
            replace_all(graph.node, sorted_nodes(graph, self._model.source))

    def _add(self, node: onnx.NodeProto, hint: str, n_outputs: int) -> list[str]:
        outputs = [self._fresh.new(hint) for _ in range(n_outputs)]
        node.name = outputs[0]
        node.output.extend(outputs)
        self._last_key += 1
        self._nodes[self._last_key] = node
        self._register(self._last_key)
        self._has_new_nodes = True
        return outputs

    def _register(self, key: int) -> None:
        for name in reads_of(self._nodes[key]):
            self._uses[name] += 1
            self._readers.setdefault(name, {})[key] = None

    def _unregister(self, key: int) -> None:
        for name in reads_of(self._nodes[key]):
            self._uses[name] -= 1
            self._readers[name].pop(key, None)

    def _claim_names(self) -> None:
        """Rename new initializers to the names they replace, where those are free now."""
        produced = {o for node in self._nodes.values() for o in node.output}
        claims: dict[str, str] = {}
        for name, wish in self._wishes.items():
            is_free = wish in self._claimable and wish not in produced and not self._uses[wish]
            if is_free and self._uses[name]:
                self._claimable.discard(wish)
                claims[name] = wish
        taken = set(claims.values())
        drop_initializers(self._model, taken)
        # what is stated of the old ones may be another type
        delete_if(self._model.proto.graph.value_info, lambda value: value.name in taken)
        for name, wish in claims.items():
            self.redirect(name, wish)
            self._tensors[wish] = self._tensors.pop(name)
            self._tensors[wish].name = wish
            if name in self._model.arrays:
                self._model.arrays[wish] = self._model.arrays.pop(name)
        self._wishes.clear()


def _redirect(node: onnx.NodeProto, old: str, new: str) -> None:
    for i, name in enumerate(node.input):
        if name == old:
            node.input[i] = new
    for graph in subgraphs(node):
        if old not in local_names(graph):
            for value in graph.output:
                if value.name == old:
                    value.name = new
            for inner in graph.node:
                _redirect(inner, old, new)


def _view(key: int, node: onnx.NodeProto) -> NodeView:
    return NodeView(
        key,
        node.op_type,
        "" if node.domain == "ai.onnx" else node.domain,
        node.name,
        tuple(node.input),
        tuple(node.output),
        node_attributes(node),
        bool(subgraphs(node)),
    )
