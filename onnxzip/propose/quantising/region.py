"""Finds the part of a graph that can compute in int8: which nodes, and which values between them.

Three kinds of nodes: those that multiply by a constant weight (Conv, Gemm, MatMul) are what all is for;
*carriers* (Add, pooling, Concat ...) have int8 kernels or move numbers only, and spare the way back to
float32 between two of the former; *tails* (Relu, Clip) are absorbed by the rounding behind them. A
MatMul whose input no other node rounds does so by the range of the very values that it meets
(DynamicQuantizeLinear), and answers in float32, as a Gemm does where nothing behind it wants int8.

Which operators onnxruntime runs in int8 on the CPU: core/optimizer/qdq_transformer/selectors_actions of
its sources; 1.17 and 1.32 were tried.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from onnxzip.graph import CARRIERS, JOINS, MOVERS
from onnxzip.passbase import Editor, NodeView

_STANDARD = ("", "ai.onnx")
_TAILS = ("Relu", "Clip")
_ACTIVATIONS = (
    *("Elu", "HardSigmoid", "LeakyRelu", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Tanh"),
    "ThresholdedRelu",
)
"""What onnxruntime fuses with a Gemm in float32, before it looks for int8, unless the Gemm's output is
rounded (core/optimizer/gemm_activation_fusion.cc)."""


@dataclass(frozen=True)
class Multiplication:
    """A node that multiplies by a weight in int8.

    Attributes:
        node: the node.
        data: name of what it multiplies.
        weight: name of the weight.
        bias: name of the bias; "" where there is none.
        axis: the weight's axis of output channels.
        is_dynamic: whether its input is rounded by its own range at every run.
    """

    node: NodeView
    data: str
    weight: str
    bias: str
    axis: int
    is_dynamic: bool


@dataclass(frozen=True, eq=False)
class Region:
    """What of a graph computes in int8.

    Attributes:
        multiplications: in topological order.
        carriers: likewise.
        rounded: the values that are rounded to a uint8 grid, and whose grid each has: its own, or that
            of the value that it only moves.
        made: those of them that a node of the region makes; whoever reads one reads the rounded one.
    """

    multiplications: Sequence[Multiplication]
    carriers: Sequence[NodeView]
    rounded: Mapping[str, str]
    made: Collection[str]


def multiplications_of(editor: Editor) -> list[Multiplication]:
    """Return all nodes of the main graph that could multiply in int8."""
    nodes = editor.nodes()
    found = [m for node in nodes if (m := _multiplication(node, editor)) is not None]
    # A weight that somebody else reads too would be there twice.
    while True:
        n_reads: dict[str, int] = {}
        for multiplication in found:
            n_reads[multiplication.weight] = n_reads.get(multiplication.weight, 0) + 1
        kept = [m for m in found if editor.n_uses(m.weight) == n_reads[m.weight]]
        if len(kept) == len(found):
            return found
        found = kept


def _multiplication(node: NodeView, editor: Editor) -> Multiplication | None:
    """Return what a node multiplies, None where it cannot in int8."""
    if node.domain not in _STANDARD or node.op_type not in ("Conv", "Gemm", "MatMul"):
        return None
    data, weight, *rest = node.inputs
    array = editor.constant(weight)
    if array is None or array.dtype != np.float32 or editor.constant(data) is not None:
        return None
    bias = rest[0] if rest else ""
    if bias and not _is_bias(bias, array.shape, node, editor):
        return None
    attributes = node.attributes
    if node.op_type == "Conv":
        is_able, axis = array.ndim >= 3 and not editor.is_output(node.outputs[0]), 0
    elif node.op_type == "Gemm":
        plain = (attributes.get("alpha", 1.0), attributes.get("beta", 1.0), attributes.get("transA", 0))
        is_able, axis = plain == (1.0, 1.0, 0), 0 if attributes.get("transB", 0) else 1
    else:
        is_able, axis = array.ndim == 2, 1
    return Multiplication(node, data, weight, bias, axis, node.op_type == "MatMul") if is_able else None


def _is_bias(name: str, weight_shape: Sequence[int], node: NodeView, editor: Editor) -> bool:
    """Whether a third input is a constant number for each output channel, read by this node only."""
    array = editor.constant(name)
    axis = 0 if node.op_type == "Conv" or node.attributes.get("transB", 0) else 1
    is_fit = array is not None and array.dtype == np.float32 and array.shape == (weight_shape[axis],)
    return is_fit and editor.n_uses(name) == 1


@dataclass
class _Finder:
    """Finds the region of chosen multiplications.

    Attributes:
        rounded: values that are rounded, see `Region`.
        made: see `Region`.
    """

    editor: Editor
    chosen: Sequence[Multiplication]
    may_carry: Callable[[NodeView], bool]
    has_grid: Callable[[str], bool]
    nodes: Sequence[NodeView] = field(init=False)
    readers: dict[str, list[NodeView]] = field(default_factory=dict)
    rounded: dict[str, str] = field(default_factory=dict)
    made: dict[str, None] = field(default_factory=dict)
    dynamic: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.nodes = self.editor.nodes()
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                if name:
                    self.readers.setdefault(name, []).append(node)
        self._by_key = {m.node.key: m for m in self.chosen}

    def find(self) -> Region:
        wanted = self._wanted()
        carriers: list[NodeView] = []
        for node in self.nodes:
            multiplication = self._by_key.get(node.key)
            if multiplication is not None:
                self._multiply(multiplication, wanted)
            elif node.key in wanted and self._can_carry(node):
                output = self._tail_of(node)
                carriers.append(node)
                for source in _sources(node, self.editor):
                    self.rounded.setdefault(source, source)
                self._make(output, self.rounded[node.inputs[0]] if node.op_type in MOVERS else output)
        chosen = [
            m if m.node.key in self.dynamic or not m.is_dynamic else _static(m) for m in self.chosen
        ]
        return Region(chosen, carriers, self.rounded, self.made)

    def _multiply(self, found: Multiplication, wanted: Collection[int]) -> None:
        if found.is_dynamic and found.data not in self.made:
            self.dynamic.add(found.node.key)
            return
        self.rounded.setdefault(found.data, found.data)
        output = self._tail_of(found.node)
        readers = self.readers.get(output, ())
        is_wanted = any(reader.key in wanted or self._is_static(reader) for reader in readers)
        is_rounded = is_wanted or self._is_activated(found.node)
        if found.node.op_type == "Conv" or (
            is_rounded and found.node.op_type == "Gemm" and self._is_inner(output)
        ):
            self._make(output, output)

    def _is_activated(self, node: NodeView) -> bool:
        """Whether what a node makes goes through an activation that may be fused with it."""
        readers = self.readers.get(node.outputs[0], [])
        return len(readers) == 1 and readers[0].op_type in _ACTIVATIONS

    def _is_static(self, node: NodeView) -> bool:
        found = self._by_key.get(node.key)
        return found is not None and not found.is_dynamic

    def _make(self, value: str, grid: str) -> None:
        self.rounded[value] = grid
        self.made[value] = None

    def _tail_of(self, node: NodeView) -> str:
        """Return the output behind what is absorbed by rounding it."""
        value = node.outputs[0]
        readers = self.readers.get(value, [])
        if len(readers) == 1 and readers[0].op_type in _TAILS and self.editor.n_uses(value) == 1:
            tail = readers[0]
            is_plain = tail.op_type == "Relu" or _cuts_at_zero(tail, self.editor)
            if is_plain and self._is_inner(tail.outputs[0]):
                return tail.outputs[0]
        return value

    def _is_inner(self, value: str) -> bool:
        """Whether only nodes of the main graph read a value."""
        n_reads = sum(list(node.inputs).count(value) for node in self.readers.get(value, ()))
        return not self.editor.is_output(value) and self.editor.n_uses(value) == n_reads

    def _can_carry(self, node: NodeView) -> bool:
        return any(source in self.made for source in _sources(node, self.editor))

    def _wanted(self) -> set[int]:
        """Return the carriers from which carriers lead to a multiplication that wants int8."""
        wanted: set[int] = set()
        for node in reversed(self.nodes):
            is_carrier = node.op_type in CARRIERS and node.domain in _STANDARD and len(node.outputs) == 1
            sources, output = _sources(node, self.editor), self._tail_of(node)
            is_able = is_carrier and bool(sources) and self.may_carry(node)
            if not is_able or not all(map(self.has_grid, (*sources, output))):
                continue
            readers = self.readers.get(output, ())
            if self._is_inner(output) and any(r.key in wanted or self._is_static(r) for r in readers):
                wanted.add(node.key)
        return wanted


def find_region(
    editor: Editor,
    chosen: Sequence[Multiplication],
    may_carry: Callable[[NodeView], bool] = lambda node: True,
    has_grid: Callable[[str], bool] = lambda value: True,
) -> Region:
    """Return the region in which chosen multiplications, and whatever serves them, are in int8.

    Args:
        editor: the graph.
        chosen: the multiplications.
        may_carry: whether a node may be a carrier.
        has_grid: whether it is known how to round a value.
    """
    return _Finder(editor, chosen, may_carry, has_grid).find()


def _static(found: Multiplication) -> Multiplication:
    return Multiplication(found.node, found.data, found.weight, found.bias, found.axis, False)


def _sources(node: NodeView, editor: Editor) -> list[str]:
    """Return the values that a carrier takes its numbers from; none where one of them is a constant."""
    if node.op_type in JOINS:
        sources = list(node.inputs)
        return [] if any(editor.constant(source) is not None for source in sources) else sources
    return list(node.inputs[:1])


def _cuts_at_zero(clip: NodeView, editor: Editor) -> bool:
    """Whether a Clip lets through what is above 0 and below some constant."""
    if len(clip.inputs) < 2 or not clip.inputs[1]:
        return False
    low = editor.constant(clip.inputs[1])
    is_high_known = (
        len(clip.inputs) < 3 or not clip.inputs[2] or editor.constant(clip.inputs[2]) is not None
    )
    return low is not None and low.size == 1 and float(low.reshape(-1)[0]) == 0.0 and is_high_known


def by_weight(found: Sequence[Multiplication]) -> dict[str, list[Multiplication]]:
    """Return the nodes of each weight: they stay together, as the weight is int8 for all of them."""
    nodes: dict[str, list[Multiplication]] = {}
    for multiplication in found:
        nodes.setdefault(multiplication.weight, []).append(multiplication)
    return nodes
