"""DCT-II over a kernel's spatial axes, or over blocks of a matrix's columns; few positions, quantised.

A weight is cut into vectors of k numbers: a kernel's flattened spatial axes, or `block` neighbouring
columns of a matrix (and a shorter remainder). Their coefficients are kept by position, so that a
position is a context of the coder; positions with little energy are dropped. With B the kept rows
of the basis, W'[vector] = c[vector] B: one MatMul (transforms/dct.py has formula and source).

With input statistics a kernel's coefficients are rounded with error feedback in the DCT domain, where
the second moment is T H Tᵀ (onnxzip/codec/feedback.py has formula and source), and all positions are
kept: those that matter little get large steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onnxzip.passbase import Builder, Codec, Pass
from onnxzip.records.aliases import Scalar
from onnxzip.records.layer import Layer
from onnxzip.records.payload import Encoded
from onnxzip.records.plan import Candidate, Skip
from onnxzip.transforms.dct import kept_positions, spatial_basis

from ._columns import RoundedColumns, emit_rounded, has_kernel_basis, restore_rounded
from ._dct_parts import Part, make_parts, quantize, truncated_error
from ._examples import example_layers
from ._shared import check_ranges, payload, price, refusal_of_transforms

_N_NODES, _N_JOINING_NODES = 4, 2
"""Nodes that `emit` adds: at most for each part, and for joining several."""


@dataclass(frozen=True)
class Dct(Pass):
    """Store quantised DCT coefficients.

    Attributes:
        block: columns of a matrix transformed together.
        truncation: energy that dropping positions may lose, as a share of the quantisation noise.
    """

    name: ClassVar[str] = "dct"
    n_copies: ClassVar[float] = 4
    min_opset: ClassVar[int] = 8
    examples: ClassVar[tuple[Layer, ...]] = example_layers()

    block: int = 8
    truncation: float = 0.1

    def __post_init__(self) -> None:
        """Refuse blocks that are none, and shares that are none."""
        check_ranges(block=(self.block, 1, 1024), truncation=(self.truncation, 0, 1))

    def candidates(self, layer: Layer, codec: Codec) -> Iterator[Candidate | Skip]:
        """Offer one candidate per rate."""
        if (skip := refusal_of_transforms(layer, self.name) or self._refusal(layer)) is not None:
            yield skip
            return
        parts = make_parts(layer, self.block)
        columns = _columns(layer)
        if columns is not None and columns.feedback is not None:
            settings = {"keep_fraction": 1.0, "block": self.block, "feedback": True}
            yield from columns.ladder(self.name, settings, codec=codec, n_nodes=_N_NODES)
        else:
            yield from (self._at_rate(layer, parts, rate, codec) for rate in codec.rates)

    def encode(self, layer: Layer, settings: Mapping[str, Scalar], codec: Codec) -> Encoded:
        """Quantise the positions that hold `keep_fraction` of the energy at `rate`."""
        rate = float(settings["rate"])
        if settings.get("feedback", False) and (columns := _columns(layer)) is not None:
            return columns.encode(rate, codec)
        parts = make_parts(layer, int(settings["block"]))
        return quantize(parts, float(settings["keep_fraction"]), rate, codec)

    def restore(self, candidate: Candidate) -> NDArray[np.float32]:
        """Return the inverse DCT of the kept coefficients, canonical shape."""
        encoded = payload(candidate)
        if "columns" in encoded.coefficients:
            return restore_rounded(candidate.layer, encoded)
        parts = []
        for name, coefficients in encoded.coefficients.items():
            basis = encoded.tables[name]
            values = coefficients.values().reshape(len(basis), -1)
            parts.append((values.T @ basis).reshape(candidate.layer.n_rows, -1))
        restored = np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
        return restored.reshape(candidate.layer.canonical_shape)

    def emit(self, candidate: Candidate, builder: Builder) -> None:
        """Emit Transpose and MatMul with the basis."""
        encoded = payload(candidate)
        if "columns" in encoded.coefficients:
            emit_rounded(candidate.layer, encoded, builder)
            return
        n_rows = candidate.layer.n_rows
        planes: list[str] = []
        widths: list[int] = []
        for name, coefficients in encoded.coefficients.items():
            n_kept, k = encoded.tables[name].shape
            n_vectors = coefficients.integers.size // n_kept
            value = builder.coefficients(coefficients)
            value = builder.reshape(value, (n_kept, n_vectors))
            value = builder.node("Transpose", [value], (n_vectors, n_kept), np.float32, perm=(1, 0))
            basis = builder.constant(encoded.tables[name])
            planes.append(builder.node("MatMul", [value, basis], (n_vectors, k), np.float32))
            widths.append(n_vectors * k // n_rows)
        if len(planes) > 1:
            rows = [builder.reshape(p, (n_rows, w)) for p, w in zip(planes, widths, strict=True)]
            planes = [builder.node("Concat", rows, (n_rows, sum(widths)), np.float32, axis=1)]
        builder.replace_weight(candidate.layer, planes[0])

    def _refusal(self, layer: Layer) -> Skip | None:
        """Refuse a kernel that is larger than its layer can pay for, or a matrix that is too narrow."""
        _, _, n_inner, spatial = layer.sizes
        k = int(np.prod(spatial))
        if k > 1 and not has_kernel_basis(layer):
            reason = (
                f"the {k} x {k} basis is more than half of the weight's {layer.weight.size} elements"
            )
            return Skip(layer.name, self.name, reason)
        if k == 1 and n_inner < 2 * self.block:
            reason = f"{n_inner} columns and no spatial axes; needs at least {2 * self.block} columns"
            return Skip(layer.name, self.name, reason)
        return None

    def _at_rate(self, layer: Layer, parts: list[Part], rate: float, codec: Codec) -> Candidate:
        """Return the candidate of a rate; what truncation loses follows from the rate."""
        encoded = quantize(parts, 1.0, rate, codec)
        keep_fraction = max(0.0, 1.0 - self.truncation * truncated_error(parts, 1.0, encoded) ** 2)
        if any(
            len(kept_positions(p.energies, keep_fraction)) < len(encoded.tables[p.name]) for p in parts
        ):
            encoded = quantize(parts, keep_fraction, rate, codec)
        else:
            keep_fraction = 1.0
        return price(
            layer,
            self.name,
            {"rate": float(rate), "keep_fraction": keep_fraction, "block": self.block},
            encoded,
            codec=codec,
            n_nodes=_N_NODES if len(parts) == 1 else _N_NODES * len(parts) + _N_JOINING_NODES,
            error=truncated_error(parts, keep_fraction, encoded),
        )


def _columns(layer: Layer) -> RoundedColumns | None:
    """Return the columns of a kernel's coefficients; None for matrices, which gain nothing so."""
    spatial = layer.sizes[3]
    return None if int(np.prod(spatial)) == 1 else RoundedColumns(layer, spatial_basis(spatial))
