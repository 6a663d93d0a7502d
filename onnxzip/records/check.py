"""One comparison of two models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Check:
    """One comparison of two models on one provider.

    Attributes:
        kind: "exact" proves the surgery, "drift" measures the loss.
        provider: execution provider name without "ExecutionProvider", e.g. "CPU", "CUDA".
        metric: what `value`, `limit` and `interval` measure.
        passed: the verdict, in the direction the metric asks for.
        n_samples: samples the value was measured on.
        seed: seed of the generated feeds; None with the user's own data.
        note: what a reader must know about the figure ("generated inputs", ...).
        interval: 95 % confidence interval of a drift over samples; None where there are too few.
        unit: what stands behind a value that is shown, "dB".
        scale: what a value is multiplied with to be shown in this unit.
        n_decimals: digits behind the point of a value that is shown; None for three significant digits.
        higher_is_better: whether a larger value is a smaller loss.
    """

    kind: Literal["exact", "drift", "structure"]
    provider: str
    metric: str
    value: float
    limit: float
    passed: bool
    n_samples: int
    seed: int | None = None
    note: str = ""
    interval: tuple[float, float] | None = None
    unit: str = ""
    scale: float = 1.0
    n_decimals: int | None = None
    higher_is_better: bool = False
