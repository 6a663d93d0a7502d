"""Records of results -> tables of text: every number formatted here, once, with its unit.

The terminal and Markdown both print these tables, so that they agree cell for cell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from onnxzip.records.check import Check
from onnxzip.report.numbers import (
    format_bytes,
    format_limit,
    format_metric,
    format_ratio,
    format_seconds,
)
from onnxzip.report.record import Report
from onnxzip.report.table import Table


def summary_table(report: Report) -> Table:
    """Return one row: bytes before and after, ratio, error and its limit, seconds."""
    drifts = [check for check in report.checks if check.kind == "drift"]
    worst = _worst(drifts)
    error, limit = _value_and_limit(worst)
    metric = f" {worst.metric}" if worst else ""
    row = (
        format_bytes(report.bytes_before),
        format_bytes(report.bytes_after),
        format_ratio(report.bytes_before, report.bytes_after),
        error,
        limit,
        format_seconds(report.seconds),
    )
    columns = ("bytes before", "bytes after", "ratio", "error" + metric, "limit", "time")
    return Table(columns, (row,), frozenset())


def verdict_table(checks: Sequence[Check]) -> Table:
    """Return one row per provider: worst value of each kind of check, samples, the verdict."""
    has_interval = any(check.interval is not None for check in checks)
    kinds = [kind for kind in ("structure", "exact", "drift") if any(c.kind == kind for c in checks)]
    rows = []
    for provider in dict.fromkeys(check.provider for check in checks):
        here = [check for check in checks if check.provider == provider]
        cells = [_describe(_worst([check for check in here if check.kind == kind])) for kind in kinds]
        samples = max(check.n_samples for check in here)
        drift = _worst([check for check in here if check.kind == "drift"])
        if has_interval:
            cells.append(_interval(drift))
        rows.append((provider, *cells, f"{samples:,}", _verdict(here)))
    between = ("95 % interval",) if has_interval else ()
    metrics = dict.fromkeys(check.metric for check in checks if check.kind == "drift")
    shown = [f"drift {', '.join(metrics)}" if kind == "drift" else kind for kind in kinds]
    columns = ("provider", *shown, *between, "samples", "verdict")
    return Table(columns, tuple(rows), frozenset({"provider", "verdict"}))


def check_table(checks: Sequence[Check]) -> Table:
    """Return one row per check, with its limit and what must be known about it."""
    rows = [
        (
            check.provider,
            check.kind,
            check.metric,
            format_metric(check, check.value),
            format_limit(check),
            _interval(check),
            f"{check.n_samples:,}",
            "-" if check.seed is None else str(check.seed),
            "passed" if check.passed else "FAILED",
        )
        for check in checks
    ]
    columns = (
        *("provider", "check", "metric", "value", "limit", "95 % interval"),
        *("samples", "seed", "verdict"),
    )
    return Table(columns, tuple(rows), frozenset({"provider", "check", "metric", "verdict"}))


def _worst(checks: Sequence[Check]) -> Check | None:
    """Return a failed check if there is one, else the one with the greatest loss."""

    def badness(check: Check) -> tuple[bool, float]:
        return not check.passed, -check.value if check.higher_is_better else check.value

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
    failed = dict.fromkeys(check.kind for check in checks if not check.passed)
    if failed:
        return "FAILED: " + ", ".join(failed)
    is_judged = all(math.isfinite(check.limit) for check in checks if check.kind == "drift")
    return "passed" if is_judged else "passed, loss not judged"


def notes(checks: Sequence[Check], verbose: bool = False) -> list[str]:
    """Return what a reader must know about the figures, each thing once.

    Of checks that passed, only the drift's notes matter to a user; `verbose` gives all of them.
    """
    told = [check for check in checks if verbose or check.kind == "drift" or not check.passed]
    return list(dict.fromkeys(f"{check.kind}: {check.note}" for check in told if check.note))
