"""What a metric is: the loss between the outputs of two models, its limit, and how it is shown.

Every metric but a user's function is a function of two sums over samples,

    value = f(sum(a) / sum(b))

for each output, and the worst output counts: the squared error and the squared norm (rel_l2), the loss
of a sample and 1 (cosine). So the same terms give the loss over all runs, that of each output or sample,
and how far it would move with other samples (`confidence`).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from onnxzip.measure.outputs.row_sets import matched_rows
from onnxzip.measure.outputs.running_sums import Numbers, OutputSums, Pair, Runs
from onnxzip.records.aliases import Array
from onnxzip.runtime.outputs import Outputs


@dataclass(frozen=True, eq=False)
class Deviation:
    """A distance, and what a reader must know about it.

    Attributes:
        value: in the metric's unit.
        output: the output it comes from, where the model has several.
        note: what was found, or left out.
        sums: of the outputs that were compared, the worst first; none for a user's function.
        by_output: the value of each of them, likewise.
    """

    value: float
    output: str = ""
    note: str = ""
    sums: tuple[OutputSums, ...] = ()
    by_output: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Metric(ABC):
    """A way to measure the loss, and the limit it is held to.

    Attributes:
        limit: largest loss allowed; the least value where higher is better.
        labels: int64 (n_samples, ...) where `takes_labels`.
        summary: what it measures, in a few words for --help.
        higher_is_better: whether a larger value is a smaller loss.
        is_proportional: whether the loss grows in proportion to the predicted one, so that a search can
            aim at it.
        takes_labels: whether true classes change what is measured.
        counts_events: whether a sample adds whole events (an answer that changed), none in most samples.
        unit: what stands behind a value that is shown, "dB".
        scale: what a value is multiplied with to be shown in this unit.
        n_decimals: digits behind the point of a value that is shown; None: three significant digits.
    """

    limit: float
    labels: NDArray[np.int64] | None = None

    summary: ClassVar[str]
    higher_is_better: ClassVar[bool] = False
    is_proportional: ClassVar[bool] = False
    takes_labels: ClassVar[bool] = False
    counts_events: ClassVar[bool] = False
    unit: ClassVar[str] = ""
    scale: ClassVar[float] = 1.0
    n_decimals: ClassVar[int | None] = None

    @property
    @abstractmethod
    def name(self) -> str:
        """What the user calls it."""

    def passes(self, value: float) -> bool:
        """Return the verdict on a value; NaN never passes."""
        return value >= self.limit if self.higher_is_better else value <= self.limit

    def badness(self, value: float) -> float:
        """Return a number that grows with the loss; NaN is the worst."""
        if math.isnan(value):
            return math.inf
        return -value if self.higher_is_better else value

    def guide(self, known: Sequence[tuple[Runs, Metric]]) -> SumMetric | None:
        """Return the metric to guide a search with, where this one counts events, which luck decides.

        Args:
            known: all outputs of the original that are known, and the metric with their labels.

        Returns:
            A proportional metric, whose limit is where this one is expected to reach its own; None
            where losses themselves guide.
        """
        return None

    @abstractmethod
    def measure(self, reference: Runs, outputs: Runs, sizes: Sequence[int] | None = None) -> Deviation:
        """Compare the outputs of two models, run by run.

        Args:
            reference: of the original; may be gone through more than once.
            outputs: of the other model, on the same inputs.
            sizes: samples in each run, to tell them apart; None takes each run as one.

        Raises:
            CalibrationError: the metric does not apply to these outputs, or the user's function fails.
        """


def ratio_of_sums(above: Numbers, below: Numbers) -> Numbers:
    """Return sum(a) / sum(b) over the last axis; infinite where b is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(above.sum(axis=-1) / below.sum(axis=-1))


