"""Columns of a weight, replaced by codewords one after the other with error feedback; for `codebook`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxzip.codec.feedback import feed_back
from onnxzip.records.aliases import Array, Scalar
from onnxzip.records.payload import Encoded, Feedback

from ._codebook_words import all_words, fit_settings, fit_table, narrowed, nearest_of, payload_of


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
    """Replaces columns by codewords, one after the other; what does not fill a vector is padded."""

    def __init__(
        self, plane: NDArray[np.float32], settings: Mapping[str, Scalar], feedback: Feedback
    ) -> None:
        """Fit the codewords to a (columns, rows) plane."""
        self._tables, self._scales = scales_of(plane, settings, axis=0)
        self._settings = settings
        self._length, _, _ = fit_settings(settings)
        table = fit_table(self._vectors(plane), settings, feedback.importance)
        self._tables["codebook"] = table
        self._words, self._nearest = all_words(table, settings), nearest_of(table, settings)
        n_vectors = -(-plane.shape[1] // self._length)
        self._columns = np.empty((len(plane), n_vectors), np.int32)

    def code(self, where: NDArray[np.int64], values: NDArray[Any]) -> NDArray[np.float32]:
        """Replace the columns `where`, (n, rows); return what they are decoded to."""
        indices = self._nearest(self._vectors(values))
        self._columns[where] = indices.reshape(len(where), -1)
        decoded = self._words[indices].reshape(len(values), -1)[:, : values.shape[1]]
        scaled: NDArray[np.float32] = decoded * self._scales
        return scaled

    def result(self) -> Encoded:
        """Return the payload, when all columns are replaced."""
        return payload_of(self._columns.reshape(1, -1), self._settings, self._tables)

    def _vectors(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Return the vectors of columns, (n, rows), one column behind the other."""
        scaled = (values / self._scales).astype(np.float32)
        padding = -scaled.shape[1] % self._length
        if padding:
            scaled = np.pad(scaled, ((0, 0), (0, padding)))
        return scaled.reshape(-1, self._length)


def scales_of(
    plane: NDArray[np.float32], settings: Mapping[str, Scalar], axis: int
) -> tuple[dict[str, Array], NDArray[np.float32]]:
    """Return the table of the rows' scales, if there are any, and what to divide by."""
    if not settings["row_scales"]:
        return {}, np.ones((1, 1), np.float32)
    table = narrowed(np.sqrt(np.mean(np.square(plane), axis=axis, keepdims=True)))
    scales = table.astype(np.float32)
    return {"scales": table}, np.where(scales > 0, scales, np.float32(1))
