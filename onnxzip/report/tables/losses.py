"""What a loss consists of: by output, by kind of inputs, by sample, by weight; and a second opinion."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from onnxzip.records.check import Check
from onnxzip.report.numbers import format_loss, format_metric_name
from onnxzip.report.record import LayerSensitivity
from onnxzip.report.tables.table import Table
from onnxzip.report.tables.verdicts import worst_of

_N_PARTS = 5
"""Outputs, or kinds of inputs, that the terminal names: the worst, and whether others are near it."""

_N_SENSITIVE = 10
"""Weights that the terminal names: those to think of keeping."""


def loss_lines(checks: Sequence[Check]) -> list[str]:
    """Return what the terminal says of the worst drift, a line for each thing that is known of it."""
    drifts = [check for check in checks if check.kind == "drift"]
    check = worst_of(drifts)
    if check is None:
        return []
    lines = []
    if check.constant is not None:
        lines.append(f"a constant answer scores {format_loss(check, check.constant)}")
    for what, parts in (("output", check.by_output), ("kind of inputs", check.by_family)):
        if len(parts) > 1:
            lines.append(f"by {what}: {_worst_parts(check, parts)}")
    if check.per_sample is not None:
        spread = check.per_sample
        values = (spread.median, spread.quantile_95, spread.worst)
        median, most, worst = (format_loss(check, value) for value in values)
        lines.append(f"by sample: median {median}, 95 % within {most}, worst {worst}")
    where = f"{check.provider}: " if len(drifts) > 1 else ""
    return [where + line for line in lines]


def opinion_lines(checks: Sequence[Check]) -> list[str]:
    """Return what the same model loses on inputs that the verdict does not rest on, each thing once."""
    lines = []
    for check in checks:
        if check.kind == "opinion":
            loss = f"{format_metric_name(check.metric)} {format_loss(check, check.value)}"
            value = f"tell nothing: {check.unproven}" if check.unproven else loss
            lines.append(f"a second opinion, {_place(check)}: {value}")
    return list(dict.fromkeys(lines))


def loss_table(checks: Sequence[Check]) -> Table:
    """Return what is known of each measured loss, a column each: its value, what to compare it with."""
    measured = _measured(checks)
    known = [_known_losses(check) for check in measured.values()]
    names = dict.fromkeys(name for values in known for name in values)
    return _table("loss", measured, names, known)


def output_table(checks: Sequence[Check]) -> Table:
    """Return one row per output, the worst first, where there are several."""
    measured = _measured(checks)
    return _parts_table("output", measured, [check.by_output for check in measured.values()])


def family_table(checks: Sequence[Check]) -> Table:
    """Return one row per kind of inputs, the worst first, where there are several."""
    measured = _measured(checks)
    return _parts_table("kind of inputs", measured, [check.by_family for check in measured.values()])


def sensitivity_table(sensitivities: Sequence[LayerSensitivity], is_brief: bool = False) -> Table:
    """Return one row per weight, what costs most first; `is_brief` stops after ten."""
    ordered = sorted(sensitivities, key=lambda found: _badness(found.loss), reverse=True)
    rows = tuple(
        (found.name, f"{found.error:.3g}", f"{found.loss:.3g}")
        for found in ordered[: _N_SENSITIVE if is_brief else None]
    )
    columns = ("weight", "error tried", "loss it causes alone (nrmse)")
    return Table(columns, rows, frozenset({"weight"}), "weight")


def _worst_parts(check: Check, parts: Mapping[str, float]) -> str:
    """Return the worst parts of a loss, "boxes 0.158, scores 0.0912, 3 more"."""
    ordered = worst_first(check, parts)
    shown = [f"{name} {format_loss(check, parts[name])}" for name in ordered[:_N_PARTS]]
    n_more = len(ordered) - len(shown)
    return ", ".join([*shown, *([f"{n_more:,} more"] if n_more else [])])


def worst_first(check: Check, parts: Mapping[str, float]) -> list[str]:
    """Return the names of the parts of a loss, the worst first."""
    return sorted(parts, key=lambda name: _loss_of(check, parts[name]), reverse=True)


def _measured(checks: Sequence[Check]) -> dict[str, Check]:
    """Return the measured losses by what their column is called."""
    drifts = [check for check in checks if check.kind == "drift"]
    opinions = [check for check in checks if check.kind == "opinion"]
    named = {
        format_metric_name(check.metric) if len(drifts) == 1 else check.provider: check
        for check in drifts
    }
    for check in opinions:
        where = f" ({check.provider})" if len(opinions) > 1 else ""
        named[f"second opinion{where}"] = check
    return named


def _place(check: Check) -> str:
    """Return what an opinion was measured on: its note starts with it."""
    return f"on {check.note.partition(';')[0] or 'other inputs'}"


def _parts_table(
    title: str, measured: Mapping[str, Check], parts: Sequence[Mapping[str, float]]
) -> Table:
    """Return one row per part of a loss, sorted by the first column that has it."""

    def losses(name: str) -> list[float]:
        known = zip(measured.values(), parts, strict=True)
        return [_loss_of(check, of[name]) if name in of else -math.inf for check, of in known]

    names = dict.fromkeys(name for values in parts for name in values)
    return _table(title, measured, sorted(names, key=losses, reverse=True), parts)


def _known_losses(check: Check) -> dict[str, float]:
    known = {"worst output": check.value}
    if check.constant is not None:
        known["a constant answer"] = check.constant
    if check.per_sample is not None:
        known["median sample"] = check.per_sample.median
        known["95 % of the samples within"] = check.per_sample.quantile_95
        known["worst sample"] = check.per_sample.worst
    return known


def _table(
    title: str,
    measured: Mapping[str, Check],
    names: Collection[str],
    values: Sequence[Mapping[str, float]],
) -> Table:
    """Return a row per name, a column per measured loss; one row alone says nothing, and is none."""
    rows = []
    for name in names if len(names) > 1 else ():
        known = zip(measured.values(), values, strict=True)
        rows.append((name, *(format_loss(c, v[name]) if name in v else "-" for c, v in known)))
    return Table((title, *measured), tuple(rows), frozenset({title}), title)


def _loss_of(check: Check, value: float) -> float:
    """Return a value of a check's metric as what grows with the loss."""
    return _badness(-value if check.higher_is_better else value)


def _badness(loss: float) -> float:
    """Return a loss for sorting: what is no number is worst of all."""
    return math.inf if math.isnan(loss) else loss
