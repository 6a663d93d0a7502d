"""How sure a measured loss is: its 95 % bootstrap interval over samples.

Source: Efron 1979, "Bootstrap methods: another look at the jackknife", doi 10.1214/aos/1176344552.
Every metric is a function of two sums over samples, value = f(sum(a) / sum(b)): the squared error and
the squared norm (rel_l2), the squared error and the number of elements (psnr), the loss of a sample and
1 (cosine, top1). Drawing samples again with replacement says how far the value would move with other
samples of the same kind. A run whose outputs do not have one row for each of its samples counts as one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from onnxzip.measure.metrics import Metric
from onnxzip.measure.running_sums import Deviation, Runs, answers, cosine_losses, scores_name
from onnxzip.records.aliases import Array
from onnxzip.runtime.outputs import Outputs

_PERCENTILES = (2.5, 97.5)
_MIN_SAMPLES = 8
_N_DRAWS = 2000
_BATCH = 100
Interval: TypeAlias = tuple[float, float]
_Sums: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64]]


class SampleLosses:
    """Collects what each sample adds to the two sums, while a metric goes through the runs.

    Args:
        metric: what is measured.
        sizes: samples in each run.
    """

    def __init__(self, metric: Metric, sizes: Sequence[int]) -> None:
        """See the class."""
        self._metric = metric
        self._sizes = sizes
        self._parts: dict[str, list[_Sums]] = {}
        self._range: dict[str, tuple[float, float]] = {}
        self._n_answers = 0

    def watch(self, reference: Runs, outputs: Runs) -> Iterator[Outputs]:
        """Yield `outputs`, run by run, and take notes."""
        for before, after, size in zip(reference, outputs, self._sizes, strict=True):
            self._add_run(before, after, size)
            yield after

    def interval(self, found: Deviation) -> Interval | None:
        """Return the interval of what was measured; None for few samples or a function of the user's."""
        parts = self._parts.get(found.output) if found.output else self._only()
        if parts is None or not math.isfinite(found.value):
            return None
        above, below = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
        if len(above) < _MIN_SAMPLES or not (np.isfinite(above).all() and below.sum() > 0):
            return None
        if self._metric.name == "top1" and not above.any():
            # Nothing happened, so nothing can be drawn: the exact binomial bound for no event.
            most = 1 - (_PERCENTILES[0] / 100) ** (1 / len(above))
            return (0.0 if self._metric.labels is None else -most), most
        to_value = self._to_value(found.output or next(iter(self._parts)))

        rng = np.random.default_rng(0)
        drawn: list[Array] = []
        for start in range(0, _N_DRAWS, _BATCH):
            rows = rng.integers(0, len(above), (min(_BATCH, _N_DRAWS - start), len(above)))
            a, b = above[rows].sum(axis=1), below[rows].sum(axis=1)
            drawn.append(to_value(a / np.maximum(b, 1e-300)))
        low, high = np.percentile(np.concatenate(drawn), _PERCENTILES)
        return float(low), float(high)

    def _only(self) -> list[_Sums] | None:
        return next(iter(self._parts.values())) if len(self._parts) == 1 else None

    def _add_run(self, before: Outputs, after: Outputs, size: int) -> None:
        if self._metric.function is not None:
            return
        names = [scores_name(before)] if self._metric.name == "top1" else list(before)
        for name in names:
            if name in after and before[name].shape == after[name].shape:
                part = self._sums(name, before[name], after[name], size)
                self._parts.setdefault(name, []).append(part)

    def _sums(self, name: str, before: Array, after: Array, size: int) -> _Sums:
        if self._metric.name == "top1":
            return self._answers(before, after)
        is_number = before.dtype.kind == "f" or (
            self._metric.name == "psnr" and before.dtype.kind in "iub"
        )
        if not is_number:
            is_other = np.asarray(before != after).astype(np.float64)
            return _by_sample(is_other, size), _by_sample(np.ones_like(is_other), size)
        if self._metric.name == "cosine":
            losses = cosine_losses(before, after)
            return losses, np.ones(len(losses))
        return self._squares(name, before, after, size)

    def _squares(self, name: str, before: Array, after: Array, size: int) -> _Sums:
        x, y = before.astype(np.float64), after.astype(np.float64)
        is_used = np.isfinite(x)
        x, error = np.where(is_used, x, 0), np.where(is_used, x - y, 0)
        low, high = self._range.get(name, (math.inf, -math.inf))
        if is_used.any():
            used = x[is_used]
            self._range[name] = (min(low, float(used.min())), max(high, float(used.max())))
        norm = is_used.astype(np.float64) if self._metric.name == "psnr" else x**2
        if before.dtype == np.uint8:
            self._range[name] = (0.0, 255.0)
        return _by_sample(error**2, size), _by_sample(norm, size)

    def _answers(self, before: Array, after: Array) -> _Sums:
        first, second = answers(before), answers(after)
        labels = self._metric.labels
        if labels is None:
            losses = (first != second).astype(np.float64)
        else:
            part = labels[self._n_answers : self._n_answers + len(first)]
            losses = (first == part).astype(np.float64) - (second == part)
        self._n_answers += len(first)
        losses = losses.reshape(len(losses), -1)
        return losses.sum(axis=1), np.full(len(losses), float(losses.shape[1]))

    def _to_value(self, name: str) -> Callable[[Array], Array]:
        if self._metric.name == "rel_l2" and name in self._range:
            return np.sqrt
        if self._metric.name == "psnr" and name in self._range:
            low, high = self._range[name]
            return lambda mean: -10 * np.log10(np.maximum(mean, 1e-300) / (high - low) ** 2)
        return lambda mean: mean


def _by_sample(values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return sums over each sample, (size,); over everything, (1,), where rows are not samples."""
    rows = values if values.ndim and len(values) == size else values[None]
    return np.asarray(rows.reshape(len(rows), -1).sum(axis=1))
