"""Fits a plan's weights and biases again, one after the other, to what the weights before them became.

A weight is compressed for the inputs that it meets in the original model, but those it really meets
carry the errors of all weights before it. With x' such an input and r what is missing at that point to
the original model's value there (behind the residual Add, if the output goes into one), the weight
W + E[r x'^T] (E[x' x'^T] + damping)^-1 makes up for the missing part as well as a linear map can. This
weight is what is quantised, with the second moment of x' for the error feedback: least squares on the
compressed prefix, after GPTAQ (Li et al. 2025, arXiv 2504.02692), here with the sums of residual
networks as targets. Where a bias is added to the result, all moments are taken about the mean and the
bias is set so that the mean error is zero (bias correction, Nagel et al. 2019, arXiv 1906.04721).

The model runs once, stage by stage; what lives between two stages is kept for all samples, on disk
where it is much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, solve

from onnxzip.choose.frontier import Frontier, PartRun, Values
from onnxzip.errors import CalibrationError, ModelError, ProviderError
from onnxzip.graph import Partition, PartitionedModel, loadable, partition_model, release_pages
from onnxzip.inputs.feedset import FeedSet
from onnxzip.measure.distortion import OutputDistortion
from onnxzip.measure.sampled_columns import ColumnView, Drawn, OuterSum, draw, is_finite, n_wanted
from onnxzip.measure.second_moments import damped, noise_share
from onnxzip.measure.subject import Subject
from onnxzip.progress import ShowProgress
from onnxzip.propose.proposal import Proposal
from onnxzip.records.aliases import Array
from onnxzip.records.layer import Layer
from onnxzip.records.plan import Candidate, Plan, Skip
from onnxzip.rewrite.restorer import Restorer
from onnxzip.rewrite.small_tensors import rounded
from onnxzip.runtime.session import open_session

REFIT_DAMPING = 0.1
"""Share of the mean diagonal that is added to the second moment when a weight is fitted again: what is
fitted to few vectors must not follow their noise (on resnet20 0.01 fits better and holds out worse)."""

_REFITTED = ("Conv", "Gemm")
"""Not MatMul: what tokens of the calibration texts have in common, other texts do not. all-MiniLM-L6-v2,
fitted again to Python's documentation, lost no more there, but 0.085 Spearman on STS-B and not 0.009."""

_MIN_SAMPLES = 256
_MIN_ELEMENTS, _MAX_ELEMENTS = 1 << 23, 1 << 24
_WANTED_VECTORS_PER_COLUMN = 4
_MIN_VECTORS_PER_COLUMN = 2
_NUMPY_FLOATS = ("float16", "float32", "float64")


