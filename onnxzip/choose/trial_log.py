"""Keeps what was tried, for the report: what each plan takes, and what it loses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from onnxzip.choose.lagrangian import n_saved_bytes
from onnxzip.measure.aim import as_loss
from onnxzip.records.check import Check
from onnxzip.records.plan import Plan
from onnxzip.report.record import Stage, TrialReport


class TrialLog:
    """What was tried, in order.

    Args:
        n_bytes: what the model takes as it is.
    """

    def __init__(self, n_bytes: int) -> None:
        """Begin with nothing."""
        self._n_bytes = n_bytes
        self._trials: list[TrialReport] = []

    def add(self, stage: Stage, plan: Plan, loss: float, *, passed: bool) -> None:
        """Keep what a plan lost, and what its file is estimated to take."""
        n_bytes = self._n_bytes - n_saved_bytes(plan)
        self._trials.append(TrialReport(stage, n_bytes, float(loss), bool(passed)))

    def add_failed_proof(self, plan: Plan, failed: Sequence[Check]) -> None:
        """Keep what the file of a plan lost where it lost too much, where that was most."""
        worst = max(failed, key=lambda check: as_loss(check, check.value))
        self.add("proved", plan, worst.value, passed=False)

    def of_sizes(self, size_of: Callable[[Plan], int], n_allowed: int) -> Callable[[Plan], int]:
        """Return what tells the size of a plan's file, and keeps it."""

        def tried(plan: Plan) -> int:
            n_bytes = size_of(plan)
            self._trials.append(TrialReport("sized", n_bytes, None, n_bytes <= n_allowed))
            return n_bytes

        return tried

    def finished(self, plan: Plan, n_bytes: int) -> tuple[TrialReport, ...]:
        """Return all trials; estimates are moved by what that of the plan that was taken is off.

        Args:
            plan: that was taken.
            n_bytes: what its file takes.
        """
        n_off = n_bytes - (self._n_bytes - n_saved_bytes(plan))
        return tuple(
            trial if trial.stage == "sized" else replace(trial, n_bytes=max(trial.n_bytes + n_off, 0))
            for trial in self._trials
        )
