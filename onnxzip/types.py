"""Frozen records that the stages of the pipeline hand to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Scalar: TypeAlias = bool | int | float | str
AttributeValue: TypeAlias = int | float | str | tuple[int, ...] | tuple[float, ...]
Form: TypeAlias = Literal["stored", "computed"]
Array: TypeAlias = NDArray[Any]
Feeds: TypeAlias = Mapping[str, Array]


@dataclass(frozen=True)
class Layout:
    """Say what each axis of a weight means; together the four tuples name every axis once.

    A weight in *canonical* order has its axes as batch + out + inner + spatial. A Conv weight
    (out, in/group, kh, kw) is canonical already; the B of a Gemm without transB, (in, out), is not.
    """

    batch: tuple[int, ...]
    out: tuple[int, ...]
    inner: tuple[int, ...]
    spatial: tuple[int, ...]

    @property
    def order(self) -> tuple[int, ...]:
        """The permutation of the weight's axes that gives canonical order."""
        return self.batch + self.out + self.inner + self.spatial

    @property
    def is_canonical(self) -> bool:
        """Whether the weight's own axis order is the canonical one."""
        return self.order == tuple(range(len(self.order)))

    def sizes(self, shape: tuple[int, ...]) -> tuple[int, int, int, tuple[int, ...]]:
        """Return (n_batch, n_out, n_inner, spatial shape) of a weight of the given shape."""
        return (
            int(np.prod([shape[a] for a in self.batch], dtype=np.int64)),
            int(np.prod([shape[a] for a in self.out], dtype=np.int64)),
            int(np.prod([shape[a] for a in self.inner], dtype=np.int64)),
            tuple(shape[a] for a in self.spatial),
        )


