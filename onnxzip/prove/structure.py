"""The graph after BASIC optimisation: no decode node is left, and node for node it is the plain one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from onnxzip.graph import Model, count_differences, loadable, structure
from onnxzip.records.check import Check
from onnxzip.runtime.optimised import optimised_model


def check_structure(wanted: Counter[str], emitted: Model, custom_ops: Path | None) -> Check:
    """Compare graphs after BASIC optimisation: no decode node left, node for node the plain one."""
    found = structure(optimised_model(loadable(emitted), custom_ops=custom_ops))
    n_different = count_differences(found, wanted)
    note = f"{sum(wanted.values())} nodes and outputs after BASIC optimisation"
    return Check("structure", "CPU", "nodes", n_different, 0, n_different == 0, 0, None, note)
