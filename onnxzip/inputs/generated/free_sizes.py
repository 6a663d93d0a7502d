"""Guess sizes for the free dimensions of a model's inputs.

The same symbol has the same size everywhere; "a + b" and "2*a" follow from their terms.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from onnxzip.inputs.axes import AxisKind, axis_kind, kind_among, samples_per_run
from onnxzip.runtime.input_spec import InputSpec


@dataclass(frozen=True)
class FreeSizes:
    """One guess at everything the graph's inputs do not say.

    Attributes:
        batch: samples in one run.
        sequence: tokens, frames or audio samples.
        spatial: height and width of images.
        channel: channels of an image, where they are free.
    """

    batch: int = 4
    sequence: int = 32
    spatial: int = 64
    channel: int = 3

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
    FreeSizes(sequence=576, spatial=224),
    FreeSizes(batch=1),
    FreeSizes(batch=1, sequence=128, spatial=224),
    FreeSizes(batch=1, sequence=512, spatial=128),
    FreeSizes(batch=1, sequence=576, spatial=256),
    FreeSizes(batch=1, sequence=16, spatial=32, channel=1),
    FreeSizes(batch=1, sequence=1, spatial=299),
    FreeSizes(batch=1, sequence=16000, spatial=320),
    FreeSizes(batch=1, sequence=3000, spatial=640),
)

SOUND_LADDER = (
    FreeSizes(sequence=16000),
    FreeSizes(batch=1, sequence=16000),
    FreeSizes(sequence=512),
    *(FreeSizes(batch=1, sequence=sequence) for sequence in (512, 576, 1280, 1536, 32000, 80000)),
    *LADDER,
)
"""For what is called a sound: a second of it, then the frames that models take which listen while
somebody talks (silero-vad's 512 and 1536, openWakeWord's 1280)."""

SHORT_LADDER = tuple(FreeSizes(1, length, length, min(length, 3)) for length in (8, 4, 2, 1))
"""For inputs with so many free axes that no usual length of them fits."""

_KINDS: tuple[AxisKind, ...] = ("sequence", "spatial", "channel", "batch")
"""In the order of what is searched first."""


def free_kinds(inputs: Sequence[InputSpec]) -> list[AxisKind]:
    """Return the kinds of axes that are free somewhere."""
    free = {
        kind_among(inputs, spec, axis)
        for spec in inputs
        for axis, dim in enumerate(spec.shape)
        if not isinstance(dim, int)
    }
    return [kind for kind in _KINDS if kind in free]


SMALL_ELEMENTS = 1 << 13
"""Numbers in a sample that is small: half a second of sound."""

_SMALL_OUTPUT = 1 << 16
"""Numbers that a model may make of a small sample: what makes a picture of a few is not small."""

_N_SMALL = 12
"""Samples in a run of small ones: with 4, digits_gru took 6 times as long for each of them on two cores.
Photographs come back after four runs of 12, of which one is held out."""


def with_sizes(
    inputs: Sequence[InputSpec], sizes: Mapping[str, Mapping[int, int]]
) -> tuple[InputSpec, ...]:
    """Return inputs whose free axes have the sizes that are known, wherever their symbols stand.

    Args:
        inputs: graph inputs.
        sizes: of free axes, by input and axis.
    """
    by_symbol = {
        dim: size
        for spec in inputs
        for axis, size in sizes.get(spec.name, {}).items()
        if isinstance(dim := spec.shape[axis], str)
    }

    def settled(dim: int | str | None, size: int | None) -> int | str | None:
        if size is not None or not isinstance(dim, str):
            return dim if size is None else size
        known = by_symbol.get(dim)
        told = re.sub(r"\w+", lambda term: str(by_symbol.get(term[0], term[0])), dim)
        return known or _evaluate(told, {}) or told

    return tuple(
        replace(
            spec,
            shape=tuple(
                settled(dim, sizes.get(spec.name, {}).get(axis)) for axis, dim in enumerate(spec.shape)
            ),
        )
        for spec in inputs
    )


def resolve_run(
    inputs: Sequence[InputSpec], outputs: Sequence[InputSpec], free_sizes: FreeSizes
) -> dict[str, tuple[int, ...]]:
    """Return a concrete shape per input name, with more samples in a run where they are small.

    Args:
        inputs: graph inputs.
        outputs: graph outputs; of them the fixed sizes count.
        free_sizes: sizes by kind of axis.
    """
    shapes = resolve_shapes(inputs, free_sizes)
    if free_sizes.batch == 1:
        return shapes
    n_elements = sum(map(math.prod, shapes.values())) // samples_per_run(inputs, shapes)
    n_made = max((math.prod(d for d in out.shape if isinstance(d, int)) for out in outputs), default=0)
    if n_elements > SMALL_ELEMENTS or n_made > _SMALL_OUTPUT:
        return shapes
    return resolve_shapes(inputs, replace(free_sizes, batch=max(free_sizes.batch, _N_SMALL)))


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


def _symbol_sizes(inputs: Sequence[InputSpec], free_sizes: FreeSizes) -> dict[str, int]:
    return {
        dim: free_sizes.size(kind_among(inputs, spec, axis))
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
