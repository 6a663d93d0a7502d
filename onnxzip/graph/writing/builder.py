"""What passes emit into: collects their nodes, then writes them into the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import onnx_graphsurgeon as gs

from onnxzip.graph.changing.fields import delete_if, replace_all
from onnxzip.graph.changing.fresh_names import FreshNames
from onnxzip.graph.changing.hoisting import companions, hoist_weights
from onnxzip.graph.changing.prune import drop_initializers
from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.scope import iter_bodies
from onnxzip.graph.reading.tensors import element_type
from onnxzip.graph.writing.pending_graph import PendingGraph
from onnxzip.graph.writing.refining.tiles import part_sizes
from onnxzip.passbase import Builder
from onnxzip.records.aliases import Array, AttributeValue
from onnxzip.records.elements.exact import is_narrow
from onnxzip.records.layer import Layer
from onnxzip.records.payload import Coefficients, IntegerGrid, Stored, WholeNumbers
from onnxzip.transforms.moves import Moves

EmitStored = Callable[[Sequence[Stored], Builder, Sequence[Moves]], list[str]]
"""Emits the decoders of all coefficients and integers of a model, each behind the moves that its reader
wants; returns their values' names."""


_SPLIT_SIZES_OPSET = 13
"""From here on the sizes of a Split are an input, before they are an attribute (ONNX's Changelog.md)."""

