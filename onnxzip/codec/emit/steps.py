"""Emits the steps of coefficients, and the products with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxzip.codec.emit.nodes import cast, split_if_many
from onnxzip.codec.estimates import N_LISTED, n_step_bytes, step_dtype
from onnxzip.passbase import Builder
from onnxzip.records.payload import STEPS_PER_OCTAVE, Coefficients


def emit_scaled(item: Coefficients, part: str, steps: str, builder: Builder) -> str:
    """Multiply integers by their steps; end with a Reshape (CODEC.md, rule 6).

    Args:
        item: whose integers `part` is.
        part: float32, of the shape of `item.view`.
        steps: they broadcast to `item.view`.
        builder: emits the nodes.
    """
    part = builder.node("Mul", [part, steps], item.view, np.float32)
    return builder.reshape(part, item.integers.shape)


def emit_steps(items: Sequence[Coefficients], builder: Builder) -> dict[int, str]:
    """Store the steps of all coefficients, in one initializer a type: bytes, float16 and float32."""
    names = _emit_grids([item for item in items if item.outer is not None], builder)
    items = [item for item in items if item.outer is None]
    for members in _with_few_values(items):
        arrays = [item.steps.ravel() for item in members]
        values, index = np.unique(np.concatenate(arrays), return_inverse=True)
        parts = _look_up(values, index.astype(np.uint8), arrays, builder)
        for item, part in zip(members, parts, strict=True):
            names[id(item)] = builder.reshape(part, item.steps.shape)
    items = [item for item in items if id(item) not in names]
    for dtype in (np.dtype(np.float16), np.dtype(np.float32)):
        members = [item for item in items if step_dtype(item.steps) == dtype]
        if not members:
            continue
        joined = np.concatenate([item.steps.ravel() for item in members]).astype(dtype)
        value = builder.constant(joined)
        if dtype == np.float16:
            value = cast(value, joined.shape, np.float32, builder)
        parts = split_if_many(value, [(m.steps.size,) for m in members], np.float32, builder)
        for item, part in zip(members, parts, strict=True):
            is_single = item.steps.size == 1
            names[id(item)] = part if is_single else builder.reshape(part, item.steps.shape)
    return names


def _emit_grids(items: Sequence[Coefficients], builder: Builder) -> dict[int, str]:
    """Store the steps of columns as exponents, a byte each; return each item's (n_outer, n_inner, 1)."""
    names = _emit_powers([item.steps for item in items], builder)
    outer = {
        i: item.outer for i, item in enumerate(items) if item.outer is not None and item.outer.size > 1
    }
    for (i, array), name in zip(outer.items(), _emit_powers([*outer.values()], builder), strict=True):
        shape = (len(array), len(items[i].steps), 1)
        names[i] = builder.node("Mul", [name, names[i]], shape, np.float32)
    return {id(item): name for item, name in zip(items, names, strict=True)}


def _emit_powers(arrays: Sequence[NDArray[np.float32]], builder: Builder) -> list[str]:
    """Look up powers of 2 ** (1 / STEPS_PER_OCTAVE) by their exponents; arrays differ in length only."""
    if not arrays:
        return []
    joined = np.concatenate(arrays)
    exponents = np.rint(np.log2(joined.astype(np.float64)) * STEPS_PER_OCTAVE).astype(np.int64)
    lowest, highest = int(exponents.min()), int(exponents.max())
    powers = np.exp2(np.arange(lowest, highest + 1) / STEPS_PER_OCTAVE).astype(np.float32)
    stored = (exponents - lowest).astype(np.min_scalar_type(highest - lowest))
    return _look_up(powers, stored, arrays, builder)


def _look_up(
    values: NDArray[np.float32],
    stored: NDArray[np.unsignedinteger[Any]],
    arrays: Sequence[NDArray[np.float32]],
    builder: Builder,
) -> list[str]:
    """Emit the values that stored numbers stand for, split like arrays that differ in length only."""
    index = cast(builder.constant(stored), stored.shape, np.int32, builder)
    value = builder.node("Gather", [builder.constant(values), index], stored.shape, np.float32, axis=0)
    return split_if_many(value, [array.shape for array in arrays], np.float32, builder)


def _with_few_values(items: Sequence[Coefficients]) -> list[list[Coefficients]]:
    """Return items whose steps take least in bytes, in groups that have few values together."""
    groups: list[tuple[list[Coefficients], set[float]]] = []
    for item in items:
        steps = item.steps
        if n_step_bytes(steps) >= step_dtype(steps).itemsize * steps.size:
            continue
        values = set(np.unique(steps).tolist())
        for members, known in groups:
            if len(known | values) <= N_LISTED:
                members.append(item)
                known |= values
                break
        else:
            groups.append(([item], values))
    return [members for members, _ in groups]
