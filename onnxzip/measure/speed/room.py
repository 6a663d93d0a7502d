"""Whether there is memory for runs on as many samples as are asked for."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path

from onnxzip.errors import UsageError
from onnxzip.graph import Model, run_cost
from onnxzip.inputs.batches import sized_shapes
from onnxzip.records.aliases import Feeds
from onnxzip.report.numbers import format_memory
from onnxzip.runtime.input_spec import InputSpec

_N_SESSIONS, _N_BYTES = 2, 4
"""Sessions that are timed by turns, at least, and bytes of most numbers in them."""


def check_room(model: Model, feeds: Sequence[Feeds], inputs: Sequence[InputSpec], batch: int) -> None:
    """Refuse a batch whose inputs and values cannot be in memory, before they are.

    Args:
        model: what is to be run.
        feeds: inputs of the runs, of other batches.
        inputs: of the graph.
        batch: samples in a run.

    Raises:
        UsageError: it takes more memory than is free.
    """
    n_free = free_bytes()
    if n_free is None:
        return
    shapes = [sized_shapes(feed, inputs, batch) for feed in feeds]
    n_fed = sum(
        feed[name].itemsize * math.prod(shape)
        for feed, of_run in zip(feeds, shapes, strict=True)
        for name, shape in of_run.items()
    )
    n_needed = n_fed
    if n_fed <= n_free:  # else shapes may be too large to be worked out
        n_in_use = max(run_cost(model, of_run).n_in_use for of_run in shapes)
        n_needed += _N_SESSIONS * _N_BYTES * n_in_use
    if n_needed > n_free:
        raise UsageError(
            f"`batch` {batch}: runs of {model.source} on so many samples take about "
            f"{format_memory(n_needed)} of memory, and {format_memory(n_free)} are free; ask for fewer"
        )


def free_bytes() -> int | None:
    """Return the memory that new values may take, else all there is, None where neither is known."""
    try:
        found = re.search(r"MemAvailable: *(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        found = None
    if found is not None:
        return int(found[1]) * 1024
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows
        return None
