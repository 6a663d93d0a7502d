"""Checks -> the verdict, its certainty, and what it rests on: every number formatted here, once.

The terminal and Markdown both print these tables, so that they agree cell for cell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias

from onnxzip.records.check import Check
from onnxzip.report.numbers import (
    format_bytes,
    format_limit,
    format_metric,
    format_metric_name,
    format_ratio,
    format_rounded,
    format_seconds,
)
from onnxzip.report.record import Report
from onnxzip.report.tables.table import Table

FEWEST_SAMPLES = 8
"""As many as a confidence interval needs (measure/confidence.py): of fewer, others may well differ."""

EQUAL = "equal"
"""The verdict where all outputs were the same numbers: what is stored without loss."""

_ZERO_IS_EQUAL = ("nrmse", "rel_l2")
"""Metrics that are 0 for equal outputs alone; others round, or look at classes."""

Tone: TypeAlias = Literal["passed", "doubtful", "failed"]


def summary_table(report: Report) -> Table:
    """Return one row: bytes before and after, ratio, error and its limit, seconds."""
    worst = worst_of([check for check in report.checks if check.kind == "drift"])
    error, limit = _value_and_limit(worst)
    measured = f"error {format_metric_name(worst.metric)}" if worst else "error"
    row = (
        format_bytes(report.bytes_before),
        format_bytes(report.bytes_after),
        format_ratio(report.bytes_before, report.bytes_after),
        error,
        limit,
        format_seconds(report.seconds),
    )
    columns = ("bytes before", "bytes after", "ratio", measured, "limit", "time")
    return Table(columns, (row,), frozenset(), folds=measured)


def verdict_table(checks: Sequence[Check]) -> Table:
    """Return one row per provider: worst value of each kind of check, samples, the verdict."""
    judging = [check for check in checks if check.kind != "opinion"]
    has_interval = any(check.interval is not None for check in judging)
    kinds = [kind for kind in ("structure", "exact", "drift") if any(c.kind == kind for c in judging)]
    rows = []
    for provider in dict.fromkeys(check.provider for check in judging):
        here = [check for check in judging if check.provider == provider]
        cells = [_describe(worst_of([check for check in here if check.kind == kind])) for kind in kinds]
        samples = max(check.n_samples for check in here)
        if has_interval:
            cells.append(_interval(worst_of([check for check in here if check.kind == "drift"])))
        rows.append((provider, *cells, f"{samples:,}", _verdict(here)))
    between = ("95 % interval",) if has_interval else ()
    metrics = dict.fromkeys(format_metric_name(c.metric) for c in judging if c.kind == "drift")
    drift = f"drift {', '.join(metrics)}"
    shown = [drift if kind == "drift" else kind for kind in kinds]
    columns = ("provider", *shown, *between, "samples", "verdict")
    return Table(columns, tuple(rows), frozenset({"provider", "verdict"}), drift, moves="verdict")


def check_table(checks: Sequence[Check], is_brief: bool = False) -> Table:
    """Return one row per check, with its limit; `is_brief` leaves the intervals out."""
    rows = [
        (
            check.provider,
            check.kind,
            check.metric,
            format_metric(check, check.value),
            format_limit(check),
            *(() if is_brief else (_interval(check),)),
            f"{check.n_samples:,}",
            "-" if check.seed is None else str(check.seed),
            _own_verdict(check),
        )
        for check in checks
    ]
    columns = (
        *("provider", "check", "metric", "value", "limit"),
        *(() if is_brief else ("95 % interval",)),
        *("samples", "seed", "verdict"),
    )
    return Table(columns, tuple(rows), frozenset({"provider", "check", "metric", "verdict"}), "metric")


def overall_verdict(checks: Sequence[Check]) -> str:
    """Return the verdict of the provider where it is worst; "" where nothing was judged."""
    verdicts = [row[-1] for row in verdict_table(checks).rows]
    worst_first: tuple[Tone | None, ...] = ("failed", "doubtful", None, "passed")
    return min(verdicts, key=lambda verdict: worst_first.index(tone_of(verdict)), default="")


def tone_of(verdict: str) -> Tone | None:
    """Return how the text of a verdict is coloured; None for what is no verdict."""
    if verdict in ("passed", EQUAL):
        return "passed"
    if verdict.startswith("FAILED"):
        return "failed"
    return "doubtful" if verdict.startswith(("passed, ", "not proven")) else None


def brief_verdict(checks: Sequence[Check]) -> str:
    """Return the verdict of all checks on all providers in two words or three."""
    verdict = _verdict([check for check in checks if check.kind != "opinion"])
    return "passed, with doubts" if verdict.startswith("passed,") else verdict


def unproven_reasons(checks: Sequence[Check]) -> list[str]:
    """Return why verdicts prove nothing, each reason once; nothing where all of them do."""
    judging = (check for check in checks if check.kind != "opinion")
    return list(dict.fromkeys(check.unproven for check in judging if check.unproven))


def notes(checks: Sequence[Check], verbose: bool = False) -> list[str]:
    """Return what a reader must know about the figures, each thing once.

    Of checks that passed, only the drift's notes matter to a user; `verbose` gives all of them.
    """
    told = [check for check in checks if verbose or check.kind == "drift" or check.failed]
    return list(dict.fromkeys(f"{check.kind}: {check.note}" for check in told if check.note))


def worst_of(checks: Sequence[Check]) -> Check | None:
    """Return a failed check if there is one, else the one with the greatest loss."""

    def badness(check: Check) -> tuple[bool, float]:
        loss = -check.value if check.higher_is_better else check.value
        return check.failed, math.inf if math.isnan(loss) else loss

    return max(checks, key=badness, default=None)


def _value_and_limit(check: Check | None) -> tuple[str, str]:
    if check is None:
        return "not measured", "-"
    return format_metric(check, check.value), format_limit(check)


def _describe(check: Check | None) -> str:
    return "-" if check is None else format_metric(check, check.value)


def _interval(check: Check | None) -> str:
    if check is None or check.interval is None:
        return "-"
    return " to ".join(format_metric(check, end) for end in check.interval)


def _verdict(checks: Sequence[Check]) -> str:
    """Return the verdict of all checks of a provider."""
    failed = dict.fromkeys(check.kind for check in checks if check.failed)
    if failed:
        return "FAILED: " + ", ".join(failed)
    if any(check.unproven for check in checks):
        return "not proven"
    drifts = [check for check in checks if check.kind == "drift"]
    if not all(math.isfinite(check.limit) for check in drifts):
        return "passed, loss not judged"
    n_samples = min((check.n_samples for check in drifts), default=FEWEST_SAMPLES)
    if n_samples < FEWEST_SAMPLES:
        return f"passed, on {n_samples} sample{'s' * (n_samples > 1)} only"
    if drifts and all(check.value == 0 and check.metric in _ZERO_IS_EQUAL for check in drifts):
        return EQUAL
    doubts = [doubt for check in drifts if (doubt := _doubt(check))]
    return ", ".join(["passed", *doubts[:1]])


def _doubt(check: Check) -> str:
    """Say how far beyond its limit a passed drift may be, "" where its interval stays within."""
    if check.interval is None:
        return ""
    end = check.interval[0 if check.higher_is_better else 1]
    if end >= check.limit if check.higher_is_better else end <= check.limit:
        return ""
    shown, direction = format_metric(check, end), "down" if check.higher_is_better else "up"
    reach = "just beyond the limit" if shown == format_limit(check) else f"{direction} to {shown}"
    doubt = f"may be {reach} (95 %)"
    if check.n_to_settle is None:
        return doubt
    return f"{doubt}; about {format_rounded(check.n_to_settle)} samples would settle it"


def _own_verdict(check: Check) -> str:
    if check.kind == "opinion":
        return "-"  # it has no say
    return "FAILED" if check.failed else "not proven" if check.unproven else "passed"