class Refitter:
    """Fits plans again.

    Attributes:
        skips: why nothing can be fitted again, where there was something to fit to.
        biases: the biases that a refit may change, by initializer name.
    """

    def __init__(self, proposal: Proposal, subject: Subject) -> None:
        """Cut the model into stages and try them on one run."""
        self.skips: list[Skip] = []
        self._proposal = proposal
        self._custom_ops = subject.custom_ops
        self._layers = {layer.name: layer for layer in proposal.layers}
        self._feeds = subject.fitted.feeds
        self._staged = PartitionedModel(proposal.model, ())
        floats = [la for la in proposal.layers if la.weight.dtype.kind not in "iub"]
        measured = {la.name for la in floats if la.statistics is not None and la.op_type in _REFITTED}
        if (
            self._feeds.seed is None
            and measured
            and all(la.weight.dtype.name in _NUMPY_FLOATS for la in floats)
        ):
            try:
                staged = partition_model(proposal.model, floats, measured, proposal.is_kept)
                self._feeds = _enough(self._try(staged), self._feeds)
                self._staged = staged
            except (ModelError, ProviderError, CalibrationError) as error:
                reason = f"no weight is fitted again to what those before it became: {error}"
                self.skips.append(Skip("graph", "refit", reason))
        self.biases = self._staged.biases

    @property
    def is_able(self) -> bool:
        """Whether anything can be fitted again."""
        return bool(self._staged.partitions)

    def refit(self, plan: Plan, restorer: Restorer, show: ShowProgress) -> Plan:
        """Return the plan with new payloads for its weights, and new biases.

        Args:
            plan: says how each layer is stored; its passes and rates stay as they are.
            restorer: encodes the weights that are not fitted again.
            show: called with the stage and the fraction done.
        """
        if not self.is_able:
            return plan
        job = _PlanRefit(self._proposal, plan, restorer, self.biases)
        stages = self._staged.partitions
        original, compressed = Frontier(self._feeds), Frontier(self._feeds)
        for i, stage in enumerate(stages):
            show(f"refit {i + 1} of {len(stages)}", i / len(stages))
            live = _live(stages[i + 1 :])
            with self._open(self._staged, stage, original) as run:
                moments = _RegressionSums(self._layers[stage.layer]) if job.is_wanted(stage) else None
                others = job.weights(stage, with_own=moments is None)
                for i_run, values in enumerate(compressed):
                    made = run(original[i_run], {}, _outputs(stage))
                    original.replace(i_run, made, live)
                    if moments is not None:
                        found = run(values, others, [stage.target])[stage.target]
                        with np.errstate(invalid="ignore", over="ignore"):  # masks may be infinite
                            missing = made[stage.target] - found
                        rng = np.random.default_rng((i_run, i))
                        moments.add(
                            stage, values, missing, n_wanted(moments.n_columns, len(self._feeds)), rng
                        )
                if moments is not None:
                    job.fit(stage, moments)
                if stage.makes:
                    weights = job.weights(stage, with_own=True)
                    for i_run, values in enumerate(compressed):
                        compressed.replace(i_run, run(values, weights, stage.makes), live)
            self._proposal.release_statistics()
            release_pages(self._proposal.model.arrays.values())
        return job.result()

    def _open(self, staged: PartitionedModel, stage: Partition, frontier: Frontier) -> PartRun:
        """Open a session on a stage.

        Raises:
            ModelError: the stage reads something that is no tensor, or does not load.
        """
        values = frontier[0]
        for name in stage.reads:
            if name not in values:
                raise ModelError(f"'{name}' is no tensor that one stage could hand to another")
        model = staged.build(stage, {name: values[name].dtype for name in stage.reads})
        session = open_session(loadable(model), custom_ops=self._custom_ops)
        return PartRun(session, frozenset(v.name for v in model.proto.graph.input))

    def _try(self, staged: PartitionedModel) -> float:
        """Run the first feed through all stages; return how many runs like it are wanted.

        Weights for which there are too few runs anyway, as behind a global pooling, want none.
        """
        n_runs = 0.0
        frontier = Frontier(self._feeds.head(1))
        for i, stage in enumerate(staged.partitions):
            with self._open(staged, stage, frontier) as run:
                made = run(frontier[0], {}, _outputs(stage))
            if stage.layer:
                n_out, n_columns = _plane_shape(self._layers[stage.layer])
                n_vectors = max(made[stage.target].size // n_out, 1)
                n_for_column = n_columns / n_vectors
                if _MIN_VECTORS_PER_COLUMN * n_for_column <= len(self._feeds):
                    n_runs = max(n_runs, _WANTED_VECTORS_PER_COLUMN * n_for_column)
            frontier.replace(0, made, _live(staged.partitions[i + 1 :]))
        return n_runs


class _RegressionSums:
    """Sums over the vectors x of a weight and what is missing behind it, r: x, r, x x^T and r x^T."""

    def __init__(self, layer: Layer) -> None:
        n_out, self.n_columns = _plane_shape(layer)
        self._kernel = layer.sizes[3]
        self.vectors = np.zeros(self.n_columns)
        self.missing = np.zeros(n_out)
        self.second = OuterSum(self.n_columns)
        self.cross = OuterSum(n_out, self.n_columns)

    def add(
        self, stage: Partition, values: Values, missing: Array, n_most: int, rng: np.random.Generator
    ) -> None:
        """Add vectors of one run, at random places."""
        assert stage.operand is not None  # a stage of a weight begins with the node that multiplies
        source = ColumnView(stage.operand, self._kernel, self.n_columns)
        drawn: Drawn = draw(source, values[stage.operand.value], n_most, rng)
        x, r = drawn.columns, drawn.results(missing)
        if is_finite(x) and is_finite(r):
            ones = np.ones(len(x), np.float32)
            self.vectors += ones @ x
            self.missing += ones @ r
            self.second.add(x)
            self.cross.add(r, x)


class _PlanRefit:
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

    def is_wanted(self, stage: Partition) -> bool:
        """Whether the plan stores the stage's weight, so that there is something to fit."""
        candidate = self._chosen.get(stage.layer)
        return candidate is not None and candidate.form == "stored"

    def weights(self, stage: Partition, *, with_own: bool) -> dict[str, Array]:
        """Return what the compressed model has for the weights that a stage reads.

        Args:
            stage: the stage.
            with_own: whether its own weight and bias are among them.
        """
        own = () if with_own else (stage.layer, stage.bias)
        found = {
            home: self._restorer.restore(self._chosen[layer])
            for layer, home in stage.weights.items()
            if layer in self._chosen and layer not in own
        }
        if with_own and stage.bias in self._constants:
            bias = {stage.bias: self._constants[stage.bias]}
            found.update({**bias, **rounded(self._plan.rounding, bias)})
        return found

    def fit(self, stage: Partition, moments: _RegressionSums) -> None:
        """Fit a stage's weight and bias; both stay as planned where there is too little to fit to."""
        candidate = self._chosen[stage.layer]
        layer = candidate.layer
        n = moments.second.n_vectors
        if n < _MIN_VECTORS_PER_COLUMN * moments.n_columns:
            return
        mean_vector, mean_missing = moments.vectors / n, moments.missing / n
        second = moments.second.total() / np.float32(n)
        share = noise_share(second, n, moments.second.fourth / n)
        cross = moments.cross.total().astype(np.float64) / n
        if stage.bias:
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
        if stage.bias:
            shift = mean_missing - (restored.astype(np.float64) - plane) @ mean_vector
            self._shift_bias(stage.bias, shift)

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


def _plane_shape(layer: Layer) -> tuple[int, int]:
    """Return (n_out, n_columns) of a weight without batch axes."""
    _, n_out, n_inner, spatial = layer.sizes
    return n_out, n_inner * int(np.prod(spatial))


def _outputs(stage: Partition) -> list[str]:
    return list(dict.fromkeys((*([stage.target] if stage.target else []), *stage.makes)))


def _live(stages: Sequence[Partition]) -> frozenset[str]:
    return frozenset(name for stage in stages for name in stage.reads)


def _enough(n_runs: float, feeds: FeedSet) -> FeedSet:
    """Return the first runs: _MIN_SAMPLES or _MIN_ELEMENTS, and `n_runs` up to _MAX_ELEMENTS."""
    n_samples = np.cumsum(feeds.sizes)
    n_elements = np.cumsum([sum(array.size for array in run.values()) for run in feeds])
    n_least = min(_first(n_samples, _MIN_SAMPLES), _first(n_elements, _MIN_ELEMENTS))
    return feeds.head(max(n_least, min(int(np.ceil(n_runs)), _first(n_elements, _MAX_ELEMENTS))))


def _first(sums: NDArray[np.int64], least: int) -> int:
    return int(np.searchsorted(sums, least)) + 1
