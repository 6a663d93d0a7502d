"""What answers to generated inputs are worth: whether a model was made for such inputs."""

from __future__ import annotations

import numpy as np

from onnxzip.records.aliases import Array
from onnxzip.runtime.outputs import Outputs

NOT_FINITE, FINITE, TELLING, CLEAR = range(4)
"""Rising: outputs are NaN or Inf; finite; they vary; where they are scores, some are no zeros, too."""

TELLING_RANGE = 1e-4
"""Between the 1e-8 of a detector that finds nothing and probabilities of a thousand classes, 1e-3."""

_LEAST_SCORE = 0.1
"""A detector that gives none of several inputs more than this finds nothing in them, and answers alike
to all: silero-vad gives speech 0.003 at most where its frames are 512 samples long, and 1.0 at 576."""


def worth_of(*runs: Outputs) -> int:
    """Say what outputs are worth, of one run or of several together, on the scale above."""
    found: dict[str, list[Array]] = {}
    for outputs in runs:
        for name, y in outputs.items():
            if y.dtype.kind == "f" and y.size:
                found.setdefault(name, []).append(y)
    if not all(np.isfinite(y).all() for some in found.values() for y in some):
        return NOT_FINITE
    ranges = [float(max(map(np.max, some))) - float(min(map(np.min, some))) for some in found.values()]
    if ranges and max(ranges) <= TELLING_RANGE:
        return FINITE
    return TELLING if any(all(map(_finds_nothing, some)) for some in found.values()) else CLEAR


def _finds_nothing(scores: Array) -> bool:
    """Whether an output may be scores, all near 0; shares of a whole are small by nature."""
    if not (scores.min() >= 0 and scores.max() < _LEAST_SCORE):
        return False
    sums = scores.astype(np.float64).sum(axis=-1) if scores.ndim else scores
    return not np.allclose(sums, 1.0, atol=0.01)
