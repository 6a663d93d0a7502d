"""One small layer of each kind that a pass meets; the passes' contract test runs on them."""

from __future__ import annotations

import numpy as np

from onnxzip.records.aliases import AttributeValue
from onnxzip.records.layer import Layer, Layout


def _conv(name: str, shape: tuple[int, ...], group: int = 1) -> Layer:
    """Return a Conv layer with a smooth random (out, in/group, *spatial) weight."""
    n_axes = len(shape) - 2
    generator = np.random.default_rng(len(name) + sum(shape))
    noise = generator.standard_normal(shape)
    level = generator.standard_normal((*shape[:2], *(1,) * n_axes))
    attributes: dict[str, AttributeValue] = {
        "auto_pad": "NOTSET",
        "dilations": (1,) * (n_axes - 1) + (2,),
        "group": group,
        "kernel_shape": shape[2:],
        "pads": (1,) * (2 * n_axes),
        "strides": (2,) + (1,) * (n_axes - 1),
    }
    return Layer(
        name,
        "Conv",
        (0.5 * noise + level).astype(np.float32),
        Layout((), (0,), (1,), tuple(range(2, 2 + n_axes))),
        attributes,
    )


def _matrix(
    name: str,
    op_type: str,
    shape: tuple[int, ...],
    layout: Layout,
    dtype: type[np.floating] = np.float32,
) -> Layer:
    """Return a Gemm, MatMul or Gather layer with a random weight of a few strong directions."""
    generator = np.random.default_rng(len(name) + sum(shape))
    thin = generator.standard_normal((*shape[:-1], 4)) @ generator.standard_normal((4, shape[-1]))
    weight = (thin + 0.3 * generator.standard_normal(shape)).astype(dtype)
    attributes: dict[str, AttributeValue] = {}
    if op_type == "Gemm":
        attributes = {"alpha": 0.5, "beta": 2.0, "transA": 0, "transB": int(layout.is_canonical)}
    return Layer(name, op_type, weight, layout, attributes)


def example_layers() -> tuple[Layer, ...]:
    """Return one small layer of each kind: its operator, layout and float type differ."""
    return (
        _conv("conv2d", (16, 8, 3, 3)),
        _conv("conv2d_grouped", (12, 4, 5, 3), group=3),
        _conv("conv2d_depthwise", (40, 1, 3, 3), group=40),
        _conv("conv1d", (24, 10, 5)),
        _conv("conv3d", (12, 5, 3, 2, 3)),
        _conv("conv2d_pointwise", (24, 20, 1, 1)),
        _matrix("gemm", "Gemm", (40, 27), Layout((), (1,), (0,), ())),
        _matrix("gemm_transposed", "Gemm", (27, 40), Layout((), (0,), (1,), ())),
        _matrix("matmul_right", "MatMul", (32, 48), Layout((), (1,), (0,), ())),
        _matrix("matmul_left", "MatMul", (48, 32), Layout((), (0,), (1,), ())),
        _matrix("matmul_batched", "MatMul", (3, 24, 20), Layout((0,), (2,), (1,), ())),
        _matrix("embedding", "Gather", (601, 19), Layout((), (0,), (1,), ()), np.float16),
    )
