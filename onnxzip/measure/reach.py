"""Whether a weight whose error moves no output is one that inputs fail to reach, or cannot count.

What is added to the keys of an attention moves all scores of a query alike, and the softmax takes it out
again: no input of any kind would show an error of such a bias. A row of a table that no input reads, or
a layer behind a ReLU that is never above 0, would move outputs on other inputs.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np

from onnxzip.measure.probe import Probe
from onnxzip.measure.trial_session import TrialSession
from onnxzip.records.aliases import Array
from onnxzip.records.layer import Layer

_FAR = 4.0
"""Times the weight: far enough to bring to life what a threshold keeps down, and no farther than float32
can take out again."""


def unreached(
    trials: TrialSession,
    layers: Sequence[Layer],
    names: Collection[str],
    probes: Sequence[Probe],
    least: float,
) -> list[str]:
    """Return which weights, of those that move no output, no input reaches; the others cancel out.

    Args:
        trials: runs the model with other weights.
        layers: all whose weights may be replaced.
        names: of the weights that move no output.
        probes: what is run.
        least: sensitivity below which a weight does not count.
    """
    weights = {layer.name: layer.weight for layer in layers}
    return [name for name in names if not cancels_out(trials, name, weights[name], probes, least)]


def cancels_out(
    trials: TrialSession, name: str, weight: Array, probes: Sequence[Probe], least: float
) -> bool:
    """Whether outputs are computed from a weight, and yet stay the same whatever its values are.

    Args:
        trials: runs the model with other weights.
        name: of the weight.
        weight: float, its values.
        probes: what is run.
        least: sensitivity below which a weight does not count.
    """
    unknown = np.full_like(weight, np.nan)
    if math.isfinite(trials.probe({name: unknown}, probes)):
        return False
    size = float(np.sqrt(np.mean(np.square(weight, dtype=np.float64))))
    noise = np.random.default_rng(0).standard_normal(weight.shape)
    with np.errstate(over="ignore"):  # Inf is far as well
        far = (weight + _FAR * size * noise).astype(weight.dtype)
    # What cancels out leaves float32's noise behind; what is multiplied by zeros alone leaves nothing.
    return 0 < trials.probe({name: far}, probes) <= _FAR * least
