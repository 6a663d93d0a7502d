"""Guess sizes for the free dimensions of a model's inputs.

A free dimension is judged by its symbol ("batch", "seq_len", "height"), then by its place: axis 0 is
the batch, the last axes of a rank-4 input are an image's, anything else is a sequence. The same symbol
has the same size everywhere; "a + b" and "2*a" follow from their terms.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from onnxzip.runtime.input_spec import InputSpec

AxisKind: TypeAlias = Literal["batch", "sequence", "spatial", "channel"]
# How exporters of PyTorch, TensorFlow and the transformers name inputs and free dimensions. Guesses:
# a name that fits none is judged by its place, and where a run fails the next sizes of LADDER are tried.
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


@dataclass(frozen=True)
class FreeSizes:
    """One guess at everything the graph's inputs do not say.

    Attributes:
        batch: samples in one run.
        sequence: tokens, frames or audio samples.
        spatial: height and width of images.
        channel: channels of an image, where they are free.
        n_ids: integers whose range nobody knows are drawn below this.
        is_positive: floats are uniform in [0, 1) instead of standard normal.
    """

    batch: int = 4
    sequence: int = 32
    spatial: int = 64
    channel: int = 3
    n_ids: int = 8
    is_positive: bool = False

    def size(self, kind: AxisKind) -> int:
        """Return the size of an axis of this kind."""
        sizes: dict[AxisKind, int] = {
            "batch": self.batch,
            "sequence": self.sequence,
            "spatial": self.spatial,
            "channel": self.channel,
        }
        return sizes[kind]


# From the likeliest on. 576 = 512 samples of audio and 64 of context; 16000 is a second of it.
LADDER = (
    FreeSizes(),
    FreeSizes(sequence=512, spatial=224),
    FreeSizes(batch=1),
    FreeSizes(batch=1, sequence=128, spatial=224),
    FreeSizes(batch=1, sequence=512, spatial=128),
    FreeSizes(batch=1, sequence=576, spatial=256),
    FreeSizes(batch=1, sequence=16, spatial=32, channel=1),
    FreeSizes(batch=1, sequence=1, spatial=299),
    FreeSizes(batch=1, sequence=16000, spatial=320),
    FreeSizes(batch=1, sequence=3000, spatial=640),
)


def resolve_shapes(inputs: Sequence[InputSpec], free_sizes: FreeSizes) -> dict[str, tuple[int, ...]]:
    """Return a concrete shape per input name.

    Args:
        inputs: graph inputs.
        free_sizes: sizes by kind of axis.
    """
    known = _symbol_sizes(inputs, free_sizes)

    def resolve(spec: InputSpec, axis: int) -> int:
        dim = spec.shape[axis]
        if isinstance(dim, int):
            return dim
        if dim is None:
            return free_sizes.size(axis_kind(spec, axis))
        computed = _evaluate(dim, known)
        return known[dim] if computed is None else computed

    return {spec.name: tuple(resolve(spec, axis) for axis in range(len(spec.shape))) for spec in inputs}


def samples_per_run(inputs: Sequence[InputSpec], shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Return how many samples one run takes: the size of the first batch axis, free or fixed; else 1."""
    for spec in inputs:
        for axis in range(len(spec.shape)):
            if not isinstance(spec.shape[axis], int) and _kind(inputs, spec, axis) == "batch":
                return shapes[spec.name][axis]
    for spec in inputs:
        if (
            len(spec.shape) > 1
            and isinstance(spec.shape[0], int)
            and not STATE_NAME.search(spec.name.lower())
        ):
            return max(spec.shape[0], 1)
    return 1


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


def _has_batch_before(spec: InputSpec, axis: int) -> bool:
    """Whether an earlier axis is called a batch: then the N of (batch_size, N) is no other."""
    earlier = (dim for dim in spec.shape[:axis] if isinstance(dim, str) and dim != spec.shape[axis])
    return any(_symbol_kind(dim) == "batch" for dim in earlier)


def _symbol_kind(symbol: str) -> AxisKind | None:
    lower = symbol.lower()
    return next((kind for pattern, kind in _SYMBOL_KINDS if pattern.search(lower)), None)


def _kind(inputs: Sequence[InputSpec], spec: InputSpec, axis: int) -> AxisKind:
    symbol = spec.shape[axis]
    if not isinstance(symbol, str):
        return axis_kind(spec, axis)
    # A symbol may stand in several places: its name decides, then being an axis 0, then the first place.
    kinds = [axis_kind(s, a) for s in inputs for a, dim in enumerate(s.shape) if dim == symbol]
    named = _symbol_kind(symbol)
    return named if named in kinds else ("batch" if "batch" in kinds else kinds[0])


def _symbol_sizes(inputs: Sequence[InputSpec], free_sizes: FreeSizes) -> dict[str, int]:
    return {
        dim: free_sizes.size(_kind(inputs, spec, axis))
        for spec in inputs
        for axis, dim in enumerate(spec.shape)
        if isinstance(dim, str)
    }


def _evaluate(expression: str, sizes: Mapping[str, int]) -> int | None:
    """Compute "a + b", "a + 1" or "2*a"; None when it is a plain symbol or something else."""
    terms = [term.strip() for term in expression.split("+")]
    if len(terms) == 1 and "*" not in expression:
        return None
    total = 0
    for term in terms:
        product = 1
        for factor in (part.strip() for part in term.split("*")):
            value = int(factor) if factor.isdigit() else sizes.get(factor)
            if value is None:
                return None
            product *= value
        total += product
    return total
