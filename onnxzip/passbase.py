"""The pass engine: what a pass is, and the builder it emits into.

A pass is a frozen dataclass whose fields are its settings. It never touches onnx: it offers
candidates for a `Layer`, says with numpy what its graph will decode to, and emits that graph
through a `Builder`. How coefficients become bytes is the codec's business, not the pass's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from onnxzip.records.aliases import Array, AttributeValue, Scalar
from onnxzip.records.layer import Layer
from onnxzip.records.payload import Coefficients, Encoded, Feedback, WholeNumbers
from onnxzip.records.plan import Candidate, Rewrite, Skip

_BLOCK = 1 << 20
"""Numbers that are squared at a time: as float64 they take 8 MiB, whatever the size of the weight."""

LARGEST_EXPANDED = 1 << 20
"""Bytes that a decode node may make of less. tract 0.23 folds up to 4 MiB, and a limit of onnxruntime's
own is under discussion (microsoft/onnxruntime#28203)."""

NODE_OVERHEAD_BYTES = 60
"""Estimated cost of one emitted node with its value_info entry, in bytes."""


class Codec(Protocol):
    """Turns float coefficients into integers and integers into bytes."""

    @property
    def rates(self) -> Sequence[float]:
        """Rates from the cheapest to the most exact; their unit is the codec's own."""

    @property
    def high_rates(self) -> Sequence[float]:
        """Further rates for weights that bear hardly any error: offered by estimate, not measured."""

    @property
    def is_continuous(self) -> bool:
        """Whether all rates between these may be used as well."""

    def n_bits(self, rate: float) -> float:
        """Return about how many bits a number takes at one of the highest rates."""

    def quantize(
        self,
        values: NDArray[np.float32],
        rate: float,
        feedback: Feedback | None = None,
        rms: float | None = None,
    ) -> Coefficients:
        """Quantise (n_segments, length) float32 values; with feedback each segment is a column.

        Where a rate is relative to the values' root mean square, `rms` is taken in its place.
        """

    def quantize_all(
        self, values: NDArray[np.float32], rates: Sequence[float], feedback: Feedback | None = None
    ) -> Iterator[Coefficients]:
        """Yield what `quantize` makes at each rate, to the last bit; faster where that is possible."""

    def n_bytes(self, encoded: Encoded) -> int:
        """Estimate the bytes that storing `encoded` adds to the file, tables included."""


class Builder(Protocol):
    """What a pass emits its subgraph into. All values are named by strings.

    Nodes depend on constants only, and are folded when a session is created.
    """

    def constant(self, array: Array) -> str:
        """Add an initializer and return its (unique, new) name."""

    def node(
        self,
        op_type: str,
        inputs: Sequence[str],
        shape: Sequence[int],
        dtype: type[np.generic],
        **attributes: AttributeValue,
    ) -> str:
        """Add a decode node with one output of the given static shape and dtype; return its name."""

    def reshape(self, value: str, shape: Sequence[int], dtype: type[np.generic] = np.float32) -> str:
        """Add a Reshape to a static shape."""

    def split(
        self, value: str, shapes: Sequence[Sequence[int]], dtype: type[np.generic], axis: int = 0
    ) -> list[str]:
        """Add a Split along `axis` into outputs of the given shapes (any opset)."""

    def rising_order(self, keys: str, size: int) -> str:
        """Add a TopK; return the name of the places, int64, of (size,) numbers in rising order."""

    def coefficients(self, coefficients: Coefficients) -> str:
        """Store quantised coefficients; return the name of their float32 (n_segments, length) value."""

    def integers(self, numbers: WholeNumbers) -> str:
        """Store (n_segments, length) integers; return the name of their value in the type wanted."""

    def replace_weight(self, layer: Layer, value: str) -> None:
        """Make all consumers of the layer's weight read `value` instead.

        `value` is float32, or of a type of integers, in canonical order with as many elements as the
        weight; the builder adds the Reshape, Transpose and Cast that give the weight's own shape, axis
        order and dtype.
        """


class Pass(ABC):
    """One compression method: a file in passes/ with one frozen dataclass that subclasses this."""

    name: ClassVar[str]
    examples: ClassVar[tuple[Layer, ...]]
    kinds: ClassVar[tuple[str, ...]] = ("float",)
    min_opset: ClassVar[int] = 7
    """The oldest operator set that has all operators that it emits."""
    n_copies: ClassVar[float] = 10
    """Copies of a weight, in float32, that it holds at most while it looks for candidates, encodes and
    restores one (`python -m tests.bench.memory passes`)."""

    @abstractmethod
    def candidates(self, layer: Layer, codec: Codec) -> Iterator[Candidate | Skip]:
        """Offer a ladder of candidates for a layer, cheapest first, or say why there is none.

        Estimates, which have no payload, come right behind the candidate that they were made from; their
        errors are in proportion to its own.

        Args:
            layer: the weight and its surroundings.
            codec: quantises and prices coefficients.
        """

    @abstractmethod
    def encode(self, layer: Layer, settings: Mapping[str, Scalar], codec: Codec) -> Encoded:
        """Make the payload of the candidate with these settings; pure and deterministic."""

    @abstractmethod
    def restore(self, candidate: Candidate) -> NDArray[np.float32]:
        """Return what the emitted graph decodes to: float32, `layer.canonical_shape`."""

    @abstractmethod
    def emit(self, candidate: Candidate, builder: Builder) -> None:
        """Emit the candidate's graph and finish with `replace_weight`."""


@dataclass(frozen=True)
class NodeView:
    """A node of the main graph, read-only; `key` identifies it to the editor."""

    key: int
    op_type: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, AttributeValue]
    has_subgraphs: bool = False


