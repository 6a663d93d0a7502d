"""Finds the plan that saves most within the tolerance, by trying plans on the whole model."""

from __future__ import annotations

import logging
from collections.abc import Callable

from onnxzip.choose.lagrangian import n_saved_bytes
from onnxzip.choose.search import MAX_TRIALS, Trial, aim, best_trial, search
from onnxzip.choose.sensitivity import Prober
from onnxzip.progress import ShowProgress
from onnxzip.records.plan import Plan

_log = logging.getLogger(__name__)

_N_PLAIN_TRIALS = 2
"""Trials that only tell where those with refits begin: a guess that costs time."""

_N_REFIT_TRIALS = 3
"""Each runs the whole model part by part; with three, resnet44 takes a minute on two cores. Six take 15
to 20 % more time and leave digits_cnn, digits_autoencoder and digits_gru as they are; digits_attention
gets 0.8 % smaller (`python -m tests.bench.constants onnxzip.choose.to_loss:_N_REFIT_TRIALS 3 6`)."""

_NEAR_THE_TOLERANCE = 0.97
"""A passing plan that loses so much of it ends the search: what is left is 0.04 bits a weight."""

_USUAL_GAIN = 1.2
"""How much larger a budget refits allow: a guess that the search corrects, at the cost of a trial."""


class LossSearch:
    """One search; measures plans on the whole model.

    Args:
        plan_for: returns the cheapest plan for a budget of predicted loss.
        refit: fits a plan's weights again; None where nothing can be fitted.
        prober: what plans are measured with.
        show: called with each trial.

    Attributes:
        best: the plan that saves most among those that passed, fitted again if it was so measured.
    """

    def __init__(
        self,
        plan_for: Callable[[float], Plan],
        refit: Callable[[Plan], Plan] | None,
        prober: Prober,
        show: ShowProgress,
    ) -> None:
        """See the class."""
        self.best: Plan | None = None
        self._plan_for, self._refit = plan_for, refit
        self._prober, self._show = prober, show
        self._n_trials = 0

    def run(self, first_budget: float) -> list[Trial]:
        """Search from a budget of predicted loss on; return all trials that were made last.

        Where weights can be fitted again, plans are searched without that first, with few trials, and
        then with it, from the budget on that was found: a plan that is fitted again loses less.
        """
        metric = self._prober.subject.metric
        tolerance = metric.limit if metric.is_proportional else None
        if self._refit is None:
            return search(self._plan_for, self._measure, first_budget, tolerance)
        if tolerance:
            start = aim(self._plan_for, self._measure, first_budget, tolerance) * _USUAL_GAIN
        else:
            plain = search(self._plan_for, self._measure, first_budget, None, _N_PLAIN_TRIALS)
            best = best_trial(plain) or plain[-1]
            start = best.plan.budget * _USUAL_GAIN
        measure = self._measure_refit
        return search(self._plan_for, measure, start, tolerance, _N_REFIT_TRIALS, _NEAR_THE_TOLERANCE)

    def _measure(self, plan: Plan) -> tuple[float, bool]:
        """Return the plan's loss, and whether it is within the tolerance."""
        self._n_trials += 1
        self._show(f"trial {self._n_trials}", 0.65 + 0.2 * min(self._n_trials / MAX_TRIALS, 1))
        loss, passed = self._prober.loss(plan)
        verdict = "passed" if passed else "failed"
        _log.info(
            *("trial %d: budget %.3g, loss %.3g, %s, about %d bytes", self._n_trials),
            *(plan.budget, loss, verdict, plan.n_bytes),
        )
        is_better = self.best is None or n_saved_bytes(plan) > n_saved_bytes(self.best)
        if passed and plan.chosen and is_better:
            self.best = plan
        return loss, passed

    def _measure_refit(self, plan: Plan) -> tuple[float, bool]:
        """Return the loss of the plan when it is fitted again."""
        assert self._refit is not None
        self._prober.close()  # a session on the whole model; a refit needs the memory
        return self._measure(self._refit(plan))
