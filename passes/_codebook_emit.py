"""The decode graph of `codebook`."""

from __future__ import annotations

import numpy as np

from onnxzip.codec.emit.nodes import cast, cut
from onnxzip.passbase import Builder
from onnxzip.records.aliases import Array
from onnxzip.records.layer import Layer
from onnxzip.records.payload import WholeNumbers
from onnxzip.records.plan import Candidate

from ._codebook_large import emit_vectors, emit_words, is_large
from ._shared import payload


def emit_codebook(candidate: Candidate, plane: tuple[int, int], builder: Builder) -> None:
    """Emit Gather(codebook, indices), a Slice of the padding and a Mul by the row scales.

    Args:
        candidate: with its payload.
        plane: shape of what the vectors are runs of: rows, or columns where errors are fed back.
        builder: emits the nodes.
    """
    layer, encoded, settings = candidate.layer, payload(candidate), candidate.settings
    is_by_column, n_codewords = bool(settings["feedback"]), int(settings["codewords"])
    table = encoded.tables["codebook"]
    words, length = emit_table(table, builder), table.shape[1]
    n_rows, n_columns = plane
    n_vectors = encoded.integers["indices"].size
    is_whole = is_by_column or n_columns % length == 0
    grid = (n_rows, n_vectors // n_rows) if is_whole else (n_vectors, 1)
    shape: tuple[int, ...] = (*grid, length)
    if is_large(settings):
        value = emit_vectors(encoded, n_codewords, emit_words(words, table, builder), grid, builder)
    else:
        chosen = builder.integers(WholeNumbers(encoded.integers["indices"].reshape(grid)))
        value = builder.node("Gather", [words, chosen], shape, np.float32, axis=0)
    if not is_whole:
        if n_vectors * length > layer.weight.size:
            value = builder.reshape(value, (n_vectors * length,))
            value = cut(value, (layer.weight.size,), builder)
        shape = (n_rows, n_columns, 1)
        if "scales" in encoded.tables:
            value = builder.reshape(value, shape)
    if "scales" in encoded.tables:
        value = _emit_scaled(value, shape, encoded.tables["scales"], builder)
    if is_by_column:
        value = _emit_turned(value, shape, layer, builder)
    builder.replace_weight(layer, value)


def emit_table(table: Array, builder: Builder) -> str:
    """Store a table and return the name of its float32 value."""
    value = builder.constant(table)
    if table.dtype == np.float32:
        return value
    return cast(value, table.shape, np.float32, builder)


def _emit_scaled(value: str, shape: tuple[int, ...], scales: Array, builder: Builder) -> str:
    """Emit the product of vectors, (rows, n, d), and a scale for each row, or each number of a row."""
    by_row = scales.shape[1] == 1 < shape[1] * shape[2]
    if not by_row:
        scales = np.pad(scales, ((0, 0), (0, shape[1] * shape[2] - scales.shape[1])))
    placed = scales.reshape((len(scales), 1, 1) if by_row else (1, *shape[1:]))
    return builder.node("Mul", [value, emit_table(placed, builder)], shape, np.float32)


def _emit_turned(value: str, shape: tuple[int, ...], layer: Layer, builder: Builder) -> str:
    """Emit the canonical weight of its columns, (n_columns, n, d), which may be padded."""
    n_columns, n_padded = shape[0], shape[1] * shape[2]
    if n_padded > layer.n_rows:
        value = builder.reshape(value, (n_columns, n_padded))
        value = cut(value, (n_columns, layer.n_rows), builder, axis=1)
    inner = layer.canonical_shape[2:]
    if n_padded == layer.n_rows or len(inner) > 1:
        value = builder.reshape(value, (*inner, layer.n_rows))
    turned = (layer.n_rows, *inner)
    perm = (len(inner), *range(len(inner)))
    return builder.node("Transpose", [value], turned, np.float32, perm=perm)
