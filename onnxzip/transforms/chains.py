"""Chains of thinner nodes that stand for one Conv, Gemm or MatMul, a factor of its weight each.

A factor that carries no spatial axis is a 1x1 convolution without padding; the others share out stride,
padding and dilation, axis by axis, so that the chain is exact for every `auto_pad`: a 1x1 convolution
without bias maps the zeros of the padding to zeros.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxzip.records.aliases import Array, AttributeValue, Scalar
from onnxzip.records.layer import Layer


@dataclass(frozen=True)
class Stage:
    """One factor as a layer of its own.

    Attributes:
        key: what the factor is called.
        shape: (out, in, *kernel) of the stage's own weight.
        axes: spatial axes whose stride, padding and dilation this stage carries.
        is_wide: whether its outputs are those of the layer, so that its rows are not the components.
    """

    key: str
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    is_wide: bool = False


def stages(layer: Layer, settings: Mapping[str, Scalar]) -> tuple[Stage, ...]:
    """Return the chain for a layer without batch axes, in the order in which it runs.

    Args:
        layer: its weight is factorised.
        settings: `method` ("out", "in", "spatial", "tucker"), `rank`, for Tucker-2 also `rank_in`.
    """
    _, n_out, n_in, kernel = layer.sizes
    rank = int(settings["rank"])
    axes = tuple(range(len(kernel)))
    flat = (1,) * len(kernel)
    if settings["method"] == "in":
        first = Stage("left", (rank, n_in, *flat), ())
        return first, Stage("right", (n_out, rank, *kernel), axes, True)
    if settings["method"] == "spatial":
        first = Stage("left", (rank, n_in, kernel[0], *flat[1:]), (0,))
        return first, Stage("right", (n_out, rank, 1, *kernel[1:]), axes[1:], True)
    if settings["method"] == "tucker":
        rank_in = int(settings["rank_in"])
        return (
            Stage("in_basis", (rank_in, n_in, *flat), ()),
            Stage("core", (rank, rank_in, *kernel), axes),
            Stage("out_basis", (n_out, rank, *flat), (), True),
        )
    first = Stage("right", (rank, n_in, *kernel), axes)
    return first, Stage("left", (n_out, rank, *flat), (), True)


def whole(layer: Layer) -> Stage:
    """Return the only stage of a chain that is the layer's own node."""
    _, n_out, n_in, kernel = layer.sizes
    return Stage("weight", (n_out, n_in, *kernel), tuple(range(len(kernel))), True)


def relative_macs(layer: Layer, settings: Mapping[str, Scalar]) -> int:
    """Return the multiply-accumulates of the chain for each output position of the layer's node.

    The node itself takes as many as its weight has numbers. A stage runs at the output resolution times
    the strides that only later factors take. Borders are not known here: a kernel without padding reads
    a little more than that.
    """
    n_axes = len(layer.sizes[3])
    strides = list_of(layer.attributes, "strides", n_axes)
    taken: set[int] = set()
    total = 0
    for stage in stages(layer, settings):
        taken |= set(stage.axes)
        ahead = int(np.prod([strides[a] for a in range(n_axes) if a not in taken], dtype=np.int64))
        total += int(np.prod(stage.shape, dtype=np.int64)) * ahead
    return total


def reason_against(layer: Layer) -> str:
    """Return why the layer's node cannot become a chain, "" when it can."""
    attributes, layout = layer.attributes, layer.layout
    if not layer.can_factorise or layer.op_type not in ("Conv", "Gemm", "MatMul"):
        return f"{layer.op_type or 'its consumer'} has to stay"
    if layer.weight.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        return f"values between the factors would be rounded to {layer.weight.dtype}"
    if layout.batch or attributes.get("group", 1) != 1:
        return f"{layer.sizes[0]} batches, group {attributes.get('group', 1)}; needs 1, 1"
    if layer.op_type == "Conv":
        known = layout.is_canonical and len(layout.spatial) == layer.weight.ndim - 2 > 0
    else:
        known = len(layout.out) == len(layout.inner) == 1 and not layout.spatial
    if layer.op_type == "Gemm":
        known = known and layout.out == (0 if attributes.get("transB", 0) else 1,)
    if not known:
        return f"{layer.weight.shape} is not the weight operand of {layer.op_type}"
    return ""


def is_left(layer: Layer) -> bool:
    """Whether a MatMul's weight is its left operand, (out, in)."""
    return layer.layout.out < layer.layout.inner


def node_attributes(
    op_type: str,
    attributes: Mapping[str, AttributeValue],
    stage: Stage,
    *,
    is_first: bool,
    is_last: bool,
) -> dict[str, AttributeValue]:
    """Return the attributes of a stage's node; the weight of a Gemm is (out, in).

    Args:
        op_type: "Conv", "Gemm" or "MatMul".
        attributes: of the node that the chain stands for.
        stage: one of the chain.
        is_first: whether it is the first one, which reads what the node read.
        is_last: whether it is the last one, which adds the bias.
    """
    if op_type == "Conv":
        return _conv_attributes(attributes, stage)
    if op_type == "MatMul":
        return {}
    kept = ("transA",) * is_first + ("alpha", "beta") * is_last
    return {**{name: attributes[name] for name in kept if name in attributes}, "transB": 1}


def _conv_attributes(
    attributes: Mapping[str, AttributeValue], stage: Stage
) -> dict[str, AttributeValue]:
    """Return the Conv's attributes on the axes that the stage carries, neutral ones elsewhere."""
    n_axes = len(stage.shape) - 2
    result: dict[str, AttributeValue] = {"kernel_shape": stage.shape[2:]}
    for name in ("strides", "dilations"):
        values = list_of(attributes, name, n_axes)
        result[name] = tuple(values[a] if a in stage.axes else 1 for a in range(n_axes))
    auto_pad = str(attributes.get("auto_pad", "NOTSET"))
    if auto_pad != "NOTSET":
        return {**result, "auto_pad": auto_pad}
    pads = list_of(attributes, "pads", 2 * n_axes, default=0)
    result["pads"] = tuple(pad if i % n_axes in stage.axes else 0 for i, pad in enumerate(pads))
    return result


def list_of(
    attributes: Mapping[str, AttributeValue], name: str, length: int, default: int = 1
) -> tuple[int, ...]:
    """Return a list attribute, or its default value on every axis."""
    values = attributes.get(name)
    return tuple(int(v) for v in values) if isinstance(values, tuple) and values else (default,) * length


@dataclass(frozen=True, eq=False)
class Chain:
    """What stands for the nodes that read a layer's weight.

    Attributes:
        layer: the layer.
        stages: in the order in which they run.
        factors: the weight of each, (out, in, *kernel) float32.
    """

    layer: Layer
    stages: tuple[Stage, ...]
    factors: tuple[NDArray[np.float32], ...]

    def links(self) -> Iterator[tuple[str, Array, dict[str, AttributeValue]]]:
        """Yield each stage's name, its weight in the order and type of its node, and its attributes."""
        layer = self.layer
        is_turned = layer.op_type == "MatMul" and not is_left(layer)
        for stage, factor in zip(self.stages, self.factors, strict=True):
            weight = np.ascontiguousarray(factor.T if is_turned else factor, layer.weight.dtype)
            ends = {"is_first": stage is self.stages[0], "is_last": stage is self.stages[-1]}
            yield stage.key, weight, node_attributes(layer.op_type, layer.attributes, stage, **ends)
