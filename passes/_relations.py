"""Whether an array follows from another exactly: by order, shape, a factor or rounding; for `share`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations

import numpy as np

from onnxzip.records.aliases import Array
from onnxzip.records.elements.exact import is_narrow

_MAX_AXES = 4
"""Arrays of more axes are compared in their own order only: 4 axes have 23 others."""

_N_PROBED = 64
"""Places that are compared before whole arrays are."""

_CLOSE = 2e-3
"""Largest relative difference of norms between arrays worth a comparison: rounding to float16 moves a
number by at most 2^-11 of it, and the largest one, which norms are divided by, as well."""


@dataclass(frozen=True)
class Relation:
    """How an array is made of another one, step by step in this order.

    Attributes:
        order: axes of the source, to transpose it by; None to leave them.
        shape: to reshape it to; None to leave it.
        scale: a float32 number, shape (), to multiply by; None for none.
        casts: element types to convert to, one after the other.
    """

    order: tuple[int, ...] | None = None
    shape: tuple[int, ...] | None = None
    scale: Array | None = None
    casts: tuple[str, ...] = ()

    @property
    def suffix(self) -> str:
        """What follows the source's name in a message."""
        words = [
            *(["transposed"] if self.order is not None else []),
            *(["in another shape"] if self.shape is not None else []),
            *([f"times {float(self.scale):.6g}"] if self.scale is not None else []),
            *(["rounded to float16"] if self.casts else []),
        ]
        return ", ".join(["", *words]) if words else ""


@dataclass(frozen=True, eq=False)
class Traits:
    """What two arrays have in common where one follows from the other, and is cheap to find out.

    Attributes:
        array: as it is stored.
        is_half: whether every number is one of float16.
    """

    array: Array
    is_half: bool

    @property
    def group(self) -> tuple[object, ...]:
        """What has to be equal: how many numbers, and of which type; floats follow from floats."""
        dtype = self.array.dtype
        return self.array.size, "float" if dtype in (np.float16, np.float32) else dtype.name

    @cached_property
    def norms(self) -> tuple[float, float]:
        """The mean magnitude and the mean square, of the array divided by its largest magnitude."""
        flat = np.abs(self.array.reshape(-1).astype(np.float64, copy=True))
        largest = float(flat.max(initial=0))
        if not largest:
            return 0.0, 0.0
        flat /= largest
        return float(flat.mean()), float(np.square(flat).mean())

    def may_follow_from(self, other: Traits) -> bool:
        """Whether a comparison is worth its time."""
        return all(
            math.isclose(*pair, rel_tol=_CLOSE) for pair in zip(self.norms, other.norms, strict=True)
        )


def traits_of(array: Array) -> Traits:
    """Return the traits of a weight."""
    return Traits(array, array.dtype == np.float16 or _is_half(array))


def find_relation(source: Array, target: Array) -> Relation | None:
    """Return how `target` is made of `source`, by the shortest way; None where it is not."""
    ways = _arrangements(source.shape, target.shape)
    if is_narrow(target.dtype):  # which onnxruntime neither moves nor reshapes
        ways = [(None, None)] if source.shape == target.shape else []
    for order, shape in ways:
        moved = source if order is None else source.transpose(order)
        value = _same_values(
            moved.reshape(-1) if shape else moved, target.reshape(-1) if shape else target
        )
        if value is not None:
            scale, casts = value
            return Relation(order, shape, scale, casts)
    return None


def _arrangements(
    source: tuple[int, ...], target: tuple[int, ...]
) -> list[tuple[tuple[int, ...] | None, tuple[int, ...] | None]]:
    """Return (order, shape) of each way to bring one shape into another, the simplest first."""
    found: list[tuple[tuple[int, ...] | None, tuple[int, ...] | None]]
    found = [(None, None if source == target else target)]
    if len(source) <= _MAX_AXES and len(source) == len(target):
        orders = list(permutations(range(len(source))))[1:]
        found += [(order, None) for order in orders if tuple(source[i] for i in order) == target]
    return found


def _same_values(source: Array, target: Array) -> tuple[Array | None, tuple[str, ...]] | None:
    """Return the factor and the casts that make one array of another of the same shape, or None."""
    probes = tuple(np.linspace(0, size - 1, _N_PROBED).astype(np.int64) for size in source.shape)
    few = source[probes], target[probes]
    for scale, casts in _ways(*few):
        if all(np.array_equal(_made(a, scale, casts), b) for a, b in (few, (source, target))):
            return scale, casts
    return None


def _ways(source: Array, target: Array) -> list[tuple[Array | None, tuple[str, ...]]]:
    """Return what may make some numbers of others: nothing, rounding to float16, a factor."""
    if source.dtype == target.dtype:
        ways: list[tuple[Array | None, tuple[str, ...]]] = [(None, ())]
        if source.dtype == np.float32:
            ways.append((None, ("float16", "float32")))
            ways += [(scale, ()) for scale in _factors(source, target)]
        return ways
    return [(None, (target.dtype.name,))]


def _factors(source: Array, target: Array) -> list[Array]:
    """Return the float32 numbers that may be the factor: those next to the largest number's ratio."""
    i = int(np.abs(source).argmax())
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        ratio = np.float32(np.float64(target[i]) / np.float64(source[i]))
    if not np.isfinite(ratio) or ratio in (0, 1):
        return []
    low, high = np.nextafter(ratio, np.float32(-np.inf)), np.nextafter(ratio, np.float32(np.inf))
    return [np.array(value, np.float32) for value in (ratio, low, high)]


def _made(array: Array, scale: Array | None, casts: tuple[str, ...]) -> Array:
    """Return what the nodes of a relation make of an array."""
    with np.errstate(over="ignore", under="ignore"):
        made = array if scale is None else array * scale
        for dtype in casts:
            made = made.astype(dtype)
    return made


def _is_half(array: Array) -> bool:
    """Whether float32 numbers are float16's: the 13 last bits of a significand are zero."""
    return array.dtype == np.float32 and not (array.view(np.uint32) & np.uint32(0x1FFF)).any()