@dataclass(frozen=True)
class Statistics:
    """Second moment of what a layer's columns are multiplied with.

    Attributes:
        second_moment: M, float32, symmetric; damped, so that it is positive definite. H = E[x xᵀ] of all
            columns in canonical order, n_inner * prod(spatial), is M repeated along the diagonal.
        n_samples: number of input vectors averaged over.
        n_blocks: how often M is repeated: 1, or n_inner where M is that of the spatial positions alone.
    """

    second_moment: NDArray[np.float32]
    n_samples: int
    n_blocks: int = 1

    def times(self, plane: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return plane @ H for (n_rows, n_columns) float32."""
        n_columns = len(self.second_moment)
        product: NDArray[np.float32] = plane.reshape(-1, n_columns) @ self.second_moment
        return product.reshape(plane.shape)


@dataclass(frozen=True, eq=False)
class Layer:
    """One weight of the model and what consumes it.

    Attributes:
        name: the weight's name, unique in the model.
        op_type: operator of the first consumer ("Conv", "Gemm", ...), "" when there is none known.
        weight: read-only array in the model's own axis order and float type.
        layout: meaning of the weight's axes.
        consumers: names of all the nodes that read the weight.
        attributes: attributes of the first consumer (strides, group, transB, ...), defaults included.
        macs: multiply-accumulates one run of the consumers costs; None when unknown.
        can_compute: whether the consumer may be replaced by other nodes (computed form).
        statistics: second moment of the consumer's input; None without calibration.
        row_weights: (n_out,) float32 of mean 1, how often each row of a Gather's table is read, damped;
            None where that is not known.
    """

    name: str
    op_type: str
    weight: Array
    layout: Layout
    consumers: tuple[str, ...] = ()
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    macs: int | None = None
    can_compute: bool = False
    statistics: Statistics | None = None
    row_weights: NDArray[np.float32] | None = None

    @cached_property
    def sizes(self) -> tuple[int, int, int, tuple[int, ...]]:
        """(n_batch, n_out, n_inner, spatial shape)."""
        return self.layout.sizes(self.weight.shape)

    @property
    def canonical_shape(self) -> tuple[int, ...]:
        """(n_batch, n_out, n_inner, *spatial)."""
        n_batch, n_out, n_inner, spatial = self.sizes
        return (n_batch, n_out, n_inner, *spatial)

    def canonical(self) -> NDArray[np.float32]:
        """Return the weight as float32 (n_batch, n_out, n_inner, *spatial), C-contiguous."""
        ordered = np.transpose(self.weight, self.layout.order).astype(np.float32)
        return np.ascontiguousarray(ordered).reshape(self.canonical_shape)

    def from_canonical(self, array: NDArray[np.float32]) -> Array:
        """Return a canonical float32 array in the weight's own shape, axis order and dtype."""
        shape = self.weight.shape
        order = self.layout.order
        permuted = array.reshape([shape[a] for a in order])
        restored = np.transpose(permuted, np.argsort(order))
        return np.ascontiguousarray(restored).astype(self.weight.dtype)


@dataclass(frozen=True, eq=False)
class Coefficients:
    """Quantised coefficients: value = integers * steps.

    Attributes:
        integers: (n_segments, length) int32 or narrower. A segment is a run of numbers that are
            expected to have a common distribution (a filter, a DCT position, a wavelet band); the
            coder chooses a code for each segment, so that a pass decides what a context is and the
            coder its price.
        steps: float32; two-dimensional: broadcastable to (n_segments, length); three-dimensional:
            (n_segments, n_groups, 1), one step for each of n_groups equal runs of a segment.
        is_fixed_rate: the integers fill a fixed alphabet, so that packing suits them.
        outer: None, or (n_outer, 1, 1) float32: the integers then are a grid of n_outer x n_inner
            columns, one behind the other, steps is (n_inner, 1), and a column's step is the product.
    """

    integers: NDArray[np.signedinteger[Any]]
    steps: NDArray[np.float32]
    is_fixed_rate: bool = False
    outer: NDArray[np.float32] | None = None

    @property
    def view(self) -> tuple[int, ...]:
        """The shape of the integers that the steps broadcast to."""
        if self.outer is not None:
            n_columns = len(self.outer) * len(self.steps)
            return (len(self.outer), len(self.steps), self.integers.size // n_columns)
        n_segments, length = self.integers.shape
        if self.steps.ndim == 2:
            return (n_segments, length)
        n_groups = self.steps.shape[1]
        return (n_segments, n_groups, length // n_groups)

    def values(self) -> NDArray[np.float32]:
        """Return the reconstructed coefficients, (n_segments, length) float32."""
        steps = self.steps if self.outer is None else self.outer * self.steps
        viewed = self.integers.astype(np.float32).reshape(self.view)
        return (viewed * steps).reshape(self.integers.shape)


@dataclass(frozen=True, eq=False)
class Encoded:
    """What a pass stores for one weight; the input of both its numpy decoder and its emitter.

    Attributes:
        coefficients: quantised arrays that decode to floats.
        integers: (n_segments, length) int32 arrays that decode to integers (codebook indices).
        tables: small arrays stored as they are (codebooks in float16, positions of kept coefficients).
    """

    coefficients: Mapping[str, Coefficients] = field(default_factory=dict)
    integers: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)
    tables: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Candidate:
    """One way to store or compute one layer.

    Attributes:
        settings: what the pass needs to encode the layer again; scalars, shown in the report.
        n_bytes: estimated bytes in the file, names and nodes of the decode subgraph included.
        error: |W - W'| / |W| in the Frobenius norm; with statistics the relative error of the layer's
            output, sqrt(tr(E H Eᵀ) / tr(W H Wᵀ)), with row weights that of the rows as they are read.
        macs: multiply-accumulates of one run (computed form), else the layer's own.
        encoded: the payload; None once released (`Pass.encode` makes it again, bit for bit).
        is_estimate: whether bytes and error were interpolated between two rates, not measured.
    """

    layer: Layer
    pass_name: str
    settings: Mapping[str, Scalar]
    form: Form
    n_bytes: int
    error: float
    macs: int | None = None
    encoded: Encoded | None = None
    is_estimate: bool = False

    def released(self) -> Candidate:
        """Return the candidate without its payload."""
        return replace(self, encoded=None)


@dataclass(frozen=True)
class Skip:
    """A refusal: which pass left which layer alone, and why."""

    layer: str
    pass_name: str
    reason: str


@dataclass(frozen=True)
class Rewrite:
    """One structural change made by a graph pass (`fold`)."""

    pass_name: str
    target: str
    description: str


@dataclass(frozen=True, eq=False)
class Rounding:
    """Which small tensors are stored in fewer bits (`onnxzip.rounding`).

    Attributes:
        layers: the tensors; none where nothing is rounded.
        rate: largest integer, 127 (8 bits) or 32767 (16 bits).
        error: relative error of the model's output that this alone causes.
    """

    layers: tuple[Layer, ...] = ()
    rate: int = 32767
    error: float = 0.0

    @property
    def n_bits(self) -> int:
        """Bits of an integer, sign included."""
        return self.rate.bit_length() + 1


@dataclass(frozen=True, eq=False)
class Plan:
    """The chosen candidate of every layer that is changed.

    Attributes:
        chosen: by layer name.
        budget: the per-layer error limit the choice was made under.
        n_bytes: sum of the candidates' estimates.
        error: largest per-layer error.
        constants: new values of other initializers (biases, norms), by name, before rounding.
        rounding: how those of them that are small are stored.
    """

    chosen: Mapping[str, Candidate]
    budget: float
    n_bytes: int
    error: float
    constants: Mapping[str, Array] = field(default_factory=dict)
    rounding: Rounding = field(default_factory=Rounding)


@dataclass(frozen=True)
class Check:
    """One comparison of two models on one provider.

    Attributes:
        kind: "exact" proves the surgery, "drift" measures the loss.
        provider: execution provider name without "ExecutionProvider", e.g. "CPU", "CUDA".
        metric: unit of `value` and `limit`.
        passed: the verdict, in the direction the metric asks for (psnr: value >= limit).
        n_samples: samples the value was measured on.
        seed: seed of the generated feeds; None with the user's own data.
        note: what a reader must know about the figure ("generated inputs", ...).
        interval: 95 % confidence interval of a drift over samples; None where there are too few.
    """

    kind: Literal["exact", "drift", "structure"]
    provider: str
    metric: str
    value: float
    limit: float
    passed: bool
    n_samples: int
    seed: int | None = None
    note: str = ""
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class LayerReport:
    """One line of the report: how a weight is stored.

    `macs_before`/`macs_after` are None when unknown; `error` is Candidate.error.
    """

    name: str
    op_type: str
    shape: tuple[int, ...]
    dtype: str
    pass_name: str
    form: Form
    settings: Mapping[str, Scalar]
    bytes_before: int
    bytes_after: int
    error: float
    macs_before: int | None = None
    macs_after: int | None = None


@dataclass(frozen=True)
class Report:
    """What was done to a model and the proof of it; `onnxzip.report` exports it."""

    schema: int
    source: str
    source_sha256: str
    output_sha256: str
    layers: tuple[LayerReport, ...]
    rewrites: tuple[Rewrite, ...]
    skips: tuple[Skip, ...]
    checks: tuple[Check, ...]
    bytes_before: int
    bytes_after: int
    seconds: float
    settings: Mapping[str, Scalar] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """Bytes before divided by bytes after."""
        return self.bytes_before / max(self.bytes_after, 1)
