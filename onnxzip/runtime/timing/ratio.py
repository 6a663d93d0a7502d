"""How much faster one model is than another, and how sure that is.

Rounds are drawn again with replacement, both models' times of a round together (paired bootstrap, Efron
1979, doi 10.1214/aos/1176344552): what slowed down a round slowed down both.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onnxzip.records.costs.latency import Latency, Ratio

_N_DRAWS, _BATCH = 2000, 200
"""50 draws lie beyond each end of the interval; so many at a time take 16 bytes a round each."""


def ratio_of(before: Latency, after: Latency) -> Ratio:
    """Return the median of `after` divided by that of `before`, with its 95 % interval.

    Args:
        before: what is compared with.
        after: of the same rounds, two at least.
    """
    # Not with the module: it takes longer to load than many a model to compress.
    from scipy.stats import bootstrap

    found = bootstrap(
        (np.array(after.seconds), np.array(before.seconds)),
        _ratio_of_medians,
        paired=True,
        vectorized=True,
        n_resamples=_N_DRAWS,
        batch=_BATCH,
        method="percentile",
        random_state=np.random.default_rng(0),
    )
    low, high = found.confidence_interval
    return Ratio(after.median / before.median, float(low), float(high))


def _ratio_of_medians(
    after: NDArray[np.float64], before: NDArray[np.float64], axis: int = -1
) -> NDArray[np.float64]:
    return np.asarray(np.median(after, axis=axis) / np.median(before, axis=axis))
