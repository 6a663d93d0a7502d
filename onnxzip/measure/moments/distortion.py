"""The relative error of a layer as it counts: at its output, or in the rows that are read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onnxzip.records.aliases import Array
from onnxzip.records.layer import Statistics

_ERROR_BLOCK = 1 << 18
"""Numbers at once: 1 MB of float32 stays in a processor's cache. It also says in which order errors are
added up, so that it decides their last bits."""


class OutputDistortion:
    """The relative error of a layer's output: sqrt(tr(E H E^T) / tr(W H W^T)).

    Args:
        original: W, a canonical weight or its (n_rows, n_columns) plane.
        statistics: of the layer.
    """

    def __init__(self, original: NDArray[np.float32], statistics: Statistics) -> None:
        self._statistics = statistics
        self._plane = original.reshape(-1, len(statistics.second_moment) * statistics.n_blocks)
        self._signal = self._energy(self._plane)

    def __call__(self, restored: NDArray[np.float32]) -> float:
        """Return the error of a restored weight, of the same shape as the original."""
        noise = self._energy(self._plane - restored.reshape(self._plane.shape))
        return _relative(noise, self._signal)

    def of_energy(self, lost: float) -> float:
        """Return the error of a weight of which tr(E H E^T) is known."""
        return _relative(lost, self._signal)

    def _energy(self, plane: NDArray[np.float32]) -> float:
        seen = self._statistics.times(plane)
        return max(float(np.einsum("ij,ij->", seen, plane, dtype=np.float64)), 0.0)


class RowDistortion:
    """The relative error of the rows of a table as they are read: sqrt(sum_r f_r |E_r|^2 / ...|W_r|^2).

    Args:
        original: W, (n_rows, ...), of any float type.
        row_weights: f, (n_rows,), not negative.
    """

    def __init__(self, original: Array, row_weights: NDArray[np.float32]) -> None:
        self._plane = original.reshape(len(row_weights), -1)
        self._weights = row_weights
        self._signal = self._energy(None)

    def __call__(self, restored: NDArray[np.float32]) -> float:
        """Return the error of a restored table, of the same shape as the original."""
        return _relative(self._energy(restored.reshape(self._plane.shape)), self._signal)

    def _energy(self, restored: NDArray[np.float32] | None) -> float:
        """Sum in blocks of rows: a table may be half of the model."""
        total = 0.0
        n_rows = max(1, _ERROR_BLOCK // max(self._plane.shape[1], 1))
        for start in range(0, len(self._plane), n_rows):
            rows = self._plane[start : start + n_rows].astype(np.float32)
            if restored is not None:
                rows -= restored[start : start + n_rows]
            squares = np.einsum("ij,ij->i", rows, rows).astype(np.float64)
            total += float(squares @ self._weights[start : start + n_rows])
        return total


def _relative(noise: float, signal: float) -> float:
    if signal > 0:
        return float(np.sqrt(noise / signal))
    return 0.0 if noise == 0 else float("inf")
