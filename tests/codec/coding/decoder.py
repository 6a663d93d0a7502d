"""The decoders in numpy, operation by operation what the graph does: what encoders are held against."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from onnxzip.codec.coding.overlay import Overlay
from onnxzip.codec.coding.packed import Alphabet, n_padded
from onnxzip.codec.coding.prefix import Book, Chunk, Streams
from onnxzip.codec.coding.trees import ROOTS

Integers = NDArray[np.int32]


def decode(streams: Streams) -> list[Integers]:
    """Return the arrays, (n_segments, length) int32, exactly as they were encoded."""
    arrays = {i: plain.astype(np.int32) for i, plain in streams.plain.items()}
    if streams.book is not None:
        table = streams.book.table()
        rows = np.concatenate([decode_chunk(chunk, streams.book) for chunk in streams.chunks])
        start = 0
        for unit in streams.units:
            flat = table[rows[start : start + unit.n_tuples]].ravel()
            start += unit.n_tuples
            positions, values = read_overlay(unit.overlay)
            flat[positions] = values
            for i in unit.members:
                n_rows, length = streams.shapes[i]
                padded = unit.row_length or length
                arrays[i] = flat[: n_rows * padded].reshape(n_rows, padded)[:, :length]
                flat = flat[n_rows * padded :]
    return [arrays[i] for i in range(len(streams.shapes))]


def decode_chunk(chunk: Chunk, book: Book) -> Integers:
    """Return the table row of each tuple of a chunk."""
    lengths = np.diff(np.append(chunk.starts, chunk.n_tuples))
    node = np.repeat(chunk.contexts.astype(np.int32), lengths)
    if book.n_roots:
        places = book.n_roots ** np.arange(ROOTS[book.n_roots], dtype=np.int32)
        roots = chunk.roots[:, None].astype(np.int32) // places % book.n_roots
        node = node * book.n_roots + roots.ravel()[: chunk.n_tuples]
    window, first, widths = windows(chunk.fields), first_nodes(book), book.widths.astype(np.int32)
    for start in chunk.level_starts:
        width = widths[node]
        position = np.cumsum(width, dtype=np.int64) - width + 8 * start
        node = first[node] + window[position] % (1 << width)
    node[chunk.literal_positions] = chunk.first_literal + np.arange(len(chunk.literal_positions))
    return node


def first_nodes(book: Book) -> Integers:
    """Return (n_nodes,) the node, or at the cells the row, that the field 0 leads to."""
    increments = (1 << book.widths.astype(np.int64)).astype(np.int32)
    nodes, values = book.resets
    increments[nodes] = values
    return (np.cumsum(increments) - increments + book.start).astype(np.int32)


def windows(packed: NDArray[np.uint8]) -> Integers:
    """Return window(p) for every bit p that has a byte behind its own; (8 * (n_bytes - 1),) int32."""
    wide = packed.astype(np.int32)
    pairs = wide[:-1] + 256 * wide[1:]
    return np.ravel(pairs[:, None] >> np.arange(8, dtype=np.int32))


def read_overlay(overlay: Overlay) -> tuple[Integers, Integers]:
    """Return the positions and the values that are written there, (n,) int32 each."""
    wide = overlay.codes.astype(np.int32)
    advances = wide // 3
    advances[overlay.jumps] = overlay.advances
    return np.cumsum(advances, dtype=np.int32), wide % 3 - 1


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
