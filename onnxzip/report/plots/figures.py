"""A report's plots: what is in each of them, and in words what it shows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from onnxzip.records.check import Check
from onnxzip.report.numbers import (
    format_bytes,
    format_limit,
    format_loss,
    format_metric_name,
    format_ratio,
)
from onnxzip.report.plots.plot import Axis, BarPlot, Bars, Group, Point, Role, XYPlot, has_place
from onnxzip.report.record import LayerSensitivity, Report, TrialReport
from onnxzip.report.tables.losses import worst_first
from onnxzip.report.tables.verdicts import worst_of

MOST_BARS = 20
"""Names of a bar plot: as high as a screen. What is less is summed up, or left to the table."""

_BYTE_UNITS = {10**9: "GB", 10**6: "MB", 10**3: "kB"}
"""Decimal prefixes of the SI, the largest first."""

_N_TICKS = 5
"""Ticks that an axis has about."""

_FEWEST_PLOTTED = 2
"""Points that a plot is worth."""


def trial_plot(report: Report) -> tuple[XYPlot, ...]:
    """Return the loss of all trials over their bytes, with the chosen one; none of one trial."""
    check = drift_of(report.checks)
    losses = [t for t in report.trials if t.loss is not None and has_place(t.loss)]
    if check is None or len(losses) < _FEWEST_PLOTTED:
        return ()
    n_odd = sum(t.loss is not None for t in report.trials) - len(losses)

    def group(name: str, role: Role, trials: Sequence[TrialReport]) -> Group:
        points = (Point(t.n_bytes, check.scale * (t.loss or 0.0), _told(check, t)) for t in trials)
        return Group(name, role, tuple(points))

    tried = [t for t in losses if not t.is_chosen]
    groups = (
        group("within the tolerance", "passed", [t for t in tried if t.passed]),
        group("beyond it", "failed", [t for t in tried if not t.passed]),
        group("this file", "chosen", [t for t in losses if t.is_chosen]),
    )
    limit = check.scale * check.limit if has_place(check.limit) else None
    chosen = next((_told(check, t) for t in losses if t.is_chosen), "")
    summary = f"{len(tried)} plan{'s' * (len(tried) != 1)} tried. {chosen}."
    summary += f" {n_odd} more lost everything." if n_odd else ""
    return (
        XYPlot(
            "Loss against bytes",
            summary,
            byte_axis("bytes of the file", [t.n_bytes for t in losses]),
            Axis(metric_axis(check)),
            tuple(g for g in groups if g.points),
            limit,
            "" if limit is None else f"tolerance {format_limit(check)}",
        ),
    )


def weight_plot(report: Report) -> tuple[BarPlot, ...]:
    """Return the bytes of the largest weights before and after, and of what else there is."""
    ordered = sorted(report.layers, key=lambda layer: layer.bytes_before, reverse=True)
    rows = [(layer.name, layer.bytes_before, layer.bytes_after) for layer in ordered[:MOST_BARS]]
    rest = ordered[MOST_BARS:]
    if rest:
        sums = (sum(x.bytes_before for x in rest), sum(x.bytes_after for x in rest))
        rows.append((f"{len(rest):,} smaller weights", *sums))
    if report.small_before:
        rows.append(("small tensors", report.small_before, report.small_after))
    if not report.layers:
        return ()
    rows.append(("graph and all else", report.rest_before, report.rest_after))
    names, before, after = zip(*rows, strict=True)
    largest = ordered[0]
    return (
        BarPlot(
            "Bytes by weight, before and after",
            f"The largest is {largest.name}: {format_bytes(largest.bytes_before)} before, "
            f"{format_bytes(largest.bytes_after)} after"
            + (f"; the {len(rest):,} smallest weights are summed up." if rest else "."),
            byte_axis("bytes", [0, *before, *after]),
            names,
            (
                Bars("before", "before", before, tuple(f"{format_bytes(n)} before" for n in before)),
                Bars(
                    "after",
                    "after",
                    after,
                    tuple(f"{format_bytes(a)} after, {format_ratio(b, a)} smaller" for _, b, a in rows),
                ),
            ),
        ),
    )


def sensitivity_plot(sensitivities: Sequence[LayerSensitivity]) -> tuple[BarPlot, ...]:
    """Return what the most sensitive weights lose alone."""
    known = [found for found in sensitivities if has_place(found.loss)]
    ordered = sorted(known, key=lambda found: found.loss, reverse=True)[:MOST_BARS]
    if len(ordered) < _FEWEST_PLOTTED:
        return ()
    worst = ordered[0]
    summary = (
        f"{worst.name} is the most sensitive: at an error of {worst.error:.3g} it alone loses "
        f"{worst.loss:.3g} nrmse."
    )
    if len(known) > len(ordered):
        summary += f" {len(known) - len(ordered):,} less sensitive weights are in the table only."
    losses = tuple(found.loss for found in ordered)
    texts = tuple(f"{found.loss:.3g} at an error of {found.error:.3g}" for found in ordered)
    names = tuple(found.name for found in ordered)
    bars = Bars("loss", "after", losses, texts)
    return (BarPlot("Loss that one weight's error causes", summary, Axis("nrmse"), names, (bars,)),)


def output_plot(checks: Sequence[Check]) -> tuple[BarPlot, ...]:
    """Return the loss of each output, the worst first, where there are several."""
    check = drift_of(checks)
    if check is None or check.higher_is_better:  # dB have no bars: none is 0, and short is bad
        return ()
    losses = {name: value for name, value in check.by_output.items() if has_place(value)}
    names = worst_first(check, losses)[:MOST_BARS]
    if len(names) < _FEWEST_PLOTTED:
        return ()
    worst = names[0]
    summary = f"{worst} loses most, {format_loss(check, losses[worst])}"
    summary += (
        f"; {len(losses) - len(names):,} more are in the table only." if losses.keys() - names else "."
    )
    values = tuple(check.scale * losses[name] for name in names)
    bars = Bars("loss", "after", values, tuple(format_loss(check, losses[name]) for name in names))
    return (BarPlot("Loss by output", summary, Axis(metric_axis(check)), tuple(names), (bars,)),)


def sample_plot(checks: Sequence[Check]) -> tuple[XYPlot, ...]:
    """Return the loss of each sample, from the least to the worst."""
    check = drift_of(checks)
    if check is None or check.per_sample is None:
        return ()
    ranked = check.per_sample.ranked
    is_curve = len(set(ranked)) > _FEWEST_PLOTTED  # of answers that are right or wrong it is a step
    if not is_curve or not all(map(has_place, ranked)):
        return ()
    steps = [100 * i / (len(ranked) - 1) for i in range(len(ranked))]
    points = tuple(
        Point(
            share, check.scale * loss, f"{share:.0f} % of the samples within {format_loss(check, loss)}"
        )
        for share, loss in zip(steps, ranked, strict=True)
    )
    spread = check.per_sample
    values = (spread.median, spread.quantile_95, spread.worst)
    median, most, worst = (format_loss(check, value) for value in values)
    limit = check.scale * check.limit if has_place(check.limit) else None
    return (
        XYPlot(
            "Loss by sample",
            f"Each sample judged alone, from the least to the worst: median {median}, 95 % within "
            f"{most}, worst {worst}. The verdict is on all of them together.",
            Axis("share of the samples, %"),
            Axis(metric_axis(check)),
            (Group("samples", "after", points, is_line=True),),
            limit,
            "" if limit is None else f"tolerance {format_limit(check)}",
        ),
    )


def drift_of(checks: Sequence[Check]) -> Check | None:
    """Return the worst of the losses that the verdict is on."""
    return worst_of([check for check in checks if check.kind == "drift"])


def metric_axis(check: Check) -> str:
    """Return what an axis of losses is called: "loss (nrmse)", "psnr, dB"."""
    name = format_metric_name(check.metric)
    return f"{name}, {check.unit}" if check.unit else f"loss ({name})"


def byte_axis(label: str, sizes: Sequence[int]) -> Axis:
    """Return an axis of bytes, with the digits that tell its ticks apart."""
    most, span = max(sizes), max(sizes) - min(sizes)
    unit = next((unit for unit in _BYTE_UNITS if most >= unit), 1)
    step = max(span / _N_TICKS, unit * 1e-3, 1)
    n_decimals = max(0, math.ceil(-math.log10(step / unit)))
    return Axis(label, lambda value: f"{value / unit:,.{n_decimals}f} {_BYTE_UNITS.get(unit, 'B')}")


def _told(check: Check, trial: TrialReport) -> str:
    what = {"planned": "Planned", "refitted": "Fitted again", "sized": "Sized", "proved": "Proved"}
    name = "This file" if trial.is_chosen else what[trial.stage]
    loss = "-" if trial.loss is None else format_loss(check, trial.loss)
    about = "" if trial.is_chosen or trial.stage == "sized" else "about "
    return f"{name}: {about}{format_bytes(trial.n_bytes)}, {format_metric_name(check.metric)} {loss}"
