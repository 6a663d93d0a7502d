"""A comparison as tables, and what has to be said about them."""

from __future__ import annotations

from collections.abc import Iterator

from onnxzip.report.comparison.record import ComparedTool, Comparison
from onnxzip.report.numbers import (
    format_duration,
    format_limit,
    format_loss,
    format_memory,
    format_metric_name,
    format_ratio,
    format_seconds,
)
from onnxzip.report.tables.table import Table

_NONE = "-"


def comparison_table(comparison: Comparison) -> Table:
    """Return the bytes of each tool, what they lose, and what loading and running costs."""
    metric = format_metric_name(comparison.metric)
    return Table(
        ("tool", "bytes", "ratio", metric, "load", "memory", "latency"),
        tuple(_row(line, comparison.bytes_before) for line in comparison.rows),
        frozenset({"tool"}),
        folds="tool",
    )


def _row(line: ComparedTool, bytes_before: int) -> tuple[str, ...]:
    loss, load, n_bytes = line.loss, line.load, line.n_bytes
    return (
        line.tool,
        _NONE if n_bytes is None else f"{n_bytes:,}",
        _NONE if n_bytes is None else format_ratio(bytes_before, n_bytes),
        _NONE if loss is None else format_loss(loss, loss.value),
        _NONE if load is None else format_duration(load.cpu_s),
        _NONE if load is None else format_memory(load.n_bytes),
        _NONE if line.latency is None else f"{line.latency:.2f}x",
    )


def remarks(comparison: Comparison) -> tuple[str, ...]:
    """Return what the numbers do not say, a line for all tools that it is said of."""
    said: dict[str, list[str]] = {}
    for line in comparison.rows:
        for text in _remarks_on(line):
            said.setdefault(text, []).append(line.tool)
    return tuple(f"{', '.join(names)}: {text}" for text, names in said.items())


def _remarks_on(line: ComparedTool) -> Iterator[str]:
    if line.loss is not None and line.loss.failed:
        yield f"beyond the tolerance, {format_limit(line.loss)}"
    if line.n_bytes is not None and not line.is_loaded:
        yield "to be unpacked first, onnxruntime does not load it"
    if line.n_bytes is not None and line.remark:
        yield line.remark
    if line.problem:
        yield line.problem


def setting_table(comparison: Comparison) -> Table:
    """Return what each tool was called with, and how long it took."""
    rows = tuple(
        (line.tool, line.setting or "default", _effort(line))
        for line in comparison.tools
        if line.n_bytes is not None
    )
    return Table(
        ("tool", "setting", "tried"),
        rows,
        frozenset({"tool", "setting"}),
        folds="setting",
    )


def _effort(line: ComparedTool) -> str:
    n_tried = len(line.tried) or 1
    return f"{n_tried} setting{'s' * (n_tried != 1)} in {format_seconds(line.seconds)}"


def explanations(comparison: Comparison) -> tuple[str, ...]:
    """Return what the columns of the table mean, and what the losses rest on."""
    metric = format_metric_name(comparison.metric)
    return (
        f"{metric}: on {comparison.inputs}",
        "load, memory: CPU time and memory that creating a session takes; latency: of a run, beside the "
        "plain file's, on one thread",
    )


def doubts(comparison: Comparison, *, warns: bool = True) -> tuple[str, ...]:
    """Return why the losses may say little: what is not proven, and where it `warns` what is odd."""
    unproven = (f"not proven: {reason}" for reason in comparison.unproven)
    warnings = comparison.warnings if warns else ()
    return (*unproven, *(f"warning: {finding.text}" for finding in warnings))
