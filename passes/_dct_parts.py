"""The parts of a weight that `dct` transforms: coefficients by position, kept and quantised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from onnxzip.passbase import Codec
from onnxzip.records.layer import Layer
from onnxzip.records.payload import Encoded
from onnxzip.transforms.dct import kept_positions, spatial_basis

from ._shared import as_segments


@dataclass(frozen=True, eq=False)
class Part:
    """Coefficients of equally long vectors, by position.

    Attributes:
        name: key of the part in the payload.
        basis: (k, k), the rows are the basis vectors.
        coefficients: (k, n_rows, n_vectors) float32.
    """

    name: str
    basis: NDArray[np.float32]
    coefficients: NDArray[np.float32]

    @cached_property
    def energies(self) -> NDArray[np.float64]:
        """Energy of each position, (k,)."""
        return np.array(
            [np.dot(c, c) for c in self.coefficients.reshape(len(self.basis), -1)], np.float64
        )

    def segments(self, kept: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return kept positions as (n_segments, length): runs of rows, a position each."""
        chosen = self.coefficients if len(kept) == len(self.basis) else self.coefficients[kept]
        return as_segments(chosen)


def make_parts(layer: Layer, block: int) -> list[Part]:
    """Return the coefficients by position: one part, and the remainder of a matrix's columns."""
    n_rows = layer.n_rows
    spatial = layer.sizes[3]
    k = int(np.prod(spatial))
    if k > 1:
        return [_part("kernels", layer.canonical().reshape(n_rows, -1, k), spatial)]
    plane = layer.plane()
    n_whole = plane.shape[1] - plane.shape[1] % block
    parts = [_part("blocks", plane[:, :n_whole].reshape(n_rows, -1, block), (block,))]
    if n_whole < plane.shape[1]:
        rest = plane[:, n_whole:]
        parts.append(_part("remainder", rest[:, None, :], (rest.shape[1],)))
    return parts


def _part(name: str, vectors: NDArray[np.float32], sizes: tuple[int, ...]) -> Part:
    """Transform (n_rows, n_vectors, k) vectors."""
    n_rows, n_vectors, k = vectors.shape
    basis = spatial_basis(sizes)
    return Part(name, basis, (basis @ vectors.reshape(-1, k).T).reshape(k, n_rows, n_vectors))


def quantize(parts: Sequence[Part], keep_fraction: float, rate: float, codec: Codec) -> Encoded:
    """Quantise the kept positions of every part; the tables are the kept rows of each basis."""
    kept = {part.name: kept_positions(part.energies, keep_fraction) for part in parts}
    return Encoded(
        {part.name: codec.quantize(part.segments(kept[part.name]), rate) for part in parts},
        tables={part.name: part.basis[kept[part.name]] for part in parts},
    )


def truncated_error(parts: Sequence[Part], keep_fraction: float, encoded: Encoded) -> float:
    """Return |W - W'| / |W| from the coefficients: the transform is orthogonal (Parseval)."""
    lost = total = 0.0
    for part in parts:
        kept = kept_positions(part.energies, keep_fraction)
        difference = part.segments(kept) - encoded.coefficients[part.name].values()
        total += float(part.energies.sum())
        lost += float(np.linalg.norm(difference.ravel())) ** 2
        lost += float(np.delete(part.energies, kept).sum())
    return float(np.sqrt(lost / total)) if total > 0 else 0.0
