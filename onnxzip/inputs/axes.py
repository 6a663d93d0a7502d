"""What an axis of an input is: samples, a sequence, the height of a picture, channels.

A free axis is judged by its symbol ("batch", "seq_len", "height"), then by its place: axis 0 is the
batch, the last axes of a rank-4 input are an image's, anything else is a sequence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from onnxzip.runtime.input_spec import InputSpec

AxisKind: TypeAlias = Literal["batch", "sequence", "spatial", "channel"]
# How exporters of PyTorch, TensorFlow and the transformers name inputs and free dimensions. Guesses:
# a name that fits none is judged by its place.
STATE_NAME = re.compile(r"state|hidden|cell|cache|past|^[hc]\d*$|^[hc]_?[n0t]$")
_CACHE_NAME = re.compile(r"cache|past")
_SYMBOL_KINDS: tuple[tuple[re.Pattern[str], AxisKind], ...] = (
    (re.compile(r"batch|^n$|^b$|^bs$"), "batch"),
    (re.compile(r"height|width|depth|^[hwd]$"), "spatial"),
    (re.compile(r"seq|len|time|frame|token|sample|audio|step"), "sequence"),
    (re.compile(r"chan|^c$"), "channel"),
)
IMAGE_CHANNELS = (1, 3, 4)
"""Grey, RGB, RGBA."""

_MIN_SIDE = 4
"""Less than that has no neighbours that could be alike: it is no image."""


def samples_per_run(inputs: Sequence[InputSpec], shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Return how many samples one run takes: the size of the first batch axis, free or fixed; else 1."""
    free = [
        (spec, axis)
        for spec in inputs
        for axis, dim in enumerate(spec.shape)
        if not isinstance(dim, int)
    ]
    # What is called a batch is one; what only stands where batches stand may be the length of a past.
    called = [(spec, axis) for spec, axis in free if is_called_batch(spec.shape[axis])]
    for spec, axis in called or free:
        if kind_among(inputs, spec, axis) == "batch":
            return shapes[spec.name][axis]
    return max(fixed_batch(inputs) or 1, 1)


def fixed_batch(inputs: Sequence[InputSpec]) -> int | None:
    """Return the size of the first axis that counts samples if any does, of those that are fixed."""
    for spec in inputs:
        is_state = STATE_NAME.search(spec.name.lower())
        if len(spec.shape) > 1 and isinstance(spec.shape[0], int) and not is_state:
            return spec.shape[0]
    return None


def sample_axis(spec: InputSpec, inputs: Sequence[InputSpec]) -> int:
    """Return the axis that counts samples: 0, or for a state (layers, batch, hidden) its batch axis.

    So it is for (past, batch, heads, size), where an axis behind a free one is called the batch.
    """
    if not isinstance(spec.shape[0], int):
        called = (axis for axis in range(len(spec.shape)) if is_called_batch(spec.shape[axis]))
        return next(called, 0)
    others = [other for other in inputs if other.shape and not STATE_NAME.search(other.name.lower())]
    batch_symbols = {other.shape[0] for other in inputs if other.shape} - {None}
    # Where all others have a fixed batch, the free axis of (1, heads, past, size) is no batch.
    is_free = not others or any(not isinstance(other.shape[0], int) for other in others)
    for axis, dim in enumerate(spec.shape):
        if isinstance(dim, int):
            continue
        is_batch = is_free and axis_kind(spec, axis) == "batch"
        if dim in batch_symbols or is_called_batch(dim) or is_batch:
            return axis
    return 0


def batch_axes(inputs: Sequence[InputSpec]) -> dict[str, int]:
    """Return the axis that counts samples in any number, of the inputs that have one."""
    axes = {spec.name: sample_axis(spec, inputs) for spec in inputs if spec.shape}
    return {
        spec.name: axes[spec.name]
        for spec in inputs
        if spec.shape
        and not isinstance(spec.shape[axes[spec.name]], int)
        and kind_among(inputs, spec, axes[spec.name]) == "batch"
    }


def channel_axis(shape: tuple[int, ...]) -> int | None:
    """Return where an image batch of rank 4 has its channels; None for what is no image."""
    if len(shape) != 4:
        return None
    for axis, sides in ((1, shape[2:]), (3, shape[1:3])):
        if shape[axis] in IMAGE_CHANNELS and min(sides) >= _MIN_SIDE:
            return axis
    return None


def has_free_sizes(spec: InputSpec) -> bool:
    """Whether an input has a free axis besides its batch."""
    free = (axis for axis, dim in enumerate(spec.shape) if not isinstance(dim, int))
    return any(axis_kind(spec, axis) != "batch" for axis in free)


def axis_kind(spec: InputSpec, axis: int) -> AxisKind:
    """Judge one free axis by its symbol, else by its place."""
    dim = spec.shape[axis]
    named = _symbol_kind(dim) if isinstance(dim, str) else None
    if named is not None and not (named == "batch" and _has_batch_before(spec, axis)):
        return named
    rank = len(spec.shape)
    if STATE_NAME.search(spec.name.lower()):
        first_free = next(a for a, size in enumerate(spec.shape) if not isinstance(size, int))
        if axis == first_free:
            return "batch"  # (layers, batch, hidden) as well as (batch, heads, length, size)
    if axis == 0:
        return "batch"
    if rank < 4 or _CACHE_NAME.search(spec.name.lower()):
        return "sequence"
    is_channels_last = spec.shape[-1] in IMAGE_CHANNELS
    return "channel" if axis == (rank - 1 if is_channels_last else 1) else "spatial"


def is_called_batch(dim: int | str | None) -> bool:
    """Whether a free dimension's symbol says that it counts samples."""
    return isinstance(dim, str) and _symbol_kind(dim) == "batch"


def _has_batch_before(spec: InputSpec, axis: int) -> bool:
    """Whether an earlier axis is called a batch: then the N of (batch_size, N) is no other."""
    earlier = (dim for dim in spec.shape[:axis] if dim != spec.shape[axis])
    return any(is_called_batch(dim) for dim in earlier)


def _symbol_kind(symbol: str) -> AxisKind | None:
    lower = symbol.lower()
    return next((kind for pattern, kind in _SYMBOL_KINDS if pattern.search(lower)), None)


def kind_among(inputs: Sequence[InputSpec], spec: InputSpec, axis: int) -> AxisKind:
    """Judge one free axis where its symbol may stand in other inputs too."""
    symbol = spec.shape[axis]
    if not isinstance(symbol, str):
        return axis_kind(spec, axis)
    # A symbol may stand in several places: its name decides, then being an axis 0, then the first place.
    kinds = [axis_kind(s, a) for s in inputs for a, dim in enumerate(s.shape) if dim == symbol]
    named = _symbol_kind(symbol)
    return named if named in kinds else ("batch" if "batch" in kinds else kinds[0])
