"""Candidates, refusals, and the plan that is chosen among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from onnxzip.records.aliases import Array, Scalar
from onnxzip.records.layer import Layer
from onnxzip.records.payload import Encoded


@dataclass(frozen=True, eq=False)
class Candidate:
    """One way to store one layer.

    Attributes:
        settings: what the pass needs to encode the layer again; scalars, shown in the report.
        n_bytes: estimated bytes in the file, names and nodes of the decode subgraph included.
        error: |W - W'| / |W| in the Frobenius norm; with statistics the relative error of the layer's
            output, sqrt(tr(E H Eᵀ) / tr(W H Wᵀ)), with row weights that of the rows as they are read.
        encoded: the payload; None once released (`Pass.encode` makes it again, bit for bit).
        is_estimate: whether bytes and error were interpolated between two rates, not measured.
    """

    layer: Layer
    pass_name: str
    settings: Mapping[str, Scalar]
    n_bytes: int
    error: float
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
