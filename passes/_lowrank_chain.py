"""What the factors of `lowrank` become in computed form: a chain of thinner nodes, a factor each.

A factor that carries no spatial axis is a 1x1 convolution without padding; the others share out stride,
padding and dilation, axis by axis, so that the chain is exact for every `auto_pad`: a 1x1 convolution
without bias maps the zeros of the padding to zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from onnxzip.codec.emit.nodes import cast
from onnxzip.passbase import Builder, Site
from onnxzip.records.aliases import AttributeValue, Scalar
from onnxzip.records.layer import Layer
from onnxzip.records.payload import Coefficients


@dataclass(frozen=True)
class Factor:
    """One factor as a layer of its own.

    Attributes:
        key: the factor in the payload.
        shape: (segments, channels, *kernel); the payload flattens all but the first axis.
        swapped: whether segments and channels are (in, out), where a layer's are (out, in).
        axes: spatial axes whose stride, padding and dilation this stage carries.
    """

    key: str
    shape: tuple[int, ...]
    swapped: bool
    axes: tuple[int, ...]


def factors(layer: Layer, settings: Mapping[str, Scalar]) -> tuple[Factor, ...]:
    """Return the chain for a layer without batch axes, in the order it runs."""
    _, n_out, n_in, kernel = layer.sizes
    rank = int(settings["rank"])
    axes = tuple(range(len(kernel)))
    flat = (1,) * len(kernel)
    if settings["method"] == "in":
        first = Factor("left", (rank, n_in, *flat), False, ())
        return first, Factor("right", (rank, n_out, *kernel), True, axes)
    if settings["method"] == "spatial":
        first = Factor("left", (rank, n_in, kernel[0], *flat[1:]), False, (0,))
        return first, Factor("right", (rank, n_out, 1, *kernel[1:]), True, axes[1:])
    if settings["method"] == "tucker":
        rank_in = int(settings["rank_in"])
        return (
            Factor("in_basis", (rank_in, n_in, *flat), False, ()),
            Factor("core", (rank, rank_in, *kernel), False, axes),
            Factor("out_basis", (rank, n_out, *flat), True, ()),
        )
    first = Factor("right", (rank, n_in, *kernel), False, axes)
    return first, Factor("left", (rank, n_out, *flat), True, ())


def count_macs(layer: Layer, settings: Mapping[str, Scalar]) -> int:
    """Return the multiply-accumulates of the chain, from those of the node it replaces.

    A stage runs at the output resolution times the strides that only later factors take. Borders are not
    known here: a kernel without padding reads a little more than that.
    """
    if layer.macs is None:
        return 0
    n_axes = len(layer.sizes[3])
    strides = _ints(layer.attributes, "strides", n_axes)
    taken: set[int] = set()
    total = 0
    for stage in factors(layer, settings):
        taken |= set(stage.axes)
        ahead = int(np.prod([strides[a] for a in range(n_axes) if a not in taken], dtype=np.int64))
        total += int(np.prod(stage.shape, dtype=np.int64)) * ahead
    return -(-total * layer.macs // layer.weight.size)


def count_chain_nodes(layer: Layer, settings: Mapping[str, Scalar]) -> int:
    """Return how many nodes `emit_chain` adds, decoding and running, beyond the one it replaces."""
    chain = factors(layer, settings)
    per_stage = int(bool(layer.sizes[3])) + int(layer.weight.dtype == np.float64)
    n_transposes = sum(stage.swapped for stage in chain) if layer.op_type != "Gemm" else 0
    return len(chain) * (per_stage + 1) - 1 + n_transposes


def reason_against(layer: Layer) -> str:
    """Return why the layer's node cannot become a chain, "" when it can."""
    attributes, layout = layer.attributes, layer.layout
    if not layer.can_compute or layer.op_type not in ("Conv", "Gemm", "MatMul"):
        return f"no computed form: {layer.op_type or 'its consumer'} has to stay"
    if layer.macs is None:
        return "no computed form: the multiply-accumulates of its consumer are unknown"
    if layer.weight.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        return f"no computed form: values between the factors would be rounded to {layer.weight.dtype}"
    if layout.batch or attributes.get("group", 1) != 1:
        return (
            f"no computed form: {layer.sizes[0]} batches, group {attributes.get('group', 1)}; needs 1, 1"
        )
    if layer.op_type == "Conv":
        known = layout.is_canonical and len(layout.spatial) == layer.weight.ndim - 2 > 0
    else:
        known = len(layout.out) == len(layout.inner) == 1 and not layout.spatial
    if layer.op_type == "Gemm":
        known = known and layout.out == (0 if attributes.get("transB", 0) else 1,)
    if not known:
        return f"no computed form: {layer.weight.shape} is not the weight operand of {layer.op_type}"
    return ""


