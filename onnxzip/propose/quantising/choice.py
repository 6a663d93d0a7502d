"""Chooses which nodes compute in int8: those that are faster for it, as far as the loss allows.

Whole models are timed side by side, on the inputs, threads and samples that the user names, as what a
node gains by itself it may lose on the way into int8 and back. The loss is that of the rounded values,
with the weights as they are; that of coded weights adds to it in squares, and has what is left.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from onnxzip.errors import CalibrationError, ModelError
from onnxzip.graph import Model, loadable
from onnxzip.measure.aim import Aim
from onnxzip.measure.speed.stopwatch import Stopwatch
from onnxzip.measure.subject import Subject
from onnxzip.measure.trial_session import TrialSession
from onnxzip.propose.quantising.builds import Build, Workbench
from onnxzip.propose.quantising.region import Multiplication, by_weight
from onnxzip.prove.structure import unfused
from onnxzip.records.plan import Skip
from onnxzip.records.progress import ShowProgress
from onnxzip.runtime.session import open_session
from onnxzip.runtime.timing.ratio import ratio_of

_log = logging.getLogger(__name__)

_SHARE = 0.4
"""Of the loss allowed, in squares, that rounded values may take: weights then have 0.37 bits more each,
a bit for each halving of their error. A guess about what bytes are worth to who asks for speed."""

_DEFAULT_LOSS = 0.1
"""Nrmse that stands for the loss allowed where no limit tells it: the default one (metrics/nrmse.py)."""

_N_REPAIRS = 4
"""Times that nodes are left in float32 until the loss is within its share; single nodes' losses do not
quite add up. A guess that costs some sessions."""

_MARGIN = 0.9
"""Share of the loss that may be left then, more narrowly each time."""

_N_FUSIONS = 3
"""Times that nodes are left in float32 because they, or what is beside them, stay what they are."""


NO_KERNEL, TAKES, LOSES = "onnxruntime has no int8 kernel", "takes", "loses"
"""How reasons begin that nodes stay in float32 for."""


@dataclass(frozen=True, eq=False)
class Choice:
    """What was chosen, and why not more.

    Attributes:
        build: the model some of whose nodes compute in int8; None where that is not faster.
        skips: why nodes stay in float32.
    """

    build: Build | None
    skips: Sequence[Skip]


class Chooser:
    """Chooses for a model whose nodes have names."""

    def __init__(self, model: Model, subject: Subject, stopwatch: Stopwatch, show: ShowProgress) -> None:
        self._model, self._subject, self._stopwatch, self._show = model, subject, stopwatch, show
        self._aim = Aim(subject)
        self._reasons: dict[str, str] = {}

    def choose(self, bench: Workbench) -> Choice:
        """Return the fastest build that keeps its share of the loss."""
        chosen = self._fused(bench, bench.candidates)
        chosen, gains = self._gaining(bench, chosen)
        chosen = self._within_loss(bench, self._fused(bench, chosen), gains)
        build = self._fastest(bench, self._fused(bench, chosen))
        skips = [Skip(name, "int8", reason) for name, reason in self._reasons.items()]
        return Choice(build, skips)

    def _fused(self, bench: Workbench, chosen: Sequence[Multiplication]) -> list[Multiplication]:
        """Leave out what onnxruntime does not run in int8, whatever the graph says."""
        left = list(chosen)
        for _ in range(_N_FUSIONS):
            if not left:
                break
            lost = set(unfused(bench.build(left).landed, self._subject.custom_ops))
            if not lost:
                break
            bench.refused |= lost
            weights = {m.weight for m in left if m.node.outputs[0] in lost}
            left = self._without(left, weights, f"{NO_KERNEL} for it here")
        return left

    def _without(
        self, chosen: Sequence[Multiplication], lost: Collection[str], reason: str
    ) -> list[Multiplication]:
        """Leave out the nodes of some weights."""
        self._reasons |= {m.weight: reason for m in chosen if m.weight in lost}
        return [m for m in chosen if m.weight not in lost]

    def _gaining(
        self, bench: Workbench, chosen: Sequence[Multiplication]
    ) -> tuple[list[Multiplication], dict[str, float]]:
        """Leave out nodes that are no faster by themselves; return the seconds that others gain."""
        if not chosen:
            return [], {}
        before = self._stopwatch.node_seconds(self._model)
        after = self._stopwatch.node_seconds(bench.build(chosen).landed)
        gains: dict[str, float] = {}
        for weight, own in by_weight(chosen).items():
            seconds = [sum(times.get(m.node.name, 0.0) for m in own) for times in (before, after)]
            gains[weight] = seconds[0] - seconds[1]
            if gains[weight] <= 0:
                self._reasons[weight] = (
                    f"{TAKES} {1e6 * seconds[1]:.0f} us in int8, {1e6 * seconds[0]:.0f} us in float32"
                )
        return [m for m in chosen if gains[m.weight] > 0], gains

    def _within_loss(
        self, bench: Workbench, chosen: Sequence[Multiplication], gains: dict[str, float]
    ) -> list[Multiplication]:
        """Leave nodes in float32 that lose much for the time they gain, until the rest has its share."""
        left, allowed = list(chosen), math.sqrt(_SHARE)
        alone: dict[str, float] = {}
        for _ in range(_N_REPAIRS):
            if not left:
                return []
            loss = self._loss(bench.build(left))
            _log.info("int8 in %d nodes: %.3f of the loss allowed", len(left), loss)
            if loss <= math.sqrt(_SHARE):
                return left
            alone = alone or self._alone(bench, left)
            squares = {m.weight: alone[m.weight] ** 2 for m in left}
            allowed *= _MARGIN
            left = self._relieved(left, squares, gains, (allowed / loss) ** 2)
        self._without(left, {m.weight for m in left}, f"{LOSES} too much together with all others")
        return []

    def _relieved(
        self,
        chosen: Sequence[Multiplication],
        squares: dict[str, float],
        gains: dict[str, float],
        share: float,
    ) -> list[Multiplication]:
        """Leave out the nodes that lose most for what they gain, down to a share of the squares."""
        total = sum(squares.values())
        left, kept = list(chosen), total
        order = sorted(squares, key=lambda name: squares[name] / max(gains[name], 1e-9), reverse=True)
        lost: set[str] = set()
        for name in order:
            if kept <= share * total:
                break
            lost.add(name)
            kept -= squares[name]
            loss, gain = math.sqrt(squares[name]), 1e6 * gains[name]
            self._reasons[name] = f"{LOSES} {loss:.2g} nrmse alone in int8, for {gain:.0f} us"
        return [m for m in left if m.weight not in lost]

    def _alone(self, bench: Workbench, chosen: Sequence[Multiplication]) -> dict[str, float]:
        """Return the loss of each weight's nodes if they alone compute in int8."""
        losses: dict[str, float] = {}
        groups = by_weight(chosen)
        for i, (weight, own) in enumerate(groups.items()):
            self._show(f"int8 {i + 1} of {len(groups)}", 0.8 + 0.2 * i / len(groups))
            losses[weight] = self._nrmse(bench.build(own))
        return losses

    def _nrmse(self, build: Build) -> float:
        """Return the worst output's nrmse on a few runs."""
        with open_session(loadable(build.landed), custom_ops=self._subject.custom_ops) as session:
            try:
                return max(
                    probe.loss(list(probe.feeds.answers(session.run))) for probe in self._subject.probes
                )
            except (ModelError, CalibrationError):
                return math.inf

    def _loss(self, build: Build) -> float:
        """Return the loss of a build as a share of what is allowed."""
        if self._aim.tolerance is None or self._aim.tolerance == math.inf:
            return self._nrmse(build) / _DEFAULT_LOSS
        subject = self._subject
        trials = TrialSession(build.landed, (), subject.samples[0].feeds.feeds[0], subject.custom_ops)
        try:
            return self._aim.outcome(trials, {}).loss / self._aim.tolerance
        finally:
            trials.close()

    def _fastest(self, bench: Workbench, chosen: Sequence[Multiplication]) -> Build | None:
        """Return the faster of two builds, of all nodes and of those rounded beforehand; or None."""
        static = [m for m in chosen if not m.is_dynamic]
        choices = [list(chosen), *([static] if 0 < len(static) < len(chosen) else [])]
        builds = [bench.build(choice) for choice in choices if choice]
        if not builds:
            return None
        first, *others = self._stopwatch.latencies([self._model, *(b.landed for b in builds)])
        ratios = [ratio_of(first, other) for other in others]
        for build, ratio in zip(builds, ratios, strict=True):
            n_nodes = len(build.region.multiplications)
            _log.info(
                *("int8 in %d nodes: %.3f of the time (%.3f to %.3f)", n_nodes, ratio.value),
                *(ratio.low, ratio.high),
            )
        ratio, build = min(zip(ratios, builds, strict=True), key=lambda pair: pair[0].value)
        if ratio.high < 1:
            return build
        reason = f"all in int8 take {ratio.value:.2f} of the time ({ratio.low:.2f} to {ratio.high:.2f})"
        self._without(chosen, {m.weight for m in chosen}, reason)
        return None
