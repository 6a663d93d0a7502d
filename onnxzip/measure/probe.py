"""Measures what other weights do to a model's outputs on a few runs, as nrmse, whatever the metric is.

The mean of an output, and how far its samples are from it, are those of all runs: the few that are
looked at may well be alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from types import MappingProxyType

from onnxzip.inputs.feedset import FeedSet
from onnxzip.measure.metrics.nrmse import Nrmse
from onnxzip.measure.outputs.evidence import why_no_evidence
from onnxzip.measure.outputs.output_statistics import OutputStatistics
from onnxzip.measure.outputs.running_sums import Runs
from onnxzip.runtime.outputs import Outputs


@dataclass(frozen=True, eq=False)
class Probe:
    """What a model answers to a few runs of a sample, to be compared with.

    Attributes:
        feeds: the runs.
        reference: its outputs.
        metric: knows the means.
        energies: by output, the mean square of an element's distance from the mean; of all outputs that
            tell something, or where none does the mean square of all.
    """

    feeds: FeedSet
    reference: tuple[Outputs, ...]
    metric: Nrmse
    energies: Mapping[str, float]

    @classmethod
    def of(
        cls,
        feeds: FeedSet,
        reference: Runs,
        statistics: Mapping[str, OutputStatistics],
        n_runs: int,
        sets: Mapping[str, int] = MappingProxyType({}),
    ) -> Probe:
        """Return what compares outputs on the first `n_runs` runs, some as sets of rows."""
        metric = replace(Nrmse(math.inf).prepared(statistics), ignored=feeds.states, sets=sets)
        statistics = {name: s for name, s in statistics.items() if name not in feeds.states}
        # products, as a power beyond float64 raises where a product is Inf
        telling = {
            name: s.deviation * s.deviation for name, s in statistics.items() if not why_no_evidence(s)
        }
        energies = telling or {name: s.rms * s.rms for name, s in statistics.items()}
        return cls(feeds.head(n_runs), tuple(islice(iter(reference), n_runs)), metric, energies)

    def loss(self, outputs: Runs) -> float:
        """Return the worst output's nrmse; Inf where one changes its shape or becomes NaN."""
        found = self.metric.measure(self.reference, outputs)
        losses = [0.0]
        for sums in found.sums:
            if sums.output not in self.energies:
                continue
            if sums.finding:
                losses.append(math.inf)
            elif not sums.is_number:
                losses.append(found.by_output[sums.output])
            elif (above := sums.joined()[0]).any():
                n_elements = sum(run[sums.output].size for run in self.reference)
                energy = self.energies[sums.output] * n_elements
                losses.append(math.sqrt(float(above.sum()) / energy) if energy else math.inf)
        return max(losses)
