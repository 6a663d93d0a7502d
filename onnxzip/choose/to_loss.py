"""Finds the plan that saves most within the tolerance, by trying plans on the whole model."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import replace

from onnxzip.choose.finish import Finish, Fitted
from onnxzip.choose.lagrangian import n_saved_bytes
from onnxzip.choose.search import (
    LARGEST_BUDGET,
    SMALLEST_BUDGET,
    Planner,
    Trial,
    aim,
    best_trial,
    search,
)
from onnxzip.choose.sensitivity import Prober
from onnxzip.choose.trial_log import TrialLog
from onnxzip.measure.aim import as_loss
from onnxzip.records.plan import Plan
from onnxzip.records.progress import ShowProgress
from onnxzip.report.record import Stage

_log = logging.getLogger(__name__)

_N_PLAIN_TRIALS = 2
"""Trials that only tell where those with refits begin: a guess that costs time."""

_N_REFIT_TRIALS = 2
"""Each runs the whole model part by part. A third one leaves digits_autoencoder as it is and makes
digits_cnn 3 % larger, as it ends elsewhere by luck (`python -m tests.bench.constants
onnxzip.choose.to_loss:_N_REFIT_TRIALS 2 3`)."""

_N_GENERATED_TRIALS = 1
"""On inputs that were generated: resnet20 takes 106,169 bytes with 3 at a true loss of 0.0934,
and 107,808 with 1 at 0.0892, as much at equal loss, in 27 % less time."""

_ENOUGH = 0.985
"""A passing plan that loses so much of the tolerance ends the search: what is left is 0.02 bits a
weight."""

_N_FINISHES = 2
"""Trials that only move the last layers: a guess that costs time."""

_FINISH = 0.993
"""Share of the tolerance that they aim at."""

_LEAST_STEP = 2.0
"""Ratio of budgets on the way to the least one that has a plan: one bit more."""

_USUAL_GAIN = 1.2
"""How much larger a budget refits allow: a guess that the search corrects, at the cost of a trial."""


class LossSearch:
    """One search; measures plans on the whole model.

    Args:
        planner: makes plans, corrects predictions, moves plans.
        refit: fits a plan's weights again; None where nothing can be fitted.
        finish: moves the last layers of a plan that was fitted again.
        prober: what plans are measured with.
        show: called with each trial, at its beginning.
        log: keeps all trials.

    Attributes:
        best: the plan that saves most among those that passed, fitted again if it was so measured.
        least: the trial that loses least among those that failed and save anything.
    """

    def __init__(
        self,
        planner: Planner,
        refit: Callable[[Plan], Plan] | None,
        finish: Finish,
        prober: Prober,
        show: ShowProgress,
        log: TrialLog,
    ) -> None:
        """See the class."""
        self.best: Plan | None = None
        self.least: Trial | None = None
        self._planner, self._refit, self._finish = planner, refit, finish
        self._prober, self._show, self._log = prober, show, log
        self._n_trials = 0
        self._tried: list[Trial] = []
        self._nearest: Fitted | None = None

    def run(self, first_budget: float) -> list[Trial]:
        """Search from a budget of predicted loss on; return all trials that were made last.

        Where weights can be fitted again, plans are searched without that first, with few trials, and
        then with it, from the budget on that was found: a plan that is fitted again loses less.
        """
        self._search(first_budget)
        if self.best is None and self.least is None:
            self._try_least(first_budget)
        return self._tried

    def _search(self, first_budget: float) -> None:
        """Try plans, and keep the best one."""
        tolerance = self._prober.aim.tolerance
        # What is not fitted again is not moved either: its layers were measured at the rates they have,
        # and chosen for what they lose there (digits_cnn and _autoencoder: 11 and 7 % smaller).
        planner = replace(self._planner, moved=None)
        if self._refit is None:
            search(planner, self._measure, first_budget, tolerance, enough=_ENOUGH)
            return
        is_generated = self._prober.subject.fitted_feeds.seed is not None
        n_trials = _N_GENERATED_TRIALS if is_generated else _N_REFIT_TRIALS
        if tolerance:
            start = aim(planner, self._measure, first_budget, tolerance) * _USUAL_GAIN
        else:
            plain = search(planner, self._measure, first_budget, None, _N_PLAIN_TRIALS)
            best = best_trial(plain) or plain[-1]
            start = best.plan.budget * _USUAL_GAIN
        measure = self._measure_refit
        self._tried = []
        search(self._planner, measure, start, tolerance, n_trials, _ENOUGH)
        if tolerance:
            self._close_in(tolerance)

    def _try_least(self, first_budget: float) -> None:
        """Try the plan of the least budget that saves anything: no budget that was tried had one.

        It is the nearest file that there is, and tells how near that comes.
        """
        budget = max(first_budget, SMALLEST_BUDGET)
        while budget <= LARGEST_BUDGET:
            plan = self._planner.plan_for(budget)
            if plan.chosen and n_saved_bytes(plan) > 0:
                self._tried = []
                self._measure(plan)
                return
            budget *= _LEAST_STEP

    def _measure(self, plan: Plan, stage: Stage = "planned") -> tuple[float, bool]:
        """Return the plan's loss, and whether it is within the tolerance."""
        self._n_trials += 1
        self._show(f"trial {self._n_trials}", 0.0)
        found, aim = self._prober.outcome(plan), self._prober.aim
        share = f" ({found.loss / aim.tolerance:.3f} of what is aimed at)" if aim.tolerance else ""
        said = f"loss {found.value:.3g}{share}, {'passed' if found.passed else 'failed'}"
        _log.info(
            *("trial %d: budget %.3g, %s, about %d bytes", self._n_trials),
            *(plan.budget, said, plan.n_bytes),
        )
        self._log.add(stage, plan, found.value, passed=found.passed)
        self._remember(plan, found.value, found.passed)
        metric = self._prober.subject.metric
        self._tried.append(Trial(_without_payloads(plan), as_loss(metric, found.value), found.passed))
        return found.loss, found.passed

    def _remember(self, plan: Plan, loss: float, passed: bool) -> None:
        """Keep the plan if it is the best so far, of those that passed or of those that failed."""
        if not plan.chosen or n_saved_bytes(plan) <= 0:
            return
        if self.best is not None and self._prober.was_lucky(self.best):
            self.best = None  # it passed before a layer was found to jump
        if passed and (self.best is None or n_saved_bytes(plan) > n_saved_bytes(self.best)):
            self.best = plan
        higher = self._prober.subject.metric.higher_is_better
        known = None if self.least is None else self.least.loss
        if not passed and (known is None or (loss > known if higher else loss < known)):
            self.least = Trial(plan, loss, passed)

    def _measure_refit(self, plan: Plan) -> tuple[float, bool]:
        """Return the loss of the plan when it is fitted again."""
        assert self._refit is not None
        self._prober.close()  # a session on the whole model; a refit needs the memory
        fitted = self._refit(plan)
        loss, passed = self._measure(fitted, "refitted")
        tolerance = self._prober.aim.tolerance
        if tolerance and 0 < loss < math.inf and self._is_nearer(loss, tolerance):
            self._nearest = Fitted(plan, fitted, loss)
        return loss, passed

    def _is_nearer(self, loss: float, tolerance: float) -> bool:
        known = None if self._nearest is None else abs(math.log(self._nearest.loss / tolerance))
        return known is None or abs(math.log(loss / tolerance)) < known

    def _close_in(self, tolerance: float) -> None:
        """Move the last layers of the plan that came nearest until its loss just meets the tolerance."""
        base, self._nearest = self._nearest, None
        if base is None or self._refit is None:
            return
        wanted = tolerance * _FINISH / base.loss
        ratio, known = wanted, [t.loss for t in self._tried if t.passed]
        for _ in range(_N_FINISHES):
            if max(known, default=0.0) >= _ENOUGH * tolerance:
                return
            plan = self._finish(base, ratio)
            if plan is None or not plan.chosen:
                return
            self._prober.close()
            loss, passed = self._measure(self._refit(plan), "refitted")
            if passed:
                known.append(loss)
            if not 0 < loss < math.inf:
                return
            ratio *= wanted * base.loss / loss


def _without_payloads(plan: Plan) -> Plan:
    """Return a plan without what its weights are stored as, which takes memory."""
    return replace(plan, chosen={n: replace(c, encoded=None) for n, c in plan.chosen.items()})
