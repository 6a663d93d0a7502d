"""Plans that the search tried."""

from __future__ import annotations

from collections.abc import Sequence

from onnxzip.records.check import Check
from onnxzip.report.numbers import format_bytes, format_loss, format_metric_name
from onnxzip.report.record import Stage, TrialReport
from onnxzip.report.tables.table import Table

STAGES: dict[Stage, str] = {
    "planned": "planned",
    "refitted": "fitted again",
    "sized": "file made, for its size",
    "proved": "file made and proved",
}
"""What was tried, in words."""


def trial_table(trials: Sequence[TrialReport], check: Check | None) -> Table:
    """Return one row per trial, in order; bytes of what was not made are estimates."""
    metric = format_metric_name(check.metric) if check else "loss"
    columns = ("trial", "bytes", metric, "verdict")
    rows = tuple(
        (
            f"{number}: {STAGES[trial.stage]}" + (" (this file)" if trial.is_chosen else ""),
            ("" if trial.stage == "sized" or trial.is_chosen else "about ")
            + format_bytes(trial.n_bytes),
            "-" if trial.loss is None or check is None else format_loss(check, trial.loss),
            _verdict(trial),
        )
        for number, trial in enumerate(trials, 1)
    )
    return Table(columns, rows, frozenset({"trial", "verdict"}), "trial")


def _verdict(trial: TrialReport) -> str:
    if trial.stage == "sized":
        return "fits" if trial.passed else "too large"
    return "within" if trial.passed else "beyond"
