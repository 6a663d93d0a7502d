"""The graph after optimisation: no decode node is left, it is the plain one, and int8 is int8."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from onnxzip.graph import (
    Model,
    count_differences,
    float_nodes,
    integer_nodes,
    loadable,
    oversized_nodes,
    structure,
)
from onnxzip.records.check import Check
from onnxzip.records.finding import Finding
from onnxzip.runtime.optimised import optimised_model

_N_NAMES = 3
"""Nodes that a finding names."""


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


def unfused(model: Model, custom_ops: Path | None = None) -> tuple[str, ...]:
    """Return the names of the outputs of nodes that were to be int8 and are not.

    Such a node stands between QuantizeLinear and DequantizeLinear and costs more than without them:
    this version of onnxruntime has no kernel for it, or does not know its form.

    Args:
        model: one whose weights have landed on integers.
        custom_ops: shared library of custom operators to register.

    Raises:
        ModelError: onnxruntime refuses the model.
    """
    wanted = integer_nodes(model)
    if not wanted:
        return ()
    optimised = optimised_model(loadable(model), level="extended", custom_ops=custom_ops)
    return float_nodes(optimised, wanted)


def float_kernels(folded: Model, custom_ops: Path | None) -> tuple[Finding, ...]:
    """Warn of nodes that are rounded for int8 and compute in float32 all the same.

    Args:
        folded: the model that the emitted one folds to, in which values have the user's names.
        custom_ops: shared library of custom operators to register.
    """
    found = unfused(folded, custom_ops)
    if not found:
        return ()
    names = ", ".join(found[:_N_NAMES]) + (", ..." if len(found) > _N_NAMES else "")
    text = (
        f"{len(found)} of {len(integer_nodes(folded))} nodes that were to compute in int8 do so in "
        f"float32 in this onnxruntime ({names}), and cost more than before; `keep` leaves a weight alone"
    )
    return (Finding("float kernels", text),)
