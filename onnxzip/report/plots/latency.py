"""How runs of both models are spread over time, as a plot."""

from __future__ import annotations

import numpy as np

from onnxzip.records.costs.latency import Latency, Speed
from onnxzip.report.numbers import format_latency
from onnxzip.report.plots.plot import Axis, Group, Point, Role, XYPlot

_SHARES = np.linspace(0, 95, 39)
"""Percent of the runs, to every 2.5: the slowest ones were disturbed by something else."""

_UNITS = {1.0: "s", 1e-3: "ms", 1e-6: "µs"}
"""Seconds of each unit, the largest first."""


def latency_plot(speed: Speed) -> XYPlot:
    """Return for any time how many of the runs took no longer."""
    latencies = (speed.before, speed.after)
    most = max(np.percentile(latency.seconds, _SHARES[-1]) for latency in latencies)
    unit = next((unit for unit in _UNITS if most >= unit), 1e-6)
    before, after = (format_latency(latency.median) for latency in latencies)
    return XYPlot(
        "Time of a run",
        f"Half of the runs take at most {before} before and {after} after. The slowest twentieth is not "
        "shown.",
        Axis(f"time of a run, {_UNITS[unit]}"),
        Axis("share of the runs, %"),
        (_line("before", "before", speed.before, unit), _line("after", "after", speed.after, unit)),
    )


def _line(name: str, role: Role, latency: Latency, unit: float) -> Group:
    times = np.percentile(latency.seconds, _SHARES)
    points = (
        Point(float(seconds / unit), float(share)) for seconds, share in zip(times, _SHARES, strict=True)
    )
    return Group(name, role, tuple(points), is_line=True)
