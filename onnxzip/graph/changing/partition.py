"""Cuts a model into partitions, one for each weight that may be fitted again, to run one after another.

A partition begins with the node that multiplies by its weight, and reads what earlier ones made. So each
weight can be looked at with inputs that all the weights before it have changed already, and the whole
model runs only once, whatever the number of weights.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import onnx

from onnxzip.graph.changing.constants import with_constants
from onnxzip.graph.changing.cutting.part import build_part, nodes_behind
from onnxzip.graph.changing.fields import replace_all
from onnxzip.graph.changing.hoisting import hoist_weights
from onnxzip.graph.reading.layouts import is_known_domain, node_attributes
from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.operands import Operand
from onnxzip.graph.reading.scope import reads_of, sorted_nodes
from onnxzip.records.aliases import Array
from onnxzip.records.layer import Layer

_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)
"""Types of biases that may be changed: not bfloat16, which onnxruntime does not give to Python."""


@dataclass(frozen=True)
class Partition:
    """A part of the main graph.

    Attributes:
        layer: name of the weight that its first node multiplies by; "" for what comes before them all.
        operand: that node; None likewise.
        target: the node's output, or the sum behind it if only an Add reads it.
        bias: the constant that is added for each channel on the way there, "" if there is none that may
            be changed.
        weights: what each layer that it reads is called in it, by layer name.
        reads: values of earlier partitions.
        makes: values that later partitions read.
        nodes: positions of its nodes.
    """

    layer: str
    operand: Operand | None
    target: str
    bias: str
    weights: Mapping[str, str]
    reads: tuple[str, ...]
    makes: tuple[str, ...]
    nodes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class PartitionedModel:
    """A model with its weights in the main graph, and its partitions in the order in which they run."""

    model: Model
    partitions: Sequence[Partition]

    @property
    def biases(self) -> dict[str, Array]:
        """The biases that may be changed, by initializer name."""
        names = {partition.bias for partition in self.partitions} - {""}
        return {t.name: self.model.array(t) for t in self._graph.initializer if t.name in names}

    def build(
        self,
        partition: Partition,
        types: Mapping[str, np.dtype[np.generic]],
        values: Mapping[str, Array] = MappingProxyType({}),
    ) -> Model:
        """Return a partition as a model of its own; its outputs are the target and what it makes.

        Args:
            partition: one of `partitions`.
            types: element type of each value that the partition reads.
            values: other values for its weights and biases, by initializer name.
        """
        target = [partition.target] if partition.target else []
        reads = {name: types[name] for name in partition.reads}
        makes = dict.fromkeys((*target, *partition.makes))
        return with_constants(build_part(self.model, partition.nodes, reads, makes), values)

    @property
    def _graph(self) -> onnx.GraphProto:
        return self.model.proto.graph


def partition_model(
    model: Model,
    layers: Sequence[Layer],
    wanted: Collection[str],
    is_kept: Callable[[str], bool] = lambda name: False,
) -> PartitionedModel:
    """Cut a copy of the model in front of every weight that may be fitted again.

    That is one that a single Conv (group 1), Gemm (no factors, A as it is) or MatMul (second operand)
    of the main graph reads and nothing else.

    Args:
        model: the (folded) model.
        layers: all weights that may change.
        wanted: names of those that should be fitted again, where that is possible.
        is_kept: whether a bias of this name has to stay as it is.

    Returns:
        The partitions; none where nothing can be fitted again.
    """
    changed = model.copy()
    homes = hoist_weights(changed, {layer.name for layer in layers})
    graph = changed.proto.graph
    replace_all(graph.node, sorted_nodes(graph, model.source))
    inputs = {v.name for v in model.proto.graph.input}
    kept = {t.name for t in graph.initializer if is_kept(t.name)}
    cutter = _Cutter(changed, homes, inputs | kept)
    partitions = cutter.partitions(wanted)
    return PartitionedModel(changed, partitions)


class _Cutter:
    """What is read where in the main graph."""

    def __init__(self, model: Model, homes: Mapping[str, str], fixed: Collection[str]) -> None:
        graph = model.proto.graph
        self._model = model
        self._nodes = list(graph.node)
        self._reads = [list(dict.fromkeys(reads_of(node))) for node in self._nodes]
        self._layers = {home: layer for layer, home in homes.items()}
        self._outputs = {v.name for v in graph.output}
        self._made = {o: i for i, node in enumerate(self._nodes) for o in node.output if o}
        self._weights = {t.name: t for t in graph.initializer}  # also inputs' defaults before IR 4
        self._constants = {name: t for name, t in self._weights.items() if name not in fixed}
        self._readers: dict[str, list[int]] = {}
        for i, node in enumerate(self._nodes):
            for name in reads_of(node):
                self._readers.setdefault(name, []).append(i)

    def partitions(self, wanted: Collection[str]) -> list[Partition]:
        """Return all partitions, from the first that is needed for some target to the last target."""
        sites = [i for i, node in enumerate(self._nodes) if self._is_site(node, wanted)]
        if not sites:
            return []
        ends = [*sites[1:], len(self._nodes)]
        found: list[Partition] = []
        needed: set[str] = set()
        for start, end in reversed([(0, sites[0]), *zip(sites, ends, strict=True)]):
            is_site = end > sites[0]
            partition = self._partition(start, end, needed, is_site=is_site)
            needed = (needed - set(partition.makes)) | set(partition.reads)
            if is_site or partition.nodes:
                found.append(partition)
        return found[::-1]

    def _is_site(self, node: onnx.NodeProto, wanted: Collection[str]) -> bool:
        if node.op_type not in ("Conv", "Gemm", "MatMul") or not is_known_domain(node):
            return False
        data, home = node.input[0], node.input[1]
        is_free = len(self._readers[home]) == 1 and home not in self._outputs
        if self._layers.get(home) not in wanted or not is_free or data in self._constants:
            return False
        rank = len(self._weights[home].dims)
        if rank < 2 or (node.op_type != "Conv" and rank > 2):
            return False
        attributes = node_attributes(node)
        neutral = {"group": 1, "transA": 0, "alpha": 1.0, "beta": 1.0}
        return all(attributes.get(key, value) == value for key, value in neutral.items())

    def _partition(self, start: int, end: int, needed: Collection[str], *, is_site: bool) -> Partition:
        node = self._nodes[start] if is_site else None
        target, bias = ("", "") if node is None else self._follow(node, end)
        makes = [n for n in self._made if start <= self._made[n] < end and n in needed]
        goals = [*makes, *([target] if target else [])]
        nodes, reads = nodes_behind(self._reads, self._made, start, goals)
        used = {name for i in nodes for name in self._reads[i]}
        weights = {layer: home for home, layer in self._layers.items() if home in used}
        if node is None:
            return Partition("", None, "", "", weights, reads, tuple(makes), nodes)
        attributes = tuple(sorted(node_attributes(node).items()))
        operand = Operand(node.input[0], node.op_type, 1, attributes)
        layer = self._layers[node.input[1]]
        return Partition(layer, operand, target, bias, weights, reads, tuple(makes), nodes)

    def _follow(self, node: onnx.NodeProto, end: int) -> tuple[str, str]:
        """Return the last sum that a node's output alone goes into, and the bias on the way."""
        n_out, n_spatial = _output_channels(node, self._weights[node.input[1]])
        value = str(node.output[0])
        bias = self._bias(node.input[2], (n_out,)) if len(node.input) > 2 else ""
        while value not in self._outputs and len(self._readers.get(value, ())) == 1:
            (reader,) = self._readers[value]
            add = self._nodes[reader]
            if add.op_type != "Add" or not is_known_domain(add) or reader >= end:
                break
            other = add.input[1] if add.input[0] == value else add.input[0]
            bias = bias or self._bias(other, (n_out, *(1,) * n_spatial))
            value = str(add.output[0])
        return value, bias

    def _bias(self, name: str, wanted: tuple[int, ...]) -> str:
        """Return the name if it is a float constant of that shape that nothing else reads, else ""."""
        tensor = self._constants.get(name)
        if tensor is None or len(self._readers[name]) != 1 or name in self._outputs:
            return ""
        dims = tuple(tensor.dims)
        padding = (1,) * (len(dims) - len(wanted))
        return name if dims == padding + wanted and tensor.data_type in _FLOATS else ""


def _output_channels(node: onnx.NodeProto, weight: onnx.TensorProto) -> tuple[int, int]:
    """Return the number of output channels and of the axes behind the channel axis."""
    dims = list(weight.dims)
    if node.op_type == "Conv":
        return dims[0], len(dims) - 2
    return dims[0 if node_attributes(node).get("transB", 0) else -1], 0
