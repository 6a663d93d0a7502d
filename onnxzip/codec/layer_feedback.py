"""How a layer's rounding errors are fed back: its second moment, in the basis that its columns are in.

A layer's passes ask for the same factors again and again, and a factor takes as long as rounding the
weight at several rates: within `shared_feedback` each is computed once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag

from onnxzip.codec.feedback import make_feedback
from onnxzip.records.layer import Layer, Statistics
from onnxzip.records.payload import Feedback

FILLING_MOMENT = 0.01
"""Second moment, in multiples of the mean one, of columns that only fill the last group."""


_MOST_SHARED_BYTES = 160 << 20
"""Of factors that are kept: as much as factorising a moment of MAX_COLUMNS / 2 takes itself."""

_Known: TypeAlias = tuple[Statistics, Feedback | None]
"""With the statistics, by whose identity it is known, so that nothing else takes their place."""

_shared: ContextVar[dict[tuple[int, bytes | None], _Known] | None] = ContextVar("_shared", default=None)


@contextmanager
def shared_feedback() -> Iterator[None]:
    """Keep the factors that `layer_feedback` computes, for who asks for them within this context."""
    token = _shared.set({})
    try:
        yield
    finally:
        _shared.reset(token)


def layer_feedback(layer: Layer, basis: NDArray[np.float32] | None = None) -> Feedback | None:
    """Return how rounding errors of a layer's coefficients are fed back.

    Args:
        layer: its columns are a grid of n_inner channels x k spatial positions.
        basis: B, (k, k): k neighbouring numbers are w = c B, and the columns are the coefficients c, by
            position and then by group; the last group may be filled up. None: they are the numbers
            themselves, in canonical order.

    Returns:
        None without statistics, or where the second moment cannot be factorised.
    """
    statistics, known = layer.statistics, _shared.get()
    if statistics is None or known is None:
        return _factorise(layer, basis)
    key = (id(statistics), None if basis is None else basis.tobytes())
    if key not in known:
        n_new = len(statistics.second_moment) ** 2 * np.dtype(np.float64).itemsize
        while known and n_new + sum(map(_n_bytes, known.values())) > _MOST_SHARED_BYTES:
            del known[next(iter(known))]
        known[key] = (statistics, _factorise(layer, basis))
    return known[key][1]


def _n_bytes(known: _Known) -> int:
    return 0 if known[1] is None else known[1].factor.nbytes


def _factorise(layer: Layer, basis: NDArray[np.float32] | None) -> Feedback | None:
    statistics = layer.statistics
    if statistics is None:
        return None
    n_inner, k = layer.sizes[2], int(np.prod(layer.sizes[3]))
    moment, n_blocks = statistics.second_moment, statistics.n_blocks
    if basis is None:
        order = np.arange(len(moment) * n_blocks).reshape(n_blocks, -1).T
        return make_feedback(moment, n_inner if k > 1 else 1, order)
    k = len(basis)
    n_groups = -(-len(moment) // k)
    if n_filling := k * n_groups - len(moment):
        filling = np.full(n_filling, FILLING_MOMENT * np.trace(moment) / len(moment), np.float32)
        moment = np.asarray(block_diag(moment, np.diag(filling)), np.float32)
    grid = moment.reshape(n_groups, k, n_groups, k)
    turned = np.einsum("pk,ikjl,ql->piqj", basis, grid, basis, optimize=True)
    # The highest frequencies first: at low rates they become zero, and the errors go to where bits are.
    places = np.arange(k * n_blocks * n_groups).reshape(k, n_blocks, n_groups)
    falling = np.swapaxes(places, 1, 2).reshape(-1, n_blocks)[::-1]
    return make_feedback(turned.reshape(k * n_groups, -1)[::-1, ::-1], k, falling)
