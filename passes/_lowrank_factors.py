"""What the factors of `lowrank` become: their product, in numpy and as a subgraph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from onnxzip.passbase import Builder
from onnxzip.records.aliases import Scalar
from onnxzip.records.layer import Layer
from onnxzip.records.payload import Coefficients, Encoded
from onnxzip.transforms import lowrank


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


def count_nodes(layer: Layer, settings: Mapping[str, Scalar]) -> int:
    """Count the emitted nodes, codec and replace_weight aside."""
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
