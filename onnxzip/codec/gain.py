"""What entropy coding saves of a weight, against packing with the same error."""

from __future__ import annotations

import numpy as np

from onnxzip.codec.estimates import choose_whole_shift, n_coded_bytes, n_ideal_bits
from onnxzip.codec.fixed_rate import LARGE_RATES, FixedRate
from onnxzip.codec.variable_rate import VariableRate
from onnxzip.codec.windows import choose_window
from onnxzip.passbase import relative_error
from onnxzip.records.aliases import Array
from onnxzip.records.elements.exact import as_plain, is_exact

CODED_LOAD_BYTES = 60.0
"""Memory at load that a coded weight takes beyond a packed one, about: 22 to 125 bytes, not 13 to 29
(`python -m tests.bench.loading`)."""

_TYPICAL_ERROR = 0.12
"""Relative error of a layer's weights where outputs lose a tenth of what they vary by, about."""

_N_SAMPLED, _RUN = 1 << 16, 256
"""Weights looked at, in runs."""


def _saved_of_integers(weight: Array) -> float:
    """Return the same for numbers that stay as they are."""
    plain = as_plain(weight).reshape(-1)
    if weight.itemsize > 2 or not plain.size:
        return 0.0
    integers = (
        plain[: plain.size - plain.size % _RUN].reshape(-1, min(_RUN, plain.size)).astype(np.int32)
    )
    integers = integers[:: max(1, integers.size // _N_SAMPLED)]
    integers -= int(np.median(integers))
    coded = n_coded_bytes(integers, choose_whole_shift(integers))
    return (choose_window(integers).n_bytes - coded) / integers.size


def saved_bytes(weight: Array) -> float:
    """Return the bytes a number that coding saves at a typical error; below 0 where it saves none.

    Both codecs round the numbers as they are: the packed one at its first rate with an error of at most
    _TYPICAL_ERROR, the coded one with a step of the same error, rms / step = 1 / (sqrt(12) error).
    """
    if is_exact(weight.dtype):
        return _saved_of_integers(weight)
    flat = weight.reshape(-1)
    runs = flat[: flat.size - flat.size % _RUN].reshape(-1, _RUN)
    runs = runs[:: max(1, runs.size // _N_SAMPLED)].astype(np.float32)
    if not runs.any() or not np.isfinite(runs).all():
        return 0.0
    packer = FixedRate(LARGE_RATES)
    for rate in LARGE_RATES:
        packed = packer.quantize(runs, rate)
        error = relative_error(runs, packed.values())
        if error <= _TYPICAL_ERROR:
            break
    bits = {1: 1.6, 2: 2.67, 4: 3.2, 7: 4.0, 19: 5.33}.get(rate) or packer.n_bits(rate)
    coded = VariableRate().quantize(runs, 1 / (12**0.5 * max(error, 1e-6)))
    n_step_bits = 8 * packed.steps.size / runs.size
    return (bits + n_step_bits - n_ideal_bits(coded.integers) / runs.size) / 8
