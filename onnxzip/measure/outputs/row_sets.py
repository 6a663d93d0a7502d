"""Outputs whose number of rows follows from values (boxes that are left) are compared as sets of rows.

A row of one model is compared with the nearest row of the other, in both directions (the distance of
Chamfer, Barrow et al. 1977), so that a row that is missing costs what it is away from its neighbours.
"""

from __future__ import annotations

import numpy as np

from onnxzip.records.aliases import Array

_MAX_DISTANCES = 1 << 24
"""Of rows to rows, which are computed at once: 128 MiB."""


def matched_rows(before: Array, after: Array, axis: int = 0) -> tuple[Array, Array] | None:
    """Return the rows of both, each beside its nearest of the other: (n_before + n_after, ...) twice.

    None where rows, which lie along `axis`, differ in shape, are no numbers, or are too many.
    """
    if min(before.ndim, after.ndim) <= axis:
        return None
    before, after = np.moveaxis(before, axis, 0), np.moveaxis(after, axis, 0)
    is_number = before.dtype == after.dtype and before.dtype.kind in "fiub"
    if not is_number or before.ndim != after.ndim or before.shape[1:] != after.shape[1:]:
        return None
    if len(before) * len(after) > _MAX_DISTANCES:
        return None
    if not len(before) or not len(after):
        return np.concatenate([before, _none_like(after)]), np.concatenate([_none_like(before), after])
    x, y = (np.nan_to_num(rows.reshape(len(rows), -1).astype(np.float64)) for rows in (before, after))
    distances = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1) - 2 * (x @ y.T)
    partners, owners = distances.argmin(axis=1), distances.argmin(axis=0)
    return np.concatenate([before, before[owners]]), np.concatenate([after[partners], after])


def _none_like(rows: Array) -> Array:
    """Return what stands for rows that the other model lacks: 0, or what no element equals."""
    return np.zeros_like(rows) if rows.dtype.kind == "f" else np.asarray(~rows)
