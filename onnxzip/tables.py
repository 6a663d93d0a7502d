"""Records of results -> tables of text: every number formatted here, once, with its unit.

The terminal and Markdown both print these tables, so that they agree cell for cell.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from onnxzip.types import Check, LayerReport, Report, Rewrite, Skip

WEIGHT_COLUMNS = ("weight", "method", "shape", "bits/w", "bytes", "ratio", "error")

_NUMBER = re.compile(r"(\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class StoredWeight:
    """How a file stores one weight, as `onnxzip -l` lists it.

    Attributes:
        pass_name: the method; "plain" for a weight that is stored as it is.
        n_bytes: bytes in the file, nodes of the decode subgraph included.
        error: |W - W'| / |W| where the file or the original tells it, else None.
    """

    name: str
    pass_name: str
    shape: tuple[int, ...]
    dtype: str
    bytes_before: int
    n_bytes: int
    error: float | None = None


@dataclass(frozen=True)
class Inspection:
    """What `onnxzip -l` shows of a file.

    Attributes:
        n_bytes: size of the file, external data included.
        bytes_before: size the file has with every weight stored plainly.
    """

    source: str
    n_bytes: int
    bytes_before: int
    weights: tuple[StoredWeight, ...]


@dataclass(frozen=True)
class Table:
    """A table of text; columns named in `left` are text, all the others numbers.

    The column named `folds` may break its cells over lines where the terminal is narrow.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: frozenset[str]
    folds: str = ""


# Numbers with their units


def format_bytes(n_bytes: int) -> str:
    """Return an exact byte count, e.g. "1,094,689 B"."""
    return f"{n_bytes:,} B"


def format_ratio(before: int, after: int) -> str:
    """Return before / after, e.g. "7.19x"; "-" when either is nothing."""
    return f"{before / after:.2f}x" if before > 0 and after > 0 else "-"


def format_metric(metric: str, value: float) -> str:
    """Return a metric's value in its unit: dB for psnr, percentage points for top1."""
    if metric == "psnr":
        return f"{value:.1f} dB"
    if metric == "top1":
        return f"{100 * value:.2f} pt"
    return f"{value:.3g}"


def format_limit(metric: str, limit: float) -> str:
    """Return a limit in the metric's unit; "none" for one that everything passes."""
    no_limit = -math.inf if metric == "psnr" else math.inf
    return "none" if limit == no_limit else format_metric(metric, limit)


def format_shape(shape: Sequence[int]) -> str:
    """Return e.g. "64x3x3x3"; "scalar" for no axes."""
    return "x".join(map(str, shape)) or "scalar"


