"""Fits one weight after another of a plan again: regression on what the weights before it became.

With x' an input that the weight meets in the compressed model and r what is missing at that point to the
original model's value there (behind the residual Add, if the output goes into one), the weight
W + E[r x'^T] (E[x' x'^T] + damping)^-1 makes up for the missing part as well as a linear map can. This
weight is what is quantised, with the second moment of x' for the error feedback: least squares on the
compressed prefix, after GPTAQ (Li et al. 2025, arXiv 2504.02692), here with the sums of residual
networks as targets. Where a bias is added to the result, all sums are taken about the mean and the
bias is set so that the mean error is zero (bias correction, Nagel et al. 2019, arXiv 1906.04721).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, solve

from onnxzip.choose.refitting.frontier import LiveValues
from onnxzip.graph import Partition
from onnxzip.measure.moments.damping import damped, noise_share
from onnxzip.measure.moments.distortion import OutputDistortion
from onnxzip.measure.moments.sampled_columns import ColumnView, Drawn, OuterSum, draw, is_finite
from onnxzip.propose.proposal import Proposal
from onnxzip.records.aliases import Array
from onnxzip.records.layer import Layer
from onnxzip.records.plan import Candidate, Plan
from onnxzip.rewrite.restorer import Restorer
from onnxzip.rewrite.small_tensors import rounded

REFIT_DAMPING = 0.1
"""Share of the mean diagonal that is added to the second moment when a weight is fitted again: what is
fitted to few vectors must not follow their noise (on resnet20 0.01 fits better and holds out worse).

