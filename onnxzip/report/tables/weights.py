"""Tables of what was done: weights, refusals, rewrites."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from onnxzip.records.plan import Rewrite, Skip
from onnxzip.report.numbers import NUMBER, format_bytes, format_memory, format_ratio, format_shape
from onnxzip.report.record import Inspection, LayerReport, Report
from onnxzip.report.tables.table import Table

WEIGHT_COLUMNS = ("weight", "method", "shape", "bits/w", "bytes", "at load", "ratio", "error")

_SPARE = ("at load", "bits/w", "error", "shape")
"""What a narrow terminal leaves out, in this order: what follows from others or is asked for least."""

_REST, _WHOLE = "graph and all else", "whole file"


def layer_table(report: Report) -> Table:
    """Return one row per changed weight, then the small tensors, the rest, and the file itself.

    No rows where no weight was changed.
    """
    rows = [_layer_row(layer) for layer in report.layers]
    if report.small_before:
        rows.append(_sum_row("small tensors", report.small_before, report.small_after, "rounding"))
    if rows:
        rows.append(_sum_row(_REST, report.rest_before, report.rest_after))
        at_load = format_memory(report.load_bytes)
        rows.append(_sum_row(_WHOLE, report.bytes_before, report.bytes_after, at_load=at_load))
    return Table(WEIGHT_COLUMNS, tuple(rows), frozenset({"weight", "method"}), "weight", spare=_SPARE)


def _layer_row(layer: LayerReport) -> tuple[str, ...]:
    return (
        layer.name,
        layer.pass_name,
        format_shape(layer.shape),
        _bits_per_weight(layer.bytes_after, layer.shape),
        format_bytes(layer.bytes_after),
        format_memory(layer.load_bytes),
        format_ratio(layer.bytes_before, layer.bytes_after),
        "-" if layer.error is None else f"{layer.error:.3g}",
    )


def _sum_row(name: str, before: int, after: int, method: str = "", at_load: str = "") -> tuple[str, ...]:
    """Return a row of what is more than one weight, or none."""
    return (name, method, "", "", format_bytes(after), at_load, format_ratio(before, after), "")


def skip_table(skips: Iterable[Skip]) -> Table:
    """Return one row per reason: how many weights, why, which passes refused them.

    Reasons that differ in their numbers only are one reason, "9 to 240 elements; needs at least 256".
    """
    groups: dict[tuple[str, ...], list[Skip]] = {}
    for skip in skips:
        groups.setdefault(tuple(NUMBER.split(skip.reason)[::2]), []).append(skip)
    rows = []
    for group in groups.values():
        n_weights = len({skip.layer for skip in group})
        passes = ", ".join(dict.fromkeys(skip.pass_name for skip in group))
        rows.append((n_weights, _common_reason([skip.reason for skip in group]), passes))
    rows.sort(key=lambda row: (-row[0], row[1]))
    cells = tuple((f"{n_weights:,} x", reason, passes) for n_weights, reason, passes in rows)
    return Table(("weights", "reason", "passes"), cells, frozenset({"reason", "passes"}), "reason")


def single_skip_table(skips: Iterable[Skip]) -> Table:
    """Return one row per refusal: the weight, the pass, the reason."""
    rows = tuple((skip.layer, skip.pass_name, skip.reason) for skip in skips)
    columns = ("weight", "pass", "reason")
    return Table(columns, rows, frozenset(columns), "reason")


def rewrite_table(rewrites: Iterable[Rewrite]) -> Table:
    """Return one row per kind of structural change."""
    counts: dict[tuple[str, str], int] = {}
    for rewrite in rewrites:
        key = (rewrite.description, rewrite.pass_name)
        counts[key] = counts.get(key, 0) + 1
    rows = tuple((f"{n:,} x", what, by) for (what, by), n in counts.items())
    return Table(("times", "rewrite", "pass"), rows, frozenset({"rewrite", "pass"}), "rewrite")


def weight_table(inspection: Inspection) -> Table:
    """Return one row per weight of a file, then the rest, and the file itself as the last row."""
    rows: list[tuple[str, ...]] = [
        (
            weight.label,
            f"{weight.pass_name}, int8" if weight.dtype == "int8" else weight.pass_name,
            format_shape(weight.shape),
            _bits_per_weight(weight.n_bytes, weight.shape),
            format_bytes(weight.n_bytes),
            format_memory(weight.load_bytes),
            format_ratio(weight.bytes_before, weight.n_bytes),
            "-" if weight.error is None else f"{weight.error:.3g}",
        )
        for weight in inspection.weights
    ]
    rows.append(_sum_row(_REST, inspection.rest_before, inspection.rest_after))
    at_load = format_memory(inspection.load_bytes)
    rows.append(_sum_row(_WHOLE, inspection.bytes_before, inspection.n_bytes, at_load=at_load))
    return Table(WEIGHT_COLUMNS, tuple(rows), frozenset({"weight", "method"}), "weight", spare=_SPARE)


def _bits_per_weight(n_bytes: int, shape: Sequence[int]) -> str:
    return f"{8 * n_bytes / max(math.prod(shape), 1):.2f}"


def _common_reason(reasons: Sequence[str]) -> str:
    """Return reasons of one wording as one, numbers that vary given as a range."""
    parts = [dict.fromkeys(variants) for variants in zip(*map(NUMBER.split, reasons), strict=True)]
    ranges = (
        sorted(variants, key=float) if i % 2 else list(variants) for i, variants in enumerate(parts)
    )
    return "".join(v[0] if len(v) == 1 else f"{v[0]} to {v[-1]}" for v in ranges)


def methods(report: Report) -> str:
    """Return how many weights each pass took, e.g. "19 dct, 2 codebook; 5 left as they were"."""
    taken = [layer.pass_name for layer in report.layers]
    counts = ", ".join(f"{taken.count(name):,} {name}" for name in dict.fromkeys(taken)) or "none"
    left = {skip.layer for skip in report.skips} - {layer.name for layer in report.layers}
    return counts + (f"; {len(left):,} left as they were" if left else "")
