"""Collects what passes emit and writes it into a model: decode nodes in front, run nodes in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx_graphsurgeon.exporters.onnx_exporter import OnnxExporter

from onnxzip.errors import VerificationError
from onnxzip.graph.changing.fresh_names import FreshNames
from onnxzip.graph.changing.hoisting import hoist_weights
from onnxzip.graph.reading.layouts import node_attributes
from onnxzip.graph.reading.model import MIN_DETACHED_BYTES, Model, detach, is_detachable
from onnxzip.graph.reading.scope import iter_bodies
from onnxzip.graph.reading.tensors import element_type
from onnxzip.graph.writing.pending_nodes import PendingNode, drop_needless_reshapes
from onnxzip.passbase import Builder, Site
from onnxzip.records.aliases import Array, AttributeValue
from onnxzip.records.layer import Layer
from onnxzip.records.payload import Coefficients

Stored = Coefficients | NDArray[np.int32]

EmitStored = Callable[[Sequence[Stored], Builder], list[str]]
"""Emits the decoders of all coefficients and integers of a model; returns their values' names."""


class GraphBuilder:
    """A `passbase.Builder` on a model, which it changes in `finish`.

    Coefficients are only collected while passes emit; `finish` hands all of them to `emit_stored`
    at once, so that one coded stream can serve many weights.
    """

    def __init__(
        self,
        model: Model,
        layers: Sequence[Layer],
        emit_stored: EmitStored,
        small: Sequence[Layer] = (),
    ) -> None:
        """Lift the layers' weights into the main graph, where `small` ones are, and emit nothing yet."""
        self._model = model
        self._homes = hoist_weights(model, {layer.name for layer in layers})
        self._homes.update({layer.name: layer.name for layer in small})
        self._fresh = FreshNames(model.names())
        self._emit_stored = emit_stored
        self._stored: list[tuple[str, Stored]] = []
        self._constants: dict[str, Array] = {}
        self._small: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._aliases: dict[str, str] = {}
        self._drafts: list[PendingNode] = []
        self._runs: dict[int, list[PendingNode]] = {}
        self._run: list[PendingNode] | None = None
        self._replaced: set[str] = set()
        self._gemm_inputs = {
            name
            for body in iter_bodies(model.proto)
            for node in body.node
            if node.op_type == "Gemm"
            for name in node.input
        }

    @property
    def homes(self) -> Mapping[str, str]:
        """Name of each layer's weight in the main graph, by layer name."""
        return self._homes

    @property
    def opset(self) -> int:
        """The model's ai.onnx opset."""
        return self._model.opset

    def constant(self, array: Array) -> str:
        """Add an initializer and return its short new name."""
        key = (
            array.dtype.str,
            array.shape,
            array.tobytes() if array.nbytes < MIN_DETACHED_BYTES else b"",
        )
        if key[2] and key in self._small:
            return self._small[key]
        name = self._small[key] = self._fresh.new()
        self._constants[name] = np.ascontiguousarray(array)
        self._shapes[name] = tuple(array.shape)
        return name

    def node(
        self,
        op_type: str,
        inputs: Sequence[str],
        shape: Sequence[int],
        dtype: type[np.generic],
        **attributes: AttributeValue,
    ) -> str:
        """Add a decode node with one output of the given static shape and dtype."""
        return self._add(op_type, inputs, [tuple(shape)], dtype, attributes)[0]

    def reshape(self, value: str, shape: Sequence[int], dtype: type[np.generic] = np.float32) -> str:
        """Add a Reshape to a static shape."""
        target = self.constant(np.asarray(shape, np.int64))
        return self.node("Reshape", [value, target], shape, dtype)

    def split(
        self, value: str, shapes: Sequence[Sequence[int]], dtype: type[np.generic], axis: int = 0
    ) -> list[str]:
        """Add a Split; the sizes are an attribute below opset 13 and an input from there on."""
        sizes = [int(shape[axis]) for shape in shapes]
        if self.opset < 13:
            attributes: dict[str, AttributeValue] = {"axis": axis, "split": tuple(sizes)}
            return self._add("Split", [value], [tuple(s) for s in shapes], dtype, attributes)
        sizes_name = self.constant(np.asarray(sizes, np.int64))
        return self._add("Split", [value, sizes_name], [tuple(s) for s in shapes], dtype, {"axis": axis})

    def coefficients(self, coefficients: Coefficients) -> str:
        """Store quantised coefficients; return the name of their float32 (n_segments, length) value."""
        return self._store(coefficients, coefficients.integers.shape)

    def integers(self, integers: NDArray[np.int32]) -> str:
        """Store (n_segments, length) integers; return the name of their int32 value."""
        return self._store(integers, integers.shape)

    def run_node(
        self, op_type: str, inputs: Sequence[str], output: str = "", **attributes: AttributeValue
    ) -> str:
        """Add a node that runs at inference, in the place of the node being replaced."""
        if self._run is None:
            raise VerificationError("run_node is only allowed while replace_node emits")
        name = output or self._fresh.new()
        self._run.append(PendingNode(op_type, list(inputs), [name], attributes))
        return name

    def replace_weight(self, layer: Layer, value: str) -> None:
        """Make all consumers of the layer's weight read `value` (canonical order) instead."""
        home = self._homes[layer.name]
        order, shape, dtype = layer.layout.order, layer.weight.shape, layer.weight.dtype
        permuted = tuple(shape[a] for a in order)
        is_cast = dtype != np.float32
        if is_cast:
            value = self.node("Cast", [value], self._shapes[value], dtype.type, to=element_type(dtype))
        if is_cast or self._shapes[value] != permuted:
            # also behind a Cast: onnxruntime drops a Cast from float32 to float16 and back
            value = self.reshape(value, permuted, dtype.type)
        if not layer.layout.is_canonical:
            value = self._transposed(value, tuple(int(a) for a in np.argsort(order)), shape, dtype.type)
        if home in self._gemm_inputs and self._is_transposed(value):
            # onnxruntime would merge the Transpose into the Gemm before it folds constants
            value = self.reshape(value, shape, dtype.type)
        if value in self._aliases or value in self._constants:
            value = self.node("Identity", [value], shape, dtype.type)
        self._aliases[value] = home
        self._replaced.add(home)

    def _transposed(
        self, value: str, perm: tuple[int, ...], shape: tuple[int, ...], dtype: type[np.generic]
    ) -> str:
        """Add a Transpose, or return what the Transpose that it would undo reads."""
        maker = self._maker(value)
        if maker is not None and maker.op_type == "Transpose":
            first = maker.attributes["perm"]
            assert isinstance(first, tuple)
            if [first[p] for p in perm] == sorted(perm):
                return maker.inputs[0]
        return self.node("Transpose", [value], shape, dtype, perm=perm)

    def _is_transposed(self, value: str) -> bool:
        maker = self._maker(value)
        return maker is not None and maker.op_type == "Transpose"

    def _maker(self, value: str) -> PendingNode | None:
        return next((d for d in reversed(self._drafts) if value in d.outputs), None)

    def replace_node(self, layer: Layer, emit: Callable[[Site], None]) -> None:
        """Replace every consumer of the layer's weight by what `emit(site)` emits."""
        home = self._homes[layer.name]
        for position, node in enumerate(self._model.proto.graph.node):
            if home in node.input:
                self._run = []
                emit(_site(node, list(node.input).index(home)))
                if not any(node.output[0] in draft.outputs for draft in self._run):
                    raise VerificationError(f"the replacement of '{node.name}' has no output")
                self._runs[position] = self._run
                self._run = None
        self._replaced.add(home)

    def finish(self) -> int:
        """Emit the decoders of everything stored and write all nodes into the model.

        Returns:
            The number of decode nodes; they are the first nodes of the main graph.
        """
        body, self._drafts = self._drafts, []
        for (promised, _), actual in zip(
            self._stored,
            self._emit_stored([item for _, item in self._stored], self) if self._stored else [],
            strict=True,
        ):
            self._settle(promised, actual)
        pending = self._resolved([*self._drafts, *body])
        runs = [draft for run in self._runs.values() for draft in run]
        kept = {*self._homes.values(), *(self._name(n) for draft in runs for n in draft.inputs)}
        pending = drop_needless_reshapes(pending, kept, {n: a.shape for n, a in self._constants.items()})
        graph = self._model.proto.graph
        self._drop_replaced()
        tensors: dict[str, gs.Tensor] = {}
        nodes = [self._export(draft, tensors) for draft in pending]
        for position, node in enumerate(graph.node):
            run = self._runs.get(position)
            nodes += [node] if run is None else [self._export(draft, tensors) for draft in run]
        nodes = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
        del graph.node[:]
        graph.node.extend(nodes)
        self._add_constants({name for draft in (*pending, *runs) for name in draft.inputs})
        return len(pending)

    def _resolved(self, pending: Sequence[PendingNode]) -> list[PendingNode]:
        """Give the nodes' inputs and outputs their final names."""
        for draft in pending:
            draft.inputs = [self._name(name) for name in draft.inputs]
            draft.outputs = [self._name(name) for name in draft.outputs]
        return list(pending)

    def _store(self, item: Stored, shape: tuple[int, ...]) -> str:
        name = self._fresh.new()
        self._stored.append((name, item))
        self._shapes[name] = tuple(shape)
        return name

    def _add(
        self,
        op_type: str,
        inputs: Sequence[str],
        shapes: list[tuple[int, ...]],
        dtype: type[np.generic],
        attributes: Mapping[str, AttributeValue],
    ) -> list[str]:
        outputs = [self._fresh.new() for _ in shapes]
        draft = PendingNode(op_type, list(inputs), outputs, attributes, shapes, np.dtype(dtype))
        self._drafts.append(draft)
        self._shapes.update(zip(outputs, shapes, strict=True))
        return list(outputs)

    def _settle(self, promised: str, actual: str) -> None:
        """Let the readers of a promised value read the decoded one, which may have to take a name."""
        home = self._aliases.get(promised)
        if home is None:
            self._aliases[promised] = actual
        elif actual in self._aliases or actual in self._constants:
            self._aliases[self.node("Identity", [actual], self._shapes[promised], np.float32)] = home
        else:
            self._aliases[actual] = home

    def _name(self, name: str) -> str:
        while name in self._aliases:
            name = self._aliases[name]
        return name

    def _drop_replaced(self) -> None:
        graph = self._model.proto.graph
        for i in reversed(range(len(graph.initializer))):
            if graph.initializer[i].name in self._replaced:
                self._model.arrays.pop(graph.initializer[i].name, None)
                del graph.initializer[i]
        for i in reversed(range(len(graph.value_info))):
            if graph.value_info[i].name in self._replaced:  # of a Constant node that was lifted
                del graph.value_info[i]

    def _export(self, draft: PendingNode, tensors: dict[str, gs.Tensor]) -> onnx.NodeProto:
        """Build the node with graphsurgeon, and its value_info entries for decode nodes."""
        outputs = [self._name(n) for n in draft.outputs]
        node = gs.Node(
            op=draft.op_type,
            attrs={k: list(v) if isinstance(v, tuple) else v for k, v in draft.attributes.items()},
            inputs=[_variable(self._name(n), tensors) for n in draft.inputs],
            outputs=[_variable(n, tensors) for n in outputs],
        )
        if draft.shapes is not None and draft.dtype is not None:
            elem_type = element_type(draft.dtype)
            self._model.proto.graph.value_info.extend(
                onnx.helper.make_tensor_value_info(name, elem_type, list(shape))
                for name, shape in zip(outputs, draft.shapes, strict=True)
            )
        exported: onnx.NodeProto = OnnxExporter.export_node(node)
        return exported

    def _add_constants(self, read: set[str]) -> None:
        graph = self._model.proto.graph
        for name, array in self._constants.items():
            if name not in read:
                continue
            tensor = OnnxExporter.export_tensor_proto(gs.Constant(name, array))
            graph.initializer.append(tensor)
            if is_detachable(array):
                detach(self._model, graph.initializer[-1], array)


def _variable(name: str, tensors: dict[str, gs.Tensor]) -> gs.Tensor:
    if not name:
        return gs.Variable.empty()
    return tensors.setdefault(name, gs.Variable(name))


def _site(node: onnx.NodeProto, index: int) -> Site:
    others = [name for i, name in enumerate(node.input) if i != index]
    return Site(
        op_type=node.op_type,
        data=others[0],
        bias=others[1] if len(others) > 1 else "",
        output=node.output[0],
        attributes=node_attributes(node),
    )
