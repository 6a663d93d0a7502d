"""What a run is about: the original model as all checks see it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from onnxzip.graph import Judgement
from onnxzip.inputs.feedset import FeedSet, interleaved
from onnxzip.measure.metric import Metric, SumMetric
from onnxzip.measure.metrics import make_metric, metrics
from onnxzip.measure.outputs.output_statistics import OutputStatistics, output_statistics
from onnxzip.measure.outputs.recorded_outputs import RecordedOutputs
from onnxzip.measure.probe import Probe
from onnxzip.options import Options
from onnxzip.records.finding import Finding


@dataclass(frozen=True, eq=False)
class Sample:
    """Inputs, what the original model answers to them, and how the loss on them is measured."""

    feeds: FeedSet
    reference: RecordedOutputs
    metric: Metric

    @cached_property
    def statistics(self) -> dict[str, OutputStatistics]:
        """What the original's outputs look like, by name."""
        return output_statistics(self.reference)

    @property
    def sets(self) -> Mapping[str, int]:
        """The outputs that are compared as sets of rows, and the axis of these."""
        return self.metric.sets if isinstance(self.metric, SumMetric) else {}


_N_EXACT_RUNS = 8
"""64 samples where the batch is free (inputs/given/from_files.py)."""

_MAX_EXACT_NUMBERS = 1 << 22
"""In all outputs of these runs: several sessions answer them, and keep 16 MB each. Of what answers a
large picture by many, one run; a guess that costs time and memory."""

_N_PROBE_RUNS = 4
"""Runs that one layer is measured on, up to 32 samples, or two of each family: a guess, every layer
costs as many."""


_MANY_NUMBERS = 1 << 15
"""In the outputs of a run: where each token or pixel has its own, half the runs tell as much."""

_N_WIDE_PROBE_RUNS = 16
"""Likewise, up to 128 samples."""


@dataclass(frozen=True, eq=False)
class Subject:
    """The original model as all checks see it.

    Attributes:
        samples: what the verdict is about, a family of inputs each; the worst of them counts.
        searched: what plans are tried on, likewise; of the user's data, where there are enough, others
            than those of the verdict, so that no plan is chosen for what it happens to lose there.
        fitted: what is fitted to, likewise; other inputs than both where there are enough.
        providers: execution providers to check on.
        custom_ops: shared library of custom operators.
        findings: what is odd about the data that all this rests on.
        unproven: why outputs tell nothing on any sample, by name.
        opinions: other inputs than those of the verdict; the loss on them is stated beside it.
    """

    samples: tuple[Sample, ...]
    searched: tuple[Sample, ...]
    fitted: tuple[Sample, ...]
    providers: Sequence[str]
    custom_ops: Path | None
    findings: Sequence[Finding] = ()
    unproven: Mapping[str, str] = field(default_factory=dict)
    opinions: tuple[Sample, ...] = ()

    @property
    def metric(self) -> Metric:
        """What losses are measured in, and held to."""
        return self.samples[0].metric

    @property
    def is_generated(self) -> bool:
        """Whether the verdict is on made-up inputs, for lack of the user's."""
        return self.samples[0].feeds.seed is not None

    @property
    def doubts(self) -> list[str]:
        """Why outputs prove nothing, in words."""
        return [f"output {name!r} {why}" for name, why in self.unproven.items()]

    @property
    def is_held_out(self) -> bool:
        """Whether the verdict is on other inputs than those that are fitted to."""
        return self.fitted is not self.samples

    @cached_property
    def fitted_feeds(self) -> FeedSet:
        """All that is fitted to: a run of each family in turn, of those that are like real inputs."""
        sets = [sample.feeds for sample in self.fitted]
        return interleaved([feeds for feeds in sets if feeds.is_like_real] or sets)

    @property
    def known_feeds(self) -> FeedSet:
        """Likewise with all that is searched on behind: what second moments are of.

        A few numbers for each column hardly know the samples they are of, other than weights that are
        fitted again to every vector; so that the search's samples are none the less lost to fitting.
        """
        if self.searched is self.samples:
            return self.fitted_feeds
        pairs = list(zip(self.fitted, self.searched, strict=True))
        sets = [f.feeds if f is s else f.feeds.followed_by(s.feeds) for f, s in pairs]
        return interleaved([feeds for feeds in sets if feeds.is_like_real] or sets)

    @cached_property
    def exact_feeds(self) -> FeedSet:
        """What exact checks run on: wrong surgery shows on any sample, and outputs take memory."""
        n_runs = min(max(_MAX_EXACT_NUMBERS // max(self._n_output_numbers, 1), 1), _N_EXACT_RUNS)
        return interleaved([sample.feeds for sample in self.samples]).head(n_runs)

    @cached_property
    def probes(self) -> tuple[Probe, ...]:
        """What single layers are measured on: a few runs of each family."""
        has_many = self._n_output_numbers >= _MANY_NUMBERS
        return self._probes(_N_PROBE_RUNS // 2, 1) if has_many else self._probes(_N_PROBE_RUNS, 2)

    @cached_property
    def wide_probes(self) -> tuple[Probe, ...]:
        """What parts of a plan are measured on: more runs, as what jumps may do so in few of them."""
        return self._probes(_N_WIDE_PROBE_RUNS, 2)

    @property
    def _n_output_numbers(self) -> int:
        """Numbers in all outputs of a run."""
        return sum(array.size for array in next(iter(self.samples[0].reference), {}).values())

    def _probes(self, n_runs: int, n_least: int) -> tuple[Probe, ...]:
        """Return what compares outputs on so many runs in all, and at least some of each family."""
        n_each = max(n_least, -(-n_runs // len(self.fitted)))
        return tuple(Probe.of(s.feeds, s.reference, s.statistics, n_each, s.sets) for s in self.fitted)


def judgement_of(subject: Subject) -> Judgement | None:
    """Return what a file is judged by, None where that are the defaults."""
    metric, on_data = subject.metric, not subject.is_generated
    default = make_metric(Options().metric)
    is_default = (metric.name, metric.limit) == (default.name, default.limit)
    if is_default and not on_data:
        return None
    limit = metric.limit if 0 < metric.limit < math.inf else None
    return Judgement(metric.name if metric.name in metrics() else "", limit, on_data)