@dataclass(frozen=True, eq=False)
class SumMetric(Metric):
    """A metric of two sums: `terms` and `value_at` define it.

    Outputs that are no numbers to it (integers, booleans, strings) count with the share of elements that
    differ.

    Attributes:
        name: that of its file.
        default_limit: the limit where the user names none.
        number_kinds: numpy's kinds of outputs that are numbers to it.
        ignored: outputs that do not count: states, which count by what becomes of them.
        sets: outputs that are compared as sets of rows, see `row_sets`, and the axis of these.
    """

    name: ClassVar[str]
    default_limit: ClassVar[float]
    number_kinds: ClassVar[str] = "f"
    ignored: frozenset[str] = frozenset()
    sets: Mapping[str, int] = field(default_factory=dict)

    @abstractmethod
    def terms(self, pair: Pair) -> tuple[Array, Array]:
        """Return what each row adds to the sum above the line and to the sum below it.

        Two arrays of one shape, whose first axis are the rows; axes after it are summed up.
        """

    def ratio(self, above: Numbers, below: Numbers) -> Numbers:
        """Return the one number that the terms of samples are put into: sum(a) / sum(b).

        Args:
            above: a, (..., n_samples).
            below: b, likewise.

        Returns:
            (...); monotone in every a.
        """
        return ratio_of_sums(above, below)

    def sample_ratios(self, above: Numbers, below: Numbers) -> Numbers:
        """Return what each sample's own number is, of the shape of both."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(above == 0, 0.0, above / below)

    def value_at(self, ratio: Numbers, sums: OutputSums) -> Numbers:
        """Return the metric's value where `ratio` is what samples have come to; monotone."""
        return ratio

    def value_of_share(self, share: Numbers) -> Numbers:
        """Return the metric's value where a share of elements differs that are no numbers; monotone."""
        return share

    def prepare(self, reference: Runs) -> Self:
        """Return the metric, knowing what it must know of all the reference's runs before it sums up."""
        return self

    def compared(self, before: Outputs, after: Outputs) -> Iterable[str]:
        """Return the names of the outputs that count."""
        return {**before, **after}

    def view(self, array: Array, n_rows_before: int) -> Array:
        """Return what of an output is compared; `n_rows_before` rows of it stood in earlier runs."""
        return array

    def note(self, sums: OutputSums) -> str:
        """Return what a reader must know about the value."""
        return sums.note

    def measure(self, reference: Runs, outputs: Runs, sizes: Sequence[int] | None = None) -> Deviation:
        """Compare the outputs of two models; see `Metric`."""
        return measure_each([self], reference, outputs, sizes)[0]

    def sum_up(self, sums: Mapping[str, OutputSums], n_outputs: int) -> Deviation:
        """Return what sums over all runs come to.

        Args:
            sums: by output, of those that count.
            n_outputs: outputs that the models have.
        """
        if not sums:
            return Deviation(self._perfect)
        values = {name: self.value(found) for name, found in sums.items()}
        order = sorted(sums, key=lambda name: self.badness(values[name]), reverse=True)
        worst = sums[order[0]]
        return Deviation(
            value=values[order[0]],
            output=worst.output if n_outputs > 1 else "",
            note=self.note(worst),
            sums=tuple(sums[name] for name in order),
            by_output={name: values[name] for name in order},
        )

    def add_run(
        self, sums: dict[str, OutputSums], before: Outputs, after: Outputs, n_samples: int | None
    ) -> None:
        """Add to the sums, by output, what a run adds to them."""
        for name in self.compared(before, after):
            if name in self.ignored:
                continue
            a, b = before.get(name), after.get(name)
            dtype = next(array.dtype for array in (a, b) if array is not None)
            found = sums.setdefault(name, OutputSums(name, dtype))
            rows = None
            if name in self.sets and a is not None and b is not None:
                rows = matched_rows(a, b, self.sets[name])
            if rows is not None:
                self._add_output(found, *rows, None)
            elif a is None or b is None or a.shape != b.shape:
                found.find_changed(a, b)
            else:
                self._add_output(found, a, b, n_samples)

    def value(self, sums: OutputSums) -> float:
        """Return the value over all runs of one output."""
        if sums.finding:
            return -self._perfect if self.higher_is_better else math.inf
        above, below = sums.joined()
        if not above.any():
            return self._perfect
        return float(self.to_value(self.ratio_of(above, below, sums), sums))

    def ratio_of(self, above: Numbers, below: Numbers, sums: OutputSums) -> Numbers:
        """Return what samples of an output come to, (..., n_samples) of terms each: (...)."""
        return (self.ratio if sums.is_number else ratio_of_sums)(above, below)

    def sample_values(self, sums: OutputSums) -> Numbers:
        """Return each sample's own value, (n_samples,); runs where samples cannot be told apart."""
        return self.to_value(self.sample_ratios(*sums.joined()), sums)

    def to_value(self, ratio: Numbers, sums: OutputSums) -> Numbers:
        """Return the values at ratios of the two sums of an output."""
        return self.value_at(ratio, sums) if sums.is_number else self.value_of_share(ratio)

    @property
    def _perfect(self) -> float:
        return math.inf if self.higher_is_better else 0.0

    def _add_output(self, found: OutputSums, a: Array, b: Array, n_samples: int | None) -> None:
        x, y = (self.view(array, found.n_rows) for array in (a, b))
        found.n_rows += len(x) if x.ndim else 1
        if x.dtype.kind not in self.number_kinds:
            differs = np.asarray(x != y)
            found.add(differs, np.ones_like(differs), n_samples)
        elif pair := found.pair(x, y):
            with np.errstate(over="ignore"):  # where squares leave float64 an output is no evidence
                found.add(*self.terms(pair), n_samples)


def measure_each(
    metrics: Sequence[SumMetric], reference: Runs, outputs: Runs, sizes: Sequence[int] | None = None
) -> list[Deviation]:
    """Compare the outputs of two models in several metrics, going through them once; see `Metric`."""
    prepared = [metric.prepare(reference) for metric in metrics]
    sums: list[dict[str, OutputSums]] = [{} for _ in metrics]
    names: dict[str, None] = {}
    for index, (before, after) in enumerate(zip(reference, outputs, strict=True)):
        names |= dict.fromkeys((*before, *after))
        for metric, found in zip(prepared, sums, strict=True):
            metric.add_run(found, before, after, None if sizes is None else sizes[index])
    return [m.sum_up(found, len(names)) for m, found in zip(prepared, sums, strict=True)]
