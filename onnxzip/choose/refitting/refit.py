"""Fits a plan's weights and biases again, one after the other, to what the weights before them became.

A weight is compressed for the inputs that it meets in the original model, but those it really meets
carry the errors of all weights before it: each is fitted again to those (`regression.py`). The model
runs once, partition by partition; what lives between two of them is kept for all samples, on disk where
it is much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxzip.choose.probing.results import Results
from onnxzip.choose.refitting.frontier import Frontier, LiveValues, PartitionRun
from onnxzip.choose.refitting.regression import (
    MIN_VECTORS_PER_COLUMN,
    PlanRefit,
    RegressionSums,
    plane_shape,
)
from onnxzip.disk.cache.cache import NOTHING_KEPT, Cache
from onnxzip.errors import CalibrationError, ModelError, ProviderError
from onnxzip.graph import (
    Partition,
    PartitionedModel,
    loadable,
    partition_model,
    release_pages,
    share_with_disk,
)
from onnxzip.inputs.feedset import FeedSet
from onnxzip.measure.moments.sampled_columns import n_wanted
from onnxzip.measure.subject import Subject
from onnxzip.measure.trial_session import NUMPY_FLOATS
from onnxzip.propose.proposal import Proposal
from onnxzip.records.aliases import Array
from onnxzip.records.elements.exact import is_exact
from onnxzip.records.plan import Plan, Skip
from onnxzip.records.progress import ShowProgress
from onnxzip.rewrite.restorer import Restorer
from onnxzip.runtime.session import Session, open_session

_REFITTED = ("Conv", "Gemm")
"""Not MatMul: what tokens of the calibration texts have in common, other texts do not. all-MiniLM-L6-v2,
fitted again to Python's documentation, lost no more there, but 0.085 Spearman on STS-B and not 0.009.
Where calibration is like what follows, that costs bytes: digits_attention would be 5.8 % smaller at the
same true loss (`python -m tests.bench.constants onnxzip.choose.refitting.refit:_REFITTED
'("Conv","Gemm")' '("Conv","Gemm","MatMul")'`); digits_gru stays as it is."""

_MIN_REFIT_SAMPLES = 256
"""Enough where the places in a sample give vectors of their own: a guess that costs time."""

_MIN_ELEMENTS, _MAX_ELEMENTS = 1 << 23, 1 << 24
"""Numbers in all inputs together, 32 and 64 MB: they bound the time where samples are large."""

_MAX_BYTES_OF_TARGETS = 256 << 20
"""On disk; above it the original runs again for every refit."""

_WANTED_VECTORS_PER_COLUMN = 4
"""A fit of n columns to m vectors follows n / m of what is noise in them: of a quarter here."""


@dataclass(frozen=True, eq=False)
class _Stop:
    """What a refit had come to before a partition: a plan that only changes what follows begins there.

    Attributes:
        i: of the partition.
        used: what those before it were run with.
        compressed: what they made.
    """

    i: int
    used: Sequence[object]
    compressed: Frontier


class Refitter:
    """Fits plans again.

    Attributes:
        skips: why nothing can be fitted again, where there was something to fit to.
        biases: the biases that a refit may change, by initializer name.
    """

    def __init__(self, proposal: Proposal, subject: Subject, cache: Cache = NOTHING_KEPT) -> None:
        """Cut the model into partitions and try them on one run."""
        self.skips: list[Skip] = []
        self._proposal = proposal
        self._custom_ops = subject.custom_ops
        self._layers = {layer.name: layer for layer in proposal.layers}
        self._feeds = subject.fitted_feeds
        self._partitioned = PartitionedModel(proposal.model, ())
        self._targets: dict[int, list[Array]] = {}
        self._stop: _Stop | None = None
        self._results = Results(cache, proposal)
        floats = [la for la in proposal.layers if not is_exact(la.weight.dtype)]
        measured = {
            la.name
            for la in floats
            if la.statistics is not None and la.op_type in _REFITTED and not la.is_near_infinity
        }
        if (
            self._feeds.is_like_real
            and measured
            and not self._feeds.unasked  # what is random is no target
            and all(la.weight.dtype.name in NUMPY_FLOATS for la in floats)
        ):
            try:
                partitioned = partition_model(proposal.model, floats, measured, proposal.is_kept)
                self._feeds = _enough(self._try(partitioned), self._feeds)
                self._partitioned = partitioned
            except (ModelError, ProviderError, CalibrationError) as error:
                reason = f"no weight is fitted again to what those before it became: {error}"
                self.skips.append(Skip("graph", "refit", reason))
        self.biases = self._partitioned.biases

    @property
    def is_able(self) -> bool:
        """Whether anything can be fitted again."""
        return bool(self._partitioned.partitions)

    @property
    def order(self) -> list[str]:
        """The layers that can be fitted again, the first one first."""
        return [partition.layer for partition in self._partitioned.partitions if partition.layer]

    def refit(self, plan: Plan, restorer: Restorer, show: ShowProgress, first_moved: str = "") -> Plan:
        """Return the plan with new payloads for its weights, and new biases.

        Args:
            plan: says how each layer is stored; its passes and rates stay as they are.
            restorer: encodes the weights that are not fitted again.
            show: called with the partition, and the fraction of this refit that is done.
            first_moved: where plans to come may begin to differ from what is returned; "" for nowhere.
        """
        if not self.is_able:
            return plan
        return self._results.refit(
            plan, self._feeds, lambda: self._fit(plan, restorer, show, first_moved)
        )

    def _fit(self, plan: Plan, restorer: Restorer, show: ShowProgress, first_moved: str) -> Plan:
        job = PlanRefit(self._proposal, plan, restorer, self.biases)
        partitions = self._partitioned.partitions
        wanted = {i for i, partition in enumerate(partitions) if job.is_wanted(partition)}
        original = None if wanted <= self._targets.keys() else Frontier(self._feeds)
        start, compressed = self._resumed(job) if original is None else (0, Frontier(self._feeds))
        for i, partition in enumerate(partitions[start:], start):
            if partition.layer == first_moved and i > start:
                self._stop = _Stop(i, job.used_by(partitions[:i]), compressed.copy())
            show(f"refit {i + 1} of {len(partitions)}", i / len(partitions))
            live = _live(partitions[i + 1 :])
            with self._open(self._partitioned, partition, compressed) as run:
                sums = self._sum_up(run, i, job, original, compressed)
                if sums is not None:
                    job.fit(partition, sums)
                run.close()  # others follow
                if partition.makes:
                    weights = job.weights(partition, with_own=True)
                    for i_run, values in enumerate(compressed):
                        compressed.replace(i_run, run(values, weights, partition.makes), live)
            self._proposal.release_statistics()
            release_pages(self._proposal.model.arrays.values())
        return job.result()

    def rest(self) -> None:
        """Give back the memory that only the next refit would have been quicker by."""
        self._stop = None

    def _resumed(self, job: PlanRefit) -> tuple[int, Frontier]:
        """Return the first partition to run, and what those before it make of the plan."""
        if self._stop is not None:
            used = job.used_by(self._partitioned.partitions[: self._stop.i])
            if all(a is b for a, b in zip(used, self._stop.used, strict=True)):
                return self._stop.i, self._stop.compressed.copy()
        return 0, Frontier(self._feeds)

    def _sum_up(
        self, run: PartitionRun, i: int, job: PlanRefit, original: Frontier | None, compressed: Frontier
    ) -> RegressionSums | None:
        """Run partition `i` on the compressed model's values, and on the original's unless it is None.

        Returns:
            What its weight meets and what is missing behind it; None where it is not fitted again.
        """
        partition, live = self._partitioned.partitions[i], _live(self._partitioned.partitions[i + 1 :])
        sums = RegressionSums(self._layers[partition.layer]) if job.is_wanted(partition) else None
        others = job.weights(partition, with_own=sums is None)
        targets: list[Array] = []
        for i_run, values in enumerate(compressed):
            made: LiveValues = {}
            if original is not None:
                made = run(original[i_run], {}, _outputs(partition))
                original.replace(i_run, made, live)
            if sums is None:
                continue
            rng = np.random.default_rng((i_run, i))  # the same places in every refit
            drawn = sums.draw(partition, values, n_wanted(sums.n_columns, len(self._feeds)), rng)
            found = run(values, others, [partition.target])[partition.target]
            target = (
                self._targets[i][i_run] if original is None else drawn.results(made[partition.target])
            )
            with np.errstate(invalid="ignore", over="ignore"):  # masks may be infinite
                sums.add(drawn, target - drawn.results(found))
            targets.append(target)
        if original is not None and sums is not None:
            self._keep(i, targets)
        return sums

    def _keep(self, i: int, targets: Sequence[Array]) -> None:
        """Keep what the original has where vectors are drawn, on disk, for later refits."""
        n_kept = sum(array.nbytes for arrays in self._targets.values() for array in arrays)
        if n_kept + sum(array.nbytes for array in targets) <= _MAX_BYTES_OF_TARGETS:
            self._targets[i] = share_with_disk(targets)
            release_pages(self._targets[i])

    def _open(
        self, partitioned: PartitionedModel, partition: Partition, frontier: Frontier
    ) -> PartitionRun:
        """Return what runs a partition.

        Raises:
            ModelError: the partition reads something that is no tensor, or does not load.
        """
        values = frontier[0]
        for name in partition.reads:
            if name not in values:
                raise ModelError(f"'{name}' is no tensor that one partition could hand to another")
        types = {name: values[name].dtype for name in partition.reads}
        inputs = {v.name for v in partitioned.build(partition, types).proto.graph.input}

        def open_with(weights: LiveValues) -> Session:
            model = partitioned.build(partition, types, weights)
            return open_session(loadable(model), custom_ops=self._custom_ops)

        return PartitionRun(open_with, frozenset(inputs))

    def _try(self, partitioned: PartitionedModel) -> float:
        """Run the first feed through all partitions; return how many runs like it are wanted.

        Weights for which there are too few runs anyway, as behind a global pooling, want none.
        """
        n_runs = 0.0
        frontier = Frontier(self._feeds.head(1))
        for i, partition in enumerate(partitioned.partitions):
            with self._open(partitioned, partition, frontier) as run:
                made = run(frontier[0], {}, _outputs(partition))
            if partition.layer:
                n_out, n_columns = plane_shape(self._layers[partition.layer])
                n_vectors = max(made[partition.target].size // n_out, 1)
                n_for_column = n_columns / n_vectors
                if MIN_VECTORS_PER_COLUMN * n_for_column <= len(self._feeds):
                    n_runs = max(n_runs, _WANTED_VECTORS_PER_COLUMN * n_for_column)
            frontier.replace(0, made, _live(partitioned.partitions[i + 1 :]))
        return n_runs


def _outputs(partition: Partition) -> list[str]:
    return list(dict.fromkeys((*([partition.target] if partition.target else []), *partition.makes)))


def _live(partitions: Sequence[Partition]) -> frozenset[str]:
    return frozenset(name for partition in partitions for name in partition.reads)


def _enough(n_runs: float, feeds: FeedSet) -> FeedSet:
    """Return the first runs: _MIN_REFIT_SAMPLES or _MIN_ELEMENTS, and `n_runs` up to _MAX_ELEMENTS."""
    n_samples = np.cumsum(feeds.sizes)
    n_elements = np.cumsum([sum(array.size for array in run.values()) for run in feeds])
    n_least = min(_first(n_samples, _MIN_REFIT_SAMPLES), _first(n_elements, _MIN_ELEMENTS))
    return feeds.head(max(n_least, min(int(np.ceil(n_runs)), _first(n_elements, _MAX_ELEMENTS))))


def _first(sums: NDArray[np.int64], least: int) -> int:
    return int(np.searchsorted(sums, least)) + 1