_SLICE_INPUTS_OPSET = 10
"""Likewise where a Slice begins and ends."""


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
        grids: Mapping[str, IntegerGrid] = MappingProxyType({}),
    ) -> None:
        """Hoist the layers' weights into the main graph, where those that are small or land are."""
        self._model, self._grids = model, grids
        self._homes = hoist_weights(model, {la.name for la in layers if la.name not in grids})
        self._homes.update({la.name: la.name for la in (*small, *layers) if la.name not in self._homes})
        self._pending = PendingGraph(FreshNames(model.names()), model.opset)
        self._emit_stored = emit_stored
        self._stored: dict[str, Stored] = {}
        self._replaced: set[str] = set()
        self._gemm_inputs = {
            name
            for body in iter_bodies(model.proto)
            for node in body.node
            if node.op_type == "Gemm"
            for name in node.input
        }
        self._copies = self._copy_companions()

    @property
    def copies(self) -> Mapping[str, int]:
        """Bytes of the initializers that only pass through an Identity, by name; see `companions`."""
        return self._copies

    @property
    def homes(self) -> Mapping[str, str]:
        """Name of each layer's weight in the main graph, by layer name."""
        return self._homes

    def constant(self, array: Array) -> str:
        """Add an initializer and return its short new name."""
        return self._pending.constant(array)

    def node(
        self,
        op_type: str,
        inputs: Sequence[str],
        shape: Sequence[int],
        dtype: type[np.generic],
        **attributes: AttributeValue,
    ) -> str:
        """Add a decode node with one output of the given static shape and dtype."""
        if op_type == "Slice" and self._model.opset < _SLICE_INPUTS_OPSET:
            inputs, (starts, ends, *axes) = inputs[:1], map(self._pending.whole_numbers, inputs[1:])
            attributes = {"starts": starts, "ends": ends, **({"axes": axes[0]} if axes else {})}
        return self._pending.add(op_type, inputs, [shape], dtype, attributes)[0]

    def reshape(self, value: str, shape: Sequence[int], dtype: type[np.generic] = np.float32) -> str:
        """Add a Reshape to a static shape."""
        target = self.constant(np.asarray(shape, np.int64))
        return self.node("Reshape", [value, target], shape, dtype)

    def split(
        self, value: str, shapes: Sequence[Sequence[int]], dtype: type[np.generic], axis: int = 0
    ) -> list[str]:
        """Add a Split along `axis` into outputs of the given shapes."""
        sizes = [int(shape[axis]) for shape in shapes]
        if self._model.opset < _SPLIT_SIZES_OPSET:
            attributes: dict[str, AttributeValue] = {"axis": axis, "split": tuple(sizes)}
            return self._pending.add("Split", [value], shapes, dtype, attributes)
        sizes_name = self.constant(np.asarray(sizes, np.int64))
        return self._pending.add("Split", [value, sizes_name], shapes, dtype, {"axis": axis})

    def rising_order(self, keys: str, size: int) -> str:
        """Add a TopK; return the name of the places, int64, of (size,) numbers in rising order."""
        inputs = [keys, self.constant(np.array([size], np.int64))]
        types = (np.float32, np.int64)
        return self._pending.add("TopK", inputs, [(size,)] * 2, types, {"axis": 0, "largest": 0})[1]

    def coefficients(self, coefficients: Coefficients) -> str:
        """Store quantised coefficients; return the name of their float32 (n_segments, length) value."""
        return self._store(coefficients, coefficients.integers.shape, np.float32)

    def integers(self, numbers: WholeNumbers) -> str:
        """Store (n_segments, length) integers; return the name of their value in the type wanted."""
        return self._store(numbers, numbers.integers.shape, numbers.dtype)

    def replace_weight(self, layer: Layer, value: str) -> None:
        """Make all consumers of the layer's weight read `value` (canonical order) instead."""
        home = self._homes[layer.name]
        order, shape, final = layer.layout.order, layer.weight.shape, layer.weight.dtype
        dtype = np.dtype(np.float32) if is_narrow(final) else final
        permuted = tuple(shape[a] for a in order)
        is_cast = dtype != self._pending.dtype(value)
        if is_cast:
            code = element_type(dtype)
            value = self.node("Cast", [value], self._pending.shape(value), dtype.type, to=code)
        if is_cast or self._pending.shape(value) != permuted:
            # also behind a Cast: onnxruntime drops a Cast from float32 to float16 and back
            value = self.reshape(value, permuted, dtype.type)
        if not layer.layout.is_canonical:
            value = self._transposed(value, tuple(int(a) for a in np.argsort(order)), shape, dtype.type)
        maker = self._pending.maker(value)
        if home in self._gemm_inputs and maker is not None and maker.op == "Transpose":
            # onnxruntime would merge the Transpose into the Gemm before it folds constants
            value = self.reshape(value, shape, dtype.type)
        if final != dtype:
            value = self._pending.narrowed(value, final)
        if layer.name in self._grids:
            value = self._pending.rounded(value, self._grids[layer.name])
        self.replace_constant(home, value)

    def replace_constant(self, home: str, value: str) -> None:
        """Let a value take the place, and the name, of an initializer of the main graph."""
        self._pending.give_home(value, home)
        self._replaced.add(home)

    def finish(self) -> int:
        """Emit the decoders of everything stored and write all nodes into the model.

        Returns:
            The number of decode nodes; they are the first nodes of the main graph.
        """
        if self._stored:
            n_readers = self._pending.n_nodes
            wanted = [self._pending.behind_moves(promised) for promised in self._stored]
            moves = [moves for _, moves in wanted]
            decoded = self._emit_stored(list(self._stored.values()), self, moves)
            for (promised, _), actual in zip(wanted, decoded, strict=True):
                self._pending.fulfil(promised, actual)
            self._pending.move_to_front(n_readers)
        for node in self._pending.nodes:
            self._part(node)
        self._pending.finish()
        graph = self._model.proto.graph
        drop_initializers(self._model, self._replaced)
        decode_nodes = self._pending.export_nodes()
        replace_all(graph.node, [*decode_nodes, *graph.node])
        # of a Constant node that was hoisted
        delete_if(graph.value_info, lambda value: value.name in self._replaced)
        graph.value_info.extend(self._pending.export_value_info())
        self._pending.add_constants(self._model)
        return len(decode_nodes)

    def _part(self, node: gs.Node) -> None:
        """Let a node that makes much of little work on parts (`tiles`)."""
        index, sizes = part_sizes(node)
        if len(sizes) < 2:
            return
        start, (made,) = self._pending.n_nodes, node.outputs
        source = node.inputs[index]
        shapes = [(n, *source.shape[1:]) for n in sizes]
        parts = self.split(str(source.name), shapes, source.dtype.type)
        names, dtype = [str(tensor.name) for tensor in node.inputs], made.dtype.type
        tiles = [
            self.node(
                node.op,
                [*names[:index], part, *names[index + 1 :]],
                (n, *made.shape[1:]),
                dtype,
                **node.attrs,
            )
            for part, n in zip(parts, sizes, strict=True)
        ]
        whole = self.node("Concat", tiles, made.shape, dtype, axis=0)
        self._pending.replace(node, whole, start)

    def _copy_companions(self) -> dict[str, int]:
        """Let what must be no constant be made by a node; a session that optimises drops it again."""
        wanted = companions(self._model, set(self._homes.values()))
        copies: dict[str, int] = {}
        for tensor in self._model.proto.graph.initializer:
            if tensor.name in wanted:
                array = self._model.array(tensor)
                self._pending.give_home(self._pending.constant(array), tensor.name)
                copies[tensor.name] = array.nbytes
        self._replaced.update(copies)
        return copies

    def _store(self, item: Stored, shape: Sequence[int], dtype: type[np.generic]) -> str:
        name = self._pending.promise(shape, dtype)
        self._stored[name] = item
        return name

    def _transposed(
        self, value: str, perm: tuple[int, ...], shape: tuple[int, ...], dtype: type[np.generic]
    ) -> str:
        """Add a Transpose, or return what the Transpose that it would undo reads."""
        maker = self._pending.maker(value)
        if maker is not None and maker.op == "Transpose":
            first = maker.attrs["perm"]
            if [first[p] for p in perm] == sorted(perm):
                return str(maker.inputs[0].name)
        if maker is not None and maker.op == "MatMul" and perm == (1, 0):
            left, right = (str(factor.name) for factor in maker.inputs)
            self._pending.drop(maker)
            factors = [self._turned(factor) for factor in (right, left)]
            return self.node("MatMul", factors, shape, dtype)
        return self.node("Transpose", [value], shape, dtype, perm=perm)

    def _turned(self, factor: str) -> str:
        """Transpose a matrix, or return what its Transpose reads."""
        maker = self._pending.maker(factor)
        if maker is not None and maker.op == "Transpose":
            source = str(maker.inputs[0].name)
            if not maker.outputs[0].outputs:
                self._pending.drop(maker)
            return source
        shape = self._pending.shape(factor)[::-1]
        return self.node("Transpose", [factor], shape, np.float32, perm=(1, 0))