def emit_chain(
    layer: Layer,
    settings: Mapping[str, Scalar],
    coefficients: Mapping[str, Coefficients],
    builder: Builder,
) -> None:
    """Emit the factors and replace the layer's node by the chain."""
    chain = factors(layer, settings)
    flips = {"Gemm": lambda stage: False, "MatMul": lambda stage: stage.swapped == _is_left(layer)}
    flip: Callable[[Factor], bool] = flips.get(layer.op_type, lambda stage: stage.swapped)
    weights = [_emit_factor(layer, s, coefficients[s.key], flip(s), builder) for s in chain]

    def emit(site: Site) -> None:
        value = site.data
        for stage, weight in zip(chain, weights, strict=True):
            is_last = stage is chain[-1]
            output = site.output if is_last else ""
            if site.op_type == "MatMul":
                inputs = (weight, value) if _is_left(layer) else (value, weight)
                value = builder.run_node("MatMul", inputs, output)
                continue
            operands = [value, weight, site.bias] if is_last and site.bias else [value, weight]
            attributes = _conv_attributes if site.op_type == "Conv" else _gemm_attributes
            value = builder.run_node(
                site.op_type, operands, output, **attributes(site.attributes, stage, is_last)
            )

    builder.replace_node(layer, emit)


def _is_left(layer: Layer) -> bool:
    """Whether a MatMul's weight is its left operand, (out, in)."""
    return layer.layout.out < layer.layout.inner


def _emit_factor(
    layer: Layer, stage: Factor, coefficients: Coefficients, flipped: bool, builder: Builder
) -> str:
    """Emit a factor in the stage's shape, its first two axes exchanged when `flipped`."""
    value, shape = builder.coefficients(coefficients), stage.shape
    if len(shape) > 2:
        value = builder.reshape(value, shape)
    if flipped:
        shape = (shape[1], shape[0], *shape[2:])
        perm = (1, 0, *range(2, len(shape)))
        value = builder.node("Transpose", [value], shape, np.float32, perm=perm)
    if layer.weight.dtype == np.float64:
        value = cast(value, shape, np.float64, builder)
    return value


def _conv_attributes(
    attributes: Mapping[str, AttributeValue], stage: Factor, is_last: bool
) -> dict[str, AttributeValue]:
    """Return the Conv's attributes on the axes that the stage carries, neutral ones elsewhere."""
    n_axes = len(stage.shape) - 2
    result: dict[str, AttributeValue] = {"kernel_shape": stage.shape[2:]}
    for name in ("strides", "dilations"):
        values = _ints(attributes, name, n_axes)
        result[name] = tuple(values[a] if a in stage.axes else 1 for a in range(n_axes))
    auto_pad = str(attributes.get("auto_pad", "NOTSET"))
    if auto_pad != "NOTSET":
        return {**result, "auto_pad": auto_pad}
    pads = _ints(attributes, "pads", 2 * n_axes, default=0)
    result["pads"] = tuple(pad if i % n_axes in stage.axes else 0 for i, pad in enumerate(pads))
    return result


def _gemm_attributes(
    attributes: Mapping[str, AttributeValue], stage: Factor, is_last: bool
) -> dict[str, AttributeValue]:
    """Return transA for the first Gemm, on (r, in), and alpha and beta for the last, on (r, out)."""
    if is_last:
        return {name: attributes[name] for name in ("alpha", "beta") if name in attributes}
    return {"transA": attributes.get("transA", 0), "transB": 1}


def _ints(
    attributes: Mapping[str, AttributeValue], name: str, length: int, default: int = 1
) -> tuple[int, ...]:
    """Return a list attribute, or its default value on every axis."""
    values = attributes.get(name)
    return tuple(int(v) for v in values) if isinstance(values, tuple) and values else (default,) * length
