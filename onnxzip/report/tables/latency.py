"""How long runs take before and after, and what they were timed with, in words and as a table."""

from __future__ import annotations

from typing import Protocol

from onnxzip.records.costs.latency import Latency, Ratio, Speed
from onnxzip.report.numbers import format_latency
from onnxzip.report.tables.table import Table

_NARROW = 0.01
"""Width of an interval whose ends two decimals do not tell apart."""


def speed_line(speed: Speed) -> str:
    """Return e.g. "runs in 0.45 of the time (0.43 to 0.47; 1 thread, batch 1)"."""
    ratio = speed.ratio
    value, low, high = (format_share(share, ratio) for share in (ratio.value, ratio.low, ratio.high))
    told = f"takes {value} times as long" if ratio.value > 1 else f"runs in {value} of the time"
    return f"{told} ({low} to {high}; {conditions(speed)})"


def format_share(share: float, ratio: Ratio) -> str:
    """Return the value or an end of a ratio, with the digits that its interval is worth: "0.45"."""
    return f"{share:.3f}" if ratio.high - ratio.low < _NARROW else f"{share:.2f}"


class Timed(Protocol):
    """What knows how runs are timed: a `Speed`, or what measures one."""

    @property
    def n_threads(self) -> int:
        """Threads of a session."""

    @property
    def batch(self) -> int | None:
        """Samples in a run; None where no axis of the inputs counts them."""

    @property
    def provider(self) -> str:
        """Short name of the execution provider."""


def conditions(timed: Timed) -> str:
    """Return what runs are timed with, e.g. "2 threads, batch 16, on CUDA"."""
    parts = [f"{timed.n_threads} thread{'s' * (timed.n_threads != 1)}"]
    parts += [] if timed.batch is None else [f"batch {timed.batch}"]
    return ", ".join([*parts, *([] if timed.provider == "CPU" else [f"on {timed.provider}"])])


def latency_table(speed: Speed) -> Table:
    """Return a row for each model: the median of its runs, and where half of them lie."""
    rows = (_row("original", speed.before), _row("this file", speed.after))
    return Table(("time of a run", "median", "half of the runs"), rows, frozenset({"time of a run"}))


def latency_points(speed: Speed) -> tuple[str, ...]:
    """Return how it was timed, and on what."""
    n_runs = len(speed.before.seconds)
    return (
        f"timed by turns on the same inputs, {n_runs:,} runs each; {conditions(speed)}",
        f"processor: {processor_line(speed)}",
    )


def processor_line(speed: Speed) -> str:
    """Return the processor, and the instructions that it has for 8-bit integers."""
    name, int8 = speed.processor.name or "unknown", ", ".join(speed.processor.int8)
    return f"{name}, int8 instructions: {int8 or 'none that is known'}"


def _row(name: str, latency: Latency) -> tuple[str, ...]:
    low, high = map(format_latency, latency.quartiles)
    return name, format_latency(latency.median), f"{low} to {high}"
