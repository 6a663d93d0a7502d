"""What a run leaves alone that may hold so much memory: passes on large weights, and processes."""

from __future__ import annotations

from collections.abc import Mapping

from onnxzip.passbase import Pass
from onnxzip.records.layer import Layer
from onnxzip.records.plan import Skip
from onnxzip.runtime.memory.watch import in_mb

_N_PROCESS_BYTES = 200 << 20
"""What a process that works on layers holds beside them (`workers._N_PROCESSES_PER_CORE`)."""

_N_LEAST_SHARES = 2
"""Of that, which a process is worth: a guess."""

_N_MOMENTS = 6
"""Copies of a second moment, in float32, that error feedback holds: three in float64. A guess, which
may leave weights alone."""


def fitting(
    layer: Layer, passes: Mapping[str, Pass], n_free: int | None
) -> tuple[dict[str, Pass], list[Skip]]:
    """Return the passes that may work on a layer within so much memory, and what is said of the others.

    Args:
        layer: the layer.
        passes: by name.
        n_free: bytes that are left; None for any.
    """
    able = {name: p for name, p in passes.items() if n_free is None or needed_bytes(layer, p) <= n_free}
    large = [name for name in passes if name not in able]
    if not large:
        return able, []
    least = min(needed_bytes(layer, passes[name]) for name in large)
    reason = f"takes {in_mb(least)} of memory or more, and max_memory leaves {in_mb(n_free or 0)}"
    return able, [Skip(layer.name, ", ".join(large), reason)]


def needed_bytes(layer: Layer, method: Pass) -> int:
    """Return what a pass holds of memory, at most, while it works on a layer."""
    moment = 0 if layer.statistics is None else layer.statistics.second_moment.nbytes
    return int(method.n_copies * layer.weight.size * 4 + _N_MOMENTS * moment)


def n_fitting_processes(wanted: int, n_free: int | None) -> int:
    """Return how many of the processes that are wanted fit into so much memory, 1 at least."""
    if n_free is None:
        return wanted
    return max(min(wanted, n_free // (_N_LEAST_SHARES * _N_PROCESS_BYTES)), 1)


def left_for_each(n_processes: int, n_free: int | None) -> int | None:
    """Return the memory that each of some processes may take for layers; None for any."""
    if n_free is None or n_processes == 1:
        return n_free
    return max(n_free // n_processes - _N_PROCESS_BYTES, 0)
