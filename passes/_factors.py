"""What the factors of `lowrank` become: their product, a decode subgraph, or a chain of thinner nodes.

In computed form a node becomes a chain of nodes with one factor each. A factor that carries no spatial
axis is a 1x1 convolution without padding; the others share out stride, padding and dilation, axis by
axis, so that the chain is exact for every `auto_pad`: a 1x1 convolution without bias maps the zeros of
the padding to zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from onnxzip.passbase import Builder, Site
from onnxzip.records.aliases import AttributeValue, Form, Scalar
from onnxzip.records.layer import Layer
from onnxzip.records.payload import Coefficients, Encoded
from onnxzip.transforms import lowrank

DOUBLE = 11
"""TensorProto.DOUBLE, the target of Cast."""


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


def _count_chain_nodes(layer: Layer, settings: Mapping[str, Scalar]) -> int:
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
        value = builder.node("Cast", [value], shape, np.float64, to=DOUBLE)
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


def methods_for(layer: Layer) -> list[lowrank.Method]:
    """Return the methods whose matrices differ."""
    spatial = layer.sizes[3]
    if int(np.prod(spatial)) == 1:
        return ["out"]
    separable = len(spatial) > 1 and spatial[0] > 1 and int(np.prod(spatial[1:])) > 1
    return [m for m in get_args(lowrank.Method) if m != "spatial" or separable]


def shorter_side(layer: Layer, method: lowrank.Method) -> int:
    """Return the largest rank that the method's matrices have."""
    shape = layer.canonical_shape
    n_rows = int(np.prod([shape[a] for a in lowrank.ROW_AXES[method]]))
    return min(n_rows, int(np.prod(shape[1:])) // max(n_rows, 1))


def method_of(settings: Mapping[str, Scalar]) -> lowrank.Method:
    """Return the method whose matrices were factorised."""
    return next(m for m in get_args(lowrank.Method) if m == settings["method"])


def count_nodes(layer: Layer, settings: Mapping[str, Scalar], form: Form) -> int:
    """Count the emitted nodes, codec and replace_weight aside."""
    if form == "computed":
        return _count_chain_nodes(layer, settings)
    if settings["method"] == "tucker":
        return 5
    return 2 + 2 * (layer.sizes[0] > 1) + 2 * (settings["method"] != "out")


def product(layer: Layer, settings: Mapping[str, Scalar], encoded: Encoded) -> NDArray[np.float32]:
    """Return the weight that the payload stands for, in canonical shape."""
    factors = {key: c.values() for key, c in encoded.coefficients.items()}
    n_batch = layer.sizes[0]
    if settings["method"] == "tucker":
        rank, rank_in = int(settings["rank"]), int(settings["rank_in"])
        core = factors["core"].reshape(rank, rank_in, -1)
        tucker = lowrank.Tucker(core, factors["out_basis"].T, factors["in_basis"].T)
        return tucker.product().reshape(layer.canonical_shape)
    left = factors["left"].reshape(n_batch, -1, factors["left"].shape[1])
    right = factors["right"].reshape(n_batch, -1, factors["right"].shape[1])
    return lowrank.fold(np.swapaxes(left, 1, 2) @ right, layer.canonical_shape, method_of(settings))


def emit_product(
    layer: Layer,
    settings: Mapping[str, Scalar],
    coefficients: Mapping[str, Coefficients],
    builder: Builder,
) -> None:
    """Emit the factors and their product in place of the layer's weight."""
    emit = _emit_tucker if settings["method"] == "tucker" else _emit_svd
    builder.replace_weight(layer, emit(layer, settings, coefficients, builder))


def _emit_svd(
    layer: Layer,
    settings: Mapping[str, Scalar],
    coefficients: Mapping[str, Coefficients],
    builder: Builder,
) -> str:
    """Emit leftᵀ @ right, and its axes in canonical order; return the value's name."""
    method, n_batch = method_of(settings), layer.sizes[0]
    rank = len(coefficients["left"].integers) // n_batch
    n_rows, n_columns = (coefficients[key].integers.shape[1] for key in ("left", "right"))
    left, right = (builder.coefficients(coefficients[key]) for key in ("left", "right"))
    stack: tuple[int, ...] = ()
    if n_batch > 1:
        stack = (n_batch,)
        left = builder.reshape(left, (n_batch, rank, n_rows))
        right = builder.reshape(right, (n_batch, rank, n_columns))
    perm: tuple[int, ...] = (0, 2, 1) if stack else (1, 0)
    left = builder.node("Transpose", [left], (*stack, n_rows, rank), np.float32, perm=perm)
    value = builder.node("MatMul", [left, right], (*stack, n_rows, n_columns), np.float32)
    if method == "out":
        return value
    shape = layer.canonical_shape
    value = builder.reshape(value, lowrank.unfolded_shape(shape, method))
    perm = lowrank.fold_permutation(len(shape), method)
    return builder.node("Transpose", [value], shape, np.float32, perm=perm)


def _emit_tucker(
    layer: Layer,
    settings: Mapping[str, Scalar],
    coefficients: Mapping[str, Coefficients],
    builder: Builder,
) -> str:
    """Emit in_basis @ (out_basis @ core), (out, in, k); return the value's name."""
    _, n_out, n_inner, spatial = layer.sizes
    rank, rank_in, n_taps = int(settings["rank"]), int(settings["rank_in"]), int(np.prod(spatial))
    core, out_basis, in_basis = (
        builder.coefficients(coefficients[key]) for key in ("core", "out_basis", "in_basis")
    )
    out_basis = builder.node("Transpose", [out_basis], (n_out, rank), np.float32, perm=(1, 0))
    in_basis = builder.node("Transpose", [in_basis], (n_inner, rank_in), np.float32, perm=(1, 0))
    half = builder.node("MatMul", [out_basis, core], (n_out, rank_in * n_taps), np.float32)
    half = builder.reshape(half, (n_out, rank_in, n_taps))
    return builder.node("MatMul", [in_basis, half], (n_out, n_inner, n_taps), np.float32)
