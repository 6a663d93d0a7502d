"""Damps second moments: what was measured on few vectors, or never, must not be trusted to the last."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onnxzip.records.layer import Statistics

DAMPING = 0.01
"""Least share of the mean diagonal that is added to a second moment: inputs that calibration never saw
may still occur.

0.05 instead, bytes and true loss: digits_cnn -6.2 % (0.0971 to 0.0948), digits_autoencoder -6.0 %
(0.0907 to 0.0928), digits_attention -2.1 % (0.0973 to 0.0947), digits_gru -5.9 % (0.0961 to 0.0937), and
resnet20 -2.1 % (0.0958 to 0.0985), which 3 % more loss may have paid for: not shown to be better on all
(`python -m tests.bench.constants onnxzip.measure.moments.damping:DAMPING 0.01 0.05 --cifar FOLDER`)."""

SPATIAL_DAMPING = 0.2
"""The same for the moment of a kernel's positions on generated inputs. Of 0.05, 0.2 and 0.5, it is where
resnet20 and resnet44 lose no more on real images than with no moment at all, in a sixth fewer bytes.
With 0.05 digits_cnn and digits_autoencoder are 3.1 and 5.4 % larger, with 0.5 1.8 % smaller and 5.2 %
larger; digits_attention and digits_gru have no kernels (`python -m tests.bench.constants
onnxzip.measure.moments.damping:SPATIAL_DAMPING 0.2 0.05 0.5 --calibration none`)."""


def noise_share(moment: NDArray[np.float32], n_vectors: int, fourth: float) -> float:
    """Return how much a measured second moment is to be damped for the few vectors behind it.

    The mix (1 - s) S + s m 1 of the measured moment S and its mean diagonal m is nearest to the true one
    at s = b / |S - m 1|^2, with b = (E|x|^4 - |S|^2) / n the error of S (Ledoit and Wolf 2004, doi
    10.1016/S0047-259X(03)00096-4).

    Args:
        moment: S, (n_columns, n_columns).
        n_vectors: n.
        fourth: E|x|^4.

    Returns:
        s / (1 - s), the share of the mean diagonal that added to S has the same effect; at most 1.
    """
    squared = float(np.einsum("ij,ij->", moment, moment, dtype=np.float64))
    level = float(np.trace(moment, dtype=np.float64)) / len(moment)
    spread = squared - len(moment) * level**2
    error = (fourth - squared) / n_vectors
    if not (0 < error < spread / 2):
        return 0.0 if error <= 0 else 1.0
    return error / (spread - error)


def damped(moment: NDArray[np.float32], n_vectors: int, share: float = 0.0) -> Statistics | None:
    """Return the statistics of a second moment, (n_columns, n_columns), with damping added.

    Args:
        moment: as measured.
        n_vectors: the vectors behind it.
        share: of the mean diagonal that is added, where it is above DAMPING.

    Returns:
        None where the moment is not finite, or zero.
    """
    level = float(np.trace(moment, dtype=np.float64)) / len(moment)
    if not (np.isfinite(moment).all() and level > 0):
        return None
    total = moment.copy()
    total[np.diag_indices_from(total)] += np.float32(max(share, DAMPING) * level)
    total.flags.writeable = False
    return Statistics(total, n_vectors)
