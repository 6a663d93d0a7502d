"""Loss against bytes, a mark for each tool."""

from __future__ import annotations

import math
from collections.abc import Sequence

from onnxzip.records.check import Check
from onnxzip.report.comparison.record import OWN_NAME, ComparedTool, Comparison
from onnxzip.report.numbers import (
    format_bytes,
    format_limit,
    format_loss,
    format_memory,
    format_metric_name,
)
from onnxzip.report.plots.plot import Axis, Group, Point, Role, XYPlot

_APART = 4.0
"""By what factor those that lose nothing stand off the least loss: a logarithmic axis has no 0."""


def comparison_plot(comparison: Comparison) -> tuple[XYPlot, ...]:
    """Return the loss of each tool over its bytes; no plot where none loses anything."""
    lines = [line for line in comparison.rows if line.loss is not None and line.n_bytes]
    check = comparison.plain.loss
    losses = [loss for loss in map(_shown, lines) if 0 < loss < math.inf]
    if check is None or not losses:
        return ()
    best = max(losses) * _APART if check.higher_is_better else min(losses) / _APART

    def group(name: str, role: Role, members: Sequence[ComparedTool], has_labels: bool = True) -> Group:
        points = (
            Point(
                line.n_bytes or 0, best if _is_lossless(line) else _shown(line), _short_name(line.tool)
            )
            for line in members
        )
        return Group(name, role, tuple(points), is_labelled=has_labels)

    own = [line for line in lines if line.tool == OWN_NAME]
    others = [line for line in lines if line.tool != OWN_NAME]
    lossy = [line for line in others if not _is_lossless(line)]
    failed = [line for line in lossy if line.loss is not None and line.loss.failed]
    groups = (
        group("loses nothing", "other", [line for line in others if _is_lossless(line)], False),
        group("within the tolerance", "passed", [line for line in lossy if line not in failed]),
        group("beyond it", "failed", failed),
        group(OWN_NAME, "chosen", own),
    )
    unit = f", {check.unit}" if check.unit else ""
    return (
        XYPlot(
            "Loss against bytes",
            _summary(comparison, lines),
            Axis("bytes to ship", lambda value: format_memory(round(value))),
            Axis(f"{format_metric_name(check.metric)}{unit}"),
            tuple(g for g in groups if g.points),
            check.scale * check.limit if 0 < check.limit < math.inf else None,
            f"tolerance {format_limit(check)}",
            is_logarithmic=True,
        ),
    )


def _short_name(tool: str) -> str:
    """Return a name that has room beside its mark: "static int8"."""
    return tool.removeprefix("onnxruntime ")


def _shown(line: ComparedTool) -> float:
    """Return a tool's loss in the unit that it is shown in."""
    return math.nan if line.loss is None else line.loss.scale * line.loss.value


def _is_lossless(line: ComparedTool) -> bool:
    """Whether a tool loses nothing, or even answers better than the original."""
    if line.loss is None:
        return False
    return line.loss.value == math.inf if line.loss.higher_is_better else line.loss.value <= 0


def _summary(comparison: Comparison, lines: Sequence[ComparedTool]) -> str:
    """Return what the plot shows, in words."""
    smallest = min(lines, key=lambda line: line.n_bytes or 0)
    told = f"The smallest is that of {smallest.tool}: {format_bytes(smallest.n_bytes or 0)}"
    lossless = [line.tool for line in lines if _is_lossless(line)]
    told += "" if smallest.loss is None else f", {_told(smallest.loss)}"
    place = "top" if comparison.plain.loss and comparison.plain.loss.higher_is_better else "bottom"
    return f"{told}. At the {place} stands what loses nothing: {', '.join(lossless)}."


def _told(check: Check) -> str:
    return f"{format_metric_name(check.metric)} {format_loss(check, check.value)}"
