"""What a search aims at, and what a trial comes to: the metric's verdict, and the loss that leads there.

A metric that grows with the errors leads there by itself. One that counts events is decided by luck from
trial to trial, so that its guide is aimed at (`Metric.guide`), and the metric itself only decides: a
plan passes where the guide is within the limit that stands for the metric's, and the metric is on
inputs that nothing was fitted to. Of the user's data neither sees what the verdict is on: of many plans,
the one that passes is else the one that is lucky there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from onnxzip.measure.metric import Metric, SumMetric
from onnxzip.measure.subject import Sample, Subject
from onnxzip.measure.trial_session import TrialSession
from onnxzip.records.aliases import Array
from onnxzip.records.check import Check

UNBOUNDED = 1e100
"""A loss that no model has, and whose square stays in float64: whoever allows more allows everything."""


@dataclass(frozen=True)
class Outcome:
    """What a trial comes to.

    Attributes:
        value: in the user's metric.
        loss: to be aimed with; it grows with the errors.
        passed: whether the plan is within the tolerance.
    """

    value: float
    loss: float
    passed: bool


class Aim:
    """What a search aims at.

    Attributes:
        tolerance: the loss to aim at; None where a loss says nothing of its neighbours: what counts
            events is 0 for many budgets.
        is_proportional: whether losses grow in proportion to predicted ones.
        floor: the loss that the model has with its own weights.
    """

    def __init__(self, subject: Subject) -> None:
        """Ask the metric for a guide, which all families of inputs must have."""
        self._subject = subject
        metric = subject.metric
        guides = _guides(subject)
        self._guides = None if any(guide is None for guide in guides) else guides
        limit = min(as_loss(metric, metric.limit), UNBOUNDED)
        self.tolerance = limit if limit > 0 and not metric.counts_events else None
        if self._guides is not None and guides[0] is not None:
            self.tolerance = guides[0].limit
        self.is_proportional = metric.is_proportional or self._guides is not None
        self._fitted: Sequence[Sample] = subject.fitted
        self._is_floor_known = False
        self.floor = 0.0

    def set_floor(self, trials: TrialSession) -> None:
        """Aim with what is above the loss that the model has with its own weights, in squares.

        What else is changed in it loses that, whatever the weights become.
        """
        floor = self.outcome(trials, {}).loss
        if self.tolerance is not None and self.is_proportional and floor < self.tolerance:
            self.floor, self.tolerance = floor, math.sqrt(self.tolerance**2 - floor**2)

    def outcome(self, trials: TrialSession, weights: Mapping[str, Array]) -> Outcome:
        """Run the whole model with other weights; the worst family of inputs counts.

        Without a guide, what passes on the samples that are searched on has to pass on those that were
        fitted to as well. A guide has seen them.
        """
        found = self._outcome(trials, weights)
        if not (self.floor and found.loss < math.inf):
            return found
        return replace(found, loss=math.sqrt(max(found.loss**2 - self.floor**2, 0.0)))

    def _outcome(self, trials: TrialSession, weights: Mapping[str, Array]) -> Outcome:
        if self._guides is not None:
            return self._guided(trials, weights, self._guides)
        found = _worst(trials, weights, self._subject.searched)
        if found.passed and self._subject.fitted is not self._subject.searched:
            fitted = self._worst_fitted(trials, weights)
            return found if fitted is None or fitted.passed else fitted
        return found

    def _worst_fitted(self, trials: TrialSession, weights: Mapping[str, Array]) -> Outcome | None:
        """Return the worst of what was fitted to; None where none of it says anything.

        A family that fails with no weight changed is left out: kernels differ by more than its outputs
        vary.
        """
        fitted = _worst(trials, weights, self._fitted) if self._fitted else None
        if fitted is None or fitted.passed or self._is_floor_known or not weights:
            return fitted
        self._is_floor_known = True
        self._fitted = [sample for sample in self._fitted if _worst(trials, {}, [sample]).passed]
        return self._worst_fitted(trials, weights)

    def _guided(
        self, trials: TrialSession, weights: Mapping[str, Array], guides: Sequence[SumMetric | None]
    ) -> Outcome:
        assert guides[0] is not None
        values, shares = [], []
        for sample, guide in zip(self._subject.searched, guides, strict=True):
            assert guide is not None
            value, loss = trials.losses(weights, sample, guide)
            values.append(value)
            shares.append(loss / guide.limit)
        metric = self._subject.metric
        worst = max(values, key=metric.badness)
        return Outcome(worst, max(shares) * guides[0].limit, metric.passes(worst) and max(shares) <= 1)


def _guides(subject: Subject) -> list[SumMetric | None]:
    """Return each family's guide, which knows what was fitted to too: the original's own answers."""
    pairs = zip(subject.searched, subject.fitted, strict=True)
    return [
        tried.metric.guide(
            [(s.reference, s.metric) for s in ([tried] if tried is fitted else [tried, fitted])]
        )
        for tried, fitted in pairs
    ]


def _worst(trials: TrialSession, weights: Mapping[str, Array], samples: Sequence[Sample]) -> Outcome:
    metric = samples[0].metric
    losses = [trials.losses(weights, sample)[0] for sample in samples]
    worst = max(losses, key=metric.badness)
    return Outcome(worst, as_loss(metric, worst), metric.passes(worst))


def as_loss(judged: Metric | Check, value: float) -> float:
    """Return a metric's value as a loss that grows with the errors: dB as the ratio they stand for."""
    return float(10 ** min(-value / 20, math.log10(UNBOUNDED))) if judged.higher_is_better else value