class Editor(Protocol):
    """What a graph pass edits the main graph through."""

    def nodes(self) -> Sequence[NodeView]:
        """All nodes of the main graph in topological order, as they are now."""

    def constant(self, value: str) -> Array | None:
        """Return the constant array behind a name (initializer or Constant node), else None.

        Overridable initializers (also graph inputs, IR >= 4) are not constant.
        """

    def is_output(self, value: str) -> bool:
        """Whether the value is a graph output."""

    def n_uses(self, value: str) -> int:
        """How often nodes, at any depth, and graph outputs read the value."""

    def evaluate(self, node: NodeView) -> Array | None:
        """Compute a node whose inputs are all constant; None when it cannot be done here."""

    def weights(self) -> Mapping[str, Array]:
        """Return the weights that may change, as they were before any edit, by name; nested ones too."""

    def hoist(self, weights: Collection[str]) -> Mapping[str, str]:
        """Make constants of the main graph of weights, before any edit; return their names there."""

    def add_constant(self, array: Array, hint: str) -> str:
        """Add an initializer under a new unique name."""

    def add_node(
        self, op_type: str, inputs: Sequence[str], hint: str, attributes: Mapping[str, AttributeValue]
    ) -> str:
        """Add a node of the standard before all that reads it; return its output's new unique name."""

    def set_inputs(self, node: NodeView, inputs: Sequence[str]) -> None:
        """Change a node's inputs."""

    def set_outputs(self, node: NodeView, outputs: Sequence[str]) -> None:
        """Change a node's outputs."""

    def redirect(self, old: str, new: str) -> None:
        """Make every reader of `old` (at any depth, never a graph output) read `new`."""

    def remove(self, node: NodeView) -> None:
        """Remove a node; initializers nobody reads any more go with the final clean-up."""


class GraphPass(ABC):
    """A structural pass (`fold`): rewrites the main graph without changing what it computes."""

    name: ClassVar[str]

    @abstractmethod
    def rewrite(self, editor: Editor) -> Iterator[Rewrite | Skip]:
        """Rewrite in place; yield one record per change or refusal."""


def relative_error(original: NDArray[np.float32], restored: NDArray[np.float32]) -> float:
    """Return |W - W'| / |W| in the Frobenius norm (0 when both are zero)."""
    before, after = original.reshape(-1), restored.reshape(-1)
    blocks = range(0, before.size, _BLOCK)
    norm = _norm(before[i : i + _BLOCK] for i in blocks)
    error = _norm(np.subtract(before[i : i + _BLOCK], after[i : i + _BLOCK]) for i in blocks)
    return error / norm if norm > 0 else (0.0 if error == 0 else np.inf)


def _norm(blocks: Iterable[NDArray[np.float32]]) -> float:
    """Return the Euclidean norm, summed in float64 (float32 overflows from 1e19 on)."""
    return float(sum(float(np.square(b, dtype=np.float64).sum()) for b in blocks) ** 0.5)
