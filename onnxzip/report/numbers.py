"""Numbers with their units, formatted once for the terminal, Markdown and HTML alike."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from onnxzip.records.check import Check

NUMBER = re.compile(r"(\d+(?:\.\d+)?)")


def format_bytes(n_bytes: int) -> str:
    """Return an exact byte count, e.g. "1,094,689 B"."""
    return f"{n_bytes:,} B"


def format_memory(n_bytes: int | None) -> str:
    """Return a byte count in three digits, e.g. "8.39 MB"; "-" for none, or where it is not known."""
    if not n_bytes:
        return "-"
    size, units = float(n_bytes), ["B", "kB", "MB", "GB", "TB"]
    while size >= _LEAST_ROUNDED_UP and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:.3g} {units[0]}"


_LEAST_ROUNDED_UP = 999.5
"""From here on three digits round to 1000."""


def format_ratio(before: int, after: int) -> str:
    """Return before / after, e.g. "7.19x"; "-" when either is nothing."""
    return f"{before / after:.2f}x" if before > 0 and after > 0 else "-"


def format_metric(check: Check, value: float) -> str:
    """Return a value of a check's metric in the metric's unit, e.g. "35.2 dB"."""
    digits = ".3g" if check.n_decimals is None else f".{check.n_decimals}f"
    return f"{check.scale * value:{digits}} {check.unit}".rstrip()


def format_loss(check: Check, value: float) -> str:
    """Return a value like `format_metric`, trailing zeros kept, so that values compare: "0.100"."""
    if check.n_decimals is not None or not math.isfinite(value):
        return format_metric(check, value)
    return f"{f'{check.scale * value:#.3g}'.rstrip('.')} {check.unit}".rstrip()


def format_metric_name(name: str) -> str:
    """Return what heads a column: a function of the user's without its module."""
    return name.rpartition(":")[2]


def format_rounded(count: int) -> str:
    """Return a count that is an estimate, rounded up to two digits: "400" for 391."""
    step = 10 ** max(len(str(count)) - 2, 0)
    return f"{math.ceil(count / step) * step:,}"


def format_limit(check: Check) -> str:
    """Return a check's limit in the metric's unit; "none" for one that everything passes."""
    no_limit = -math.inf if check.higher_is_better else math.inf
    return "none" if check.limit == no_limit else format_metric(check, check.limit)


def format_shape(shape: Sequence[int]) -> str:
    """Return e.g. "64x3x3x3"; "scalar" for no axes."""
    return "x".join(map(str, shape)) or "scalar"


def format_seconds(seconds: float) -> str:
    """Return e.g. "4.2 s" or "3 min 05 s"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


def format_duration(seconds: float) -> str:
    """Return e.g. "12 ms", "1.25 s" or "3 min 05 s", in three digits at most."""
    if seconds < _LEAST_SECONDS:
        return (
            f"{1000 * seconds:.2g} ms" if seconds < _LEAST_SECONDS / 10 else f"{1000 * seconds:.0f} ms"
        )
    return f"{seconds:.3g} s" if seconds < 60 else format_seconds(seconds)


def format_latency(seconds: float) -> str:
    """Return the time of a run in three digits, e.g. "51.3 µs", "12.0 ms" or "1.25 s"."""
    for unit, name in ((1e-6, "µs"), (1e-3, "ms")):
        if seconds < _LEAST_ROUNDED_UP * unit:
            return f"{seconds / unit:#.3g}".rstrip(".") + f" {name}"
    return f"{seconds:.3g} s"


_LEAST_SECONDS = 0.9995
"""From here on milliseconds have four digits."""