def format_seconds(seconds: float) -> str:
    """Return e.g. "4.2 s" or "3 min 05 s"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


# Tables


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
    columns = ("provider", *kinds, *between, "samples", "verdict")
    return Table(columns, tuple(rows), frozenset({"provider", "verdict"}))


def check_table(checks: Sequence[Check]) -> Table:
    """Return one row per check, with its limit and what must be known about it."""
    rows = [
        (
            check.provider,
            check.kind,
            check.metric,
            format_metric(check.metric, check.value),
            format_limit(check.metric, check.limit),
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


def layer_table(layers: Sequence[LayerReport]) -> Table:
    """Return one row per changed weight; with the multiply-accumulates saved where any are."""
    computed = any(layer.form == "computed" for layer in layers)
    rows = []
    for layer in layers:
        row: tuple[str, ...] = (
            layer.name,
            layer.pass_name,
            format_shape(layer.shape),
            _bits_per_weight(layer.bytes_after, layer.shape),
            format_bytes(layer.bytes_after),
            format_ratio(layer.bytes_before, layer.bytes_after),
            f"{layer.error:.3g}",
        )
        macs = format_ratio(layer.macs_before or 0, layer.macs_after or 0)
        rows.append((*row, macs if layer.form == "computed" else "-") if computed else row)
    columns = (*WEIGHT_COLUMNS, "fewer MACs") if computed else WEIGHT_COLUMNS
    return Table(columns, tuple(rows), frozenset({"weight", "method"}), "weight")


def skip_table(skips: Iterable[Skip]) -> Table:
    """Return one row per reason: how many weights, why, which passes refused them.

    Reasons that differ in their numbers only are one reason, "9 to 240 elements; needs at least 256".
    """
    groups: dict[tuple[str, ...], list[Skip]] = {}
    for skip in skips:
        groups.setdefault(tuple(_NUMBER.split(skip.reason)[::2]), []).append(skip)
    rows = []
    for group in groups.values():
        n_weights = len({skip.layer for skip in group})
        passes = ", ".join(dict.fromkeys(skip.pass_name for skip in group))
        rows.append((n_weights, _common_reason([skip.reason for skip in group]), passes))
    rows.sort(key=lambda row: (-row[0], row[1]))
    cells = tuple((f"{n_weights:,} x", reason, passes) for n_weights, reason, passes in rows)
    return Table(("weights", "reason", "passes"), cells, frozenset({"reason", "passes"}), "reason")


def rewrite_table(rewrites: Iterable[Rewrite]) -> Table:
    """Return one row per kind of structural change."""
    counts: dict[tuple[str, str], int] = {}
    for rewrite in rewrites:
        key = (rewrite.description, rewrite.pass_name)
        counts[key] = counts.get(key, 0) + 1
    rows = tuple((f"{n:,} x", what, by) for (what, by), n in counts.items())
    return Table(("times", "rewrite", "pass"), rows, frozenset({"rewrite", "pass"}), "rewrite")


def weight_table(inspection: Inspection) -> Table:
    """Return one row per weight of a file, and the file itself as the last row."""
    rows = [
        (
            weight.name,
            weight.pass_name,
            format_shape(weight.shape),
            _bits_per_weight(weight.n_bytes, weight.shape),
            format_bytes(weight.n_bytes),
            format_ratio(weight.bytes_before, weight.n_bytes),
            "-" if weight.error is None else f"{weight.error:.3g}",
        )
        for weight in inspection.weights
    ]
    total = format_ratio(inspection.bytes_before, inspection.n_bytes)
    rows.append(("whole file", "", "", "", format_bytes(inspection.n_bytes), total, ""))
    return Table(WEIGHT_COLUMNS, tuple(rows), frozenset({"weight", "method"}), "weight")


def _bits_per_weight(n_bytes: int, shape: Sequence[int]) -> str:
    return f"{8 * n_bytes / max(math.prod(shape), 1):.2f}"


def _common_reason(reasons: Sequence[str]) -> str:
    """Return reasons of one wording as one, numbers that vary given as a range."""
    parts = [dict.fromkeys(variants) for variants in zip(*map(_NUMBER.split, reasons), strict=True)]
    ranges = (
        sorted(variants, key=float) if i % 2 else list(variants) for i, variants in enumerate(parts)
    )
    return "".join(v[0] if len(v) == 1 else f"{v[0]} to {v[-1]}" for v in ranges)


def _worst(checks: Sequence[Check]) -> Check | None:
    """Return a failed check if there is one, else the one with the greatest loss."""

    def badness(check: Check) -> tuple[bool, float]:
        return not check.passed, -check.value if check.metric == "psnr" else check.value

    return max(checks, key=badness, default=None)


def _value_and_limit(check: Check | None) -> tuple[str, str]:
    if check is None:
        return "not measured", "-"
    return format_metric(check.metric, check.value), format_limit(check.metric, check.limit)


def _describe(check: Check | None) -> str:
    return "-" if check is None else format_metric(check.metric, check.value)


def _interval(check: Check | None) -> str:
    if check is None or check.interval is None:
        return "-"
    return " to ".join(format_metric(check.metric, end) for end in check.interval)


def _verdict(checks: Sequence[Check]) -> str:
    failed = dict.fromkeys(check.kind for check in checks if not check.passed)
    return "passed" if not failed else "FAILED: " + ", ".join(failed)


def notes(checks: Sequence[Check], verbose: bool = False) -> list[str]:
    """Return what a reader must know about the figures, each thing once.

    Of checks that passed, only the drift's notes matter to a user; `verbose` gives all of them.
    """
    told = [check for check in checks if verbose or check.kind == "drift" or not check.passed]
    return list(dict.fromkeys(f"{check.kind}: {check.note}" for check in told if check.note))


def methods(report: Report) -> str:
    """Return how many weights each pass took, e.g. "19 dct, 2 codebook; 5 left as they were"."""
    taken = [layer.pass_name for layer in report.layers]
    counts = ", ".join(f"{taken.count(name):,} {name}" for name in dict.fromkeys(taken)) or "none"
    left = {skip.layer for skip in report.skips} - {layer.name for layer in report.layers}
    return counts + (f"; {len(left):,} left as they were" if left else "")
