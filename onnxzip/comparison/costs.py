"""What a model costs its users: CPU time and memory while a session is created, and time of its runs.

All of it is measured in processes of their own: peaks of memory never fall, what one session has warmed
up another one would find warm, and a model may end the process it is in. Sessions have one thread, so
that nothing depends on who else has the cores.
"""

from __future__ import annotations

import statistics
import time
from contextlib import suppress
from pathlib import Path

from onnxzip.records.aliases import Feeds
from onnxzip.report.comparison.record import LoadCost
from onnxzip.runtime.apart import Limits, run_apart
from onnxzip.runtime.loadable import LoadableModel
from onnxzip.runtime.session import PROBE_MODEL, open_session
from onnxzip.runtime.timing.rounds import time_models

_N_LOADS = 3
"""Processes that load a model: the least of each figure counts, as others only add to it."""

_LOADS_S, _MAX_LOADS = 0.1, 25
"""Seconds of CPU time, and how often a small model is loaded for them: some clocks tick every 10 ms."""


def cost_of_loading(model: Path, limits: Limits, custom_ops: Path | None = None) -> LoadCost:
    """Return the CPU time and the memory that creating a session takes.

    Raises:
        OnnxzipError: onnxruntime refuses the model.
        LostProcessError: it takes more than it may, or ends the process that runs it.
    """
    source = LoadableModel(model, model.name)
    costs = [run_apart(limits, load_cost, source, custom_ops) for _ in range(_N_LOADS)]
    peaks = [cost.n_bytes for cost in costs if cost.n_bytes is not None]
    return LoadCost(min(cost.cpu_s for cost in costs), min(peaks, default=None))


def latency_ratio(
    model: Path, plain: Path, feeds: Feeds, limits: Limits, custom_ops: Path | None = None
) -> float:
    """Return the time of a run divided by that of the plain file, both run by turns in one process.

    Raises:
        OnnxzipError: onnxruntime refuses one of them, or it fails.
        LostProcessError: it takes more than it may, or ends the process that runs it.
    """
    sources = [LoadableModel(path, path.name) for path in (plain, model)]
    before, after = run_apart(limits, time_models, sources, [feeds], custom_ops=custom_ops)
    return after.median / before.median


def load_cost(source: LoadableModel, custom_ops: Path | None = None) -> LoadCost:
    """Create a session, in a process that has just created an empty one, and say what it takes.

    Raises:
        ModelError: onnxruntime refuses the model.
        ProviderError: it has an unknown operator.
    """
    _create(LoadableModel(PROBE_MODEL, "empty"), custom_ops)
    before = _peak_bytes()
    seconds = [_create(source, custom_ops)]
    after = _peak_bytes()
    while sum(seconds) < _LOADS_S and len(seconds) < _MAX_LOADS:
        seconds.append(_create(source, custom_ops))
    n_bytes = None if before is None or after is None else after - before
    return LoadCost(statistics.fmean(seconds), n_bytes)


def _create(source: LoadableModel, custom_ops: Path | None) -> float:
    """Create a session; return the seconds of CPU time."""
    started = time.process_time()
    with open_session(source, custom_ops=custom_ops, n_threads=1):
        return time.process_time() - started


def _peak_bytes() -> int | None:
    """Return the peak of this process's memory; None where the system does not tell.

    On Linux getrusage starts from the peak of the process that started this one; /proc does not.
    """
    with suppress(OSError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM")), None)
    try:
        import resource
    except ImportError:  # Windows
        return None
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)  # bytes, on macOS
