"""What the factors of `lowrank` become in computed form: a chain of thinner nodes, a factor each."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from onnxzip.codec.emit.nodes import cast
from onnxzip.passbase import Builder, Site
from onnxzip.records.aliases import Scalar
from onnxzip.records.layer import Layer
from onnxzip.records.payload import Coefficients
from onnxzip.transforms.chains import Stage, is_left, node_attributes, relative_macs, stages


def count_macs(layer: Layer, settings: Mapping[str, Scalar]) -> int:
    """Return the multiply-accumulates of the chain, from those of the node it replaces."""
    if layer.macs is None:
        return 0
    return -(-relative_macs(layer, settings) * layer.macs // layer.weight.size)


def count_chain_nodes(layer: Layer, settings: Mapping[str, Scalar]) -> int:
    """Return how many nodes `emit_chain` adds, decoding and running, beyond the one it replaces."""
    chain = stages(layer, settings)
    per_stage = int(bool(layer.sizes[3])) + int(layer.weight.dtype == np.float64)
    n_transposes = sum(stage.is_wide for stage in chain) if layer.op_type != "Gemm" else 0
    return len(chain) * (per_stage + 1) - 1 + n_transposes


def emit_chain(
    layer: Layer,
    settings: Mapping[str, Scalar],
    coefficients: Mapping[str, Coefficients],
    builder: Builder,
) -> None:
    """Emit the factors and replace the layer's node by the chain."""
    chain = stages(layer, settings)
    weights = [_emit_factor(layer, stage, coefficients[stage.key], builder) for stage in chain]

    def emit(site: Site) -> None:
        value = site.data
        for stage, weight in zip(chain, weights, strict=True):
            is_last = stage is chain[-1]
            output = site.output if is_last else ""
            if site.op_type == "MatMul":
                inputs = (weight, value) if is_left(layer) else (value, weight)
                value = builder.run_node("MatMul", inputs, output)
                continue
            operands = [value, weight, site.bias] if is_last and site.bias else [value, weight]
            ends = {"is_first": stage is chain[0], "is_last": is_last}
            attributes = node_attributes(site.op_type, site.attributes, stage, **ends)
            if site.op_type == "Gemm":
                attributes["transB"] = int(not stage.is_wide)  # the factor as it is coded
            value = builder.run_node(site.op_type, operands, output, **attributes)

    builder.replace_node(layer, emit)


def _emit_factor(layer: Layer, stage: Stage, coefficients: Coefficients, builder: Builder) -> str:
    """Emit a factor, a component a row as it is coded, in the order that its node wants.

    A Gemm's stays as it is.
    """
    value, shape = builder.coefficients(coefficients), stage.shape
    if stage.is_wide:
        shape = (shape[1], shape[0], *shape[2:])
    if len(shape) > 2:
        value = builder.reshape(value, shape)
    flips = {"Gemm": False, "MatMul": stage.is_wide == is_left(layer)}
    if flips.get(layer.op_type, stage.is_wide):
        shape = (shape[1], shape[0], *shape[2:])
        perm = (1, 0, *range(2, len(shape)))
        value = builder.node("Transpose", [value], shape, np.float32, perm=perm)
    if layer.weight.dtype == np.float64:
        value = cast(value, shape, np.float64, builder)
    return value
