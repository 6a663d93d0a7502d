"""Numbers with their units, formatted once for the terminal, Markdown and HTML alike."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

NUMBER = re.compile(r"(\d+(?:\.\d+)?)")


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
