"""The decoders in numpy, operation by operation what the graph does: what encoders are held against."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from onnxzip.codec.coding.overlay import Overlay, n_patterns, pattern_tuples
from onnxzip.codec.coding.packed import Alphabet, n_padded
from onnxzip.codec.coding.prefix import Book, Chunk, Streams
from onnxzip.codec.coding.tuple_layout import BLOCK

Integers = NDArray[np.int32]


def decode(streams: Streams) -> list[Integers]:
    """Return the arrays, (n_segments, length) int32, exactly as they were encoded."""
    arrays = {i: plain.astype(np.int32) for i, plain in streams.plain.items()}
    if streams.book is not None:
        tuples = np.concatenate([decode_chunk(chunk, streams.book) for chunk in streams.chunks])
        start = 0
        for unit in streams.units:
            flat = tuples[start : start + unit.n_tuples].ravel()
            start += unit.n_tuples
            for i in unit.members:
                n_rows, length = streams.shapes[i]
                padded = unit.row_length or length
                arrays[i] = flat[: n_rows * padded].reshape(n_rows, padded)[:, :length]
                flat = flat[n_rows * padded :]
    for i, outliers in streams.outliers.items():
        arrays[i] = arrays[i].copy()
        arrays[i].flat[outliers.positions] = outliers.values
    return [arrays[i] for i in range(len(streams.shapes))]


def decode_chunk(chunk: Chunk, book: Book) -> Integers:
    """Return the tuples of a chunk, (n_tuples, length)."""
    lengths = np.diff(np.append(chunk.starts, chunk.n_tuples // BLOCK))
    node = np.repeat(chunk.contexts.astype(np.int32), BLOCK * lengths)
    window, first, widths = windows(chunk.fields), first_nodes(book), book.widths.astype(np.int32)
    for start in chunk.level_starts:
        width = widths[node]
        position = np.cumsum(width, dtype=np.int64) - width + 8 * start
        node = first[node] + window[position] % (1 << width)
    tuples = book.order.table()[node % book.order.n_rows]
    positions, patterns = read_overlay(chunk.overlay, book.order.length)
    tuples[positions] = pattern_tuples(book.order.length)[patterns]
    last_literal = chunk.first_literal + len(chunk.literal_positions)
    tuples[chunk.literal_positions] = book.literals[chunk.first_literal : last_literal]
    return tuples


def first_nodes(book: Book) -> Integers:
    """Return (n_nodes,) the node, or at the cells the row, that the field 0 leads to."""
    increments = (1 << book.widths.astype(np.int64)).astype(np.int32)
    nodes, values = book.resets
    increments[nodes] = values
    return (np.cumsum(increments) - increments + book.level_sizes[0]).astype(np.int32)


def windows(packed: NDArray[np.uint8]) -> Integers:
    """Return window(p) for every bit p that has a byte behind its own; (8 * (n_bytes - 1),) int32."""
    wide = packed.astype(np.int32)
    pairs = wide[:-1] + 256 * wide[1:]
    return np.ravel(pairs[:, None] >> np.arange(8, dtype=np.int32))


def read_overlay(overlay: Overlay, length: int) -> tuple[Integers, Integers]:
    """Return the positions and the patterns of the tuples that are there, (n,) int32 each."""
    wide = overlay.codes.astype(np.int32)
    advances = wide // n_patterns(length)
    advances[overlay.jumps] = overlay.advances
    return np.cumsum(advances, dtype=np.int32), wide % n_patterns(length)


def unpack(
    payload: NDArray[np.generic], shapes: Sequence[tuple[int, ...]], alphabet: Alphabet
) -> list[Integers]:
    """Return the arrays of the given shapes; the inverse of `coding.packed.pack`."""
    values = payload if alphabet.digits == 1 else alphabet.table()[payload]
    flat = values.astype(np.int32).ravel()
    arrays, start = [], 0
    for shape in shapes:
        size = int(np.prod(shape, dtype=np.int64))
        arrays.append(flat[start : start + size].reshape(shape))
        start += n_padded(size, alphabet)
    return arrays


def join(high: NDArray[np.int32], low: NDArray[np.int8], shift: int) -> NDArray[np.int32]:
    """Return the integers; the inverse of `split`."""
    return np.asarray((high << shift) + low, np.int32)
