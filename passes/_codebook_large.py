"""Large codebooks of `codebook` (transforms/symmetric_codebook.py), indices in parts that pack well."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onnxzip.codec.coding.packed import Alphabet, pack
from onnxzip.codec.emit.nodes import cast, cut
from onnxzip.passbase import LARGEST_EXPANDED, Builder, Codec
from onnxzip.records.aliases import Array, Scalar
from onnxzip.records.layer import Layer
from onnxzip.records.payload import Encoded
from onnxzip.records.plan import Candidate
from onnxzip.transforms.symmetric_codebook import Symmetry

RADICES = {
    4096: (256, 16),
    8192: (256, 16, 2),
    16384: (256, 16, 4),
    24576: (256, 16, 6),
    65536: (65536,),
}
"""Alphabets of an index's parts by the number of codewords, the first part highest: 12, 13, 14, 14.7 and
16 bits. The first part fills its bytes, digits of the others share them (`codec.coding.packed`)."""

LARGE_RUNGS: tuple[tuple[int, int, tuple[int, ...]], ...] = (
    (4, 65536, (4096, 8192, 16384, 24576)),
    (3, 24576, (8192, 16384, 65536)),
    (2, 4096, (8192, 16384, 24576, 65536)),
)
"""(vector length, codewords, other numbers of them): 3 to 4, 4.3 to 5.3 and 6 to 8 bits a weight. The
first number is fitted and measured, the others are told by it."""

LEAST_RATE = 3.0
"""Bits a weight from which on these take the place of small codebooks."""

_MIN_WEIGHTS_PER_ENTRY = 2
"""Weights for each number of the whole table, which is made when a session is created: what makes it
takes less than 8 bytes a weight then."""


@dataclass(frozen=True)
class LargeRung:
    """A large codebook that is fitted, and others of the same vectors that it tells of.

    Attributes:
        measured: vector length and codewords.
        others: numbers of codewords.
    """

    measured: tuple[int, int]
    others: Sequence[int]

    def with_others(self, candidate: Candidate, codec: Codec) -> Iterator[Candidate]:
        """Yield the candidate of what was measured, then estimates of the others.

        Of d numbers a codebook's error is proportional to k^(-1/d) (Zador, "Asymptotic quantization
        error of continuous signals", IEEE Trans. Inf. Theory 28(2), 1982).
        """
        yield candidate
        length, measured = self.measured
        n_indices = -(-candidate.layer.weight.size // length)
        n_measured = _n_bytes(n_indices, length, measured, codec)
        for n_codewords in self.others:
            n_bytes = candidate.n_bytes + _n_bytes(n_indices, length, n_codewords, codec) - n_measured
            error = candidate.error * float((measured / n_codewords) ** (1 / length))
            settings = {**candidate.settings, "codewords": n_codewords}
            found = replace(candidate, settings=settings, n_bytes=n_bytes, error=error, encoded=None)
            yield replace(found, is_estimate=True)


def large_rungs(layer: Layer, codec: Codec) -> Iterator[LargeRung]:
    """Yield the large codebooks that suit a layer.

    None where integers are entropy coded: what indices leave to code is next to nothing.
    """
    if codec.is_continuous:
        return
    for length, n_codewords, others in LARGE_RUNGS:
        most = layer.weight.size // (_MIN_WEIGHTS_PER_ENTRY * length)
        fitting = sorted(k for k in (n_codewords, *others) if k <= most)
        if fitting:
            measured = max(k for k in fitting if k <= n_codewords)
            yield LargeRung((length, measured), [k for k in fitting if k != measured])


def is_large(settings: Mapping[str, Scalar]) -> bool:
    """Whether settings are those of a large codebook."""
    return int(settings["codewords"]) in RADICES


def _n_bytes(n_indices: int, length: int, n_codewords: int, codec: Codec) -> int:
    """Return what a large codebook takes: indices of any values, and its words."""
    ramp = np.arange(n_indices, dtype=np.int32)[None]
    parts = {str(i): ramp % radix for i, radix in enumerate(RADICES[n_codewords])}
    words = np.zeros((n_codewords // Symmetry(length).size, length), np.float16)
    return codec.n_bytes(Encoded(integers=parts, tables={"codebook": words}))


def in_parts(indices: NDArray[np.int32], n_codewords: int) -> dict[str, NDArray[np.int32]]:
    """Return the parts of (1, n) indices, as a payload has them."""
    parts = []
    for radix in RADICES[n_codewords][:0:-1]:
        parts.append(indices % radix)
        indices = indices // radix
    return dict(zip(_names(n_codewords), [indices, *parts[::-1]], strict=True))


def whole_indices(encoded: Encoded, n_codewords: int) -> NDArray[np.int32]:
    """Return the indices of a payload, (1, n); the inverse of `in_parts`."""
    names, radices = _names(n_codewords), RADICES[n_codewords]
    whole = encoded.integers[names[0]]
    for name, radix in zip(names[1:], radices[1:], strict=True):
        whole = whole * np.int32(radix) + encoded.integers[name]
    return whole


def emit_vectors(
    encoded: Encoded, n_codewords: int, words: str, grid: tuple[int, int], builder: Builder
) -> str:
    """Emit the codewords that indices tell, (*grid, d) float32.

    In tiles from the stored bytes on: what is made of them on the way is there for one tile only, and
    nothing is put together but what comes out.

    Args:
        encoded: the payload.
        n_codewords: of the settings.
        words: name of all codewords, (k, d).
        grid: shape of the indices.
        builder: emits the nodes.
    """
    length = encoded.tables["codebook"].shape[1]
    parts = [encoded.integers[name].reshape(grid) for name in _names(n_codewords)]
    n_most = max(LARGEST_EXPANDED // (4 * length * grid[1]), 1)
    bounds = np.linspace(0, grid[0], -(-grid[0] // n_most) + 1).astype(int)
    radices = RADICES[n_codewords]
    tiles = []
    for start, end in itertools.pairwise(bounds):
        indices = _emit_indices([part[start:end] for part in parts], radices, builder)
        shape = (int(end - start), grid[1], length)
        tiles.append(builder.node("Gather", [words, indices], shape, np.float32, axis=0))
    if len(tiles) == 1:
        return tiles[0]
    return builder.node("Concat", tiles, (*grid, length), np.float32, axis=0)


def _emit_indices(parts: Sequence[NDArray[np.int32]], radices: Sequence[int], builder: Builder) -> str:
    """Emit what puts the parts of indices together, int32 of their shape."""
    shape = parts[0].shape
    whole = cast(
        builder.constant(parts[0].astype(Alphabet(radices[0], 0).dtype)), shape, np.int32, builder
    )
    for part, radix in zip(parts[1:], radices[1:], strict=True):
        factor = builder.constant(np.array(radix, np.int32))
        whole = builder.node("Mul", [whole, factor], shape, np.int32)
        alphabet = Alphabet(radix, 0)
        packed = pack([part], alphabet)
        table = builder.constant(alphabet.table().astype(np.int32))
        stored = cast(builder.constant(packed), packed.shape, np.int32, builder)
        made = (len(packed), alphabet.digits)
        digits = builder.node("Gather", [table, stored], made, np.int32, axis=0)
        if len(packed) * alphabet.digits > part.size:
            digits = builder.reshape(digits, (len(packed) * alphabet.digits,), np.int32)
            digits = cut(digits, (part.size,), builder, dtype=np.int32)
        digits = builder.reshape(digits, shape, np.int32)
        whole = builder.node("Add", [whole, digits], shape, np.int32)
    return whole


def emit_words(words: str, table: Array, builder: Builder) -> str:
    """Emit all codewords, (k, d), from those in the chamber, (k / g, d) float32."""
    n_words, length = table.shape
    symmetry = Symmetry(length)
    n_orders, n_signs = len(symmetry.orders), len(symmetry.signs)
    places = builder.constant(symmetry.orders.ravel())
    ordered = builder.node("Gather", [words, places], (n_words, n_orders * length), np.float32, axis=1)
    ordered = builder.reshape(ordered, (n_words * n_orders, 1, length))
    signs = builder.constant(symmetry.signs)
    shape = (n_words * n_orders, n_signs, length)
    whole = builder.node("Mul", [ordered, signs], shape, np.float32)
    return builder.reshape(whole, (n_words * symmetry.size, length))


def n_large_nodes(encoded: Encoded) -> int:
    """Return the nodes of `emit_vectors` and `emit_words`."""
    n_parts, length = len(encoded.integers), int(encoded.tables["codebook"].shape[1])
    n_tiles = -(-4 * length * encoded.integers["indices"].size // LARGEST_EXPANDED)
    return n_tiles * (2 + 5 * (n_parts - 1)) + 5


def _names(n_codewords: int) -> list[str]:
    """Return the names of an index's parts in a payload."""
    return ["indices", *(f"indices_{i}" for i in range(1, len(RADICES[n_codewords])))]
