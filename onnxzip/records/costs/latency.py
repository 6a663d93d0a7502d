"""How long runs of models take, and what they were timed with."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from functools import cached_property

from onnxzip.records.plain.bounds import check_finite, check_least

_FEWEST_RUNS = 2
"""That have quartiles (statistics.quantiles)."""


@dataclass(frozen=True)
class Latency:
    """How long runs of one model took, in the order of the rounds they were timed in.

    Attributes:
        seconds: of each run; the runs of other models in the same round stand at the same place.
    """

    seconds: tuple[float, ...]

    def check_figures(self) -> None:
        """Refuse times that cannot be, or are too few to say anything."""
        check_finite(self, "seconds")
        check_least(self, 0, "seconds")
        if len(self.seconds) < _FEWEST_RUNS:
            raise ValueError(f"times of {len(self.seconds)} runs, {_FEWEST_RUNS} are the fewest")

    @cached_property
    def median(self) -> float:
        """Seconds that half of the runs took at most."""
        return statistics.median(self.seconds)

    @cached_property
    def quartiles(self) -> tuple[float, float]:
        """Seconds that a quarter and three quarters of the runs took at most."""
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return low, high


@dataclass(frozen=True)
class Ratio:
    """The median time of one model divided by that of another, and its 95 % interval."""

    value: float
    low: float
    high: float

    def check_figures(self) -> None:
        """Refuse ratios that cannot be."""
        check_least(self, 0, "low", "value", "high")
        if self.low > self.high:
            raise ValueError(f"Ratio.high is {self.high}, below Ratio.low")


@dataclass(frozen=True)
class Processor:
    """What runs models on the CPU.

    Attributes:
        name: the maker's, "" where the system does not tell.
        int8: its instructions that multiply and add 8-bit integers; () for none that is known.
    """

    name: str
    int8: tuple[str, ...] = ()


@dataclass(frozen=True)
class Speed:
    """A model's runs beside those of its original, timed by turns on the same inputs.

    Attributes:
        before: of the original.
        after: of the file.
        ratio: of the medians, after / before.
        n_threads: that a session had.
        batch: samples in a run; None where no axis of the inputs counts them.
        provider: short name of the execution provider.
        processor: of this machine.
    """

    before: Latency
    after: Latency
    ratio: Ratio
    n_threads: int
    batch: int | None
    provider: str
    processor: Processor

    def check_figures(self) -> None:
        """Refuse counts that cannot be."""
        check_least(self, 1, "n_threads", "batch")

    @property
    def is_faster(self) -> bool:
        """Whether the file is faster than the original beyond doubt: so is the whole interval."""
        return self.ratio.high < 1
