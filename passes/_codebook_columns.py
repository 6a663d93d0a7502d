"""Columns of a weight, replaced by codewords one after the other with error feedback; for `codebook`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxzip.codec.feedback import feed_back
from onnxzip.records.aliases import Array, Scalar
from onnxzip.records.payload import Encoded, Feedback
from onnxzip.transforms import codebook


def encode_columns(
    plane: NDArray[np.float32], rungs: Sequence[Mapping[str, Scalar]], feedback: Feedback
) -> list[Encoded]:
    """Make the payload of a (columns, rows) plane with feedback, for the settings of each rung."""
    coders = [_ColumnCoder(plane, settings, feedback) for settings in rungs]

    def quantise(j: int, values: NDArray[Any]) -> NDArray[Any]:
        where = feedback.order[j]
        return np.stack([coder.code(where, v) for coder, v in zip(coders, values, strict=True)])

    feed_back(plane, feedback, quantise, len(coders))
    return [coder.result() for coder in coders]


class _ColumnCoder:
    """Replaces columns by codewords, one after the other."""

    def __init__(
        self, plane: NDArray[np.float32], settings: Mapping[str, Scalar], feedback: Feedback
    ) -> None:
        """Fit the codewords to a (columns, rows) plane."""
        self._tables, self._scales = scales_of(plane, settings, axis=0)
        self._length, n_codewords, seed = fit_settings(settings)
        vectors = (plane / self._scales).reshape(-1, self._length)
        words = codebook.fit(vectors, n_codewords, seed, feedback.importance)
        self._tables["codebook"] = narrowed(words)
        self._words = self._tables["codebook"].astype(np.float32)
        self._nearest = codebook.NearestCodewords(self._words)
        self._columns = np.empty((len(plane), plane.shape[1] // self._length), np.int32)

    def code(self, where: NDArray[np.int64], values: NDArray[Any]) -> NDArray[np.float32]:
        """Replace the columns `where`, (n, rows); return what they are decoded to."""
        vectors = (values / self._scales).astype(np.float32).reshape(-1, self._length)
        indices = self._nearest(vectors)
        self._columns[where] = indices.reshape(len(where), -1)
        decoded: NDArray[np.float32] = self._words[indices].reshape(values.shape) * self._scales
        return decoded

    def result(self) -> Encoded:
        """Return the payload, when all columns are replaced."""
        return Encoded(integers={"indices": self._columns.reshape(1, -1)}, tables=self._tables)


def scales_of(
    plane: NDArray[np.float32], settings: Mapping[str, Scalar], axis: int
) -> tuple[dict[str, Array], NDArray[np.float32]]:
    """Return the table of the rows' scales, if there are any, and what to divide by."""
    if not settings["row_scales"]:
        return {}, np.ones((1, 1), np.float32)
    table = narrowed(np.sqrt(np.mean(np.square(plane), axis=axis, keepdims=True)))
    scales = table.astype(np.float32)
    return {"scales": table}, np.where(scales > 0, scales, np.float32(1))


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
