"""The graph after BASIC optimisation: no decode node is left, and node for node it is the plain one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from onnxzip.graph import Model, count_differences, loadable, oversized_nodes, structure
from onnxzip.records.check import Check
from onnxzip.records.finding import Finding
from onnxzip.runtime.optimised import optimised_model


def check_structure(wanted: Counter[str], emitted: Model, custom_ops: Path | None) -> Check:
    """Compare graphs after BASIC optimisation: no decode node left, node for node the plain one."""
    found = structure(optimised_model(loadable(emitted), custom_ops=custom_ops))
    n_different = count_differences(found, wanted)
    note = f"{sum(wanted.values())} nodes and outputs after BASIC optimisation"
    return Check("structure", "CPU", "nodes", n_different, 0, n_different == 0, 0, None, note)


def growing_nodes(emitted: Model, n_nodes: int) -> tuple[Finding, ...]:
    """Warn of decode nodes that a runtime with limits on folding would leave for every inference."""
    found = oversized_nodes(emitted, n_nodes)
    if not found:
        return ()
    largest = max(found, key=lambda node: node.n_bytes)
    text = (
        f"{len(found)} decode nodes put out more than they take and than 1 MiB, the largest "
        f"({largest.op_type}) {largest.n_bytes:,} bytes: a runtime that limits constant folding may run "
        "them at every inference; `-d` unpacks the file once"
    )
    return (Finding("growing nodes", text),)