No other value is better on all: 0.02 and 0.5 make digits_cnn 2.2 and 9.6 % larger, digits_autoencoder
2.8 and 2.1 % smaller, digits_attention 2.0 % smaller and 0.1 % larger, at true losses of 0.088 to 0.100,
and leave digits_gru as it is (`python -m tests.bench.constants
onnxzip.choose.refitting.regression:REFIT_DAMPING 0.1 0.02 0.5`)."""

MIN_VECTORS_PER_COLUMN = 2
"""A fit of n columns to m vectors follows n / m of what is noise in them; above half it is left out."""


class RegressionSums:
    """Sums over the vectors x of a weight and what is missing behind it, r: x, r, x x^T and r x^T."""

    def __init__(self, layer: Layer) -> None:
        n_out, self.n_columns = plane_shape(layer)
        self._kernel = layer.sizes[3]
        self.vectors = np.zeros(self.n_columns)
        self.missing = np.zeros(n_out)
        self.second = OuterSum(self.n_columns)
        self.cross = OuterSum(n_out, self.n_columns)

    def draw(
        self, partition: Partition, values: LiveValues, n_most: int, rng: np.random.Generator
    ) -> Drawn:
        """Draw vectors of one run, at random places."""
        assert (
            partition.operand is not None
        )  # a partition of a weight begins with the node that multiplies
        source = ColumnView(partition.operand, self._kernel, self.n_columns)
        return draw(source, values[partition.operand.value], n_most, rng)

    def add(self, drawn: Drawn, missing: NDArray[np.float32]) -> None:
        """Add vectors and what is missing behind each, (n_vectors, n_out)."""
        x, r = drawn.columns, missing
        if is_finite(x) and is_finite(r):
            ones = np.ones(len(x), np.float32)
            self.vectors += ones @ x
            self.missing += ones @ r
            self.second.add(x)
            self.cross.add(r, x)


class PlanRefit:
    """A plan while it is fitted again, weight by weight."""

    def __init__(
        self, proposal: Proposal, plan: Plan, restorer: Restorer, biases: Mapping[str, Array]
    ) -> None:
        self._proposal = proposal
        self._plan = plan
        self._restorer = restorer
        self._biases = biases
        self._chosen: dict[str, Candidate] = dict(plan.chosen)
        self._constants: dict[str, Array] = dict(plan.constants)

    def is_wanted(self, partition: Partition) -> bool:
        """Whether the plan stores the partition's weight, and no earlier refit has fitted it."""
        candidate = self._chosen.get(partition.layer)
        return candidate is not None and candidate.encoded is None

    def weights(self, partition: Partition, *, with_own: bool) -> dict[str, Array]:
        """Return what the compressed model has for the weights that a partition reads.

        Args:
            partition: the partition.
            with_own: whether its own weight and bias are among them.
        """
        own = () if with_own else (partition.layer, partition.bias)
        found = {
            home: self._restorer.restore(self._chosen[layer])
            for layer, home in partition.weights.items()
            if layer in self._chosen and layer not in own
        }
        if with_own and partition.bias in self._constants:
            bias = {partition.bias: self._constants[partition.bias]}
            found.update({**bias, **rounded(self._plan.rounding, bias)})
        return found

    def used_by(self, partitions: Sequence[Partition]) -> list[object]:
        """Return all that partitions are run with; where it is the same, they make the same."""
        names = [name for p in partitions for name in (*p.weights, p.bias)]
        stored = [found.get(name) for found in (self._chosen, self._constants) for name in names]
        return [self._plan.rounding, *stored]

    def fit(self, partition: Partition, sums: RegressionSums) -> None:
        """Fit a partition's weight and bias; both stay as planned where the vectors are too few."""
        candidate = self._chosen[partition.layer]
        layer = candidate.layer
        n = sums.second.n_vectors
        if n < MIN_VECTORS_PER_COLUMN * sums.n_columns:
            return
        mean_vector, mean_missing = sums.vectors / n, sums.missing / n
        second = sums.second.total() / np.float32(n)
        share = noise_share(second, n, sums.second.fourth / n)
        cross = sums.cross.total().astype(np.float64) / n
        if partition.bias:
            second -= np.outer(mean_vector, mean_vector).astype(np.float32)
            cross -= np.outer(mean_missing, mean_vector)
        statistics = damped(second, n, share)
        if statistics is None:
            return
        plane = layer.canonical().reshape(len(cross), -1)
        change = _least_squares(second, cross)
        wanted = replace(
            layer,
            weight=layer.from_canonical((plane + change).astype(np.float32)),
            statistics=statistics,
        )
        restored = self._encode(candidate, wanted).reshape(plane.shape)
        if partition.bias:
            shift = mean_missing - (restored.astype(np.float64) - plane) @ mean_vector
            self._shift_bias(partition.bias, shift)

    def result(self) -> Plan:
        """Return the plan as fitted."""
        return replace(self._plan, chosen=self._chosen, constants=self._constants)

    def _encode(self, candidate: Candidate, wanted: Layer) -> NDArray[np.float32]:
        """Store `wanted` in the place of a candidate's weight, as planned; return what it decodes to."""
        layer = candidate.layer
        method = self._proposal.passes[candidate.pass_name]
        encoded = method.encode(wanted, candidate.settings, self._proposal.codecs[layer.name])
        settings = {**candidate.settings, "refit": True}
        fitted = replace(candidate, settings=settings, encoded=encoded)
        restored = method.restore(fitted)
        if layer.statistics is not None:
            error = OutputDistortion(layer.canonical(), layer.statistics)(restored)
            fitted = replace(fitted, error=error, is_estimate=False)
        self._chosen[layer.name] = fitted
        return restored

    def _shift_bias(self, name: str, shift: NDArray[np.float64]) -> None:
        before = self._biases[name]
        after = (before + shift.reshape(before.shape)).astype(before.dtype)
        candidate = self._chosen.get(name)
        if candidate is not None:
            self._encode(candidate, replace(candidate.layer, weight=after))
        else:
            self._constants[name] = after


def _least_squares(second: NDArray[np.float32], cross: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return cross (second + damping)^-1; zeros where that cannot be computed."""
    level = float(np.trace(second, dtype=np.float64)) / len(second)
    ridge = second.astype(np.float64)
    ridge[np.diag_indices_from(ridge)] += REFIT_DAMPING * level
    try:
        found: NDArray[np.float64] = solve(ridge, cross.T, assume_a="pos").T
    except LinAlgError:
        return np.zeros_like(cross)
    return found if np.isfinite(found).all() else np.zeros_like(cross)


def plane_shape(layer: Layer) -> tuple[int, int]:
    """Return (n_out, n_columns) of a weight without batch axes."""
    _, n_out, n_inner, spatial = layer.sizes
    return n_out, n_inner * int(np.prod(spatial))
