"""One comparison of two models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from onnxzip.records.plain.bounds import check_finite, check_least

_MOST_DECIMALS = 99
"""Digits behind a point: a float has 17 that count, and nobody reads more."""


@dataclass(frozen=True)
class SampleLosses:
    """How a loss is spread over samples, in the metric's unit; each sample's own loss is judged alone.

    Attributes:
        median: half of the samples lose more.
        quantile_95: one in twenty loses more.
        worst: that of the sample that loses most.
        ranked: losses of samples from the least to the worst, at equal distances: all, or 41 of them.
        places: which samples lose the median, that 95 % and the worst, counted from 0 among those of
            the kind of inputs that counts.
    """

    median: float
    quantile_95: float
    worst: float
    ranked: tuple[float, ...] = ()
    places: tuple[int, ...] = ()

    def check_figures(self) -> None:
        """Refuse places that nothing has."""
        check_least(self, 0, "places")


@dataclass(frozen=True)
class Check:
    """One comparison of two models on one provider.

    Attributes:
        kind: "exact" proves the surgery, "drift" measures the loss, "opinion" does so on other inputs
            than those of the verdict, and has no say in it.
        provider: execution provider name without "ExecutionProvider", e.g. "CPU", "CUDA".
        metric: what `value`, `limit` and `interval` measure.
        passed: the verdict, in the direction the metric asks for; False as well where nothing is proven.
        n_samples: samples the value was measured on.
        seed: seed of the generated feeds; None with the user's own data.
        note: what a reader must know about the figure ("generated inputs", ...).
        interval: 95 % confidence interval of a drift over samples; None where there are too few.
        unit: what stands behind a value that is shown, "dB".
        scale: what a value is multiplied with to be shown in this unit.
        n_decimals: digits behind the point of a value that is shown; None: three significant digits.
        higher_is_better: whether a larger value is a smaller loss.
        unproven: why the value proves nothing: what was fed moves the outputs too little, say. "" where
            it is evidence.
        constant: what a constant answer, the mean, would score; None where that is not known.
        by_output: the value of each output that is compared, by name.
        by_family: the value on each kind of inputs, where several were tried; the worst is `value`.
        per_sample: how the worst output's loss is spread; None where samples cannot be told apart.
        n_to_settle: samples with which the interval would lie on one side of the limit; None where it
            does already, or where that cannot be said.
    """

    kind: Literal["exact", "drift", "structure", "opinion"]
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
    unproven: str = ""
    constant: float | None = None
    by_output: Mapping[str, float] = field(default_factory=dict)
    by_family: Mapping[str, float] = field(default_factory=dict)
    per_sample: SampleLosses | None = None
    n_to_settle: int | None = None

    def check_figures(self) -> None:
        """Refuse figures that cannot be."""
        check_least(self, 0, "n_samples", "seed", "n_decimals", "n_to_settle")
        check_finite(self, "scale")
        if self.n_decimals is not None and self.n_decimals > _MOST_DECIMALS:
            raise ValueError(
                f"Check.n_decimals is {self.n_decimals}, at most {_MOST_DECIMALS} are shown"
            )
        if self.interval is not None and self.interval[0] > self.interval[1]:
            raise ValueError(f"Check.interval ends at {self.interval[1]}, before it begins")

    @property
    def failed(self) -> bool:
        """Whether the value is beyond its limit: what is unproven has not failed, nor has an opinion."""
        return not (self.passed or self.unproven or self.kind == "opinion")
