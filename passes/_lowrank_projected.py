"""Two factors for the inputs that a layer meets, both rounded with error feedback.

With H the second moment of the inputs, the outputs of the layer W lie along the eigenvectors of
W H W^T. With the first r of them as the columns of L, L (L^T W) is the best approximation of rank r
(transforms/lowrank.py has formula and source). As L^T L = 1, an error of R = L^T W costs the output
what the same error in a row of W would: R is rounded column by column like a weight (codec/feedback.py),
in the DCT domain of its kernels. L is then fitted to what R became, L = W H R^T (R H R^T)^-1, and
rounded as a weight whose inputs have the second moment R H R^T. All steps are those that the weight
itself would get at the same rate, measured by what they cost the output, so that a direction gets the
fewer bits the less it carries; one that carries less than its rounding errors would cost is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve

from onnxzip.codec.feedback import make_feedback
from onnxzip.codec.layer_feedback import layer_feedback
from onnxzip.passbase import Builder, Codec
from onnxzip.records.layer import Layer, Statistics
from onnxzip.records.payload import Encoded, Feedback
from onnxzip.transforms import lowrank
from onnxzip.transforms.dct import spatial_basis

from ._columns import (
    emit_from_columns,
    from_columns,
    has_kernel_basis,
    restore_columns,
    to_columns,
)

MAX_SIDE = 1024
"""Largest shorter side of a plane; the eigenvectors are found again for every encoding."""

LEAST_ENERGY = 0.25
"""Energy of a direction that is kept, in squared steps of every number that it takes."""

DAMPING = 1e-3
"""Added to R H R^T, relative to its mean diagonal, so that it can be inverted."""

N_NODES = 6
"""Nodes that `emit` adds, at most."""


def can_project(layer: Layer) -> bool:
    """Whether the layer's inputs are known and its plane is neither too narrow nor too large."""
    side = min(layer.n_rows, layer.n_columns)
    return layer.statistics is not None and layer.sizes[0] == 1 and 2 <= side <= MAX_SIDE


@dataclass(frozen=True, eq=False)
class Projection:
    """A layer whose outputs are taken apart into orthogonal directions; `can_project` says which can."""

    layer: Layer

    @cached_property
    def basis(self) -> NDArray[np.float32] | None:
        """The DCT basis of the kernels, None without kernels."""
        return spatial_basis(self.layer.sizes[3]) if has_kernel_basis(self.layer) else None

    @cached_property
    def _feedback(self) -> Feedback | None:
        return layer_feedback(self.layer, self.basis)

    @cached_property
    def _step(self) -> float:
        """What a step of 1 costs the output in a typical column of the weight, as a reciprocal."""
        if self._feedback is not None:
            return self._feedback.mean_step
        return float(
            np.exp(-np.log(np.diag(self._statistics.second_moment).astype(np.float64)).mean() / 2)
        )

    @cached_property
    def _statistics(self) -> Statistics:
        assert self.layer.statistics is not None
        return self.layer.statistics

    @cached_property
    def _plane(self) -> NDArray[np.float32]:
        return self.layer.plane()

    @cached_property
    def _columns(self) -> NDArray[np.float32]:
        return to_columns(self.layer, self.basis)

    @cached_property
    def _directions(self) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        return lowrank.output_directions(self._plane, self._statistics)

    @cached_property
    def _rms(self) -> float:
        return float(np.sqrt(np.square(self._plane, dtype=np.float64).mean()))

    def rank_at(self, rate: float) -> int:
        """Return how many directions carry more than their rounding errors cost at a rate."""
        step = self._rms / (rate * self._step)
        least = LEAST_ENERGY * sum(self._plane.shape) * step**2
        return max(int(np.count_nonzero(self._directions[0] > least)), 1)

    def pays_at(self, rate: float) -> bool:
        """Whether the factors hold fewer numbers than the weight."""
        return self.rank_at(rate) * sum(self._plane.shape) < self._plane.size

    def encode(self, rate: float, codec: Codec) -> Encoded:
        """Return R as "right", (n_columns, r) in columns, and L as "left", (r, n_rows)."""
        directions = self._directions[1][:, : self.rank_at(rate)]
        columns = np.ascontiguousarray(self._columns @ directions)
        right = codec.quantize(columns, rate, self._feedback, self._rms)
        decoded = from_columns(right.values().reshape(columns.shape), self.basis)
        seen = self._statistics.times(decoded)
        moment = (seen @ decoded.T).astype(np.float64)
        moment += DAMPING * max(float(np.trace(moment)) / len(moment), 1e-30) * np.eye(len(moment))
        fitted = solve(moment, (seen @ self._plane.T).astype(np.float64), assume_a="pos")
        feedback = make_feedback(moment.astype(np.float32), 1)
        scale = 1.0 if feedback is None else feedback.mean_step / self._step
        left = codec.quantize(fitted.astype(np.float32), rate, feedback, self._rms * scale)
        tables = {} if self.basis is None else {"basis": self.basis}
        return Encoded({"right": right, "left": left}, tables=tables)


def restore(layer: Layer, encoded: Encoded) -> NDArray[np.float32]:
    """Return the product of the factors, canonical shape."""
    right, left = _planes(layer, encoded)
    return restore_columns(layer, right @ left, encoded.tables.get("basis"))


def emit(layer: Layer, encoded: Encoded, builder: Builder) -> None:
    """Emit the product of the factors, and what makes it the weight."""
    shapes = [plane.shape for plane in _planes(layer, encoded)]
    factors = [
        builder.reshape(builder.coefficients(encoded.coefficients[key]), shape)
        for key, shape in zip(("right", "left"), shapes, strict=True)
    ]
    n_columns, n_rows = shapes[0][0], shapes[1][1]
    basis = encoded.tables.get("basis")
    if basis is not None:
        product = builder.node("MatMul", factors, (n_columns, n_rows), np.float32)
        emit_from_columns(layer, product, basis, builder)
        return
    turned = [
        builder.node("Transpose", [factor], shape[::-1], np.float32, perm=(1, 0))
        for factor, shape in zip(factors[::-1], shapes[::-1], strict=True)
    ]
    builder.replace_weight(layer, builder.node("MatMul", turned, (n_rows, n_columns), np.float32))


def _planes(layer: Layer, encoded: Encoded) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the decoded factors, (n_columns, r) and (r, n_rows)."""
    left = encoded.coefficients["left"].values().reshape(-1, layer.n_rows)
    return encoded.coefficients["right"].values().reshape(-1, len(left)), left
