"""What integers and steps take in a file, before they are coded."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxzip.codec.coding.code_plan import LOAD_BYTES_PER_FILE_BYTE
from onnxzip.codec.coding.split import split

N_BYTES_PER_ARRAY = 200
"""An array's nodes, names and shape in a file. Half of it: bytes 0, 0, -0.6, 0 % of digits_cnn,
_autoencoder, _attention (at a true loss of 0.0989 instead of 0.0973) and _gru (`tests.bench.constants`);
at level 3: no change."""

N_BYTES_PER_SPLIT = 80
"""What joins the two parts of integers that are split: two nodes, a factor, a second payload's names. A
guess."""

CHUNK = 1 << 20
"""Numbers quantised at a time: 4 MB of float32 in each array on the way."""

N_BYTES_PER_TABLE = 40
"""Tensor and name of a table. Twice as much at level 3: bytes -7.6, +0.9, +0.7, 0 %, true losses 0.0907,
0.0904, 0.0990, 0.0960 instead of 0.0956, 0.0977, 0.1026, 0.0960: which candidates are near each other
decides, not the estimate."""

_N_CLASSES = 4
"""With one class: bytes -1.8, -1.0, -2.9, 0 %, true losses 0.0966, 0.0928, 0.1003, 0.0922 instead of
0.0971, 0.0907, 0.0973, 0.0961: not shown to be worse on these; the coder finds up to eight contexts over
all arrays."""

_CODER_OVERHEAD = 1.02
"""What the coder takes over the ideal. Without: bytes 0, -2.4, -0.1, 0 %, true losses 0.0971, 0.0949,
0.0962, 0.0961 instead of 0.0971, 0.0907, 0.0973, 0.0961."""

_LOAD_BYTES_PER_BIT, _LOAD_BYTES_OF_JOIN = 10.0, 22.0

_CLASS_SIZE = 4096
"""Integers: as many as make coding pay (`coding.encoder.MIN_CODED_BYTES`), of which a histogram says
something."""


FLOAT16_NORMAL = (6.2e-5, 6.5e4)
"""Just inside its smallest normal number, 2^-14, and its largest one, 65504: steps are rounded."""


def n_ideal_bits(integers: NDArray[np.signedinteger[Any]]) -> float:
    """Return the zeroth-order entropy of (n_segments, length) integers within segment contexts, in bits.

    The segments are put into at most _N_CLASSES classes of about equal size by mean magnitude, as
    a stand-in for the contexts that the coder finds over the whole model.
    """
    if integers.size == 0:
        return 0.0
    n_classes = min(_N_CLASSES, max(1, integers.size // _CLASS_SIZE), len(integers))
    spread = np.abs(integers).mean(axis=1, dtype=np.float32) if n_classes > 1 else np.zeros(1)
    order = np.argsort(spread, kind="stable") if n_classes > 1 else np.arange(len(integers))
    low = int(integers.min())
    bits = 0.0
    for members in np.array_split(order, n_classes):
        rows = integers if n_classes == 1 else integers[members]
        counts = np.bincount(rows.ravel().astype(np.int32) - low).astype(np.float64)
        used = counts[counts > 0]
        bits += float((used * np.log2(used.sum() / used)).sum())
    return bits


def n_coded_bytes(integers: NDArray[np.signedinteger[Any]], shift: int) -> float:
    """Estimate what (n_segments, length) integers take, but for the lowest `shift` bits coded."""
    n_bytes = 0.0
    if shift:
        integers, low = split(integers, 1 << shift)
        n_bytes = low.size * shift / 8 + N_BYTES_PER_SPLIT
    return n_bytes + n_ideal_bits(integers) / 8 * _CODER_OVERHEAD


def choose_whole_shift(integers: NDArray[np.signedinteger[Any]]) -> int:
    """Return how many low bits of integers that nobody rounded are not worth coding: 0, 1, 2, 4 or 8.

    A byte in the file is worth memory at load: coded, integers of h bits take about 10 h bytes each,
    joining two parts 22 (`python -m tests.bench.quantised --shifts`).
    """

    def price(shift: int) -> float:
        n_bytes = n_coded_bytes(integers, shift)
        n_coded_bits = 8 * n_bytes - shift * integers.size
        n_load_bytes = _LOAD_BYTES_PER_BIT * n_coded_bits + (
            _LOAD_BYTES_OF_JOIN * integers.size if shift else 0
        )
        return n_bytes + n_load_bytes / LOAD_BYTES_PER_FILE_BYTE

    spread = int(integers.max(initial=0)) - int(integers.min(initial=0))
    return min((k for k in (0, 1, 2, 4, 8) if k == 0 or spread >> k > 1), key=price)


N_LISTED = 256
"""Values that a byte tells apart."""

_N_BYTES_PER_LIST = 120
"""What looks them up takes in a file, measured: the difference of nodes and names."""


def n_step_bytes(steps: NDArray[np.float32]) -> int:
    """Return what steps take in a file: few values are listed, and told by a byte each."""
    plain = step_dtype(steps).itemsize * steps.size
    n_values = np.unique(steps).size
    return min(plain, steps.size + 4 * n_values + _N_BYTES_PER_LIST) if n_values <= N_LISTED else plain


def step_dtype(steps: NDArray[np.float32]) -> np.dtype[np.generic]:
    """Return float16 when that holds every step exactly, else float32."""
    with np.errstate(over="ignore"):
        exact = bool(np.array_equal(steps.astype(np.float16).astype(np.float32), steps))
    return np.dtype(np.float16 if exact else np.float32)
