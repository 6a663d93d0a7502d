"""Codewords of `codebook`, small tables and large ones: how they are fitted, looked up and stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from onnxzip.records.aliases import Array, Scalar
from onnxzip.records.payload import Encoded
from onnxzip.transforms import codebook, symmetric_codebook
from onnxzip.transforms.symmetric_codebook import SymmetricCodewords, Symmetry

from ._codebook_large import in_parts, is_large


def encode_vectors(
    vectors: NDArray[np.float32],
    settings: Mapping[str, Scalar],
    importance: NDArray[np.float64] | None,
    tables: dict[str, Array],
) -> Encoded:
    """Make the payload of (n, d) vectors; the codebook is added to the tables."""
    if is_large(settings):
        tables["codebook"] = fit_table(vectors, settings, importance)
        indices = nearest_of(tables["codebook"], settings)(vectors)
    else:
        _, n_codewords, seed = fit_settings(settings)
        indices, words = codebook.quantize(vectors, n_codewords, seed, importance)
        tables["codebook"] = narrowed(words)
    return payload_of(indices[None], settings, tables)


def fit_table(
    vectors: NDArray[np.float32],
    settings: Mapping[str, Scalar],
    importance: NDArray[np.float64] | None,
) -> Array:
    """Return the table that is stored: all codewords, or those in the chamber of a large codebook."""
    _, n_codewords, seed = fit_settings(settings)
    fit = symmetric_codebook.fit if is_large(settings) else codebook.fit
    return narrowed(fit(vectors, n_codewords, seed, importance))


def all_words(table: Array, settings: Mapping[str, Scalar]) -> NDArray[np.float32]:
    """Return all codewords of a table, (k, d)."""
    words = table.astype(np.float32)
    return Symmetry(words.shape[1]).unfold(words) if is_large(settings) else words


def nearest_of(
    table: Array, settings: Mapping[str, Scalar]
) -> Callable[[NDArray[np.float32]], NDArray[np.int32]]:
    """Return what finds the nearest codewords of a table."""
    words = table.astype(np.float32)
    return SymmetricCodewords(words) if is_large(settings) else codebook.NearestCodewords(words)


def payload_of(
    indices: NDArray[np.int32], settings: Mapping[str, Scalar], tables: Mapping[str, Array]
) -> Encoded:
    """Return the payload of (1, n) indices and tables."""
    _, n_codewords, _ = fit_settings(settings)
    parts = in_parts(indices, n_codewords) if is_large(settings) else {"indices": indices}
    return Encoded(integers=parts, tables=tables)


def fit_settings(settings: Mapping[str, Scalar]) -> tuple[int, int, int]:
    """Return the vectors' length, the number of codewords, and the seed."""
    return int(settings["vector"]), int(settings["codewords"]), int(settings["seed"])


def narrowed(table: NDArray[np.float32]) -> Array:
    """Return the table in float16 where that costs nothing that matters, else in float32.

    The limit is 1e-3 of the rms; float16 rounds normal numbers to 5e-4 of themselves.
    """
    with np.errstate(over="ignore"):
        narrow = table.astype(np.float16)
    deviation = float(np.linalg.norm(narrow.astype(np.float32) - table))
    return narrow if deviation <= 1e-3 * float(np.linalg.norm(table)) else table
