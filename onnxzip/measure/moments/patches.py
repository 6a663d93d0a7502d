"""Cuts the input of a convolution into the patches that its kernels are multiplied with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from onnxzip.records.aliases import AttributeValue

Positions: TypeAlias = tuple[NDArray[np.int64], ...]
_NOTHING: tuple[NDArray[np.float32], Positions] = (np.zeros((0, 0), np.float32), ())
"""No vector, at no position."""


def patches(
    values: NDArray[np.float32],
    kernel: tuple[int, ...],
    op_type: str,
    attributes: Mapping[str, AttributeValue],
    n_most: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], Positions]:
    """Return patches at random output positions, and the positions.

    A ConvTranspose is a Conv with the kernel turned round on an input with stride - 1 zeros between its
    numbers; where its edges are cropped does not matter here.

    Args:
        values: (n_samples, n_channels, *spatial) input of the node.
        kernel: sizes of the kernel's spatial axes.
        op_type: "Conv" or "ConvTranspose".
        attributes: of the node; ONNX's defaults where they are absent.
        n_most: most output positions to take.
        rng: chooses them.

    Returns:
        (n_vectors, n_channels / group * prod(kernel)): the columns of a canonical weight. Every position
        gives a vector for each group. Empty where the input does not fit the kernel. Then the positions:
        (n_positions,) indices of the sample and of each spatial axis; of a Conv they are its output's.
    """
    n_axes = len(kernel)
    if values.ndim != n_axes + 2 or not values.size:
        return _NOTHING
    ones = (1,) * n_axes
    strides, dilations = (_ints(attributes.get(key), ones) for key in ("strides", "dilations"))
    extents = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
    if op_type == "ConvTranspose":
        values = _spread(values, strides)
        pads, strides = [(e - 1, e - 1) for e in extents], ones
    else:
        pads = _pads(values.shape[2:], extents, strides, attributes)
    padded = _padded(values, pads)
    sizes = [(n - e) // s + 1 for n, e, s in zip(padded.shape[2:], extents, strides, strict=True)]
    if min(sizes) < 1:
        return _NOTHING
    positions = _positions((len(values), *sizes), n_most, rng)
    sample, *places = positions
    taken: list[NDArray[np.int64]] = [sample.reshape(-1, *ones)]
    for axis, (place, k) in enumerate(zip(places, kernel, strict=True)):
        offsets = np.arange(k) * dilations[axis]
        offsets = offsets[::-1] if op_type == "ConvTranspose" else offsets
        shape = [-1] + [k if i == axis else 1 for i in range(n_axes)]
        taken.append((place[:, None] * strides[axis] + offsets).reshape(shape))
    index: tuple[Any, ...] = (taken[0], slice(None), *taken[1:])
    found = padded[index]  # (n, *kernel, n_channels)
    group = attributes.get("group", 1)
    n_group = group if isinstance(group, int) else 1
    width = values.shape[1] // max(n_group, 1) * int(np.prod(kernel))
    return np.ascontiguousarray(np.moveaxis(found, -1, 1)).reshape(-1, width), positions


def _positions(sizes: tuple[int, ...], n_most: int, rng: np.random.Generator) -> Positions:
    n = int(np.prod(sizes))
    chosen = np.arange(n) if n <= n_most else rng.integers(0, n, n_most)
    return tuple(np.asarray(index, np.int64) for index in np.unravel_index(chosen, sizes))


def _padded(values: NDArray[np.float32], pads: Sequence[tuple[int, int]]) -> NDArray[np.float32]:
    """Put zeros around the spatial axes, as np.pad does, which takes as long again for small arrays."""
    if not any(map(any, pads)):
        return values
    sizes = [n + sum(pad) for n, pad in zip(values.shape[2:], pads, strict=True)]
    wide = np.zeros((*values.shape[:2], *sizes), np.float32)
    places = (slice(first, first + n) for n, (first, _) in zip(values.shape[2:], pads, strict=True))
    wide[(slice(None), slice(None), *places)] = values
    return wide


def _spread(values: NDArray[np.float32], strides: tuple[int, ...]) -> NDArray[np.float32]:
    """Put stride - 1 zeros between neighbours."""
    sizes = [(n - 1) * s + 1 for n, s in zip(values.shape[2:], strides, strict=True)]
    wide = np.zeros((*values.shape[:2], *sizes), np.float32)
    places: tuple[slice, ...] = tuple(slice(None, None, s) for s in (1, 1, *strides))
    wide[places] = values
    return wide


def _pads(
    sizes: tuple[int, ...],
    extents: tuple[int, ...],
    strides: tuple[int, ...],
    attributes: Mapping[str, AttributeValue],
) -> list[tuple[int, int]]:
    n_axes = len(sizes)
    mode = attributes.get("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        totals = [
            max((-(-n // s) - 1) * s + e - n, 0) for n, e, s in zip(sizes, extents, strides, strict=True)
        ]
        small = [total // 2 for total in totals]
        large = [total - half for total, half in zip(totals, small, strict=True)]
        return list(zip(*((small, large) if mode == "SAME_UPPER" else (large, small)), strict=True))
    pads = _ints(attributes.get("pads"), (0,) * (2 * n_axes)) if mode == "NOTSET" else (0,) * 2 * n_axes
    return list(zip(pads[:n_axes], pads[n_axes:], strict=True))


def _ints(value: AttributeValue | None, default: tuple[int, ...]) -> tuple[int, ...]:
    if isinstance(value, tuple) and len(value) == len(default):
        return tuple(int(v) for v in value)
    return default
